"""What traffic reads of a map, worked out once: speeds that bends allow, what comes after a lane, who gives way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import STEP_M, SUCCESSORS, YIELDS, Lanes
from nightshift.driving.traffic.touching import Conflict, Plan, Touch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Sideways in bends, m/s2, and how drivers brake for those that lie ahead.
SIDEWAYS_MPS2 = 3.0
AHEAD_MPS2 = 1.5
#: Nobody creeps slower than this round a bend, m/s.
_SLOWEST_MPS = 2.0
#: A lane without successor ends, for its drivers, where a neighbour goes on for longer than this, m.
_GOES_ON_M = 20.0
#: Square of a speed that binds nobody, m2/s2.
UNBOUND = 1e4
#: Steps of a metre that the sort along lanes tells apart, and metres before a lane's first one that it can tell.
FINE = 2
AHEAD_M = 16
#: Predecessors that are looked back into.
PREDECESSORS = 2


@dataclass(frozen=True)
class Ways:
    """`Lanes` with what follows from them; NumPy arrays, or torch's.

    Attributes:
        lanes: the map itself.
        last: `(lanes,)` int64, number of a lane's last but one point.
        pace2: `(points,)` m2/s2, square of the speed that keeps the limit and the bends from here to the lane's end.
        after: `(lanes * SUCCESSORS,)` int64, the lane that follows for each `turn`; -1 for none.
        entry2: the same of the square of the speed at which that lane is entered.
        before: `(lanes * PREDECESSORS,)` int64, lanes that lead into it; -1 for none.
        ends: `(lanes,)` bool, has no successor while a neighbour goes on: one has to stop at its end.
        leave: `(lanes,)` bool, such a lane, or one that gives way to its own neighbour: its drivers want to leave it,
            and nobody changes to it.
        apart_left, apart_right: `(lanes,)` m between the middles of a lane and its neighbour.
        gives_way: `(lanes,)` bool.
        first_...: `(lanes * SUCCESSORS * most_first,)` each, whom one lets go first, by lane and turn, see
            `touching.Conflict`; lane -1 for none.
        line_m: `(lanes,)` metre before which one waits.
        touching: `(lanes,)` bool, touches others; `touch_...`: `(lanes * most_touches,)` each, see `touching.Touch`;
            lane -1 for none; `touch_minds` int64, 1 and up for those that it minds, else -1; at most `most_minded`.
        changes: whether any lane has a neighbour; `stops`: whether any ends; `yields`: whether any gives way;
            `touches`: whether any touches another.
        longest_m: of the longest lane.
        metre_bits: that the sort needs to tell the metres of the longest lane.
    """

    lanes: Lanes
    last: Any
    pace2: Any
    after: Any
    entry2: Any
    before: Any
    ends: Any
    leave: Any
    apart_left: Any
    apart_right: Any
    gives_way: Any
    first_lane: Any
    first_via: Any
    first_m: Any
    first_beyond: Any
    first_turns: Any
    line_m: Any
    most_first: int
    touching: Any
    touch_lane: Any
    touch_begin: Any
    touch_end: Any
    touch_base: Any
    touch_slope: Any
    touch_slack: Any
    touch_minds: Any
    touch_stands: Any
    most_touches: int
    most_minded: int
    changes: bool
    stops: bool
    yields: bool
    touches: bool
    metre_bits: int
    longest_m: float

    @classmethod
    def of(cls, xp: Any, lanes: Lanes) -> Ways:
        """Work out a map; `lanes` holds arrays of `xp`, on the device on which traffic is to run."""
        map_ = _Plain(lanes)
        like = lanes.x

        def given(value: Any) -> Any:
            return value if xp is np else xp.asarray(value, device=like.device)

        first = _first(map_.plan.conflicts(), len(map_.count))
        ends, table = map_.ends(), _table(map_.plan.touches(), len(map_.count))
        return cls(
            lanes=lanes,
            last=given(map_.count - 2),
            pace2=given(map_.pace2),
            after=given(map_.after.reshape(-1)),
            entry2=given(map_.entry2().reshape(-1)),
            before=given(map_.before().reshape(-1)),
            ends=given(ends),
            leave=given(ends | map_.gives_way_beside()),
            apart_left=given(map_.apart(map_.left)),
            apart_right=given(map_.apart(map_.right)),
            changes=bool((map_.left >= 0).any() or (map_.right >= 0).any()),
            stops=bool(ends.any()),
            gives_way=given(np.any(map_.yields_to >= 0, axis=1)),
            yields=bool((map_.yields_to >= 0).any()),
            **{name: given(value) for name, value in first.items()},
            line_m=given(map_.plan.yield_at[:, 0].copy()),
            most_first=len(first["first_lane"]) // (SUCCESSORS * len(map_.count)),
            **{name: given(value) for name, value in table.items()},
            most_touches=len(table["touch_lane"]) // len(map_.count),
            most_minded=int(table["touch_minds"].max()),
            touches=bool(table["touching"].any()),
            longest_m=float(map_.length.max()),
            metre_bits=int((map_.length.max() + 2 * AHEAD_M) * FINE).bit_length(),
        )


class _Plain:
    """A map as NumPy arrays, whatever it came as."""

    def __init__(self, lanes: Lanes) -> None:
        self.first, self.count = plain(lanes.first), plain(lanes.count)
        self.left, self.right = plain(lanes.left), plain(lanes.right)
        self.shifts = plain(lanes.left_shift_m), plain(lanes.right_shift_m)
        self.length, self.width = plain(lanes.length_m), plain(lanes.width_m)
        self.yields_to: Ints = plain(lanes.yields_to).reshape(-1, YIELDS)
        successor = plain(lanes.successor).reshape(-1, SUCCESSORS)
        self.after: Ints = np.where(successor >= 0, successor, successor[:, :1])
        self.plan = Plan(
            x=plain(lanes.x),
            y=plain(lanes.y),
            first=self.first,
            count=self.count,
            length=self.length,
            after=self.after,
            yields_to=self.yields_to,
            yield_at=plain(lanes.yield_at_m).reshape(-1, YIELDS),
            yield_their=plain(lanes.yield_their_m).reshape(-1, YIELDS),
        )
        self.pace2 = self._pace2(plain(lanes.curvature), plain(lanes.limit_mps))

    def _pace2(self, curvature: Floats, limit: Floats) -> Floats:
        lane = np.repeat(np.arange(len(self.count)), self.count)
        own = np.minimum(limit[lane] ** 2, SIDEWAYS_MPS2 / np.maximum(np.abs(curvature), 1e-6))
        own = np.maximum(own, _SLOWEST_MPS**2)
        # The minimum, over all points ahead on the lane, of v2 + 2 b s: a running one from the back. Lanes are kept
        # apart by a step larger than any such value.
        along = 2 * AHEAD_MPS2 * STEP_M * (np.arange(len(own)) - self.first[lane])
        step = lane * (float((own + along).max()) + 1.0)
        end, chosen = self.first + self.count - 1, np.maximum(self.after, 0)
        for _ in range(3):
            pace2 = np.minimum.accumulate((own + along + step)[::-1])[::-1] - along - step
            # Into lanes that follow, as if by the fastest of them: the turn a driver takes is looked up in `entry2`.
            following = np.where(self.after >= 0, pace2[self.first[chosen]], 0.0).max(axis=1)
            own[end] = np.where(following > 0, np.minimum(own[end], np.maximum(following, 0.0)), own[end])
        return np.asarray(np.maximum(pace2, _SLOWEST_MPS**2))

    def entry2(self) -> Floats:
        return np.where(self.after >= 0, self.pace2[self.first[np.maximum(self.after, 0)]], UNBOUND)

    def before(self) -> Ints:
        found = np.full((len(self.count), PREDECESSORS), -1, np.int64)
        taken = np.zeros(len(self.count), np.int64)
        for lane, row in enumerate(self.after.tolist()):
            for following in dict.fromkeys(n for n in row if n >= 0):
                if taken[following] < PREDECESSORS:
                    found[following, taken[following]] = lane
                    taken[following] += 1
        return found

    def ends(self) -> NDArray[np.bool_]:
        closed: NDArray[np.bool_] = np.all(self.after < 0, axis=1)
        goes_on: NDArray[np.bool_] = np.zeros(len(closed), np.bool_)
        for beside, shift in zip((self.left, self.right), self.shifts, strict=True):
            there = np.maximum(beside, 0)
            further = self.length[there] - (self.length + shift) > _GOES_ON_M
            goes_on = goes_on | (beside >= 0) & (further | ~closed[there])
        return closed & goes_on

    def gives_way_beside(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.zeros(len(self.count), np.bool_)
        for beside in (self.left, self.right):
            found |= (beside >= 0) & np.any(self.yields_to == beside[:, None], axis=1)
        return found

    def apart(self, beside: Ints) -> Floats:
        apart: Floats = 0.5 * (self.width + np.where(beside >= 0, self.width[np.maximum(beside, 0)], self.width))
        return apart


def _table(found: dict[int, list[Touch]], n_lanes: int) -> dict[str, Any]:
    """Return the touching places as flat arrays, the same number for each lane."""
    most = max((len(places) for places in found.values()), default=1)
    lane, minds = np.full((n_lanes, most), -1, np.int64), np.full((n_lanes, most), -1, np.int64)
    begin, end, base, slope, slack = (np.zeros((n_lanes, most)) for _ in range(5))
    stands = np.zeros((n_lanes, most), np.bool_)
    for number, places in found.items():
        for k, t in enumerate(places):
            lane[number, k] = t.other
            minds[number, k] = sum(p.minds for p in places[: k + 1]) if t.minds else -1
            begin[number, k], end[number, k], base[number, k], slope[number, k] = t.begin, t.end, t.base, t.slope
            slack[number, k], stands[number, k] = t.slack, t.stands
    flat = {"lane": lane, "begin": begin, "end": end, "base": base, "slope": slope, "slack": slack, "minds": minds}
    told = {"touching": np.any(lane >= 0, axis=1), "touch_stands": stands.reshape(-1)}
    return told | {f"touch_{k}": v.reshape(-1) for k, v in flat.items()}


def _first(found: dict[tuple[int, int], list[Conflict]], n_lanes: int) -> dict[str, Any]:
    """Return who goes first as flat arrays, the same number for each lane and turn."""
    most = max((len(rows) for rows in found.values()), default=1) or 1
    lane, via = (np.full((n_lanes, SUCCESSORS, most), -1, np.int64) for _ in range(2))
    their_m, beyond = (np.zeros((n_lanes, SUCCESSORS, most)) for _ in range(2))
    turns = np.zeros((n_lanes, SUCCESSORS, most), np.bool_)
    for (number, turn), rows in found.items():
        for k, row in enumerate(rows):
            lane[number, turn, k], via[number, turn, k], turns[number, turn, k] = row.lane, row.via, row.turns
            their_m[number, turn, k], beyond[number, turn, k] = row.their_m, row.beyond_m
    flat = {"lane": lane, "via": via, "m": their_m, "beyond": beyond, "turns": turns}
    return {f"first_{name}": value.reshape(-1) for name, value in flat.items()}


def plain(array: Any) -> Any:
    """Return an array of any library as NumPy's."""
    return np.asarray(array.cpu() if hasattr(array, "cpu") else array)
