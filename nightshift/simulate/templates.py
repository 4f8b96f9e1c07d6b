"""What a usual machine of each type has: sensors, ways to fail and limits, scaled from a nameplate.

Values are rules of thumb for a first profile; whoever knows the machine better edits the YAML.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from nightshift.simulate.catalogue import QUANTITIES, MachineType, Mode

Working = Literal["round_the_clock", "weekdays", "two_shifts", "two_shifts_and_saturday"]
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")

#: Zone borders A/B and C/D in mm/s RMS. Source: ISO 10816-1:1995, Annex B, table B.1.
_ZONES = {"I": (0.71, 4.5), "II": (1.12, 7.1), "III": (1.8, 11.2), "IV": (2.8, 18.0)}
#: Alarm of the winding, K below the class's limit temperature, degC. Source: IEC 60085 (130, 155, 180).
_WINDING_ALARM_C = {"B": 120, "F": 145, "H": 165}
_SUFFIX = {
    "Nm": "nm",
    "%": "pct",
    "degC": "c",
    "h": "",
    "rpm": "rpm",
    "A": "a",
    "kW": "kw",
    "bar": "bar",
    "1/ml": "per_ml",
    "mm/s": "mm_s",
    "m/s2": "m_s2",
    "dB": "db",
    "m3/h": "m3_h",
    "kPa": "kpa",
    "Pa": "pa",
    "um": "um",
}
#: Quantities without which a model of the machine makes little sense.
_CRITICAL = (
    *("torque", "stator_current", "input_power", "flow", "discharge_pressure", "discharge_temperature"),
    *("bearing_temperature", "vibration_drive_end", "winding_temperature", "oil_temperature"),
)


@dataclass(frozen=True)
class Template:
    """Defaults of a machine type.

    Attributes:
        sensors: quantities.
        modes: ways to fail, with their shares of the failures and mean onset.
        pressure_bar, flow_per_kw: rated pressure, and rated flow in m3/h per kW; 0 where no medium is moved.
    """

    title: str
    power_kw: float
    speed_rpm: float
    sensors: tuple[str, ...]
    modes: tuple[tuple[Mode, float, float], ...]
    bearings: tuple[str, ...]
    working: Working = "two_shifts"
    mean_life_h: float = 700
    sampling_s: float = 3600
    pressure_bar: float = 0.0
    flow_per_kw: float = 0.0


_BASIC = ("ambient_temperature", "hours_since_overhaul", "stator_current", "bearing_temperature", "vibration_drive_end")

TEMPLATES: dict[MachineType, Template] = {
    MachineType.INDUCTION_MOTOR: Template(
        "Induction motor",
        15,
        1465,
        ("torque", *_BASIC, "winding_temperature", "shaft_speed"),
        ((Mode.BEARING_WEAR, 0.6, 0.5), (Mode.INSULATION_AGEING, 0.4, 0.5)),
        ("6309", "6209"),
    ),
    MachineType.CENTRIFUGAL_PUMP: Template(
        "Centrifugal pump",
        22,
        2945,
        ("load", *_BASIC, "flow", "suction_pressure", "discharge_pressure", "vibration_acceleration"),
        ((Mode.CAVITATION, 0.4, 0.55), (Mode.BEARING_WEAR, 0.35, 0.5), (Mode.FOULING, 0.25, 0.45)),
        ("6310", "6310"),
        working="round_the_clock",
        mean_life_h=600,
        pressure_bar=5,
        flow_per_kw=5.5,
    ),
    MachineType.SCREW_COMPRESSOR: Template(
        "Screw compressor",
        55,
        2970,
        (*_BASIC, "discharge_pressure", "discharge_temperature", "oil_temperature", "oil_pressure"),
        ((Mode.FOULING, 0.4, 0.45), (Mode.LUBRICATION_LOSS, 0.35, 0.5), (Mode.BEARING_WEAR, 0.25, 0.55)),
        ("NU311", "7311"),
        mean_life_h=900,
        pressure_bar=7.5,
        flow_per_kw=10.5,
    ),
    MachineType.GEARBOX: Template(
        "Gear unit",
        90,
        1485,
        ("torque", *_BASIC, "oil_temperature", "oil_pressure", "oil_particles", "vibration_acceleration"),
        ((Mode.BEARING_WEAR, 0.5, 0.55), (Mode.LUBRICATION_LOSS, 0.3, 0.5), (Mode.IMBALANCE, 0.2, 0.5)),
        ("22316", "32218"),
        working="round_the_clock",
        mean_life_h=1000,
    ),
    MachineType.FAN: Template(
        "Radial fan",
        37,
        1478,
        ("load", *_BASIC, "flow", "static_pressure", "vibration_non_drive_end"),
        ((Mode.IMBALANCE, 0.45, 0.5), (Mode.FOULING, 0.3, 0.45), (Mode.BEARING_WEAR, 0.25, 0.55)),
        ("22216", "22216"),
        mean_life_h=800,
        pressure_bar=0.016,
        flow_per_kw=1600,
    ),
    MachineType.CNC_SPINDLE: Template(
        "Motor spindle",
        25,
        12_000,
        ("load", *_BASIC, "winding_temperature", "vibration_acceleration", "thermal_growth"),
        ((Mode.BEARING_WEAR, 0.5, 0.5), (Mode.LUBRICATION_LOSS, 0.3, 0.5), (Mode.IMBALANCE, 0.2, 0.45)),
        ("7014C", "7014C"),
        mean_life_h=300,
        sampling_s=900,
    ),
}

#: Shifts, and the load outside of them.
SHIFTS: dict[Working, tuple[dict[str, Any], ...]] = {
    "round_the_clock": ({"begin": "00:00", "end": "24:00"},),
    "weekdays": ({"begin": "00:00", "end": "24:00", "days": list(_WEEKDAYS)},),
    "two_shifts": ({"begin": "06:00", "end": "22:00", "days": list(_WEEKDAYS)},),
    "two_shifts_and_saturday": (
        {"begin": "06:00", "end": "22:00", "days": list(_WEEKDAYS)},
        {"begin": "06:00", "end": "14:00", "days": ["sat"], "load": 0.8},
    ),
}


@dataclass(frozen=True)
class Plate:
    """The figures of a nameplate that ranges are scaled from."""

    machine_type: MachineType
    power_kw: float
    speed_rpm: float
    voltage_v: float
    vibration_class: str
    insulation_class: str
    flow_m3_h: float
    pressure_bar: float
    mean_life_h: float


def usual_class(power_kw: float) -> str:
    """Return the vibration class of ISO 10816-1, Annex B: I to 15 kW, II to 75 kW, III above."""
    return "I" if power_kw <= 15 else "II" if power_kw <= 75 else "III"


def sensor_block(quantity: str, plate: Plate) -> dict[str, Any]:
    """Return a sensor of a profile: range about twice the rated value, noise and mounting about 1 % of it."""
    about = QUANTITIES[quantity]
    low, high, noise, bias, alarm = _scale(quantity, plate)
    suffix = _SUFFIX[about.unit]
    low, high = max(low, about.low), min(high, about.high)
    block: dict[str, Any] = {
        "name": f"{quantity}_{suffix}" if suffix else quantity,
        "measures": quantity,
        "range": [low, high],
        "noise": _short(min(noise, (high - low) / 20)),
    }
    if bias:
        block["bias"] = _short(min(bias, (high - low) / 20))
    if quantity in _CRITICAL:
        block["critical"] = True
    if alarm and low < alarm < high:
        block["alarm_above"] = _short(alarm)
    return block


def failure_block(mode: Mode, share: float, onset: float, plate: Plate) -> dict[str, Any]:
    """Return a failure mode of a profile; shaking grows towards zone D of the machine's class."""
    limit = _ZONES[plate.vibration_class][1]
    part = {Mode.BEARING_WEAR: 0.6, Mode.IMBALANCE: 0.7, Mode.CAVITATION: 0.25, Mode.FOULING: 0.08}.get(mode)
    block: dict[str, Any] = {"mode": str(mode), "share": share, "onset": onset}
    if part:
        block["vibration_rise_mm_s"] = _short(part * limit)
    return block


