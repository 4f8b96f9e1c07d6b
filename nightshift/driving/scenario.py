"""One scenario: a map, a route to drive, cars around, and, where it was recorded, how all of them drove."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nightshift.driving.lanes import Lanes

Kind = Literal["highway", "merge", "curve", "roundabout", "intersection", "replay"]
KINDS: tuple[Kind, ...] = ("highway", "merge", "curve", "roundabout", "intersection", "replay")
#: Decision and physics step, s.
STEP_S = 0.2
#: Lanes across the road that a route's table knows, to either side of the reference line.
ACROSS = 5


@dataclass(frozen=True)
class Route:
    """What the ego car is to follow: a reference line of `STEP_M` steps with the road around it.

    Attributes:
        x, y, heading, curvature: `(points,)` of the reference line, as in `Lanes`.
        left_m, right_m: `(points,)` how far the drivable road reaches to either side of it, m, both positive.
        flow_left_m, flow_right_m: `(points,)` the same of the part on which traffic runs the route's way.
        limit_mps: `(points,)` speed limit.
        lane: `(points, 2 * ACROSS + 1)` lane under the point that lies k lane widths to the left, k from -ACROSS to
            ACROSS; -1 where there is none that runs the route's way.
        lane_s_m: `(points, 2 * ACROSS + 1)` metre on that lane.
        width_m: `(points,)` of the lane on the reference line.
        length_m: metre that is the goal.
    """

    x: Any
    y: Any
    heading: Any
    curvature: Any
    left_m: Any
    right_m: Any
    flow_left_m: Any
    flow_right_m: Any
    limit_mps: Any
    lane: Any
    lane_s_m: Any
    width_m: Any
    length_m: float


@dataclass(frozen=True)
class EgoStart:
    """The ego car as the scenario begins: `s_m` along the route, `d_m` to the left of it, `heading` rad against it.

    The pose is that of the middle of the rear axle; `rear_m` of the car's `length_m` lie behind that.
    """

    s_m: float
    d_m: float = 0.0
    heading: float = 0.0
    speed_mps: float = 0.0
    length_m: float = 4.6
    width_m: float = 1.9
    wheelbase_m: float = 2.8
    rear_m: float = 1.0


@dataclass(frozen=True)
class Traffic:
    """Cars around the ego at the start, `(n,)` each; poses are of the middle of the car.

    Attributes:
        lane: number of the lane in the scenario's map; -1 for a car that only its track moves.
        s_m, d_m, speed_mps: along the lane, to the left of its middle, and forwards.
        length_m, width_m: of the car.
        desired_mps, headway_s, gap_m, accel_mps2, decel_mps2, politeness: of its driver (IDM, MOBIL); other traffic
            models read of them what they need.
        turn: which successor it takes at a fork, 0 to SUCCESSORS - 1; the first one where that is none.
    """

    lane: Any
    s_m: Any
    d_m: Any
    speed_mps: Any
    length_m: Any
    width_m: Any
    desired_mps: Any
    headway_s: Any
    gap_m: Any
    accel_mps2: Any
    decel_mps2: Any
    politeness: Any
    turn: Any


@dataclass(frozen=True)
class Tracks:
    """How the cars of a recorded scenario drove, at `STEP_S` steps.

    Attributes:
        x, y, heading, speed_mps: `(times, 1 + n)`; column 0 is the ego (rear axle), the others as `Traffic` has them.
        there: `(times, 1 + n)` bool: whether the car was seen then.
    """

    x: Any
    y: Any
    heading: Any
    speed_mps: Any
    there: Any


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        name: unique in its set, such as `highway_000123` or `USA_US101-3_3_T-1`.
        kind: family of scenarios.
        seed: it was made from; 0 of a recorded one.
        duration_s: after which it ends.
        lanes: the map.
        route: of the ego.
        ego: at the start.
        traffic: the other cars at the start.
        tracks: of a recorded scenario; None of a made one.
        expert_m: metres of the route that the recorded driver, or the expert by rule of a made one, covers in
            `duration_s`; what progress is measured against.
    """

    name: str
    kind: Kind
    seed: int
    duration_s: float
    lanes: Lanes
    route: Route
    ego: EgoStart
    traffic: Traffic
    tracks: Tracks | None = None
    expert_m: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
