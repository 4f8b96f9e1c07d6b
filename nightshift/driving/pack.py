"""Scenarios in flat arrays, so that every environment finds its own by number; made once, read by worlds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import STEP_M, Lanes, joined, on_line
from nightshift.driving.roads import poses
from nightshift.driving.scenario import ACROSS, STEP_S, Route, Scenario, Tracks
from nightshift.errors import UsageError

Floats = NDArray[np.float64]
#: Columns of `Pack.line`: what a projection onto the route reads.
LINE = ("x", "y", "cos", "sin", "curvature", "heading")
#: Columns of `Pack.road`: what lies across the route at a point.
ROAD = ("left_m", "right_m", "flow_left_m", "flow_right_m", "limit_mps", "width_m", "to_line_m", "pace_mps")
#: `pace_mps`: so much sideways in bends, m/s2, and who has to be slower farther on eases off by so much, m/s2.
SIDEWAYS_MPS2, EASE_MPS2 = 2.5, 1.5
#: `to_line_m` where no line lies ahead before which one has to give way, m; the longest that is told.
NO_LINE_M = 100.0
#: Cars that an ego sees, and columns of cars that a world can have.
NEAR = 8
COLUMNS = 1024
#: Of `Cars`: what is no float64.
WHOLE = ("lane", "turn")
FLAGS = ("there", "on_track")
_OF_TRAFFIC = {
    "lane": "lane",
    "s": "s_m",
    "d": "d_m",
    "speed": "speed_mps",
    "length": "length_m",
    "width": "width_m",
    "desired": "desired_mps",
    "headway": "headway_s",
    "gap": "gap_m",
    "accel_max": "accel_mps2",
    "decel": "decel_mps2",
    "politeness": "politeness",
    "turn": "turn",
}


@dataclass(frozen=True)
class Egos:
    """The ego cars as the scenarios begin, `(scenarios,)` each; names as in `scenario.EgoStart`, pose on the map."""

    x: Any
    y: Any
    heading: Any
    s_m: Any
    speed_mps: Any
    steer_rad: Any
    length_m: Any
    width_m: Any
    wheelbase_m: Any
    rear_m: Any


@dataclass(frozen=True)
class Pack:
    """Scenarios as arrays. NumPy's as made; `to` gives those of another library or device.

    Attributes:
        names: of the scenarios, in their order; their places are their numbers.
        lanes: of all maps, joined.
        lane_first, lane_count: `(scenarios,)` int64, the lanes of a scenario's map among them.
        line: `(points, 6)` of all routes one after the other, columns `LINE`.
        road: `(points, 8)` columns `ROAD`.
        lane, lane_s_m: `(points, 2 * ACROSS + 1)` as `Route` has them; lanes numbered as in `lanes`. The largest
            tables of all: int32 and float32, which is 0.1 mm.
        first, count: `(scenarios,)` int64, a route's points.
        route_m: `(scenarios,)` metre that is the goal.
        expert_m: `(scenarios,)` what progress is measured against, m; to the goal where no expert is known.
        steps: `(scenarios,)` int64, decisions until time is over.
        ego: at the start.
        cars: `(scenarios, 1 + n)` at the start, padded with absent cars; column 0 is the ego's and stays absent.
        tracks: of recorded scenarios one after the other, `(all times, 1 + n)`; None where none is recorded.
        track_first, track_count: `(scenarios,)` int64, a scenario's times in them; count 0 of a made one.
    """

    names: tuple[str, ...]
    lanes: Lanes
    lane_first: Any
    lane_count: Any
    line: Any
    road: Any
    lane: Any
    lane_s_m: Any
    first: Any
    count: Any
    route_m: Any
    expert_m: Any
    steps: Any
    ego: Egos
    cars: Cars
    tracks: Tracks | None
    track_first: Any
    track_count: Any

    @classmethod
    def of(cls, scenarios: Sequence[Scenario]) -> Pack:
        """Pack scenarios.

        Raises:
            UsageError: there is none, or one has a route of fewer than two points, or too many cars.
        """
        if not scenarios:
            raise UsageError("no scenario to drive in.", hint="Give at least one.")
        for scenario in scenarios:
            if len(scenario.route.x) < 2:
                raise UsageError(f"the route of scenario '{scenario.name}' has {len(scenario.route.x)} points, not 2.")
            if len(scenario.traffic.lane) >= COLUMNS:
                raise UsageError(
                    f"scenario '{scenario.name}' has {len(scenario.traffic.lane)} cars, over {COLUMNS - 1}."
                )
        scenarios = [_objects_still(scenario) for scenario in scenarios]
        lanes, before = _maps(scenarios)
        routes = [s.route for s in scenarios]
        count = np.array([len(r.x) for r in routes], np.int64)
        tracks, track_first, track_count = _tracks(scenarios)
        ego = _egos(scenarios)
        route_m = np.array([r.length_m for r in routes], np.float64)
        expert_m = np.array([s.expert_m for s in scenarios], np.float64)
        return cls(
            names=tuple(s.name for s in scenarios),
            lanes=lanes,
            lane_first=np.array(before, np.int64),
            lane_count=np.array([len(s.lanes.count) for s in scenarios], np.int64),
            line=np.concatenate([_line(s) for s in scenarios]),
            road=np.concatenate([_road(s) for s in scenarios]),
            lane=np.concatenate([_lanes_across(r, n) for r, n in zip(routes, before, strict=True)]),
            lane_s_m=np.concatenate([r.lane_s_m.astype(np.float32) for r in routes]),
            first=np.cumsum(count) - count,
            count=count,
            route_m=route_m,
            expert_m=np.where(expert_m > 0, expert_m, np.maximum(route_m - ego.s_m, STEP_M)),
            steps=np.array([max(round(s.duration_s / STEP_S), 1) for s in scenarios], np.int64),
            ego=ego,
            cars=_cars(scenarios, before, lanes),
            tracks=tracks,
            track_first=track_first,
            track_count=track_count,
        )

    @property
    def scenarios(self) -> int:
        """How many there are."""
        return len(self.names)

    @property
    def columns(self) -> int:
        """Columns of cars, the ego's among them."""
        return int(self.cars.x.shape[1])

    def to(self, xp: Any, device: Any = None) -> Pack:
        """Return it with the arrays of `xp` on `device`; itself for NumPy."""
        if xp is np:
            return self

        def moved(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                return xp.asarray(value, device=device)
            if isinstance(value, Lanes | Egos | Cars | Tracks):
                return replace(value, **{f.name: moved(getattr(value, f.name)) for f in fields(value)})
            return value

        return replace(self, **{f.name: moved(getattr(self, f.name)) for f in fields(self)})


def _objects_still(scenario: Scenario) -> Scenario:
    """Return a scenario whose objects stand, whatever the noise of their tracks says: as the score takes them."""
    tracks, sorts = scenario.tracks, scenario.details.get("sorts") or ()
    if tracks is None or "object" not in sorts:
        return scenario
    moves = np.array(["ego", *sorts]) != "object"
    return replace(scenario, tracks=replace(tracks, speed_mps=np.where(moves, tracks.speed_mps, 0.0)))


def _maps(scenarios: Sequence[Scenario]) -> tuple[Lanes, list[int]]:
    # Scenarios on one map, such as those recorded at one place, share its lanes.
    place: dict[int, int] = {}
    for scenario in scenarios:
        place.setdefault(id(scenario.lanes), len(place))
    lanes, before = joined(list({id(s.lanes): s.lanes for s in scenarios}.values()))
    return lanes, [before[place[id(s.lanes)]] for s in scenarios]


def _lanes_across(route: Route, before: int) -> NDArray[np.int32]:
    return np.where(route.lane >= 0, route.lane + before, -1).astype(np.int32)


def _line(scenario: Scenario) -> Floats:
    route = scenario.route
    return np.stack([route.x, route.y, np.cos(route.heading), np.sin(route.heading), route.curvature, route.heading], 1)


def _road(scenario: Scenario) -> Floats:
    route = scenario.route
    across = [getattr(route, name) for name in ROAD[:-2]]
    return np.stack([*across, to_line(scenario.lanes, route), pace(route)], 1)


def pace(route: Route) -> Floats:
    """Return the speed that limits and bends allow at each point of a route and farther on, `(points,)` m/s."""
    bends = SIDEWAYS_MPS2 / np.maximum(np.abs(route.curvature), 1e-4)
    # What is allowed farther on, and what is lost by easing off until there: the least of all, by one pass from behind.
    eased = 2.0 * EASE_MPS2 * STEP_M * np.arange(len(bends))
    allowed = np.minimum(route.limit_mps**2, bends) + eased
    return np.asarray(np.sqrt(np.minimum.accumulate(allowed[::-1])[::-1] - eased))


def to_line(lanes: Lanes, route: Route) -> Floats:
    """Return from each point of a route, `(points,)` m, how far ahead it has to give way; `NO_LINE_M` where nowhere."""
    lane, metre = route.lane[:, ACROSS], route.lane_s_m[:, ACROSS]
    gives = np.where(lanes.yields_to >= 0, lanes.yield_at_m, np.inf).min(axis=1)[np.maximum(lane, 0)]
    before = (lane >= 0) & np.isfinite(gives) & (metre <= gives)
    # The last point before a line, and how far the line lies beyond it.
    last = np.flatnonzero(before & ~np.append(before[1:] & (lane[1:] == lane[:-1]), False))
    points = np.arange(len(lane))
    ahead = np.searchsorted(last, points)
    some = last[np.minimum(ahead, len(last) - 1)] if len(last) else points
    rest = (some - points) * STEP_M + np.where(before[some], gives[some] - metre[some], 0.0)
    return np.where(ahead < len(last), np.minimum(rest, NO_LINE_M), NO_LINE_M)


def _egos(scenarios: Sequence[Scenario]) -> Egos:
    begun: list[tuple[float, ...]] = []
    for scenario in scenarios:
        route, ego = scenario.route, scenario.ego
        x, y, heading = on_line(route, np.array(ego.s_m, np.float64), ego.d_m)
        begun.append((x, y, heading + ego.heading))
        # Its wheels stand as the road bends, as those of a car that has been driving.
        bend = route.curvature[min(max(int(ego.s_m / STEP_M), 0), len(route.x) - 1)]
        begun[-1] += (np.arctan(ego.wheelbase_m * bend),)
    pose = np.array(begun, np.float64)
    rest = ("s_m", "speed_mps", "length_m", "width_m", "wheelbase_m", "rear_m")
    given = {name: np.array([getattr(s.ego, name) for s in scenarios], np.float64) for name in rest}
    # Columns of a table are not contiguous; NumPy takes other, slower ways over those.
    poses_by_name = dict(zip(("x", "y", "heading", "steer_rad"), pose.T.copy(), strict=True))
    return Egos(**poses_by_name, **given)


def _cars(scenarios: Sequence[Scenario], before: Sequence[int], lanes: Lanes) -> Cars:
    shape = (len(scenarios), _columns(scenarios))
    made: dict[str, Any] = {f.name: np.zeros(shape, _kind(f.name)) for f in fields(Cars)}
    made["lane"][:] = -1
    for row, scenario in enumerate(scenarios):
        n = len(scenario.traffic.lane)
        for name, given in _OF_TRAFFIC.items():
            made[name][row, 1 : n + 1] = getattr(scenario.traffic, given)
        lane = made["lane"][row, 1 : n + 1]
        made["lane"][row, 1 : n + 1] = np.where(lane >= 0, lane + before[row], -1)
        made["there"][row, 1 : n + 1] = True
        made["on_track"][row, 1 : n + 1] = made["lane"][row, 1 : n + 1] < 0
        if scenario.tracks is not None:
            _start_of_tracks(made, row, n, scenario.tracks)
    _place(made, lanes)
    # Absent cars have a size too: nothing divides by zero, and nothing meets them.
    for name in ("length", "width", "desired", "headway", "gap", "accel_max", "decel"):
        made[name][made[name] == 0.0] = 1.0
    return Cars(**made)


def _columns(scenarios: Sequence[Scenario]) -> int:
    return 1 + max(NEAR, *(len(s.traffic.lane) for s in scenarios))


def _kind(name: str) -> type:
    return np.bool_ if name in FLAGS else np.int64 if name in WHOLE else np.float64


def _start_of_tracks(made: dict[str, Any], row: int, n: int, tracks: Tracks) -> None:
    made["there"][row, 1 : n + 1] = tracks.there[0, 1:]
    for name, of in (("x", tracks.x), ("y", tracks.y), ("heading", tracks.heading), ("speed", tracks.speed_mps)):
        made[name][row, 1 : n + 1] = np.where(tracks.there[0, 1:], of[0, 1:], 0.0)


def _place(made: dict[str, Any], lanes: Lanes) -> None:
    """Give the cars on lanes their x, y and heading."""
    on = made["there"] & (made["lane"] >= 0)
    at = poses(lanes, made["lane"][on], made["s"][on], made["d"][on])
    made["x"][on], made["y"][on], made["heading"][on] = at


def _tracks(scenarios: Sequence[Scenario]) -> tuple[Tracks | None, NDArray[np.int64], NDArray[np.int64]]:
    count = np.array([0 if s.tracks is None else len(s.tracks.x) for s in scenarios], np.int64)
    first = np.cumsum(count) - count
    if not count.any():
        return None, first, count
    made: dict[str, Any] = {
        f.name: np.zeros((int(count.sum()), _columns(scenarios)), _kind(f.name)) for f in fields(Tracks)
    }
    for begin, scenario in zip(first, scenarios, strict=True):
        if scenario.tracks is not None:
            times, n = scenario.tracks.x.shape
            for name, array in made.items():
                array[begin : begin + times, :n] = getattr(scenario.tracks, name)
    return Tracks(**made), first, count
