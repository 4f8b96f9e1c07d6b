"""Flow, pressure, filters and oil."""

from __future__ import annotations

import numpy as np

from nightshift.simulate.catalogue import MachineType, Mode
from nightshift.simulate.physics.series import Array, lag
from nightshift.simulate.physics.state import State

_ATMOSPHERE_BAR = 1.013
_PA_PER_BAR = 1e5
#: Head at no flow over head at rated flow of a usual pump curve.
_SHUT_OFF = 1.2
#: Clogging of an inlet filter within one service interval, share of its clean pressure drop.
_CLOGGING = 0.6
_CLOGGING_INTERVAL_H = 2000.0


def flow(state: State) -> Array:
    """Return volume flow, m3/h.

    Source: affinity laws, Q ~ n; cavitation and deposits take their share.
    """
    level = state.machine.flow_m3_h * state.speed_share * state.kept("flow_loss")
    return level * np.exp(state.wander("flow", 0.015, 1.0) + state.wander("valves", 0.015, 24.0))


def suction(state: State) -> Array:
    """Return pressure at the inlet, bar absolute: the tank's level, less what pipe and strainer take (dp ~ Q^2)."""
    asked = state.speed_share * state.kept("flow_loss")
    tank = _ATMOSPHERE_BAR + 0.25 + state.wander("tank", 0.04, 12.0)
    starved = 0.12 * state.symptom(Mode.CAVITATION)
    return np.maximum(0.05, tank - 0.2 * asked**2 - starved)


def discharge(state: State) -> Array:
    """Return pressure at the outlet, bar absolute.

    Source: affinity laws, H ~ n^2, on a falling pump curve H = H0 - (H0 - 1) q^2; a compressor is held at its set
    point.
    """
    rated = state.machine.pressure_bar
    if state.machine.kind is MachineType.SCREW_COMPRESSOR:
        band = 1 + 0.02 * (0.8 - state.load) + state.wander("band", 0.01, 2.0)
        band *= state.per_unit("set point", 0.94, 1.04)
        return (rated + _ATMOSPHERE_BAR) * band * (0.5 + 0.5 * state.kept("flow_loss"))
    head = _SHUT_OFF - (_SHUT_OFF - 1) * state.kept("flow_loss") ** 2
    raised = rated * state.speed_share**2 * head * state.kept("head_loss")
    return suction(state) + raised * np.exp(state.wander("network", 0.02, 12.0))


def static(state: State) -> Array:
    """Return the pressure that a fan raises, Pa.

    Source: affinity laws, dp ~ rho n^2, with the density of an ideal gas at the air's temperature.
    """
    density = 293.15 / (273.15 + state.ambient_c)
    raised = state.machine.pressure_bar * _PA_PER_BAR * state.speed_share**2 * density
    return raised * state.kept("flow_loss") * np.exp(state.wander("network", 0.02, 12.0))


def filter_drop(state: State) -> Array:
    """Return the inlet filter's pressure drop, kPa: with dust, and with flow^1.5, between laminar and turbulent."""
    base = 0.15 if state.machine.kind is MachineType.FAN else 1.2
    interval = state.profile.rates.maintenance_interval_h or _CLOGGING_INTERVAL_H
    dust = 1 + _CLOGGING * state.wear.since_service_h / interval
    clogged = 1 + (state.factor("filter_factor") - 1) * 0.8
    return base * state.speed_share**1.5 * dust * clogged * np.exp(state.wander("filter", 0.03, 12.0))


def compression_rise(state: State) -> Array:
    """Return how much warmer than the air the compressed, oil-injected medium is, K.

    Source: heat of compression less what the injected oil takes; a cooler is taken to hold 42 K unloaded and 58 K at
    rated load.
    """
    target = 42 + 16 * state.load + state.heat_of(Mode.FOULING) + 0.5 * state.friction_k
    target = target * np.exp(state.wander("cooler", 0.012, 12.0))
    return lag(target, state.step_h, 0.3)


def oil_pressure(state: State) -> Array:
    """Return oil pressure after the pump, bar: a compressor's own discharge drives it; else it thins with heat.

    Source: the viscosity of a mineral oil halves about every 22 K (46 mm2/s at 40 degC, 6.8 at 100 degC); behind a gear
    pump with a relief valve, pressure is taken to go with its fourth root.
    """
    if state.machine.kind is MachineType.SCREW_COMPRESSOR:
        held = np.full_like(state.load, 0.8 * state.machine.pressure_bar)
    else:
        held = 2.5 * np.exp2(-(state.ambient_c + state.friction_rise - 50) / 90)
    held = held * state.per_unit("relief valve", 0.93, 1.05)
    return held * state.kept("pressure_loss") * np.exp(state.wander("oil pressure", 0.015, 12.0))


def oil_particles(state: State) -> Array:
    """Return particles above 6 um per ml of oil: made by wear, taken out by the filter, and fewer after a service.

    Source: cleanliness classes of ISO 4406; 320 to 640 per ml is code 16.
    """
    interval = state.profile.rates.maintenance_interval_h or _CLOGGING_INTERVAL_H
    age = 0.7 + 0.6 * state.wear.since_service_h / interval
    made = state.factor("particle_factor") * (1 + 2.5 * state.symptom(Mode.BEARING_WEAR))
    level = 400 * np.sqrt(state.units.wear_rate) * age * made
    return level * np.exp(state.wander("particles", 0.12, 6.0) + state.wander("oil batch", 0.1, 96.0))
