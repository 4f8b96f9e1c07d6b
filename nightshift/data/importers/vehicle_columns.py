"""Columns of vehicles' data by name, with their units and ranges: the same from a simulator, a table or a real car."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nightshift.data.schema import Sensor, TruthColumn, TruthRole
from nightshift.errors import DataError

FUEL, CARBON, BEHAVIOUR = "fuel_consumption", "co2", "behaviour"
#: What is odd about a row, on the road and on a bus.
DRIVING, ATTACK = "driving", "attack"
NORMAL = "normal"

#: Unit -> what one of it is in the column's own unit, and what is added then. Exact by definition (SI brochure; BIPM).
Units = Mapping[str, tuple[float, float]]
SPEED: Units = {"m/s": (1, 0), "km/h": (1 / 3.6, 0), "mph": (0.44704, 0)}
ACCELERATION: Units = {"m/s2": (1, 0), "g": (9.80665, 0)}
SHARE: Units = {"": (1, 0), "%": (0.01, 0)}
PERCENT: Units = {"%": (1, 0)}
PRESSURE: Units = {"kPa": (1, 0), "bar": (100, 0), "hPa": (0.1, 0), "psi": (6.894757, 0), "inHg": (3.386389, 0)}
TEMPERATURE: Units = {"degC": (1, 0), "degF": (5 / 9, -160 / 9), "K": (1, -273.15)}
SPIN: Units = {"rpm": (1, 0)}
TURN: Units = {"rad/s": (1, 0), "deg/s": (0.017453292519943295, 0)}
PLAIN: Units = {"": (1, 0)}
AIR_FLOW: Units = {"g/s": (1, 0), "kg/h": (1 / 3.6, 0), "lb/min": (7.559873, 0)}
FUEL_FLOW: Units = {"L/h": (1, 0), "gal/h": (3.785411784, 0)}
CARBON_FLOW: Units = {"g/s": (1, 0), "kg/h": (1 / 3.6, 0)}

#: How loggers spell units.
_SPELLINGS = {
    "kmh": "km/h", "kph": "km/h", "kmph": "km/h", "mi/h": "mph", "mps": "m/s", "ms-1": "m/s",
    "m/s^2": "m/s2", "m/s²": "m/s2", "ms-2": "m/s2", "percent": "%",
    "c": "degC", "°c": "degC", "degc": "degC", "celsius": "degC",
    "f": "degF", "°f": "degF", "degf": "degF", "k": "K", "1/min": "rpm", "min-1": "rpm", "r/min": "rpm",
    "°/s": "deg/s", "l/h": "L/h", "l/hr": "L/h", "mbar": "hPa",
}  # fmt: skip
_HEADER = re.compile(r"(?P<name>.*?)\s*[\[(]\s*(?P<unit>[^\[\]()]*?)\s*[\])]\s*")
#: A degree sign that went through the wrong encoding, any number of times.
_MANGLED = re.compile(r"[^\x00-\x7f]+(?=[CF]$|/s$)")


@dataclass(frozen=True)
class Signal:
    """One input column.

    Attributes:
        name: its column.
        units: that it may come in; the first is its own.
        minimum, maximum: physical range in its own unit.
        setting: an operating point rather than a measured state.
        in_steps: it counts: the last value of a second is kept, where others are averaged.
        critical: see `Sensor`.
    """

    name: str
    units: Units
    minimum: float
    maximum: float
    setting: bool = False
    in_steps: bool = False
    critical: bool = False

    @property
    def unit(self) -> str:
        """The column's own unit."""
        return next(iter(self.units))

    def sensor(self) -> Sensor:
        """Return the column as a dataset describes it."""
        role: Literal["setting", "sensor"] = "setting" if self.setting else "sensor"
        return Sensor(
            name=self.name,
            unit=self.unit,
            role=role,
            critical=self.critical,
            minimum=self.minimum,
            maximum=self.maximum,
        )


SIGNALS = {
    s.name: s
    for s in (
        Signal("velocity", SPEED, 0, 90, critical=True),
        Signal("acceleration", ACCELERATION, -15, 15, critical=True),
        Signal("throttle", SHARE, 0, 1),
        Signal("brake", SHARE, 0, 1),
        Signal("steer", SHARE, -1, 1),
        Signal("gear", PLAIN, -1, 10, in_steps=True),
        Signal("engine_rpm", SPIN, 0, 8000),
        Signal("imu_accel_x", ACCELERATION, -20, 20),
        Signal("imu_accel_y", ACCELERATION, -20, 20),
        Signal("imu_accel_z", ACCELERATION, -10, 30),
        Signal("imu_gyro_x", TURN, -4, 4),
        Signal("imu_gyro_y", TURN, -4, 4),
        Signal("imu_gyro_z", TURN, -4, 4),
        Signal("grade", SHARE, -0.4, 0.4),
        Signal("accelerator_pedal", PERCENT, 0, 100),
        Signal("manifold_pressure", PRESSURE, 10, 300),
        Signal("coolant_temperature", TEMPERATURE, -40, 215),
        Signal("intake_air_temperature", TEMPERATURE, -40, 215),
        Signal("ambient_temperature", TEMPERATURE, -40, 60, setting=True),
    )
}

#: Column -> its role, and the units of a number.
TRUTHS: dict[str, tuple[TruthRole, Units | None]] = {
    FUEL: ("fuel", FUEL_FLOW),
    CARBON: ("carbon", CARBON_FLOW),
    BEHAVIOUR: ("behaviour", None),
    DRIVING: ("odd", None),
    ATTACK: ("odd", None),
}


def truth_column(name: str, classes: tuple[str, ...] = ()) -> TruthColumn:
    """Return a column of truth as a dataset describes it; of what is odd, `normal` comes first."""
    role, units = TRUTHS[name]
    if role == "odd":
        classes = (NORMAL, *(kind for kind in classes if kind != NORMAL))
    return TruthColumn(name=name, role=role, unit=next(iter(units)) if units else "", classes=classes)


def name_and_unit(header: str) -> tuple[str, str | None]:
    """Return a header's name and unit as it is spelled here, None where it has none.

    `Vehicle Speed Sensor [km/h]`, `velocity (m/s)`, `Engine Coolant Temperature [Â°C]`.
    """
    match = _HEADER.fullmatch(header)
    if not match:
        return header.strip(), None
    unit = _MANGLED.sub("°", match["unit"])
    return match["name"].strip(), _SPELLINGS.get(unit.lower(), unit)


def is_mangled(header: str) -> bool:
    """Whether a header holds a degree sign that is none any more."""
    match = _HEADER.fullmatch(header)
    found = _MANGLED.search(match["unit"]) if match else None
    return found is not None and found[0] not in ("°", "º")


def conversion(units: Units, unit: str | None, assumed: str, column: str, source: str) -> tuple[float, float]:
    """Return what a unit's values are multiplied by, and what is added, to be in the column's own.

    Args:
        units: that the column may come in.
        unit: as the header says; None where it says nothing.
        assumed: unit of a header that says nothing.
        column: its header.
        source: its file.

    Raises:
        DataError: for a unit that is not known.
    """
    chosen = assumed if unit is None else unit
    fitting = next((u for u in units if u.lower() == chosen.lower()), None)
    if fitting is None:
        known = ", ".join(u or "none" for u in units)
        raise DataError(
            f"D025: '{column}' of {source} is in '{chosen}', expected one of: {known}.",
            hint="Write the unit in brackets in the header.",
        )
    return units[fitting]
