"""Motorways of three or four lanes that wind, and more than twenty cars around."""

from __future__ import annotations

import numpy as np

from nightshift.driving.made.common import side_by_side, winding
from nightshift.driving.made.drivers import Flow, Strip, surround
from nightshift.driving.roads import LaneMap, Pose
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import EgoStart, Scenario

WIDTH_M = 3.7
DURATION_S = 40.0
LIMITS_MPS = (22.2, 25.0, 27.8, 33.3)
#: Where the ego starts, m along its lane; the cars stand from so far behind to so far ahead of it.
_EGO_M, _BEHIND_M, _AHEAD_M = 240.0, 180.0, 320.0
_CARS = 20


def make(seed: int) -> Scenario:
    """Make the scenario of a seed; the same bytes each time."""
    rng = np.random.default_rng([seed, 1])
    n_lanes, limit = int(rng.integers(3, 5)), float(rng.choice(LIMITS_MPS))
    length = int(np.clip(_EGO_M + 1.15 * limit * DURATION_S + rng.uniform(250, 900), 1500, 3000))
    # At most 2.2 m/s2 sideways at the limit.
    sharpest = max(350.0, limit**2 / 2.2)
    middle = winding(
        rng,
        length,
        radius_m=(sharpest, 3 * sharpest),
        angle=(0.1, 0.6),
        straight_m=(40.0, 220.0),
        transition_m=80.0,
        start=Pose(0.0, 0.0, float(rng.uniform(-np.pi, np.pi))),
    )
    road = LaneMap()
    numbers = side_by_side(road, middle, n_lanes, WIDTH_M, limit)
    lanes = road.lanes()
    own = numbers[int(rng.integers(n_lanes))]
    route = route_along(lanes, [own], goal_m=lanes.length_m[own] - 100.0)
    ego = EgoStart(s_m=_EGO_M, speed_mps=float(limit * rng.uniform(0.75, 0.95)))
    # The ones to the left are faster.
    reach, spare = (_EGO_M - _BEHIND_M, _EGO_M + _AHEAD_M), float(rng.uniform(4.0, 16.0))
    flows = [Flow(limit, spare, 0.86 + 0.06 * k, ego=ego if lane == own else None) for k, lane in enumerate(numbers)]
    strips = [(Strip.of(lanes, [lane]), reach, flow) for lane, flow in zip(numbers, flows, strict=True)]
    traffic = surround(rng, strips, least=_CARS).traffic()
    name, details = f"highway_{seed:06d}", {"lanes": n_lanes, "limit_mps": limit}
    return Scenario(name, "highway", seed, DURATION_S, lanes, route, ego, traffic, None, 0.0, details)
