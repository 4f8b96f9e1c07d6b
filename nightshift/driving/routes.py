"""Routes: the reference line along some lanes of a map, with what lies to either side of it at every metre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import STEP_M, Lanes
from nightshift.driving.roads import Floats, Line, chained, line_of
from nightshift.driving.scenario import ACROSS, Route

#: Paved strip beside the outermost lanes, m.
EDGE_M = 0.5
#: Nothing beyond this is looked at to either side, m.
_REACH_M = 30.0
#: Lanes that run within this angle are side by side (cosine of 30 degrees); a lane under it crosses.
_PARALLEL = 0.87
#: A lane runs against the route beyond this (cosine).
_AGAINST = -0.3
#: Where lanes cross, the road is sampled so far to either side, in such steps, m.
_CROSSED_M, _ACROSS_STEP_M = 12.0, 0.25


@dataclass(frozen=True)
class _Near:
    """Each route point's nearest point of one lane: lateral place, metre, cosine of the angle; `(points,)`.

    `beside`: whether it lies abeam, and not ahead or behind; `crosses`: whether it is near and runs across.
    """

    d_m: Floats
    s_m: Floats
    cos: Floats
    beside: NDArray[np.bool_]
    crosses: NDArray[np.bool_]


def route_along(lanes: Lanes, path: Sequence[int], *, goal_m: float | None = None) -> Route:
    """Return the route along lanes that follow each other.

    Args:
        lanes: the map.
        path: numbers of its lanes, each one beginning where the one before ends.
        goal_m: metre that is the goal; None takes the end of the last lane.
    """
    line, lane_at, s_at = _reference(lanes, path)
    route = _Lines(lanes, line)
    near = {lane: at for lane in range(len(lanes.count)) if (at := route.near(lane)) is not None}
    across, across_s = _across(lanes, near, lane_at, s_at)
    bounds = _bounds(lanes, route, near)
    return Route(
        x=line.x,
        y=line.y,
        heading=line.heading,
        curvature=line.curvature,
        left_m=bounds[0],
        right_m=bounds[1],
        flow_left_m=bounds[2],
        flow_right_m=bounds[3],
        limit_mps=lanes.limit_mps[lane_at].astype(np.float64),
        lane=across,
        lane_s_m=across_s,
        width_m=lanes.width_m[lane_at].astype(np.float64),
        length_m=float(line.length_m if goal_m is None else goal_m),
    )


def _reference(lanes: Lanes, path: Sequence[int]) -> tuple[Line, NDArray[np.int64], Floats]:
    """Return the route's line in steps of exactly one metre, and the lane and metre under each of its points."""
    lines = [line_of(lanes, lane) for lane in path]
    whole = chained(lines)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(whole.x), np.diff(whole.y)))])
    at = np.arange(int(along[-1] + 1e-6) + 1) * STEP_M
    points = [np.interp(at, along, values) for values in (whole.x, whole.y, whole.heading, whole.curvature)]
    # Where each lane begins, in points of the whole.
    begins = np.cumsum([0, *(len(line.x) - 1 for line in lines)])
    point = np.interp(at, along, np.arange(len(along), dtype=np.float64))
    which = np.clip(np.searchsorted(begins, point, side="right") - 1, 0, len(path) - 1)
    return Line(*points), np.asarray(path, dtype=np.int64)[which], (point - begins[which]) * STEP_M


class _Lines:
    """The route's line among the lanes of the map."""

    def __init__(self, lanes: Lanes, line: Line) -> None:
        self.lanes, self.line = lanes, line
        self.points = np.column_stack([line.x, line.y])
        self.normal = np.column_stack([-np.sin(line.heading), np.cos(line.heading)])

    def near(self, lane: int) -> _Near | None:
        """Look up one lane at every route point; None where it is out of reach of all of them."""
        from scipy.spatial import cKDTree

        there, route = line_of(self.lanes, lane), self.line
        points = np.column_stack([there.x, there.y])
        low, high = points.min(axis=0) - _REACH_M, points.max(axis=0) + _REACH_M
        # A look-up costs most for points that find nothing.
        rows = np.flatnonzero(((self.points >= low) & (self.points <= high)).all(axis=1))
        if not len(rows):
            return None
        far, index = cKDTree(points).query(self.points[rows], distance_upper_bound=_REACH_M)
        close = np.isfinite(far)
        rows, far, index = rows[close], far[close], index[close]
        if not len(rows):
            return None
        dx, dy, heading = there.x[index] - route.x[rows], there.y[index] - route.y[rows], route.heading[rows]
        cos_r, sin_r = np.cos(heading), np.sin(heading)
        ahead, left = dx * cos_r + dy * sin_r, -dx * sin_r + dy * cos_r
        angle = there.heading[index] - heading
        cos = np.cos(angle)
        # The lane's point abeam lies `ahead` back along the lane.
        flat = np.where(np.abs(cos) > 0.5, cos, 1.0)
        s_m = index * STEP_M - ahead / flat
        inside = (s_m > -0.75) & (s_m < there.length_m + 0.75)
        crosses = (far < _CROSSED_M) & (np.abs(cos) <= _PARALLEL)
        d_m = left - ahead * np.tan(angle) * (np.abs(cos) > 0.5)
        return _Near(*(self._spread(rows, values) for values in (d_m, s_m, cos, inside, crosses)))

    def _spread(self, rows: NDArray[np.int64], values: Any) -> Any:
        """Return values of some route points as those of all; 0 or False for the others."""
        found = np.zeros(len(self.points), dtype=values.dtype)
        found[rows] = values
        return found


