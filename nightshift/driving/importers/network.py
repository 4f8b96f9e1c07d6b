"""Lanelets as lanes; and, where a recording has no map, lanes along the paths that were driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.polylines import on_polyline
from nightshift.driving.importers.recording import Lanelet, Recording
from nightshift.driving.importers.smoothing import SmoothTrack
from nightshift.driving.lanes import SUCCESSORS, Lanes
from nightshift.driving.roads import LaneMap, through
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import Route
from nightshift.errors import DataError

Floats = NDArray[np.float64]
#: A lane along a driven path: its width, and how far it goes on straight behind and ahead of it; m. The ego's goes on
#: far enough that nobody who is where it drove sees the end (`observe`: 150 m), and by it where its driver ended up.
PATH_WIDTH_M, PATH_BEHIND_M, PATH_AHEAD_M, EGO_AHEAD_M = 3.5, 20.0, 100.0, 250.0
#: A path within this of a lane that is there already needs none of its own, m; shorter ones need none either.
_SAME_LANE_M, _SHORTEST_M = 1.75, 10.0
#: A car moved so far before the next point of its path is taken, m: standing still has no direction.
_APART_M = 1.0
_NARROWEST_M, _WIDEST_M = 1.0, 12.0
#: Of one lanelet, and of all of a map: every metre is a point.
_SHORTEST_LANE_M, _LONGEST_M, _LONGEST_MAP_M = 0.05, 20_000.0, 2_000_000.0


@dataclass(frozen=True)
class Network:
    """A map as arrays, with what the search for a route needs.

    Attributes:
        lanes: all of them.
        after, before: of each lane, the lanes that follow and lead to it.
        kind: `lanelets`, or `paths` where the recording has no map.
        routes: chains of lanes whose route was reckoned already.
    """

    lanes: Lanes
    after: tuple[tuple[int, ...], ...]
    before: tuple[tuple[int, ...], ...]
    kind: str
    routes: dict[tuple[int, ...], Route] = field(default_factory=dict, repr=False, compare=False)

    def route(self, chain: tuple[int, ...]) -> Route:
        """Return the route along a chain of lanes, to their end."""
        if chain not in self.routes:
            self.routes[chain] = route_along(self.lanes, chain)
        return self.routes[chain]


def network_of(recording: Recording) -> Network:
    """Return a recording's lanelets as lanes, one lane each.

    Raises:
        DataError: when one has no length or no width.
    """
    pieces = {name: piece for name, piece in recording.lanelets.items() if piece.cars_may}
    number = {name: i for i, name in enumerate(pieces)}
    drawn, total_m = LaneMap(), 0.0
    for name, piece in pieces.items():
        x, y, width = _middle(piece, f"{recording.name}: lanelet {name}")
        drawn.add(through(x, y), width_m=width, limit_mps=piece.limit_mps or recording.limit_mps)
        total_m += drawn.lines[-1].length_m
        if total_m > _LONGEST_MAP_M:
            raise DataError(
                f"{recording.name}: its lanes are longer than {_LONGEST_MAP_M:,.0f} m.", hint="Cut the map."
            )
    after = tuple(tuple(number[n] for n in piece.successors if n in number) for piece in pieces.values())
    for lane, follows in enumerate(after):
        drawn.then(lane, *follows[:SUCCESSORS])
    _side_by_side(drawn, pieces, number)
    return _network(drawn, after, "lanelets")


def paths_as_network(ego: SmoothTrack, others: Sequence[SmoothTrack], limit_mps: float) -> Network:
    """Return lanes along the ego's path (lane 0) and along those of cars that drove elsewhere."""
    drawn = LaneMap()
    for track in (ego, *others):
        path = _thinned(track)
        if track is not ego and (len(path) < _SHORTEST_M / _APART_M or _has_lane(drawn, path)):
            continue
        line = _prolonged(path, track, EGO_AHEAD_M if track is ego else PATH_AHEAD_M)
        drawn.add(through(line[:, 0], line[:, 1]), width_m=PATH_WIDTH_M, limit_mps=limit_mps)
    return _network(drawn, ((),) * len(drawn.lines), "paths")


