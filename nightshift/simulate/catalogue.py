"""What machines there are, what can be measured on them, and how they can fail: the words that profiles use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["sensor", "setting", "age"]


class MachineType(StrEnum):
    """Kinds of machines that the physics knows."""

    INDUCTION_MOTOR = "induction_motor"
    CENTRIFUGAL_PUMP = "centrifugal_pump"
    SCREW_COMPRESSOR = "screw_compressor"
    GEARBOX = "gearbox"
    FAN = "fan"
    CNC_SPINDLE = "cnc_spindle"


class Mode(StrEnum):
    """Ways to fail."""

    BEARING_WEAR = "bearing_wear"
    INSULATION_AGEING = "insulation_ageing"
    CAVITATION = "cavitation"
    IMBALANCE = "imbalance"
    FOULING = "fouling"
    LUBRICATION_LOSS = "lubrication_loss"


@dataclass(frozen=True)
class Quantity:
    """Something that an instrument can show.

    Attributes:
        unit: the unit it is simulated and stored in.
        role: of the column, as in `nightshift.data.schema.Sensor`.
        low, high: what is physically possible at all; a sensor's range lies within.
        meaning: for people.
    """

    unit: str
    role: Role
    low: float
    high: float
    meaning: str


QUANTITIES: dict[str, Quantity] = {
    "torque": Quantity("Nm", "setting", 0, 100_000, "torque at the shaft"),
    "load": Quantity("%", "setting", 0, 150, "share of rated power that is asked for"),
    "ambient_temperature": Quantity("degC", "setting", -60, 80, "air around the machine"),
    "hours_since_overhaul": Quantity("h", "age", 0, 1_000_000, "operating hour meter, reset at an overhaul"),
    "shaft_speed": Quantity("rpm", "sensor", 0, 60_000, "speed of the shaft"),
    "stator_current": Quantity("A", "sensor", 0, 10_000, "current per phase"),
    "input_power": Quantity("kW", "sensor", 0, 100_000, "electrical power drawn"),
    "winding_temperature": Quantity("degC", "sensor", -60, 300, "hottest winding"),
    "bearing_temperature": Quantity("degC", "sensor", -60, 250, "drive-end bearing"),
    "oil_temperature": Quantity("degC", "sensor", -60, 250, "lubricant, at the outlet"),
    "oil_pressure": Quantity("bar", "sensor", 0, 100, "lubricant, after the pump"),
    "oil_particles": Quantity("1/ml", "sensor", 0, 1_000_000, "particles above 6 um in the oil"),
    "vibration_drive_end": Quantity("mm/s", "sensor", 0, 200, "vibration velocity RMS, 10-1000 Hz"),
    "vibration_non_drive_end": Quantity("mm/s", "sensor", 0, 200, "vibration velocity RMS at the other end"),
    "vibration_acceleration": Quantity("m/s2", "sensor", 0, 2_000, "high-frequency acceleration RMS"),
    "sound_level": Quantity("dB", "sensor", 0, 160, "sound pressure level at one metre"),
    "flow": Quantity("m3/h", "sensor", 0, 1_000_000, "volume flow delivered"),
    "suction_pressure": Quantity("bar", "sensor", 0, 100, "pressure at the inlet, absolute"),
    "discharge_pressure": Quantity("bar", "sensor", 0, 1_000, "pressure at the outlet, absolute"),
    "discharge_temperature": Quantity("degC", "sensor", -60, 400, "medium at the outlet"),
    "filter_pressure_drop": Quantity("kPa", "sensor", 0, 1_000, "across the inlet filter"),
    "static_pressure": Quantity("Pa", "sensor", 0, 100_000, "raised by the fan"),
    "thermal_growth": Quantity("um", "sensor", -1_000, 5_000, "axial displacement of the spindle nose"),
}

_COMMON = (
    *("load", "ambient_temperature", "hours_since_overhaul", "shaft_speed", "stator_current", "input_power"),
    *("bearing_temperature", "vibration_drive_end", "vibration_non_drive_end", "vibration_acceleration"),
    *("sound_level", "torque", "winding_temperature"),
)


@dataclass(frozen=True)
class MachineKind:
    """What a machine type has: quantities that can be measured on it, and modes it can fail by."""

    title: str
    quantities: tuple[str, ...]
    modes: tuple[Mode, ...]


KINDS: dict[MachineType, MachineKind] = {
    MachineType.INDUCTION_MOTOR: MachineKind(
        "induction motor",
        _COMMON,
        (Mode.BEARING_WEAR, Mode.INSULATION_AGEING, Mode.IMBALANCE, Mode.LUBRICATION_LOSS),
    ),
    MachineType.CENTRIFUGAL_PUMP: MachineKind(
        "centrifugal pump",
        (*_COMMON, "flow", "suction_pressure", "discharge_pressure"),
        (Mode.BEARING_WEAR, Mode.CAVITATION, Mode.FOULING, Mode.IMBALANCE),
    ),
    MachineType.SCREW_COMPRESSOR: MachineKind(
        "screw compressor",
        (
            *_COMMON,
            *("flow", "discharge_pressure", "discharge_temperature"),
            *("oil_temperature", "oil_pressure", "filter_pressure_drop"),
        ),
        (Mode.BEARING_WEAR, Mode.FOULING, Mode.LUBRICATION_LOSS, Mode.INSULATION_AGEING),
    ),
    MachineType.GEARBOX: MachineKind(
        "gearbox",
        (*_COMMON, "oil_temperature", "oil_pressure", "oil_particles"),
        (Mode.BEARING_WEAR, Mode.LUBRICATION_LOSS, Mode.IMBALANCE),
    ),
    MachineType.FAN: MachineKind(
        "fan",
        (*_COMMON, "flow", "static_pressure", "filter_pressure_drop"),
        (Mode.IMBALANCE, Mode.FOULING, Mode.BEARING_WEAR),
    ),
    MachineType.CNC_SPINDLE: MachineKind(
        "CNC spindle",
        (*_COMMON, "oil_temperature", "thermal_growth"),
        (Mode.BEARING_WEAR, Mode.LUBRICATION_LOSS, Mode.IMBALANCE, Mode.INSULATION_AGEING),
    ),
}
