"""Roads: lines of one metre steps from straights, arcs and bends between them, and maps of lanes on such lines.

Lanes that lie side by side on a bend share the stations of their middle line, so that a car that changes lanes keeps
its metre: their points are apart by one metre and up to three hundredths, more outside, less inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import STEP_M, SUCCESSORS, YIELDS, Lanes, on_line

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: Points to a metre while a line is integrated.
_FINE = 10


@dataclass(frozen=True)
class Pose:
    """A place and a direction: m and rad."""

    x: float
    y: float
    heading: float

    def moved(self, forwards_m: float, left_m: float = 0.0) -> Pose:
        """Return the pose so far ahead and to the left, the same way round."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        x, y = self.x + forwards_m * cos - left_m * sin, self.y + forwards_m * sin + left_m * cos
        return Pose(float(x), float(y), self.heading)


@dataclass(frozen=True)
class Line:
    """A polyline with what belongs to its points, `(points,)` each: m, rad (never wrapped), 1/m (left positive)."""

    x: Floats
    y: Floats
    heading: Floats
    curvature: Floats

    @property
    def begin(self) -> Pose:
        """Where it begins."""
        return self.at(0)

    @property
    def end(self) -> Pose:
        """Where it ends."""
        return self.at(len(self.x) - 1)

    @property
    def length_m(self) -> float:
        """Steps of `STEP_M`."""
        return (len(self.x) - 1) * STEP_M

    def at(self, point: int) -> Pose:
        """Return the pose of a point."""
        return Pose(float(self.x[point]), float(self.y[point]), float(self.heading[point]))

    def cut(self, first: int, last: int) -> Line:
        """Return the points from `first` to `last`, both among them."""
        here = slice(first, last + 1)
        return Line(self.x[here], self.y[here], self.heading[here], self.curvature[here])


@dataclass(frozen=True)
class Piece:
    """A stretch of road whose curvature runs evenly from `begin` to `end`, 1/m: a straight, an arc or a bend."""

    length_m: float
    begin: float = 0.0
    end: float = 0.0


def laid(pieces: Sequence[Piece], start: Pose) -> Line:
    """Lay pieces end to end from a pose; the whole is cut to full metres."""
    bounds = np.cumsum([0.0, *(p.length_m for p in pieces)])
    metres = int(bounds[-1] + 1e-9)
    at = np.arange(metres * _FINE + 1) / _FINE
    # The end of one piece and the beginning of the next are one place with, perhaps, two curvatures.
    places = np.repeat(bounds, 2)[1:-1] + np.tile([0.0, -1e-9], len(pieces))
    values = np.array([v for p in pieces for v in (p.begin, p.end)])
    curvature = np.interp(at, places, values)
    heading = start.heading + _integral(curvature)
    x, y = start.x + _integral(np.cos(heading)), start.y + _integral(np.sin(heading))
    return Line(x[::_FINE], y[::_FINE], heading[::_FINE], curvature[::_FINE])


def straight(start: Pose, length_m: float) -> Line:
    """Return a straight line."""
    return laid([Piece(length_m)], start)


def bend(radius_m: float, angle: float, transition_m: float) -> list[Piece]:
    """Return the pieces of a bend by `angle` rad (left positive): into it, the arc, out of it."""
    peak = np.sign(angle) / radius_m
    arc = abs(angle) * radius_m - transition_m
    if arc < 0:  # All transition: the peak is lower.
        transition_m = abs(angle) * radius_m
        arc = 0.0
    return [Piece(transition_m, 0.0, peak), Piece(arc, peak, peak), Piece(transition_m, peak, 0.0)]


def between(start: Pose, end: Pose, reach: float = 0.4) -> Line:
    """Return a smooth line from one pose to another, in whole steps of about one metre.

    Args:
        start: where it leaves.
        end: where it arrives.
        reach: how far the handles of the curve (a cubic Bézier curve) go, as a share of the distance.
    """
    distance = float(np.hypot(end.x - start.x, end.y - start.y))
    a, b = start.moved(reach * distance), end.moved(-reach * distance)
    t = np.linspace(0.0, 1.0, 40 * int(distance + 2))
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    x = sum(w * p.x for w, p in zip(weights, (start, a, b, end), strict=True))
    y = sum(w * p.y for w, p in zip(weights, (start, a, b, end), strict=True))
    return _even(np.asarray(x), np.asarray(y), start, end)


