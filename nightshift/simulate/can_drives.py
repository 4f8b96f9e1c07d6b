"""What a simulated bus carries: the simulated vehicle's trips, brought from 1 Hz to the pace of sensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.vehicle_columns import FUEL
from nightshift.simulate.can_signals import RATE_HZ, Drive
from nightshift.simulate.vehicle.cycles import Cycles, made_cycles
from nightshift.simulate.vehicle.episodes import Plan, Trips, parts_of, simulate

#: A drive is cut out of a longer trip: not each begins with a start in the cold.
_TRIP_S, _AROUND_S = 300, 240
#: Wheel; the steering wheel at full lock; the torque of a compact car's engine at full throttle.
_WHEEL_M, _LOCK_DEG, _TORQUE_NM = 0.31, 520.0, 190.0
#: Signal -> column of the vehicle, factor, and the sensor's own noise at its own pace.
_FROM = {
    "rpm": ("engine_rpm", 1.0, 4.0),
    "speed_mps": ("velocity", 1.0, 0.0),
    "throttle_pct": ("throttle", 100.0, 0.15),
    "pedal_pct": ("accelerator_pedal", 1.0, 0.0),
    "brake_pct": ("brake", 100.0, 0.0),
    "torque_nm": ("throttle", _TORQUE_NM, 0.8),
    "steer_deg": ("steer", _LOCK_DEG, 0.0),
    "yaw_dps": ("imu_gyro_z", 180.0 / math.pi, 0.05),
    "lateral_mps2": ("imu_accel_y", 1.0, 0.04),
    "forward_mps2": ("acceleration", 1.0, 0.05),
    "coolant_c": ("coolant_temperature", 1.0, 0.0),
    "intake_c": ("intake_air_temperature", 1.0, 0.0),
    "manifold_kpa": ("manifold_pressure", 1.0, 0.4),
}
_LIT, _STANDS_MPS = 0.01, 0.1


@dataclass(frozen=True)
class Driven:
    """One drive of a part.

    Attributes:
        part: `train`, `val` or `test`.
        vehicle: number of the car; no car is in two parts.
        drive: its signals.
    """

    part: str
    vehicle: int
    drive: Drive


def make_drives(counts: Mapping[str, int], seconds: float, seed: int, cycles: Cycles | None = None) -> Iterator[Driven]:
    """Yield drives of the simulated vehicle, part after part, without dangerous stretches: odd is the bus alone.

    Args:
        counts: drives of each part.
        seconds: of a drive.
        seed: of everything random.
        cycles: that are driven, each in one part only; made traffic without.

    Raises:
        UsageError: for a seed that is none.
        DataError: for fewer than three kins of cycles.
    """
    trip_s = max(_TRIP_S, math.ceil(seconds) + _AROUND_S)
    plan = Plan(_trips_for(counts), trip_s, seed, made_cycles() if cycles is None else cycles)
    rng = np.random.default_rng([seed, 83])
    left = dict(counts)
    for trips in simulate(plan):
        for trip in np.flatnonzero(~trips.driving.any(axis=1)).tolist():
            if left.get(trips.part, 0):
                left[trips.part] -= 1
                yield Driven(trips.part, int(trips.vehicle[trip]), _drive(trips, trip, seconds, rng))
        if not any(left.values()):
            return


def _trips_for(counts: Mapping[str, int]) -> int:
    """Return how many trips hold enough in each part: every other one has dangerous stretches."""
    trips = 6
    while any(parts_of(trips)[part] < 2 * count + 1 for part, count in counts.items() if count):
        trips += 1
    return trips


def _drive(trips: Trips, trip: int, seconds: float, rng: np.random.Generator) -> Drive:
    """Return a stretch of a trip as sensors see it between the seconds too."""
    from scipy.interpolate import PchipInterpolator

    time = np.arange(0.0, seconds + 1.0, 1.0 / RATE_HZ)
    last = math.ceil(time[-1]) + 1
    first = int(rng.integers(trips.columns["velocity"].shape[1] - last))
    whole = np.arange(last + 1)

    def column(name: str) -> NDArray[np.float64]:
        # Without overshoot: what stands between two seconds lies between their values.
        values = trips.columns[name][trip, first : first + last + 1].astype(np.float64)
        return np.asarray(PchipInterpolator(whole, values)(time), np.float64)

    def noise(spread: float) -> NDArray[np.float64]:
        return rng.normal(0.0, spread, len(time))

    signals = {name: factor * column(of) + noise(spread) for name, (of, factor, spread) in _FROM.items()}
    speed = signals["speed_mps"]
    signals |= {
        # A gear is there or not.
        "gear": trips.columns["gear"][trip, first + np.round(time).astype(np.intp)].astype(np.float64),
        "flag_brake": (signals["brake_pct"] > 100 * _LIT).astype(float),
        "flag_idle": (speed < _STANDS_MPS).astype(float),
        "fuel_l": 38.0 - np.cumsum(column(FUEL)) / (RATE_HZ * 3600.0),
        "odometer_m": 41_230_000.0 + np.cumsum(speed) / RATE_HZ,
        "battery_v": 14.1 + noise(0.03),
    }
    for i in range(4):
        signals[f"wheel_{i}_rps"] = speed / (2 * np.pi * _WHEEL_M) * (1 + 0.002 * i) + noise(0.004)
    return Drive(time, signals)
