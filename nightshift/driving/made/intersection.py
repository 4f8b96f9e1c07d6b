"""A road crosses a main road, or ends at it; the ego car comes on either, and goes straight on, right or left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightshift.driving.lanes import Lanes
from nightshift.driving.made.drivers import Crowd, Flow, Strip, surround
from nightshift.driving.roads import LaneMap, Line, Pose, between, straight
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import EgoStart, Scenario

WIDTH_M = 3.5
DURATION_S = 40.0
LIMITS_MPS = (8.3, 11.1, 13.9)
#: The stop lines' distance from the middle; lengths of the main road's and of the other road's lanes, m.
_STOP_M, _MAIN_M, _SIDE_M, _OUT_M = 14.0, 380, 180, 260
#: How far before the stop line the ego starts, and how far behind the crossing its goal is, m.
_EGO_M, _GOAL_M = 95.0, 80.0
#: A longer one would cut the corners.
_TRUCK_M = (7.0, 9.0)
_CARS = 14
#: Arms counterclockwise: the main road is 0 and 2. A turn takes one to the arm that is so many further.
_TURNS = {"straight": 2, "right": 1, "left": 3}


@dataclass(frozen=True)
class _Map:
    """Lanes by arm, None where an arm is missing: inwards, outwards, and across by arm and turn."""

    road: LaneMap
    arms: list[int]
    inwards: dict[int, int]
    outwards: dict[int, int]
    across: dict[tuple[int, str], int]


def make(seed: int) -> Scenario:
    """Make the scenario of a seed; the same bytes each time."""
    rng = np.random.default_rng([seed, 5])
    limit = float(rng.choice(LIMITS_MPS))
    arms = [0, 1, 2, 3] if rng.random() < 0.7 else [0, 2, 3]
    road = _map(rng, arms, limit)
    lanes = road.road.lanes()
    first = rng.random() < 0.5
    own = int(rng.choice([a for a in arms if (a in (0, 2)) == first]))
    turn = str(rng.choice([t for (arm, t) in road.across if arm == own]))
    path = [road.inwards[own], road.across[own, turn], road.outwards[(own + _TURNS[turn]) % 4]]
    way = sum(float(lanes.length_m[lane]) for lane in path[:-1])
    route = route_along(lanes, path, goal_m=way + _GOAL_M)
    starts = float(lanes.length_m[path[0]]) - _EGO_M + float(rng.uniform(-25.0, 30.0))
    ego = EgoStart(s_m=starts, speed_mps=float(limit * rng.uniform(0.7, 0.95)))
    traffic = _cars(rng, road, lanes, own, ego, limit).traffic()
    details = {"arms": len(arms), "limit_mps": limit, "turn": turn, "priority": bool(first)}
    name = f"intersection_{seed:06d}"
    return Scenario(name, "intersection", seed, DURATION_S, lanes, route, ego, traffic, None, 0.0, details)


def _map(rng: np.random.Generator, arms: list[int], limit: float) -> _Map:
    turned, skew = float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(-0.3, 0.3))
    # The other road crosses askew.
    angles = [turned + arm * np.pi / 2 + skew * (arm % 2) for arm in range(4)]
    made = _Map(LaneMap(), arms, {}, {}, {})
    lines: dict[int, tuple[Line, Line]] = {}
    for arm in arms:
        outward = Pose(0.0, 0.0, angles[arm]).moved(_STOP_M)
        inward = Pose(outward.x, outward.y, angles[arm] + np.pi)
        length = _SIDE_M if arm % 2 else _MAIN_M
        lines[arm] = (
            straight(inward.moved(-length, -0.5 * WIDTH_M), length),
            straight(outward.moved(0.0, -0.5 * WIDTH_M), _OUT_M),
        )
        made.inwards[arm] = made.road.add(lines[arm][0], width_m=WIDTH_M, limit_mps=limit)
        made.outwards[arm] = made.road.add(lines[arm][1], width_m=WIDTH_M, limit_mps=limit)
    for arm in arms:
        for turn, further in _TURNS.items():
            to = (arm + further) % 4
            if to in arms:
                line = between(lines[arm][0].end, lines[to][1].begin)
                made.across[arm, turn] = made.road.add(line, width_m=WIDTH_M, limit_mps=limit)
    _link(made)
    return made


def _link(made: _Map) -> None:
    """Say what follows what, and who goes first: those on the main road, and there those who do not turn left."""
    road = made.road
    for arm in made.arms:
        ways = [made.across[arm, turn] for turn in _TURNS if (arm, turn) in made.across]
        road.then(made.inwards[arm], *ways)
        for turn, further in _TURNS.items():
            if (arm, turn) in made.across:
                road.then(made.across[arm, turn], made.outwards[(arm + further) % 4])
        if arm % 2:
            own = made.across.get(
                (arm, "straight"), made.across[arm, "left"] if (arm, "left") in made.across else ways[0]
            )
            to = [pair for main in (0, 2) for pair in _meeting(made, own, main)]
            road.give_way(made.inwards[arm], road.lines[made.inwards[arm]].length_m - 1.0, to)
        elif (arm, "left") in made.across:
            left = made.across[arm, "left"]
            met, _ = _crossing(road.lines[left], road.lines[made.across[2 - arm, "straight"]])
            road.give_way(left, max(1.0, met - 5.0), _meeting(made, left, 2 - arm))


def _meeting(made: _Map, own: int, main: int) -> list[tuple[int, float]]:
    """Return the lanes of an arm of the main road, straight on, with the metres at which they meet lane `own`."""
    straight_on, inwards = made.across[main, "straight"], made.inwards[main]
    _, met = _crossing(made.road.lines[own], made.road.lines[straight_on])
    return [(straight_on, met), (inwards, made.road.lines[inwards].length_m + met)]


def _crossing(one: Line, other: Line) -> tuple[float, float]:
    """Return the metres of two lines at which they are nearest to each other."""
    far = np.hypot(one.x[:, None] - other.x[None, :], one.y[:, None] - other.y[None, :])
    i, j = np.unravel_index(int(np.argmin(far)), far.shape)
    return float(i), float(j)


def _cars(rng: np.random.Generator, made: _Map, lanes: Lanes, own: int, ego: EgoStart, limit: float) -> Crowd:
    """Put cars on both roads: dense enough that one has to look for a gap, and thin enough that there is one."""
    main, side = float(rng.uniform(25.0, 70.0)), float(rng.uniform(15.0, 50.0))
    strips = []
    for arm in made.arms:
        spare = side if arm % 2 else main
        keep = ego if arm == own else None
        # Nobody turns left: those would wait in the middle for each other. Most of the main road go straight on.
        turns = tuple(i for i, turn in enumerate(t for t in _TURNS if (arm, t) in made.across) if turn != "left")
        turns = (0, 0, 0, *turns) if arm % 2 == 0 else (turns or (0,))
        inwards = Strip.of(lanes, [made.inwards[arm]])
        reach = (5.0, inwards.lengths_m[0] - 32.0)
        strips.append((inwards, reach, Flow(limit, spare, turns=turns, ego=keep)))
        strips.append((Strip.of(lanes, [made.outwards[arm]]), (10.0, 200.0), Flow(limit, 80.0)))
    return surround(rng, strips, least=_CARS, truck_m=_TRUCK_M)
