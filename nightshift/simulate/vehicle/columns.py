"""Columns of a vehicle's telemetry, and the kinds of driving: the same names from a simulator, a CSV or a real car."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.vehicle_columns import BEHAVIOUR, CARBON, DRIVING, FUEL, NORMAL, SIGNALS, truth_column
from nightshift.data.schema import Sensor, TruthColumn

#: Single precision throughout: what is stored has no more.
Floats = NDArray[np.floating[Any]]

#: Styles of whole trips, in code order.
BEHAVIOURS = ("calm", "normal", "aggressive", "drowsy")
#: What a row's driving is; stretches of the others are dangerous. The first is normal.
KINDS = (NORMAL, "harsh_braking", "tailgating", "swerving", "curve_speeding")


@dataclass(frozen=True)
class Instrument:
    """How one column is shown; its unit and range are the column's own (`SIGNALS`).

    Attributes:
        resolution: smallest step that is shown.
        noise: standard deviation of the instrument's noise.
        rests: whether it shows 0 without noise when there is nothing to show, as a pedal that is let go.
    """

    resolution: float
    noise: float
    rests: bool = False


#: Steps are those of OBD-II where it has the signal, or finer; noise of the inertial sensors is an automotive MEMS
#: unit's, averaged over the second.
INSTRUMENTS = {
    "velocity": Instrument(0.01, 0.05, rests=True),
    "acceleration": Instrument(0.01, 0.08),
    "throttle": Instrument(0.001, 0.008, rests=True),
    "brake": Instrument(0.001, 0.006, rests=True),
    "steer": Instrument(0.001, 0.002),
    "gear": Instrument(1, 0.0),
    "engine_rpm": Instrument(1, 12.0),
    "imu_accel_x": Instrument(0.001, 0.10),
    "imu_accel_y": Instrument(0.001, 0.10),
    "imu_accel_z": Instrument(0.001, 0.06),
    "imu_gyro_x": Instrument(0.0001, 0.004),
    "imu_gyro_y": Instrument(0.0001, 0.004),
    "imu_gyro_z": Instrument(0.0001, 0.004),
    "grade": Instrument(0.0001, 0.003),
    "accelerator_pedal": Instrument(0.1, 0.6, rests=True),
    "manifold_pressure": Instrument(0.1, 1.0),
    "coolant_temperature": Instrument(0.1, 0.2),
    "intake_air_temperature": Instrument(0.1, 0.3),
    "ambient_temperature": Instrument(0.1, 0.2),
}


def sensors() -> tuple[Sensor, ...]:
    """Return the input columns as a dataset describes them."""
    return tuple(SIGNALS[name].sensor() for name in INSTRUMENTS)


def truths() -> tuple[TruthColumn, ...]:
    """Return the columns that models answer, as a dataset describes them."""
    kinds = {BEHAVIOUR: BEHAVIOURS, DRIVING: KINDS}
    return tuple(truth_column(name, kinds.get(name, ())) for name in (FUEL, CARBON, BEHAVIOUR, DRIVING))
