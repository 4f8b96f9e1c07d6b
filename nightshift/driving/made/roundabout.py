"""Small roundabouts of three to five arms; who is on the circle goes first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightshift.driving.lanes import Lanes
from nightshift.driving.made.drivers import Crowd, Flow, Strip, surround
from nightshift.driving.roads import LaneMap, Line, Pose, arc, between, straight
from nightshift.driving.routes import route_along
from nightshift.driving.scenario import EgoStart, Scenario

WIDTH_M, CIRCLE_WIDTH_M = 3.5, 4.5
DURATION_S = 45.0
LIMIT_MPS = 11.1
#: Lengths of an arm's lanes towards the circle and away from it, and where they end before the circle's middle line, m.
_IN_M, _OUT_M, _BEFORE_M = 170, 170, 17.0
#: Half the distance of an arm's two lanes, where they reach the circle, m.
_APART_M = 2.75
_EGO_M, _GOAL_M = 90.0, 70.0
#: A longer one would cut the corners.
_TRUCK_M = (7.0, 9.0)
_CARS = 10


@dataclass(frozen=True)
class _Map:
    """Lanes by arm, counterclockwise.

    Those of the circle: `short[i]` lies between arm i's way out and its way in, `long[i]` leads on to the next arm.
    """

    lanes: Lanes
    inwards: list[int]
    entry: list[int]
    leaving: list[int]
    outwards: list[int]
    short: list[int]
    long: list[int]

    def path(self, arm: int, passed: int) -> list[int]:
        """Return the lanes from an arm to the one that is `passed` exits further, counterclockwise."""
        arms = len(self.inwards)
        lanes = [self.inwards[arm], self.entry[arm]]
        for k in range(passed):
            lanes.append(self.long[(arm + k) % arms])
            if k < passed - 1:
                lanes.append(self.short[(arm + k + 1) % arms])
        out = (arm + passed) % arms
        return [*lanes, self.leaving[out], self.outwards[out]]


def make(seed: int) -> Scenario:
    """Make the scenario of a seed; the same bytes each time."""
    rng = np.random.default_rng([seed, 4])
    arms, radius = int(rng.integers(3, 6)), float(rng.uniform(15.0, 24.0))
    radius = max(radius, 4.6 * arms)
    road = _map(rng, arms, radius)
    lanes = road.lanes
    own, passed = int(rng.integers(arms)), int(rng.integers(1, arms))
    path = road.path(own, passed)
    way = sum(float(lanes.length_m[lane]) for lane in path[:-1])
    route = route_along(lanes, path, goal_m=way + _GOAL_M)
    ego = EgoStart(s_m=_EGO_M + float(rng.uniform(-25.0, 20.0)), speed_mps=float(rng.uniform(6.0, 10.0)))
    traffic = _cars(rng, road, own, ego).traffic()
    details = {"arms": arms, "radius_m": radius, "exit": passed}
    name = f"roundabout_{seed:06d}"
    return Scenario(name, "roundabout", seed, DURATION_S, lanes, route, ego, traffic, None, 0.0, details)


def _map(rng: np.random.Generator, arms: int, radius: float) -> _Map:
    road = LaneMap()
    every = 2 * np.pi / arms
    angles = float(rng.uniform(0, 2 * np.pi)) + every * np.arange(arms)
    angles = angles + rng.uniform(-0.08, 0.08, arms) * every
    # How far round from an arm its lanes meet the circle.
    aside = float(np.clip(9.0 / radius, 0.3, 0.36 * every))
    found: dict[str, list[int]] = {name: [] for name in ("inwards", "entry", "leaving", "outwards", "short", "long")}
    for i, angle in enumerate(angles.tolist()):
        ahead = float(angles[(i + 1) % arms]) - angle + (2 * np.pi if i == arms - 1 else 0.0)
        lanes = _arm(angle, radius)
        meets = _on_circle(angle + aside, radius)
        lines = {
            "inwards": lanes[0],
            "entry": between(lanes[0].end, meets),
            "leaving": between(_on_circle(angle - aside, radius), lanes[1].begin),
            "outwards": lanes[1],
            "short": arc(_on_circle(angle - aside, radius), radius, 2 * aside),
            "long": arc(meets, radius, ahead - 2 * aside),
        }
        for name, line in lines.items():
            width = WIDTH_M if name in ("inwards", "outwards") else CIRCLE_WIDTH_M
            found[name].append(road.add(line, width_m=width, limit_mps=LIMIT_MPS))
    _link(road, found, arms)
    return _Map(road.lanes(), **found)


def _arm(angle: float, radius: float) -> tuple[Line, Line]:
    """Return an arm's lanes, towards the circle and away from it; one drives on the right."""
    outward = Pose(0.0, 0.0, angle).moved(radius + _BEFORE_M)
    inward = Pose(outward.x, outward.y, angle + np.pi)
    return straight(inward.moved(-_IN_M, -_APART_M), _IN_M), straight(outward.moved(0.0, -_APART_M), _OUT_M)


def _on_circle(angle: float, radius: float) -> Pose:
    """Return the pose of who drives round the circle, counterclockwise, at an angle of it."""
    return Pose(radius * float(np.cos(angle)), radius * float(np.sin(angle)), angle + np.pi / 2)


def _link(road: LaneMap, found: dict[str, list[int]], arms: int) -> None:
    """Say what follows what, and who goes first."""
    length = [line.length_m for line in road.lines]
    for i in range(arms):
        before, short = found["long"][i - 1], found["short"][i]
        road.then(found["inwards"][i], found["entry"][i])
        road.then(found["entry"][i], found["long"][i])
        road.then(short, found["long"][i])
        road.then(found["leaving"][i], found["outwards"][i])
        # One turn leaves at every second arm, another at the others: nobody goes round for ever.
        ways = [found["leaving"][i], short]
        road.then(before, *(ways if i % 2 else ways[::-1]))
        # Waiting cars look back along the circle, and further than to the arm before.
        meet = np.cumsum([length[short], length[before], length[found["short"][i - 1]]]).tolist()
        first = (short, before, found["short"][i - 1])
        road.give_way(found["inwards"][i], _IN_M - 1.0, list(zip(first, meet, strict=True)))


def _cars(rng: np.random.Generator, road: _Map, own: int, ego: EgoStart) -> Crowd:
    """Put cars on the arms and on the circle."""
    lanes, spare, turns = road.lanes, float(rng.uniform(12.0, 40.0)), (0, 1)
    round_it = Strip.of(lanes, [n for pair in zip(road.short, road.long, strict=True) for n in pair])
    strips = [(round_it, (8.0, sum(round_it.lengths_m) - 4.0), Flow(LIMIT_MPS, spare, turns=turns, at_most_mps=6.5))]
    for i, lane in enumerate(road.inwards):
        flow = Flow(LIMIT_MPS, spare, turns=turns, ego=ego if i == own else None)
        strips.append((Strip.of(lanes, [lane]), (5.0, _IN_M - 25.0), flow))
    strips += [(Strip.of(lanes, [lane]), (15.0, 140.0), Flow(LIMIT_MPS, 70.0)) for lane in road.outwards]
    return surround(rng, strips, least=_CARS, truck_m=_TRUCK_M)
