"""Country roads with sharp bends, one or two lanes each way, and cars both ways."""

from __future__ import annotations

import numpy as np

from nightshift.driving.made.common import side_by_side, winding
from nightshift.driving.made.drivers import Flow, Strip, surround
from nightshift.driving.roads import LaneMap, Pose, offset, respaced, reversed_line
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import EgoStart, Scenario

WIDTH_M = 3.5
DURATION_S = 40.0
_LENGTH_M, _EGO_M = 1100, 150.0
#: Comfortable sideways, m/s2: the limit follows from it and from the sharpest bend.
_SIDEWAYS = 2.5
_CARS = 10


def make(seed: int) -> Scenario:
    """Make the scenario of a seed; the same bytes each time."""
    rng = np.random.default_rng([seed, 3])
    n_lanes = 1 if rng.random() < 0.6 else 2
    sharpest = float(rng.uniform(45.0, 140.0) if n_lanes == 1 else rng.uniform(70.0, 140.0))
    limit = float(np.floor(np.sqrt(_SIDEWAYS * sharpest)))
    own_side = winding(
        rng,
        _LENGTH_M,
        radius_m=(sharpest, 2.5 * sharpest),
        angle=(0.5, 1.3),
        straight_m=(15.0, 90.0),
        transition_m=20.0,
        start=Pose(0.0, 0.0, float(rng.uniform(-np.pi, np.pi))),
    )
    oncoming_side = respaced(reversed_line(offset(own_side, n_lanes * WIDTH_M)))
    road = LaneMap()
    own, oncoming = (side_by_side(road, side, n_lanes, WIDTH_M, limit) for side in (own_side, oncoming_side))
    lanes = road.lanes()
    lane = own[int(rng.integers(n_lanes))]
    # What lies within reach in the time, and no more.
    route = route_along(lanes, [lane], goal_m=min(lanes.length_m[lane] - 100.0, _EGO_M + 0.85 * limit * DURATION_S))
    ego = EgoStart(s_m=_EGO_M, speed_mps=float(limit * rng.uniform(0.7, 0.95)))
    spare = float(rng.uniform(10.0, 50.0))
    strips = [
        (
            Strip.of(lanes, [number]),
            (20.0, 500.0) if number in own else (100.0, lanes.length_m[number] - 40.0),
            Flow(limit, spare if number in own else 80.0, 0.95, ego=ego if number == lane else None),
        )
        for number in (*own, *oncoming)
    ]
    traffic = surround(rng, strips, least=_CARS).traffic()
    name, details = f"curve_{seed:06d}", {"lanes": n_lanes, "limit_mps": limit, "sharpest_m": sharpest}
    return Scenario(name, "curve", seed, DURATION_S, lanes, route, ego, traffic, None, 0.0, details)