def _across(
    lanes: Lanes, near: dict[int, _Near], lane_at: NDArray[np.int64], s_at: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """Return lane and metre, `(points, 2 * ACROSS + 1)`, at whole lane widths across; none beyond a gap."""
    points, columns = len(lane_at), 2 * ACROSS + 1
    found, metre = np.full((points, columns), -1, dtype=np.int64), np.zeros((points, columns))
    best = np.full((points, columns), np.inf)
    width = lanes.width_m[lane_at]
    for lane, at in near.items():
        k = np.round(at.d_m / width)
        off = np.abs(at.d_m - k * width)
        fits = at.beside & (at.cos > _PARALLEL) & (np.abs(k) <= ACROSS) & (off < 0.5 * width)
        rows = np.flatnonzero(fits)
        column = k[rows].astype(np.int64) + ACROSS
        better = off[rows] < best[rows, column] - 1e-6
        rows, column = rows[better], column[better]
        found[rows, column], best[rows, column] = lane, off[rows]
        metre[rows, column] = np.clip(at.s_m[rows], 0.0, float(lanes.length_m[lane]))
    found[:, ACROSS], metre[:, ACROSS] = lane_at, s_at
    for step in (1, -1):
        for k in range(1, ACROSS + 1):
            here = ACROSS + step * k
            found[found[:, here - step] < 0, here] = -1
    metre[found < 0] = 0.0
    return found, metre


def _bounds(lanes: Lanes, route: _Lines, near: dict[int, _Near]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return how far the road, and the part that runs the route's way, reach to the left and to the right."""
    left, right = _merged(lanes, near, flow=False)
    flow_left, flow_right = _merged(lanes, near, flow=True)
    crossed = np.zeros(len(left), dtype=bool)
    for at in near.values():
        crossed |= at.crosses
    rows = np.flatnonzero(crossed)
    if len(rows):
        for side, (all_m, flow_m) in ((1.0, (left, flow_left)), (-1.0, (right, flow_right))):
            all_there, flow_there = _reaches(lanes, route, rows, side)
            all_m[rows] = np.maximum(all_m[rows], all_there)
            flow_m[rows] = np.maximum(flow_m[rows], flow_there)
    # Where the road goes on beyond, others come towards us there, and the paved strip is theirs.
    flow_left, flow_right = (
        np.where(all_m - flow_m > 0.01, flow_m - EDGE_M, all_m)
        for all_m, flow_m in ((left, flow_left), (right, flow_right))
    )
    return left, right, flow_left, flow_right


def _merged(lanes: Lanes, near: dict[int, _Near], *, flow: bool) -> tuple[Floats, Floats]:
    """Return the reach to the left and to the right over lanes that lie side by side without a gap."""
    wanted = [
        (at, lane)
        for lane, at in near.items()
        if (at.beside & (np.abs(at.cos) > _PARALLEL) & ((at.cos > 0) | (not flow))).any()
    ]
    low, high = [], []
    for at, lane in wanted:
        here = at.beside & (np.abs(at.cos) > _PARALLEL) & ((at.cos > 0) | (not flow))
        half = 0.5 * float(lanes.width_m[lane]) + EDGE_M
        low.append(np.where(here, at.d_m - half, np.inf))
        high.append(np.where(here, at.d_m + half, -np.inf))
    lows, highs = np.array(low), np.array(high)
    left, right = np.zeros(lows.shape[1]), np.zeros(lows.shape[1])
    for _ in range(len(wanted)):
        before = left.sum() - right.sum()
        left = np.maximum(left, np.where(lows <= left + 0.1, highs, -np.inf).max(axis=0))
        right = np.minimum(right, np.where(highs >= right - 0.1, lows, np.inf).min(axis=0))
        if left.sum() - right.sum() == before:
            break
    return left, -right


def _reaches(lanes: Lanes, route: _Lines, rows: NDArray[np.int64], side: float) -> tuple[Floats, Floats]:
    """Return how far one gets to one side of route points with a lane underneath all the way.

    Returns:
        With any lane, and with one that does not run against the route, `(rows,)` m each.
    """
    from scipy.spatial import cKDTree

    steps = np.arange(0.0, _CROSSED_M, _ACROSS_STEP_M)
    half = np.repeat(0.5 * lanes.width_m, lanes.count) + EDGE_M
    tree = cKDTree(np.column_stack([lanes.x, lanes.y]))
    base, normal = route.points[rows], side * route.normal[rows]
    places = (base[:, None, :] + steps[None, :, None] * normal[:, None, :]).reshape(-1, 2)
    heading = np.repeat(route.line.heading[rows], len(steps))[:, None]
    _, index = tree.query(places, k=6, distance_upper_bound=float(half.max()) + 0.5)
    known = index < len(lanes.x)
    index = np.where(known, index, 0)
    dx, dy = places[:, :1] - lanes.x[index], places[:, 1:] - lanes.y[index]
    cos, sin = np.cos(lanes.heading[index]), np.sin(lanes.heading[index])
    on = known & (np.abs(dx * cos + dy * sin) < 0.76) & (np.abs(dy * cos - dx * sin) <= half[index])
    ours = on & (cos * np.cos(heading) + sin * np.sin(heading) > _AGAINST)
    return _unbroken(on.any(axis=1), len(rows)), _unbroken(ours.any(axis=1), len(rows))


def _unbroken(covered: NDArray[np.bool_], rows: int) -> Floats:
    """Return the metres to the last sample before the first that is not covered, `(rows,)`."""
    samples = covered.reshape(rows, -1)
    first_gap = np.where(samples.all(axis=1), samples.shape[1], np.argmin(samples, axis=1))
    return np.maximum(0.0, (first_gap - 1) * _ACROSS_STEP_M)
