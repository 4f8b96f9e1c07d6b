"""What instruments show of a trip: the CARLA-like columns, an inertial unit, noise, offsets, steps of resolution."""

from __future__ import annotations

import numpy as np

from nightshift.data.importers.vehicle_columns import SIGNALS
from nightshift.simulate.vehicle.columns import INSTRUMENTS, Floats
from nightshift.simulate.vehicle.drive import G, Motion, Road
from nightshift.simulate.vehicle.drivers import Danger, Drivers
from nightshift.simulate.vehicle.fleet import Cars
from nightshift.simulate.vehicle.powertrain import Engine, Weather

#: Wheel angle at full lock, rad; tightest turn, m; how much more the wheel turns per lateral acceleration.
_LOCK_RAD, _TIGHTEST_M, _UNDERSTEER = 0.61, 6.0, 0.0025
#: Roll and pitch of the body per m/s2, rad.
_ROLL, _PITCH = 0.0075, 0.005
#: Mounting offsets of the inertial unit: accelerations m/s2, rates rad/s.
_OFFSETS = {"imu_accel": 0.04, "imu_gyro": 0.002}


def lateral(motion: Motion, drivers: Drivers, danger: Danger, road: Road, rng: np.random.Generator) -> Floats:
    """Return lateral acceleration, `(trips, seconds)`, m/s2: bends, wandering within the lane, slalom.

    Bends are as tight as the driver's comfort takes them at their speed, and gentler on fast roads; the tightest turn
    limits it at low speed.
    """
    v = motion.speed
    trips, seconds = v.shape
    fade = 1 / (1 + (v * np.float32(1 / 24)) ** 2)
    bends = road.bend[motion.place] * drivers.bends[:, None] * fade * 1.6
    t = np.arange(seconds, dtype=np.float32)
    turn = t * (2 * np.pi / drivers.weave_s[:, None]) + rng.uniform(0, 6.28, (trips, 1)).astype(np.float32)
    weave = np.sin(turn + 1.5 * np.sin(turn * 0.31)) * drivers.weave[:, None]
    weave *= 0.5 + rng.random((trips, seconds), dtype=np.float32)
    moving = np.minimum(v * 0.125, 1)
    most = np.minimum(v * v / _TIGHTEST_M, 8.0)
    held: Floats = np.clip(bends + (weave + danger.swerve) * moving, -most, most)
    return held


def shown(readings: dict[str, Floats], rng: np.random.Generator) -> dict[str, Floats]:
    """Return what is true of every input column, `(trips, seconds)`, as its instrument shows it."""
    return {name: _instrument(name, readings[name], rng) for name in INSTRUMENTS}


def true_readings(
    motion: Motion,
    engine: Engine,
    sideways: Floats,
    cars: Cars,
    weather: Weather,
    road: Road,
    rng: np.random.Generator,
) -> dict[str, Floats]:
    """Return every input column without its instrument's faults, `(trips, seconds)`."""
    v, a = motion.speed, motion.acceleration
    grade = road.grade[motion.place]
    bend = sideways / np.maximum(v * v, 1.0)
    wheel = np.arctan(bend * cars.wheelbase_m[:, None]) + _UNDERSTEER * sideways
    rough = rng.standard_normal(v.shape, dtype=np.float32) * (v * np.float32(0.008))
    ambient = np.broadcast_to(weather.ambient_c, v.shape)
    return {
        "velocity": v,
        "acceleration": a,
        "throttle": engine.share,
        "brake": engine.brake,
        "steer": wheel * np.float32(1 / _LOCK_RAD),
        "gear": engine.gear,
        "engine_rpm": engine.rpm,
        "imu_accel_x": a + G * grade,
        "imu_accel_y": sideways,
        "imu_accel_z": G - 0.5 * G * grade * grade + rough,
        "imu_gyro_x": _rate(sideways) * np.float32(_ROLL),
        "imu_gyro_y": _rate(a) * np.float32(-_PITCH) + _rate(grade),
        "imu_gyro_z": bend * v,
        "grade": grade,
        "accelerator_pedal": 100 * engine.share * (1.25 - 0.25 * engine.share),
        "manifold_pressure": engine.manifold_kpa,
        "coolant_temperature": engine.coolant_c,
        "intake_air_temperature": engine.intake_c,
        "ambient_temperature": ambient,
    }


def _rate(values: Floats) -> Floats:
    """Return the change per second, 0 in the first."""
    out = np.empty_like(values)
    out[:, 0] = 0
    np.subtract(values[:, 1:], values[:, :-1], out=out[:, 1:])
    return out


def _instrument(name: str, clean: Floats, rng: np.random.Generator) -> Floats:
    """Return what an instrument shows, within the column's range."""
    own = INSTRUMENTS[name]
    out = np.array(clean, np.float32)
    if own.noise:
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        noise *= np.float32(own.noise)
        if own.rests:
            noise *= clean > 0
        out += noise
    offset = next((spread for begin, spread in _OFFSETS.items() if name.startswith(begin)), 0.0)
    if offset:
        out += (offset * rng.standard_normal((len(clean), 1))).astype(np.float32)
    out *= np.float32(1 / own.resolution)
    np.rint(out, out=out)
    out *= np.float32(own.resolution)
    return np.clip(out, np.float32(SIGNALS[name].minimum), np.float32(SIGNALS[name].maximum), out=out)
