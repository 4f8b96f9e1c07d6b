"""What follows from a nameplate: synchronous speed, rated current, zones of vibration, rated flow and pressure."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.physics.series import Array
from nightshift.simulate.profile import Profile
from nightshift.simulate.profile_parts import Nameplate

#: Zone borders A/B, B/C and C/D in mm/s RMS. Source: ISO 10816-1:1995, Annex B, table B.1.
ZONES: dict[str, tuple[float, float, float]] = {
    "I": (0.71, 1.8, 4.5),
    "II": (1.12, 2.8, 7.1),
    "III": (1.8, 4.5, 11.2),
    "IV": (2.8, 7.1, 18.0),
}
#: Limits of the winding's rise by resistance, K. Source: IEC 60034-1, table 8 (indirect air cooling, below 200 kW).
RISE_LIMIT_K = {"B": 80.0, "F": 105.0, "H": 125.0}
#: Motors are built with a reserve to their class: class F used to about class B is usual.
_USED_RISE = 0.72
_MAX_SLIP = 0.08
_INVERTER_SLIP = 0.02
#: Machines whose speed follows the demand; the others turn at nearly one speed.
_VARIABLE = (MachineType.CENTRIFUGAL_PUMP, MachineType.FAN, MachineType.SCREW_COMPRESSOR)
_DEFAULT_BAR = {
    MachineType.CENTRIFUGAL_PUMP: 4.0,
    MachineType.SCREW_COMPRESSOR: 8.5,
    MachineType.FAN: 0.012,
}
_HYDRAULIC_EFFICIENCY = 0.65
#: Electrical power for air at about 7 bar gauge, kW per m3/min.
_COMPRESSOR_KW_PER_M3_MIN = 6.5


@dataclass(frozen=True)
class Machine:
    """Constants of one machine.

    Attributes:
        synchronous_rpm: speed without slip at rated frequency.
        rated_slip: at rated load, share.
        rated_current_a: per phase, star.
        rated_rise_k: of the winding at rated load.
        zones: borders A/B, B/C and C/D, mm/s RMS.
        flow_m3_h, pressure_bar: rated; 0 where the machine moves no medium.
        winding_tau_h, bearing_tau_h: thermal time constants, which grow with size.
    """

    kind: MachineType
    plate: Nameplate
    synchronous_rpm: float
    rated_slip: float
    rated_current_a: float
    rated_rise_k: float
    zones: tuple[float, float, float]
    flow_m3_h: float
    pressure_bar: float
    winding_tau_h: float
    bearing_tau_h: float

    @property
    def variable_speed(self) -> bool:
        """Whether an inverter makes the speed follow the demand."""
        return self.kind in _VARIABLE

    @property
    def flow_follows_cube(self) -> bool:
        """Whether power goes with the cube of speed (affinity laws); else with speed itself."""
        return self.kind is not MachineType.SCREW_COMPRESSOR

    @property
    def rated_torque_nm(self) -> float:
        """P / omega."""
        return torque_nm(self.plate.rated_power_kw, self.plate.rated_speed_rpm)


def torque_nm(power_kw: float, speed_rpm: float) -> float:
    """Return P / omega."""
    return power_kw * 1000 / (speed_rpm * 2 * np.pi / 60)


def build_machine(profile: Profile) -> Machine:
    """Derive a machine's constants from its plate.

    Source: P = sqrt(3) U I cos(phi) eta for the rated current; P = Q dp / eta for rated flow where the plate is silent.
    """
    plate, kind = profile.nameplate, profile.machine_type
    sync = synchronous_rpm(plate.rated_speed_rpm)
    root_power = plate.rated_power_kw**0.25
    return Machine(
        kind=kind,
        plate=plate,
        synchronous_rpm=sync,
        rated_slip=1 - plate.rated_speed_rpm / sync,
        rated_current_a=plate.rated_power_kw
        * 1000
        / (sqrt(3) * plate.rated_voltage_v * plate.power_factor * plate.efficiency),
        rated_rise_k=_USED_RISE * RISE_LIMIT_K[plate.insulation_class],
        zones=ZONES[plate.vibration_class],
        flow_m3_h=_flow_m3_h(plate, kind),
        pressure_bar=plate.rated_pressure_bar or _DEFAULT_BAR.get(kind, 0.0),
        winding_tau_h=0.35 * root_power,
        bearing_tau_h=0.25 * root_power,
    )


def synchronous_rpm(rated_rpm: float) -> float:
    """Return 60 f / p at 50 or 60 Hz, next above the rated speed; behind an inverter or gear, 2 % above it."""
    candidates = [60 * f / pairs for f in (50, 60) for pairs in range(1, 9)]
    above = min((c for c in candidates if c > rated_rpm), default=np.inf)
    return float(above) if 1 - rated_rpm / above <= _MAX_SLIP else rated_rpm / (1 - _INVERTER_SLIP)


def _flow_m3_h(plate: Nameplate, kind: MachineType) -> float:
    if plate.rated_flow_m3_h is not None:
        return plate.rated_flow_m3_h
    if kind not in _DEFAULT_BAR:
        return 0.0
    if kind is MachineType.SCREW_COMPRESSOR:
        return plate.rated_power_kw / _COMPRESSOR_KW_PER_M3_MIN * 60
    pressure_pa = (plate.rated_pressure_bar or _DEFAULT_BAR[kind]) * 1e5
    return plate.rated_power_kw * 1000 * _HYDRAULIC_EFFICIENCY / pressure_pa * 3600


def zone(machine: Machine, velocity_mm_s: Array) -> NDArray[np.int8]:
    """Return the zone of ISO 10816-1, 0 to 3 for A to D."""
    return np.digitize(velocity_mm_s, machine.zones).astype(np.int8)