def arc(start: Pose, radius_m: float, angle: float) -> Line:
    """Return an arc by `angle` rad (left positive), in whole steps of about one metre."""
    steps = max(2, round(radius_m * abs(angle) / STEP_M))
    side = float(np.sign(angle))
    heading = start.heading + np.linspace(0.0, angle, steps + 1)
    centre = start.moved(0.0, side * radius_m)
    x, y = centre.x + side * radius_m * np.sin(heading), centre.y - side * radius_m * np.cos(heading)
    return Line(x, y, heading, np.full(steps + 1, side / radius_m))


def respaced(line: Line) -> Line:
    """Return a line in steps of one metre again, as near as whole steps allow, where an offset has stretched it."""
    chords = np.hypot(np.diff(line.x), np.diff(line.y))
    # An arc is longer than its chord.
    arcs = chords * (1 + np.diff(line.heading) ** 2 / 24)
    along = np.concatenate([[0.0], np.cumsum(arcs)])
    steps = max(2, round(along[-1] / STEP_M))
    at = np.linspace(0.0, along[-1], steps + 1)
    low = np.clip(np.searchsorted(along, at, side="right") - 1, 0, len(arcs) - 1)
    t = (at - along[low]) / arcs[low]
    back, ahead = (1 + 2 * t) * (1 - t) ** 2, t**2 * (3 - 2 * t)
    out_of, into = t * (1 - t) ** 2 * arcs[low], t**2 * (t - 1) * arcs[low]
    x, y = (
        back * place[low] + ahead * place[low + 1] + out_of * slope[low] + into * slope[low + 1]
        for place, slope in ((line.x, np.cos(line.heading)), (line.y, np.sin(line.heading)))
    )
    return Line(x, y, np.interp(at, along, line.heading), np.interp(at, along, line.curvature))


def through(x: Floats, y: Floats) -> Line:
    """Return the line through `(n,)` points of any distances, m, in whole steps of about one metre.

    For recorded maps; `STEP_M` is met the better, the longer the line is.
    """
    heading = np.unwrap(np.arctan2(np.diff(y), np.diff(x)))
    return _even(x, y, Pose(float(x[0]), float(y[0]), heading[0]), Pose(float(x[-1]), float(y[-1]), heading[-1]))


def offset(line: Line, left_m: float) -> Line:
    """Return the line so far to the left of another one, at the same stations."""
    bent = 1.0 - line.curvature * left_m
    x, y = line.x - left_m * np.sin(line.heading), line.y + left_m * np.cos(line.heading)
    return Line(x, y, line.heading.copy(), line.curvature / bent)


def shifted(line: Line, left_m: Floats) -> Line:
    """Return the line that lies `(points,)` m to the left of another one, at its stations (a lane that tapers)."""
    slope = np.gradient(left_m, STEP_M)
    x, y = line.x - left_m * np.sin(line.heading), line.y + left_m * np.cos(line.heading)
    heading = line.heading + np.arctan2(slope, 1.0 - line.curvature * left_m)
    return Line(x, y, heading, np.gradient(heading, STEP_M))


def reversed_line(line: Line) -> Line:
    """Return the line driven the other way."""
    return Line(line.x[::-1].copy(), line.y[::-1].copy(), line.heading[::-1] + np.pi, -line.curvature[::-1])


def chained(lines: Sequence[Line]) -> Line:
    """Return lines end to end as one; the end of one is the beginning of the next, and counts once."""
    heading: list[Floats] = []
    for line in lines:
        turns = np.round((line.heading[0] - heading[-1][-1]) / (2 * np.pi)) * 2 * np.pi if heading else 0.0
        heading.append(line.heading - turns)
    keep = [slice(1 if i else 0, None) for i in range(len(lines))]
    x, y, curvature = ([getattr(line, name) for line in lines] for name in ("x", "y", "curvature"))
    whole = (np.concatenate([v[k] for v, k in zip(values, keep, strict=True)]) for values in (x, y, heading, curvature))
    return Line(*whole)


