"""The parts of nuPlan's closed-loop score, each by itself; `score.py` puts them together and says what differs.

Source:
    motional/nuplan-devkit 1.2, `nuplan/planning/metrics/evaluation_metrics/common/`: `no_ego_at_fault_collisions.py`,
    `time_to_collision_within_bound.py`, `drivable_area_compliance.py`, `driving_direction_compliance.py`,
    `ego_progress_along_expert_route.py`, `speed_limit_compliance.py`, `ego_is_comfortable.py`; constants from
    `script/config/common/simulation_metric/`. The rules were read there and written anew for arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nightshift.driving.collide import CAR_STANDS_MPS, EGO_STANDS_MPS
from nightshift.driving.history import History
from nightshift.driving.scenario import STEP_S, Scenario
from nightshift.driving.score_geometry import (
    Bools,
    Boxes,
    Floats,
    Ints,
    OnRoute,
    car_boxes,
    corners,
    ego_boxes,
    on_route,
    overlap,
)

#: A corner may be this far out of the drivable area, m.
MAX_OUT_M = 0.3
#: A car is ahead within this angle of the ego's heading, and behind beyond that one, rad.
AHEAD_RAD, BEHIND_RAD = float(np.deg2rad(20.0)), float(np.deg2rad(150.0))
#: Expert's and ego's metres count as at least so many.
LEAST_PROGRESS_M = 2.0
#: Metres against the traffic within `DIRECTION_S`: from the first on half, from the second on nothing is left.
AGAINST_M, DIRECTION_S = (2.0, 6.0), 1.0
#: Wanted time to collision; how far ahead and in which steps it is looked for, s.
TTC_S, TTC_HORIZON_S, TTC_STEP_S = 0.95, 3.0, 0.1
#: Speeding all the time by this much leaves nothing, m/s.
OVERSPEED_MPS = 2.23
#: Sorts of road users, as `Scenario.details["sorts"]` gives them per car; cars where it is not there.
SORTS = ("vehicle", "person", "object")
#: How many at-fault collisions with each sort bring its factor to zero.
_FATAL = (1, 1, 2)


@dataclass(frozen=True)
class Place:
    """Where the ego car was, `(t,)` each.

    Attributes:
        box: of the car.
        middle: of the box, on the route.
        out_m: how far its worst corner is beyond the drivable edge; negative within.
        split: its corners lie in more than one lane, or beside the road.
        at_crossing: other lanes cross or join under it.
    """

    box: Boxes
    middle: OnRoute
    out_m: Floats
    split: Bools
    at_crossing: Bools


def place(history: History) -> Place:
    """Find out where the ego car was at every moment."""
    route, box = history.scenario.route, ego_boxes(history)
    middle = on_route(route, box.x, box.y, history.s_m)
    x, y = corners(box)
    corner = on_route(route, x, y, np.broadcast_to(middle.s[:, None], x.shape))
    left, right = np.asarray(route.left_m)[corner.index], np.asarray(route.right_m)[corner.index]
    out = np.maximum(corner.d - left, -right - corner.d)
    lane = np.rint(corner.d / np.asarray(route.width_m)[corner.index])
    split = (lane != lane[:, :1]).any(axis=1) | (out > 0.0).any(axis=1)
    return Place(box, middle, out.max(axis=1), split, _crossings(history.scenario)[middle.index])


def _crossings(scenario: Scenario) -> Bools:
    """Return for every point of the route whether lanes that are not the route's own lie across it, `(points,)`.

    nuPlan's maps say what an intersection is; here it is where lanes overlap.
    """
    from scipy.spatial import cKDTree

    lanes, route = scenario.lanes, scenario.route
    of = np.repeat(np.arange(len(lanes.first)), lanes.count)
    other = ~np.isin(of, np.unique(route.lane))
    if not other.any():
        return np.zeros(len(route.x), dtype=np.bool_)
    far, _ = cKDTree(np.column_stack([lanes.x, lanes.y])[other]).query(np.column_stack([route.x, route.y]))
    return np.asarray(far < np.asarray(route.width_m) / 2.0, dtype=np.bool_)


@dataclass(frozen=True)
class Collisions:
    """First collision with each car, `(k,)` each.

    Attributes:
        moment: index of it.
        car: its number among the other cars.
        at_fault: whether the ego car could have prevented it: it ran into a standing car or with its front into a
            moving one, or was hit from the side while it was not fully in one lane.
    """

    moment: Ints
    car: Ints
    at_fault: Bools


def collisions(history: History, at: Place) -> Collisions:
    """Find the first collision with each car and whose fault it is."""
    cars = car_boxes(history)
    hit = _near_overlap(at.box, cars)
    car = np.flatnonzero(hit.any(axis=0))
    moment = hit[:, car].argmax(axis=0)
    ego, other = at.box.at(moment), cars.at(moment, car)
    ego_stands = history.speed_mps[moment] <= EGO_STANDS_MPS
    car_stands = their_speeds(history)[moment, car] <= CAR_STANDS_MPS
    behind = bearing(history, cars)[moment, car] > BEHIND_RAD
    half = ego.length / 2.0
    bumper = Boxes(
        ego.x + half * np.cos(ego.heading), ego.y + half * np.sin(ego.heading), ego.heading, half * 0.0, ego.width
    )
    front = overlap(bumper, other)
    at_fault = ~ego_stands & (car_stands | (~behind & (front | at.split[moment])))
    return Collisions(moment, car, np.asarray(at_fault, dtype=np.bool_))


def their_speeds(history: History) -> Floats:
    """Return the speeds of the other cars, `(t, n)` m/s; objects stand, whatever the noise of their tracks says."""
    sorts = history.scenario.details.get("sorts")
    if not sorts:
        return history.cars_speed_mps
    return np.where(np.array(sorts) == "object", 0.0, history.cars_speed_mps)


def _near_overlap(ego: Boxes, cars: Boxes) -> Bools:
    """Return `(t, n)` whether the ego overlaps each car; boxes are compared only where they are near."""
    reach = (np.hypot(ego.length, ego.width)[:, None] + np.hypot(cars.length, cars.width)) / 2.0
    near = np.hypot(cars.x - ego.x[:, None], cars.y - ego.y[:, None]) < reach
    moment, car = np.nonzero(near)
    hit = np.zeros(near.shape, dtype=np.bool_)
    hit[moment, car] = overlap(ego.at(moment), cars.at(moment, car))
    return hit


def bearing(history: History, cars: Boxes) -> Floats:
    """Return the angle between the ego's heading and the way from its rear axle to each car's middle, `(t, n)` rad."""
    dx, dy = cars.x - history.x[:, None], cars.y - history.y[:, None]
    cos, sin = np.cos(history.heading)[:, None], np.sin(history.heading)[:, None]
    return np.asarray(np.abs(np.arctan2(dy * cos - dx * sin, dx * cos + dy * sin)), dtype=np.float64)


def no_at_fault_collisions(history: History, found: Collisions) -> float:
    """Return 1 without an at-fault collision, 0.5 after one with an object, 0 after any with a vehicle or a person."""
    sorts = history.scenario.details.get("sorts")
    guilty = found.car[found.at_fault]
    which = [SORTS.index(str(sorts[car])) if sorts else 0 for car in guilty]
    return float(np.prod([max(0.0, 1.0 - which.count(sort) / fatal) for sort, fatal in enumerate(_FATAL)]))


def drivable_area(history: History, at: Place) -> float:
    """Return 0 where a corner was ever more than `MAX_OUT_M` beside the road, else 1.

    The world looks too: near crossings, where the road's edges leap, it may see what is not seen here.
    """
    return float(history.ending != "off_road" and not (at.out_m > MAX_OUT_M).any())


def progress(history: History, at: Place) -> float:
    """Return the metres driven along the route as a share of the expert's, 0 to 1."""
    scenario, driven = history.scenario, float(at.middle.s[-1] - at.middle.s[0])
    # Where no expert is known, the goal is what there is to reach.
    expert = scenario.expert_m if scenario.expert_m > 0.0 else scenario.route.length_m - scenario.ego.s_m
    if driven < -LEAST_PROGRESS_M:
        return 0.0
    return min(1.0, max(driven, LEAST_PROGRESS_M) / max(expert, LEAST_PROGRESS_M))


