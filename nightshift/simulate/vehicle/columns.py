"""Columns of a vehicle's telemetry, and the kinds of driving: the same names from a simulator, a CSV or a real car."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import Sensor, TruthColumn

#: Single precision throughout: what is stored has no more.
Floats = NDArray[np.floating[Any]]

#: Styles of whole trips, in code order.
BEHAVIOURS = ("calm", "normal", "aggressive", "drowsy")
#: What a row's driving is; stretches of the others are dangerous. The first is normal.
DRIVING = ("normal", "harsh_braking", "tailgating", "swerving", "curve_speeding")

FUEL, CARBON, BEHAVIOUR, ODD = "fuel_consumption", "co2", "behaviour", "driving"


@dataclass(frozen=True)
class Signal:
    """One column as its instrument shows it.

    Attributes:
        name, unit: of the column.
        minimum, maximum: its range in `unit`.
        resolution: smallest step that is shown.
        noise: standard deviation of the instrument's noise.
        setting: whether it is an operating point rather than a measured state.
    """

    name: str
    unit: str
    minimum: float
    maximum: float
    resolution: float
    noise: float
    setting: bool = False


#: Ranges and steps are those of OBD-II where it has the signal (SAE J1979: 1 kPa, 0.25 rpm, 0.4 % pedal, 1 degC) or
#: finer; noise of the inertial sensors is an automotive MEMS unit's, averaged over the second.
SIGNALS = (
    Signal("velocity", "m/s", 0, 90, 0.01, 0.05),
    Signal("acceleration", "m/s2", -15, 15, 0.01, 0.08),
    Signal("throttle", "", 0, 1, 0.001, 0.008),
    Signal("brake", "", 0, 1, 0.001, 0.006),
    Signal("steer", "", -1, 1, 0.001, 0.002),
    Signal("gear", "", 0, 8, 1, 0.0),
    Signal("engine_rpm", "rpm", 0, 8000, 1, 12.0),
    Signal("imu_accel_x", "m/s2", -20, 20, 0.001, 0.10),
    Signal("imu_accel_y", "m/s2", -20, 20, 0.001, 0.10),
    Signal("imu_accel_z", "m/s2", -10, 30, 0.001, 0.06),
    Signal("imu_gyro_x", "rad/s", -4, 4, 0.0001, 0.004),
    Signal("imu_gyro_y", "rad/s", -4, 4, 0.0001, 0.004),
    Signal("imu_gyro_z", "rad/s", -4, 4, 0.0001, 0.004),
    Signal("grade", "", -0.4, 0.4, 0.0001, 0.003),
    Signal("accelerator_pedal", "%", 0, 100, 0.1, 0.6),
    Signal("manifold_pressure", "kPa", 10, 300, 0.1, 1.0),
    Signal("coolant_temperature", "degC", -40, 215, 0.1, 0.2),
    Signal("intake_air_temperature", "degC", -40, 215, 0.1, 0.3),
    Signal("ambient_temperature", "degC", -40, 60, 0.1, 0.2, setting=True),
)

TRUTHS = (
    TruthColumn(name=FUEL, role="fuel", unit="L/h"),
    TruthColumn(name=CARBON, role="carbon", unit="g/s"),
    TruthColumn(name=BEHAVIOUR, role="behaviour", classes=BEHAVIOURS),
    TruthColumn(name=ODD, role="odd", classes=DRIVING),
)


def sensors() -> tuple[Sensor, ...]:
    """Return the input columns as a dataset describes them."""
    return tuple(
        Sensor(
            name=s.name,
            unit=s.unit,
            role="setting" if s.setting else "sensor",
            minimum=s.minimum,
            maximum=s.maximum,
            critical=s.name in ("velocity", "acceleration"),
        )
        for s in SIGNALS
    )