def _scale(quantity: str, plate: Plate) -> tuple[float, float, float, float, float]:
    """Return a sensor's lower and upper end, noise, bias and alarm, 0 for none."""
    sound, limit = _ZONES[plate.vibration_class]
    temperature = {
        "ambient_temperature": (-40, 70, 0.3, 0, 0),
        "winding_temperature": (-40, 250, 1, 1, _WINDING_ALARM_C[plate.insulation_class]),
        "bearing_temperature": (-40, 200, 0.7, 1, 95),
        "oil_temperature": (-40, 200, 0.8, 0.8, 100),
        "discharge_temperature": (-40, 300, 0.8, 0.8, 115),
    }
    fixed: dict[str, tuple[float, float, float, float, float]] = {
        **temperature,
        "load": (0, 150, 1.5, 0, 0),
        "hours_since_overhaul": (0, _above(20 * plate.mean_life_h), 0, 0, 0),
        "oil_pressure": (0, 20, 0.06, 0.05, 0),
        "oil_particles": (0, 100_000, 30, 20, 0),
        "vibration_drive_end": (0, _above(5 * limit), 0.06 * sound, 0.06 * sound, limit),
        "vibration_non_drive_end": (0, _above(5 * limit), 0.06 * sound, 0.06 * sound, limit),
        "vibration_acceleration": (0, 400, 0.1 * sound, 0.1 * sound, 0),
        "sound_level": (20, 150, 0.8, 1, 0),
        "suction_pressure": (0, 10, 0.03, 0.03, 0),
        "filter_pressure_drop": (0, 100, 0.01 if plate.machine_type is MachineType.FAN else 0.05, 0, 0),
        "thermal_growth": (-200, 1000, 1, 1, 0),
    }
    return fixed[quantity] if quantity in fixed else _rated(quantity, plate)


def _rated(quantity: str, plate: Plate) -> tuple[float, float, float, float, float]:
    """Scale a quantity that the nameplate gives: rated value, then room above, noise and bias as shares of it."""
    current = plate.power_kw * 1000 / (math.sqrt(3) * plate.voltage_v * 0.85 * 0.92)
    values: dict[str, tuple[float, float, float, float]] = {
        "torque": (plate.power_kw * 9549.3 / plate.speed_rpm, 2.0, 0.01, 0),
        "shaft_speed": (plate.speed_rpm, 1.2, 0.001, 0.0005),
        "stator_current": (current, 2.5, 0.01, 0.006),
        "input_power": (plate.power_kw, 2.5, 0.01, 0.006),
        "flow": (plate.flow_m3_h, 2.0, 0.015, 0.012),
        "discharge_pressure": (plate.pressure_bar + 1, 2.5, 0.01, 0.008),
        "static_pressure": (plate.pressure_bar * 1e5, 3.0, 0.012, 0.01),
    }
    rated, room, noise, bias = values[quantity]
    alarm = 1.15 * rated if quantity == "stator_current" else 0.0
    return 0.0, _above(room * rated), noise * rated, bias * rated, alarm


def _above(value: float) -> float:
    """Return the next round number above."""
    ten = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(step * ten for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * ten >= value):g}")


def _short(value: float) -> float:
    return float(f"{value:.3g}")