def driving_direction(history: History, at: Place) -> float:
    """Return 1, 0.5 or 0 by the metres against the traffic within one second."""
    route, index = history.scenario.route, at.middle.index
    with_flow = (at.middle.d <= np.asarray(route.flow_left_m)[index]) & (
        at.middle.d >= -np.asarray(route.flow_right_m)[index]
    )
    on_road = (at.middle.d <= np.asarray(route.left_m)[index]) & (at.middle.d >= -np.asarray(route.right_m)[index])
    sign = np.where(with_flow, 1.0, -1.0) * on_road
    # As in the devkit, the step onto another lane counts nothing.
    step = np.diff(at.middle.s) * np.where(sign[1:] == sign[:-1], sign[1:], 0.0)
    made = np.concatenate([[0.0, 0.0], np.cumsum(step)])
    # The devkit adds up one more step than the second holds.
    first = np.maximum(np.arange(len(step) + 1) - round(DIRECTION_S / STEP_S), 0)
    against = -float((made[1:] - made[first]).min())
    return 1.0 if against < AGAINST_M[0] else 0.5 if against < AGAINST_M[1] else 0.0


def times_to_collision(history: History, at: Place, found: Collisions) -> Floats:
    """Return the time to collision at every moment, `(t,)` s; infinite where none comes within the horizon.

    Ego and cars go on with their speed and heading. Cars ahead are looked at, and those beside the ego while it is
    not fully in one lane or at a crossing; those that it has collided with are not.
    """
    cars = car_boxes(history)
    ttc = np.full(len(history.x), np.inf)
    moment, car = np.nonzero(_looked_at(history, at, found, cars))
    ego, other = at.box.at(moment), cars.at(moment, car)
    speed, their = history.speed_mps[moment], their_speeds(history)[moment, car]
    vx, vy = speed * np.cos(ego.heading), speed * np.sin(ego.heading)
    ux, uy = their * np.cos(other.heading), their * np.sin(other.heading)
    near = _meet(ego, other, (ux - vx, uy - vy))
    moment, ego, other = moment[near], ego.at(near), other.at(near)
    vx, vy, ux, uy = vx[near], vy[near], ux[near], uy[near]
    for n in range(1, round(TTC_HORIZON_S / TTC_STEP_S)):
        ahead = n * TTC_STEP_S
        hit = overlap(ego.moved(vx * ahead, vy * ahead), other.moved(ux * ahead, uy * ahead))
        np.minimum.at(ttc, moment[hit], ahead)
    ttc[found.moment[found.at_fault]] = 0.0
    return ttc