def _network(drawn: LaneMap, after: tuple[tuple[int, ...], ...], kind: str) -> Network:
    before: list[list[int]] = [[] for _ in after]
    for lane, follows in enumerate(after):
        for other in follows:
            before[other].append(lane)
    return Network(drawn.lanes(), after, tuple(tuple(b) for b in before), kind)


def _middle(piece: Lanelet, where: str) -> tuple[Floats, Floats, float]:
    """Return the middle line and the width of a lanelet."""
    lengths = [float(np.hypot(*np.diff(bound, axis=0).T).sum()) for bound in (piece.left, piece.right)]
    if max(lengths) > _LONGEST_M:
        raise DataError(f"{where} is {max(lengths):,.0f} m long; at most {_LONGEST_M:,.0f} m.", hint="Mend the map.")
    share = np.linspace(0.0, 1.0, max(3, int(max(lengths)) + 1))
    left, right = (_at_shares(bound, share) for bound in (piece.left, piece.right))
    width = float(np.median(np.hypot(*(left - right).T)))
    if min(lengths) < _SHORTEST_LANE_M or not _NARROWEST_M <= width <= _WIDEST_M:
        raise DataError(
            f"{where} is {min(lengths):.2f} m long and {width:.2f} m wide; expected {_SHORTEST_LANE_M:g} to "
            f"{_LONGEST_M:,.0f} m, and {_NARROWEST_M:g} to {_WIDEST_M:g} m.",
            hint="Mend the map, or leave the file out.",
        )
    middle = (left + right) / 2
    return middle[:, 0], middle[:, 1], width


def _at_shares(bound: Floats, share: Floats) -> Floats:
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(bound, axis=0).T))])
    return np.column_stack([np.interp(share * along[-1], along, bound[:, axis]) for axis in (0, 1)])


def _side_by_side(drawn: LaneMap, pieces: Mapping[str, Lanelet], number: dict[str, int]) -> None:
    for name, piece in pieces.items():
        for mine, other in ((piece.left_of, "left"), (piece.right_of, "right")):
            if mine not in number:
                continue
            left, right = (number[mine], number[name]) if other == "left" else (number[name], number[mine])
            line, beside = drawn.lines[right], drawn.lines[left]
            shift, _ = on_polyline(beside, line.x[:1], line.y[:1])
            drawn.beside(right, left, float(shift[0]))


def _thinned(track: SmoothTrack) -> Floats:
    """Return the points of a path, `(n, 2)`, each a little from the one before."""
    points = np.column_stack([track.x, track.y])
    kept = [points[0]]
    for point in points[1:]:
        if np.hypot(*(point - kept[-1])) >= _APART_M:
            kept.append(point)
    return np.array(kept)


def _prolonged(path: Floats, track: SmoothTrack, ahead_m: float) -> Floats:
    first, last = (np.array([np.cos(h), np.sin(h)]) for h in (track.heading[0], track.heading[-1]))
    return np.vstack([path[0] - PATH_BEHIND_M * first, path, path[-1] + ahead_m * last])


def _has_lane(drawn: LaneMap, path: Floats) -> bool:
    """Whether most of a path lies on one lane that is there already, the same way round."""
    way = np.arctan2(*(np.gradient(path, axis=0).T[::-1]))
    for line in drawn.lines:
        s, d = on_polyline(line, path[:, 0], path[:, 1])
        at = np.clip(np.round(s).astype(np.int64), 0, len(line.x) - 1)
        same = (np.abs(d) < _SAME_LANE_M) & (np.cos(line.heading[at] - way) > 0.8) & (s >= 0) & (s <= len(line.x) - 1)
        if same.mean() > 0.5:
            return True
    return False
