"""A slip road joins a motorway: the ego car comes from it, and those on the motorway go first."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nightshift.driving.lanes import Lanes
from nightshift.driving.made.common import side_by_side, winding
from nightshift.driving.made.drivers import Flow, Strip, surround
from nightshift.driving.roads import LaneMap, Line, Pose, offset, respaced, shifted
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import EgoStart, Scenario

WIDTH_M = 3.7
DURATION_S = 40.0
LIMITS_MPS = (19.4, 22.2, 25.0, 27.8)
#: The slip road before it lies beside the motorway, how far from it it begins, and the taper at its end, m.
_SLIP_M, _APART_M, _TAPER_M = 180, 22.0, 70
_BEYOND_M, _GOAL_M = 1150, 300.0
_EGO_M = 50.0
_CARS = 20


@dataclass(frozen=True)
class _Map:
    """The map: lanes of the motorway by stretch, each from right to left, and those of the slip road in order."""

    lanes: Lanes
    motorway: list[list[int]]
    slip: list[int]


def make(seed: int) -> Scenario:
    """Make the scenario of a seed; the same bytes each time."""
    rng = np.random.default_rng([seed, 2])
    n_lanes, limit = int(rng.integers(2, 4)), float(rng.choice(LIMITS_MPS))
    before, beside = int(rng.integers(440, 520)), int(rng.integers(200, 280))
    road = _map(rng, n_lanes, limit, before, beside)
    lanes = road.lanes
    path = [*road.slip, road.motorway[-1][0]]
    joins = sum(float(lanes.length_m[lane]) for lane in road.slip)
    route = route_along(lanes, path, goal_m=joins + _GOAL_M)
    ego = EgoStart(s_m=_EGO_M + float(rng.uniform(0.0, 40.0)), speed_mps=float(limit * rng.uniform(0.6, 0.75)))

    spare = float(rng.uniform(8.0, 45.0))
    # Abreast of the ego on the motorway.
    abreast = before - _SLIP_M + ego.s_m
    strips = [
        (
            Strip.of(lanes, [stretch[k] for stretch in road.motorway]),
            (max(0.0, abreast - 300.0), abreast + 380.0),
            Flow(limit, spare, 0.88 + 0.06 * k),
        )
        for k in range(n_lanes)
    ]
    slip = Strip.of(lanes, road.slip)
    strips.append((slip, (0.0, _SLIP_M + 0.7 * beside), Flow(0.8 * limit, 130.0, ego=ego)))
    traffic = surround(rng, strips, least=_CARS).traffic()
    name, details = f"merge_{seed:06d}", {"lanes": n_lanes, "limit_mps": limit, "beside_m": beside}
    return Scenario(name, "merge", seed, DURATION_S, lanes, route, ego, traffic, None, 0.0, details)


def _map(rng: np.random.Generator, n_lanes: int, limit: float, before: int, beside: int) -> _Map:
    sharpest = max(400.0, limit**2 / 1.8)
    middle = winding(
        rng,
        before + beside + _TAPER_M + _BEYOND_M,
        radius_m=(sharpest, 3 * sharpest),
        angle=(0.08, 0.4),
        straight_m=(60.0, 240.0),
        transition_m=80.0,
        start=Pose(0.0, 0.0, float(rng.uniform(-np.pi, np.pi))),
    )
    cuts = np.cumsum([0, before, beside, _TAPER_M, _BEYOND_M]).tolist()
    stretches = [middle.cut(a, b) for a, b in pairwise(cuts)]
    road = LaneMap()
    motorway = [side_by_side(road, stretch, n_lanes, WIDTH_M, limit) for stretch in stretches]
    for here, there in pairwise(motorway):
        for lane, following in zip(here, there, strict=True):
            road.then(lane, following)
    slip = _slip_road(road, motorway, limit, stretches)
    # Those on the right lane go first where the slip road ends: on the taper's stretch, and on those before.
    meet = np.cumsum([_TAPER_M, beside, before]).tolist()
    to = [(stretch[0], float(at)) for stretch, at in zip(motorway[2::-1], meet, strict=True)]
    road.give_way(slip[1], float(beside - 2), to)
    return _Map(road.lanes(), motorway, slip)


def _slip_road(road: LaneMap, motorway: list[list[int]], limit: float, stretches: list[Line]) -> list[int]:
    """Add the slip road: towards the motorway, beside it, and tapering into it."""
    outside = -0.5 * len(motorway[0]) * WIDTH_M - 0.5 * WIDTH_M
    beside = offset(stretches[1], outside)
    t = np.linspace(1.0, 0.0, _SLIP_M + 1)
    approach = stretches[0].cut(len(stretches[0].x) - 1 - _SLIP_M, len(stretches[0].x) - 1)
    towards = shifted(approach, outside - _APART_M * t * t * (3 - 2 * t))
    t = np.linspace(0.0, 1.0, _TAPER_M + 1)
    taper = shifted(stretches[2], outside + WIDTH_M * t * t * (3 - 2 * t))
    lines = ((respaced(towards), 0.8 * limit), (beside, limit), (taper, limit))
    slip = [road.add(line, width_m=WIDTH_M, limit_mps=speed) for line, speed in lines]
    road.beside(slip[1], motorway[1][0])
    road.then(slip[0], slip[1])
    road.then(slip[1], slip[2])
    road.then(slip[2], motorway[3][0])
    return slip