def _meet(ego: Boxes, other: Boxes, velocity: tuple[Floats, Floats]) -> Bools:
    """Return which pairs of boxes, the other's velocity against the ego's given, come near at all in the horizon."""
    dx, dy = other.x - ego.x, other.y - ego.y
    squared = np.maximum(velocity[0] ** 2 + velocity[1] ** 2, 1e-9)
    when = np.clip(-(dx * velocity[0] + dy * velocity[1]) / squared, 0.0, TTC_HORIZON_S)
    apart = np.hypot(dx + velocity[0] * when, dy + velocity[1] * when)
    reach = (np.hypot(ego.length, ego.width) + np.hypot(other.length, other.width)) / 2.0
    return np.asarray(apart < reach, dtype=np.bool_)


def _looked_at(history: History, at: Place, found: Collisions, cars: Boxes) -> Bools:
    """Return `(t, n)` whether a time to collision is sought."""
    angle = bearing(history, cars)
    beside = (at.split | at.at_crossing)[:, None] & (angle <= BEHIND_RAD)
    chosen = ((angle < AHEAD_RAD) | beside) & (history.speed_mps > CAR_STANDS_MPS)[:, None]
    for moment, car in zip(found.moment, found.car, strict=True):
        chosen[moment:, car] = False
    return np.asarray(chosen, dtype=np.bool_)


def within_ttc(ttc: Floats) -> float:
    """Return 1 where the time to collision was always above `TTC_S`, else 0."""
    return float((ttc > TTC_S).all())


def speed_limit(history: History, at: Place) -> float:
    """Return 1 minus the speeding, summed over time, as a share of `OVERSPEED_MPS` for the whole time."""
    if len(history.x) < 2:
        return 1.0
    limit = np.asarray(history.scenario.route.limit_mps)[at.middle.index]
    over = np.maximum(history.speed_mps - limit, 0.0)
    return float(max(0.0, 1.0 - over.sum() / (OVERSPEED_MPS * (len(over) - 1))))
