"""What can be measured on the machines: one function per quantity, free of noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.physics import fluids, vibration
from nightshift.simulate.physics.series import Array, lag
from nightshift.simulate.physics.state import State, input_power_kw

#: Linear expansion of steel, per kelvin, over the length between thrust bearing and spindle nose.
_STEEL_PER_K = 11.5e-6
_SPINDLE_UM = 0.3e6
_GROWTH_TAU_H = 1.2
_REFERENCE_C = 20.0


def clean(state: State, measures: str) -> Array:
    """Return a quantity as it is, without an instrument's errors, `(units, steps)`, in the catalogue's unit."""
    return _MODELS[measures](state)


def known() -> frozenset[str]:
    """Return the quantities that have a model."""
    return frozenset(_MODELS)


def _torque(state: State) -> Array:
    return state.machine.rated_torque_nm * state.load / state.speed_share


def _hours(state: State) -> Array:
    return np.broadcast_to(np.arange(state.load.shape[1]) * state.step_h, state.load.shape)


def _speed(state: State) -> Array:
    return state.machine.synchronous_rpm * state.speed_share * (1 - state.slip)


def _current(state: State) -> Array:
    return state.machine.rated_current_a * state.current_share


def _thermal_growth(state: State) -> Array:
    """Free expansion of the spindle, um: alpha L dT, behind the bearing by its own lag."""
    warm = state.ambient_c - _REFERENCE_C + lag(0.8 * state.friction_rise, state.step_h, _GROWTH_TAU_H)
    return _STEEL_PER_K * _SPINDLE_UM * warm


def oil_rise(state: State) -> Array:
    """Return the oil's temperature above the air, K: it carries the bearings' heat, and a compressor's."""
    if state.machine.kind is MachineType.SCREW_COMPRESSOR:
        return 0.85 * fluids.compression_rise(state)
    share = 0.9 if state.machine.kind is MachineType.GEARBOX else 0.6
    return lag(share * state.friction_rise + 4.0, state.step_h, 2 * state.machine.bearing_tau_h)


_MODELS: dict[str, Callable[[State], Array]] = {
    "torque": _torque,
    "load": lambda s: 100 * s.load,
    "ambient_temperature": lambda s: s.ambient_c,
    "hours_since_overhaul": _hours,
    "shaft_speed": _speed,
    "stator_current": _current,
    "input_power": input_power_kw,
    "winding_temperature": lambda s: s.ambient_c + s.winding_rise,
    "bearing_temperature": lambda s: s.ambient_c + s.friction_rise,
    "oil_temperature": lambda s: s.ambient_c + oil_rise(s),
    "oil_pressure": fluids.oil_pressure,
    "oil_particles": fluids.oil_particles,
    "vibration_drive_end": vibration.drive_end,
    "vibration_non_drive_end": vibration.other_end,
    "vibration_acceleration": vibration.acceleration,
    "sound_level": vibration.sound,
    "flow": fluids.flow,
    "suction_pressure": fluids.suction,
    "discharge_pressure": fluids.discharge,
    "discharge_temperature": lambda s: s.ambient_c + fluids.compression_rise(s),
    "filter_pressure_drop": fluids.filter_drop,
    "static_pressure": fluids.static,
    "thermal_growth": _thermal_growth,
}