class LaneMap:
    """A map as it is drawn: lanes are added, then linked; `lanes` gives the arrays."""

    def __init__(self) -> None:
        """Begin an empty map."""
        self.lines: list[Line] = []
        self._width: list[float] = []
        self._limit: list[float] = []
        self._sides: dict[tuple[str, int], tuple[int, float]] = {}
        self._after: dict[int, list[int]] = {}
        self._yields: dict[int, list[tuple[int, float, float]]] = {}

    def add(self, line: Line, *, width_m: float, limit_mps: float) -> int:
        """Add a lane; returns its number."""
        self.lines.append(line)
        self._width.append(width_m)
        self._limit.append(limit_mps)
        return len(self.lines) - 1

    def beside(self, right: int, left: int, shift_m: float = 0.0) -> None:
        """Say that `left` lies to the left of `right`; its metre is that of `right` plus `shift_m`."""
        self._sides["left", right] = (left, shift_m)
        self._sides["right", left] = (right, -shift_m)

    def abreast(self, lanes: Sequence[int]) -> None:
        """Say that lanes lie side by side at the same stations, from right to left."""
        for right, left in pairwise(lanes):
            self.beside(right, left)

    def then(self, lane: int, *successors: int) -> None:
        """Say which lanes begin where a lane ends."""
        self._after[lane] = list(successors)[:SUCCESSORS]

    def give_way(self, lane: int, at_m: float, to: Sequence[tuple[int, float]]) -> None:
        """Say that who is on `lane` waits before `at_m` for those on other lanes.

        Args:
            lane: that yields.
            at_m: metre of it before which one waits.
            to: the lanes that go first, with the metre at which they meet it; it may lie beyond their end, on a lane
                that follows.
        """
        self._yields[lane] = [(other, at_m, their_m) for other, their_m in to][:YIELDS]

    def lanes(self) -> Lanes:
        """Return the map as arrays."""
        count = np.array([len(line.x) for line in self.lines], dtype=np.int64)
        n = len(count)
        side = {name: [self._sides.get((name, lane), (-1, 0.0)) for lane in range(n)] for name in ("left", "right")}
        after = [[*self._after.get(lane, []), *[-1] * SUCCESSORS][:SUCCESSORS] for lane in range(n)]
        gives = [[*self._yields.get(lane, []), *[(-1, 0.0, 0.0)] * YIELDS][:YIELDS] for lane in range(n)]
        joint = {
            name: np.concatenate([getattr(line, name) for line in self.lines])
            for name in ("x", "y", "heading", "curvature")
        }
        return Lanes(
            **joint,
            first=np.cumsum(count) - count,
            count=count,
            length_m=(count - 1) * STEP_M,
            width_m=np.array(self._width),
            limit_mps=np.array(self._limit),
            left=np.array([lane for lane, _ in side["left"]], dtype=np.int64),
            right=np.array([lane for lane, _ in side["right"]], dtype=np.int64),
            left_shift_m=np.array([shift for _, shift in side["left"]]),
            right_shift_m=np.array([shift for _, shift in side["right"]]),
            successor=np.array(after, dtype=np.int64),
            yields_to=np.array([[g[0] for g in row] for row in gives], dtype=np.int64),
            yield_at_m=np.array([[g[1] for g in row] for row in gives], dtype=np.float64),
            yield_their_m=np.array([[g[2] for g in row] for row in gives], dtype=np.float64),
        )


def line_of(lanes: Lanes, lane: int) -> Line:
    """Return one lane's line."""
    here = slice(int(lanes.first[lane]), int(lanes.first[lane] + lanes.count[lane]))
    return Line(lanes.x[here], lanes.y[here], lanes.heading[here], lanes.curvature[here])


def poses(lanes: Lanes, lane: Ints, s_m: Floats, d_m: Floats) -> tuple[Floats, Floats, Floats]:
    """Return x, y (m) and heading (rad), `(n,)`, of places `s_m` along and `d_m` to the left of lanes."""
    return on_line(lanes, s_m, d_m, lanes.first[lane], lanes.count[lane] - 2)


def _integral(values: Floats) -> Floats:
    """Return the running integral, `(points,)`, of values `1 / _FINE` m apart."""
    return np.concatenate([[0.0], np.cumsum(values[:-1] + values[1:])]) / (2 * _FINE)


def _even(x: Floats, y: Floats, start: Pose, end: Pose) -> Line:
    """Return the polyline in even steps of about one metre, its ends pointing as `start` and `end` do."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    steps = max(1, round(along[-1] / STEP_M))
    at = np.linspace(0.0, along[-1], steps + 1)
    ex, ey = np.interp(at, along, x), np.interp(at, along, y)
    middle = np.arctan2(np.diff(ey), np.diff(ex))
    raw = np.unwrap(np.concatenate([[start.heading], middle, [end.heading]]))
    heading = np.concatenate([raw[:1], (raw[1:-2] + raw[2:-1]) / 2, raw[-1:]])
    return Line(ex, ey, heading, np.gradient(heading, along[-1] / steps))
