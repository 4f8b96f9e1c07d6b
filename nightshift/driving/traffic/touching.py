"""Where lanes touch: they part, they join, they cross. Worked out once from the map's geometry.

A car in such a place stands in the other lane as well, as a guest (see `leaders`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import STEP_M, SUCCESSORS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Lanes that part are one until they are so far apart, m.
_PARTED_M = 2.6
#: Cars on lanes that join are seen on the other one so far before the end, m; without right of way, and with it.
_JOINS_M, _EQUAL_M = 80.0, 20.0
#: Lanes cross where they come so near, m; a car is in the way from so far before to so far behind that place, m.
_CROSS_M, _BEFORE_M, _BEHIND_M = 2.0, 3.0, 2.0
#: Who is held up in a crossing is seen by those further than this before it, m.
_HELD_UP_M = 5.0
#: On lanes that join, cars may still lie side by side: a metre for so much to where they are one, m.
_SLACK = 0.25
#: Touching places of one lane, at most; the first ones found stand.
MOST = 10
#: Crossings are looked for among points so many apart first.
_COARSE = 4
#: Lanes ahead, one's own among them, on which one may meet those who go first.
_PATH = 3


@dataclass(frozen=True)
class Touch:
    """A car on a lane is seen on `other` while its box lies between `begin` and `end`, m of its own lane.

    Its metre there is `base + slope * s`; slope 1 runs along, 0 crosses. Its box is shorter there, at either end, by
    `slack` for each metre to the end of its lane. `minds`: it follows those ahead there. `stands`: it is seen
    there only while it hardly moves.
    """

    other: int
    begin: float
    end: float
    base: float
    slope: float
    slack: float = 0.0
    minds: bool = False
    stands: bool = False


@dataclass(frozen=True)
class Conflict:
    """Who goes first: those on `lane` that go on by lane `via` (-1: all), to metre `their_m`, counted on from `lane`.

    One meets them `beyond_m` behind one's line. `turns`: they turn off into the same road, and slow down for that.
    """

    lane: int
    via: int
    their_m: float
    beyond_m: float
    turns: bool


@dataclass
class Plan:
    """A map as NumPy arrays; names as in `Lanes`, `after` `(lanes, SUCCESSORS)` as drivers follow it."""

    x: Floats
    y: Floats
    first: Ints
    count: Ints
    length: Floats
    after: Ints
    yields_to: Ints
    yield_at: Floats
    yield_their: Floats
    _found: dict[int, list[Touch]] = field(default_factory=dict)
    _box: Floats = field(init=False)
    _followers: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Work out the lanes that follow each, and its bounding box, `(lanes, 4)`: least x, y and greatest x, y."""
        least, most = (
            [reduce.reduceat(values, self.first) for values in (self.x, self.y)] for reduce in (np.minimum, np.maximum)
        )
        self._box = np.stack([*least, *most], axis=1)
        self._followers = [list(dict.fromkeys(n for n in row if n >= 0)) for row in self.after.tolist()]

    def line(self, lane: int) -> Floats:
        """Return a lane's points, `(points, 2)`."""
        here = slice(int(self.first[lane]), int(self.first[lane] + self.count[lane]))
        return np.column_stack([self.x[here], self.y[here]])

    def followers(self, lane: int) -> list[int]:
        """Return the lanes that follow one, each once."""
        return self._followers[lane]

    def touches(self) -> dict[int, list[Touch]]:
        """Return the places at which lanes touch others, by lane."""
        self._found = {}
        leading: dict[int, list[int]] = {}
        for lane in range(len(self.count)):
            following = self.followers(lane)
            for next_lane in following:
                leading.setdefault(next_lane, []).append(lane)
            for one, other in permutations(following, 2):
                self._part(one, other)
        late = self._who_gives_way(leading)
        for joined in leading.values():
            for one, other in permutations(joined, 2):
                if (late[one], one) > (late[other], other):
                    self._join(one, other, gives_way=bool(late[one] > late[other]))
        for lane in np.flatnonzero(np.any(self.yields_to >= 0, axis=1)).tolist():
            others = dict.fromkeys(n for n in self.yields_to[lane].tolist() if n >= 0)
            for one, other in product((lane, *self.followers(lane)), others):
                self._cross(one, other)
        return self._found

    def _add(self, lane: int, touch: Touch) -> None:
        here = self._found.setdefault(lane, [])
        if len(here) < MOST and touch.other not in [t.other for t in here]:
            here.append(touch)

    def _part(self, one: int, other: int) -> None:
        a, b = self.line(one), self.line(other)
        n = min(len(a), len(b))
        apart = np.hypot(*(a[:n] - b[:n]).T) > _PARTED_M
        self._add(one, Touch(other, -np.inf, float(np.argmax(apart) if apart.any() else n - 1) * STEP_M, 0.0, 1.0))

    def _who_gives_way(self, leading: dict[int, list[int]]) -> Ints:
        """Return 1 for lanes that give way, or lead on from such a one within two lanes."""
        late: Ints = np.any(self.yields_to >= 0, axis=1).astype(np.int64)
        for _ in range(2):
            for lane in np.flatnonzero(late).tolist():
                for following in self.followers(lane):
                    late[following] |= len(leading[following]) == 1
        return late

    def _join(self, one: int, other: int, *, gives_way: bool) -> None:
        begin = self.length[one] - (_JOINS_M if gives_way else _EQUAL_M)
        waits = self.yield_at[one][self.yields_to[one] >= 0]
        begin = max(begin, float(waits.max()) + 1.0) if len(waits) else begin
        shift = float(self.length[other] - self.length[one])
        self._add(one, Touch(other, begin, np.inf, shift, 1.0, _SLACK, minds=True))

    def _cross(self, one: int, other: int) -> None:
        if one == other or set(self.followers(one)) & set(self.followers(other)):
            return
        crossing = self._crossing(one, other)
        if crossing is not None:
            own, theirs = crossing
            self._add(one, Touch(other, own - _BEFORE_M, own + _BEHIND_M, theirs, 0.0))
            # Who goes first but is held up in the crossing is seen by those who have not yet come into it themselves.
            self._add(other, Touch(one, theirs, theirs + _BEHIND_M, own - _HELD_UP_M, 0.0, stands=True))

    def _crossing(self, one: int, other: int) -> tuple[float, float] | None:
        """Return the metres at which two lanes cross, None where they do not."""
        box, theirs = self._box[one].tolist(), self._box[other].tolist()
        if any(max(box[k], theirs[k]) > min(box[k + 2], theirs[k + 2]) + _CROSS_M for k in (0, 1)):
            return None
        a, b = self.line(one), self.line(other)
        i, j, far = _nearest(a[::_COARSE], b[::_COARSE])
        if far > _CROSS_M + 2 * _COARSE * STEP_M:
            return None
        begin, other = max((i - 1) * _COARSE, 0), max((j - 1) * _COARSE, 0)
        i, j, far = _nearest(a[begin : begin + 2 * _COARSE + 1], b[other : other + 2 * _COARSE + 1])
        if far >= _CROSS_M or not 0 < other + j < len(b) - 1:
            return None
        return (begin + i) * STEP_M, (other + j) * STEP_M

    def conflicts(self) -> dict[tuple[int, int], list[Conflict]]:
        """Return, by lane that gives way and turn, whom its drivers let go first, and where they meet."""
        found: dict[tuple[int, int], list[Conflict]] = {}
        for lane in np.flatnonzero(np.any(self.yields_to >= 0, axis=1)).tolist():
            listed = list(dict.fromkeys(n for n in self.yields_to[lane].tolist() if n >= 0))
            for turn in range(SUCCESSORS):
                found[lane, turn] = self._conflicts(lane, self._path(lane, turn), listed)
            if not any(found[lane, turn] for turn in range(SUCCESSORS)):
                # Nothing of its geometry says where they meet: as the map has it.
                given = zip(self.yields_to[lane].tolist(), self.yield_their[lane].tolist(), strict=True)
                rows = [Conflict(other, -1, their_m, 0.0, turns=False) for other, their_m in given if other >= 0]
                found.update({(lane, turn): rows for turn in range(SUCCESSORS)})
        return found

    def _path(self, lane: int, turn: int) -> list[int]:
        path = [lane]
        while len(path) < _PATH and self.after[path[-1], turn] >= 0:
            path.append(int(self.after[path[-1], turn]))
        return path

    def _conflicts(self, lane: int, path: list[int], listed: list[int]) -> list[Conflict]:
        """Return where the drivers of a path meet those on the listed lanes, there or on the lanes after those."""
        rows = []
        for other in listed:
            ways = [([other], -1)]
            for via in self.followers(other):
                ways += [([other, via], via)]
                ways += [([other, via, then], via) for then in self.followers(via) if via in listed and then in listed]
            for way, via in ways:
                meets = self._meets(path, way[-1])
                if meets is not None:
                    own_m, their_m = meets
                    their_m += float(self.length[way[:-1]].sum())
                    behind = max(own_m - float(self.yield_at[lane, 0]), 0.0)
                    rows.append(Conflict(other, via, their_m, behind, turns=way[-1] not in listed))
        return rows

    def _meets(self, path: list[int], other: int) -> tuple[float, float] | None:
        """Return the metre of a path and of another lane where they meet first; None where they do not."""
        before = 0.0
        for own in path:
            if own == other:
                return None
            if set(self.followers(own)) & set(self.followers(other)):
                return before + float(self.length[own]), float(self.length[other])
            crossing = self._crossing(own, other)
            if crossing is not None:
                return before + crossing[0], crossing[1]
            before += float(self.length[own])
        return None


def _nearest(a: Floats, b: Floats) -> tuple[int, int, float]:
    """Return the numbers of the points of two lines that are nearest to each other, and their distance."""
    far = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
    i, j = np.unravel_index(int(np.argmin(far)), far.shape)
    return int(i), int(j), float(far[i, j])
