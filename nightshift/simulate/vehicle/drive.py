"""Drives trips second by second: the driver looks ahead along the cycle, the car answers within its power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.vehicle.columns import Floats
from nightshift.simulate.vehicle.drivers import Danger, Drivers
from nightshift.simulate.vehicle.fleet import Cars

G = 9.81
AIR_KG_M3 = 1.20
#: A road is one long band of made slopes and bends, 20 m a step; trips begin anywhere on it.
_STEP_M, _STEPS = 20.0, 1 << 16
#: Spread of the slope and the distance over which it changes; hilly, not alpine.
_GRADE_SPREAD, _GRADE_M = 0.018, 400.0
_STEEPEST = 0.08
#: Tyres hold so much; a driver brakes no harder without it.
_GRIP_MPS2 = 8.5


@dataclass(frozen=True)
class Road:
    """Slopes and bends along the road, each `(steps,)`.

    Attributes:
        grade: rise over run.
        bend: -1 to 1: share of what the driver takes laterally; 0 is straight.
        heading: direction of the road, rad, for the wind.
    """

    grade: Floats
    bend: Floats
    heading: Floats


def make_road(seed: int, part: int) -> Road:
    """Make the road of a simulation's part; no real one is used.

    Args:
        seed: of the simulation.
        part: number of the part.
    """
    rng = np.random.default_rng([seed, part, 71])
    memory = np.exp(-_STEP_M / _GRADE_M)
    grade = _smooth(rng.standard_normal(_STEPS), float(memory))
    grade = (grade / grade.std() * _GRADE_SPREAD).clip(-_STEEPEST, _STEEPEST)
    bend = np.zeros(_STEPS)
    at = 0
    while at < _STEPS - 20:
        length = int(rng.integers(3, 11))
        bend[at : at + length] = rng.choice([-1, 1]) * rng.uniform(0.2, 1) * np.sin(np.pi * np.arange(length) / length)
        at += length + int(rng.exponential(25)) + 2
    return Road(grade.astype(np.float32), bend.astype(np.float32), (np.cumsum(bend) * 0.15).astype(np.float32))


def _smooth(noise: NDArray[np.float64], memory: float) -> NDArray[np.float64]:
    """Filter twice: slopes change gradually."""
    from scipy.signal import lfilter

    out: NDArray[np.float64] = lfilter([1.0], [1.0, -memory], lfilter([1.0], [1.0, -memory], noise))
    return out


@dataclass(frozen=True)
class Motion:
    """Trips as they were driven, each array `(trips, seconds)`.

    Attributes:
        speed: at the end of each second, m/s.
        acceleration: over each second, m/s2.
        place: step of the road, an index.
    """

    speed: Floats
    acceleration: Floats
    place: NDArray[np.int32]


def drive(
    aim_mps: Floats, left_s: Floats, cars: Cars, drivers: Drivers, danger: Danger, road: Road, rng: np.random.Generator
) -> Motion:
    """Drive trips.

    The driver speeds up as they like towards the cycle's next turning speed, holds it, rolls, and brakes when their own
    deceleration is needed to be slow enough in time: so who brakes late brakes hard, whatever the cycle does.

    Args:
        aim_mps: next turning speed of each second, `(trips, seconds)`.
        left_s: seconds to it.
        cars: of each trip.
        drivers: of each trip.
        danger: dangerous stretches.
        road: slopes.
        rng: of the driver's unevenness.
    """
    trips, seconds = aim_mps.shape
    wander = _remembering(rng, (seconds, trips), 0.93) * drivers.wander
    aim = np.ascontiguousarray((aim_mps * danger.hurry).T) * (drivers.speed * (1 + wander))
    left = np.ascontiguousarray(left_s.T)
    push = np.ascontiguousarray(danger.push.T)
    push += _remembering(rng, (seconds, trips), 0.5) * drivers.pumping
    speed, gained = np.empty((seconds, trips), np.float32), np.empty((seconds, trips), np.float32)
    place = np.empty((seconds, trips), np.int32)
    at_m: NDArray[np.float64] = rng.uniform(0, _STEPS * _STEP_M, size=(trips,))
    power = 0.92 * cars.power_w / cars.mass_kg
    drag = 0.5 * AIR_KG_M3 * cars.drag_m2 / cars.mass_kg
    v, a = np.zeros(trips, np.float32), np.zeros(trips, np.float32)
    for t in range(seconds):
        step = (at_m * (1 / _STEP_M)).astype(np.int32) & (_STEPS - 1)
        wanted = _wanted(v, aim[t], left[t], drivers) + push[t]
        a += (wanted - a) * drivers.response
        # What the engine can do at this speed and slope; the tyres below that, and backwards.
        np.minimum(a, power / (v + 3) - drag * v * v - G * (road.grade[step] + cars.rolling), out=a)
        np.clip(a, -_GRIP_MPS2, 5.0, out=a)
        following = np.maximum(v + a, 0)
        # Nobody creeps: below walking pace without a wish to go, the car stands.
        following[(following < 0.4) & (aim[t] < 0.3)] = 0
        a = following - v
        v = following
        speed[t], gained[t], place[t] = v, a, step
        at_m += v
    return Motion(np.ascontiguousarray(speed.T), np.ascontiguousarray(gained.T), np.ascontiguousarray(place.T))


def _wanted(v: Floats, aim: Floats, left: Floats, drivers: Drivers) -> Floats:
    """Return the acceleration that the drivers want now, `(trips,)`, m/s2."""
    gap = aim - v
    up = np.minimum(drivers.speeding_up / (1 + 0.03 * v), 0.6 * gap)
    needed = -gap / left
    roll = np.where(needed > 0.3 * drivers.slowing_down, -drivers.coasting, np.float32(0))
    brake = -np.maximum(needed, drivers.slowing_down)
    # Close to what is aimed at, the brake is let go in time.
    brake = np.maximum(brake, np.minimum(gap, -0.1))
    down = np.where(needed > 0.85 * drivers.slowing_down, brake, roll)
    wanted: Floats = np.where(gap >= 0, up, down)
    return wanted


def _remembering(rng: np.random.Generator, shape: tuple[int, int], memory: float) -> Floats:
    """Return noise of spread 1 that remembers along the first axis, `(seconds, trips)`."""
    from scipy.signal import lfilter

    shocks = rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(1 - memory**2))
    out: Floats = lfilter(np.ones(1, np.float32), np.array([1.0, -memory], np.float32), shocks, axis=0)
    return out
