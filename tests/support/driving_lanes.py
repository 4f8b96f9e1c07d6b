"""Small maps and cars by hand, for tests of traffic: arrays without any scenario."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import Lanes
from nightshift.driving.roads import LaneMap, Piece, Pose, between, laid, offset, poses, straight
from nightshift.driving.scenario import STEP_S
from nightshift.driving.traffic.ways import Ways

ORIGIN = Pose(0.0, 0.0, 0.0)
WIDTH_M = 3.6


def straight_road(lanes: int = 1, length_m: float = 1000.0, limit_mps: float = 40.0) -> Lanes:
    """Lanes side by side, the rightmost first."""
    road = LaneMap()
    middle = straight(ORIGIN, length_m)
    numbers = [road.add(offset(middle, k * WIDTH_M), width_m=WIDTH_M, limit_mps=limit_mps) for k in range(lanes)]
    road.abreast(numbers)
    return road.lanes()


def ring_road(lanes: int = 1, length_m: int = 600, limit_mps: float = 40.0, pieces: int = 2) -> Lanes:
    """Rings side by side, each in `pieces` lanes that follow each other round and round."""
    road = LaneMap()
    part = length_m // pieces
    curvature = 2 * np.pi / (part * pieces)
    line = laid([Piece(part * pieces, curvature, curvature)], ORIGIN)
    parts = [line.cut(k * part, (k + 1) * part) for k in range(pieces)]
    numbers = [
        [road.add(offset(p, k * WIDTH_M), width_m=WIDTH_M, limit_mps=limit_mps) for k in range(lanes)] for p in parts
    ]
    for here, after in zip(numbers, numbers[1:] + numbers[:1], strict=True):
        road.abreast(here)
        for lane, following in zip(here, after, strict=True):
            road.then(lane, following)
    return road.lanes()


def ending_lane() -> Lanes:
    """Two lanes of 300 m, of which the left one, number 1, goes on."""
    road = LaneMap()
    middle = straight(ORIGIN, 900.0)
    right, left = (road.add(offset(middle.cut(0, 300), k * WIDTH_M), width_m=WIDTH_M, limit_mps=15.0) for k in (0, 1))
    road.beside(right, left)
    road.then(left, road.add(offset(middle.cut(300, 900), WIDTH_M), width_m=WIDTH_M, limit_mps=15.0))
    return road.lanes()


def crossing() -> Lanes:
    """A main road, lane 0, and a road that crosses it: lane 1, and 2 behind the crossing."""
    road = LaneMap()
    main = road.add(straight(ORIGIN, 500.0), width_m=WIDTH_M, limit_mps=15.0)
    side = straight(Pose(200.0, -100.0, np.pi / 2), 400.0)
    before, behind = (road.add(side.cut(*cut), width_m=WIDTH_M, limit_mps=15.0) for cut in ((0, 110), (110, 400)))
    road.then(before, behind)
    road.give_way(before, 90.0, [(main, 200.0)])
    return road.lanes()


def joining() -> Lanes:
    """A main road, lane 0, and one from the side, lane 1, that both lead into lane 2; lane 1 gives way."""
    road = LaneMap()
    main = road.add(straight(ORIGIN, 200.0), width_m=WIDTH_M, limit_mps=15.0)
    line = between(Pose(130.0, -100.0, 1.4), Pose(200.0, 0.0, 0.0))
    side = road.add(line, width_m=WIDTH_M, limit_mps=15.0)
    after = road.add(straight(Pose(200.0, 0.0, 0.0), 600.0), width_m=WIDTH_M, limit_mps=15.0)
    road.then(main, after)
    road.then(side, after)
    # One waits where one's front is still beside the main road.
    road.give_way(side, float(np.argmax(line.y > -5.0)), [(main, 200.0)])
    return road.lanes()


def ring_crowd(envs: int, cars: int, lanes: int, length_m: int, seed: int = 0) -> tuple[Lanes, Cars]:
    """A ring road full of cars and lorries, each with a driver of its own."""
    rng, half, every = np.random.default_rng(seed), length_m / 2, 20.0
    shape, places = (envs, cars), int(length_m // every)
    chosen = np.array([rng.permutation(lanes * places)[:cars] for _ in range(envs)])
    s, row = (chosen % places) * every + 2.0, chosen // places
    lorry = rng.random(shape) < 0.15
    drivers = {
        "desired": np.where(lorry, 18.0, rng.uniform(18, 32, shape)),
        "headway": rng.uniform(0.9, 1.8, shape),
        "length": np.where(lorry, 12.0, rng.uniform(4, 5.2, shape)),
        "width": np.where(lorry, 2.4, 1.9),
        "accel_max": np.where(lorry, 0.8, rng.uniform(0.9, 2.0, shape)),
        "decel": rng.uniform(1.5, 3.0, shape),
        "gap": rng.uniform(1.5, 3.0, shape),
        "politeness": rng.uniform(0.0, 0.6, shape),
    }
    speed = rng.uniform(8, 12, shape)
    return ring_road(lanes, length_m), cars_at(row + lanes * (s >= half), s % half, speed, envs, **drivers)


def cars_at(lane: Any, s: Any, speed: Any, envs: int = 1, **drivers: Any) -> Cars:
    """Cars in columns 1 and up of each of `envs` environments; column 0, the ego, is absent."""
    n = np.atleast_1d(s).shape[-1]
    shape = (envs, 1 + n)
    usual = {
        "length": 4.5, "width": 1.9, "desired": 30.0, "headway": 1.2, "gap": 2.0, "accel_max": 1.5, "decel": 2.0,
        "politeness": 0.2, "turn": 0, "d": 0.0,
    }  # fmt: skip
    whole, flags = ("lane", "turn"), ("there", "on_track")
    made: dict[str, Any] = {}
    for field in fields(Cars):
        kind = np.int64 if field.name in whole else np.bool_ if field.name in flags else np.float64
        made[field.name] = np.zeros(shape, kind)
    for name, value in {**usual, **drivers, "lane": lane, "s": s, "speed": speed, "there": True}.items():
        made[name][:, 1:] = value
        if name not in ("there", "s", "speed", "lane", "d"):
            made[name][:, 0] = np.ravel(value)[0]
    made["lane"][:, 0] = -1
    return Cars(**made)


def put_ego(cars: Cars, lanes: Lanes, lane: int, s: float, speed: float, d: float = 0.0) -> None:
    """Put the ego car of every environment on a lane."""
    x, y, heading = poses(lanes, np.array([lane]), np.array([s]), np.array([d]))
    cars.there[:, 0], cars.lane[:, 0], cars.s[:, 0], cars.speed[:, 0], cars.d[:, 0] = True, lane, s, speed, d
    cars.x[:, 0], cars.y[:, 0], cars.heading[:, 0] = x, y, heading
    cars.length[:, 0], cars.width[:, 0] = 4.6, 1.9


def moments(model: Any, lanes: Lanes, cars: Cars, seconds: float, *, seed: int = 0) -> Iterator[int]:
    """Drive, and yield after every step."""
    ways, rng = Ways.of(np, lanes), np.random.default_rng(seed)
    for k in range(round(seconds / STEP_S)):
        model.step(np, ways, cars, STEP_S, rng.random((len(cars.s), cars.s.shape[1] - 1)))
        yield k


def drive(model: Any, lanes: Lanes, cars: Cars, seconds: float, *, look: int = 0, seed: int = 0) -> int:
    """Drive; every `look` steps nobody may overlap. Returns how often a car was on another lane than before."""
    changed, lane = 0, cars.lane.copy()
    for k in moments(model, lanes, cars, seconds, seed=seed):
        changed, lane = changed + int((lane != cars.lane).sum()), cars.lane.copy()
        if look and k % look == 0:
            assert overlapping(cars) == [], f"after {k * STEP_S:.1f} s"
    return changed


def overlapping(cars: Cars) -> list[tuple[int, int, int]]:
    """Environment and columns of all pairs of cars whose boxes overlap (separating axes)."""
    found = []
    for env in range(len(cars.x)):
        here = np.flatnonzero(cars.there[env])
        for i, a in enumerate(here):
            for b in here[i + 1 :]:
                near = np.hypot(cars.x[env, a] - cars.x[env, b], cars.y[env, a] - cars.y[env, b]) < 16
                if near and _boxes_meet(cars, env, int(a), int(b)):
                    found.append((env, int(a), int(b)))
    return found


def _boxes_meet(cars: Cars, env: int, a: int, b: int) -> bool:
    corners = []
    for c in (a, b):
        cos, sin = np.cos(cars.heading[env, c]), np.sin(cars.heading[env, c])
        ahead, left = 0.5 * cars.length[env, c], 0.5 * cars.width[env, c]
        box = np.array([[ahead, left], [ahead, -left], [-ahead, -left], [-ahead, left]])
        corners.append(
            np.column_stack(
                [
                    cars.x[env, c] + box[:, 0] * cos - box[:, 1] * sin,
                    cars.y[env, c] + box[:, 0] * sin + box[:, 1] * cos,
                ]
            )
        )
    for c in (a, b):
        for angle in (cars.heading[env, c], cars.heading[env, c] + np.pi / 2):
            axis = np.array([np.cos(angle), np.sin(angle)])
            one, other = corners[0] @ axis, corners[1] @ axis
            if one.max() <= other.min() or other.max() <= one.min():
                return False
    return True
