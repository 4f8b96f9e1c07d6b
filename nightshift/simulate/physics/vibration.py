"""Vibration and sound."""

from __future__ import annotations

import numpy as np

from nightshift.simulate.catalogue import MachineType, Mode
from nightshift.simulate.physics.series import Array
from nightshift.simulate.physics.state import State

#: Balance quality grade e omega, mm/s. Source: ISO 21940-11, table 1: G 0.4 to 2.5 for spindles of machine tools, 6.3
#: for pumps and fans, 2.5 for fast motors and turning parts of compressors.
_GRADE = {MachineType.CNC_SPINDLE: 1.0, MachineType.FAN: 6.3, MachineType.CENTRIFUGAL_PUMP: 6.3}
_DEFAULT_GRADE = 2.5
#: Share of the rotor's e omega that arrives at the housing.
_TRANSMITTED = 0.25
#: How much of a mode's velocity arrives at the drive end and at the other end.
_ENDS: dict[Mode, tuple[float, float]] = {
    Mode.IMBALANCE: (1.0, 0.85),
    Mode.CAVITATION: (1.0, 0.5),
    Mode.FOULING: (1.0, 0.7),
}
#: Housings and foundations let vibration through differently, unit by unit.
_PATH = (0.65, 1.2)
#: A defect far below the surface rings before it shakes: acceleration leads velocity.
_LEADS = 0.75
#: Decibels per decade. Of rated power, from small to large machines: a little less than in proportion (10 lg), because
#: large machines are quieter per kilowatt. Of speed: 10 lg of a flow machine's power, which goes with n^3.
_DB_PER_POWER, _DB_PER_FLOW_SPEED, _DB_PER_SPEED = 8.0, 30.0, 15.0
#: Of velocity: 20 lg for sound that comes through the structure alone; most of it is air's, so that less arrives.
_DB_PER_VELOCITY = 6.0


def drive_end(state: State) -> Array:
    """Return vibration velocity at the drive end, mm/s RMS 10-1000 Hz.

    Source: sizes by the zones of ISO 10816-1 (annex B); the part at running speed by the balance grade of ISO 21940-11;
    parts of unlike frequency add by their squares.
    """
    return _velocity(state, 0)


def other_end(state: State) -> Array:
    """Return vibration velocity at the non-drive end, mm/s RMS; see `drive_end`."""
    return _velocity(state, 1)


def _velocity(state: State, end: int) -> Array:
    grade = _GRADE.get(state.machine.kind, _DEFAULT_GRADE)
    per_run = (1.0, 0.9)[end]
    # The grade is what balancing may leave at most.
    left = state.per_unit("balance", 0.4, 1.0)
    unbalance = left * _TRANSMITTED * grade / np.sqrt(2) * state.speed_share
    process = state.machine.zones[0] * (0.35 + 0.6 * state.load)
    sound = per_run * np.hypot(unbalance, process)
    defect = np.zeros_like(state.load)
    for spec in state.profile.failure_modes:
        size = float(getattr(spec, "vibration_rise_mm_s", 0.0))
        if size:
            defect += size * _share(state, spec.mode, end) * state.symptom(spec.mode)
    jitter = state.wander(f"vibration {end}", 0.08, 1.0) + state.wander(f"mounting {end}", 0.07, 72.0)
    velocity: Array = (sound + defect * state.shows) * np.exp(jitter)
    return velocity


def _share(state: State, mode: Mode, end: int) -> Array:
    """Return how much of a mode's velocity arrives at an end, `(units, 1)`; either bearing may be the one that goes."""
    if mode in _ENDS:
        return _ENDS[mode][end] * state.per_unit(f"path {mode} {end}", *_PATH)
    place = state.per_unit("which bearing", 0.0, 1.0)
    near, far = np.array(0.55), np.array(0.25)
    mine = place if end == 0 else 1 - place
    return np.asarray(far + near * np.minimum(1.0, 2 * mine))


def acceleration(state: State) -> Array:
    """Return high-frequency acceleration, m/s2 RMS: rolling contacts and bubbles, more with speed.

    Source: envelope and shock-pulse practice (ISO 13373-2); rolling noise goes about with speed^1.5.
    """
    sound = 2.2 * state.machine.zones[0] * state.speed_share**1.5 * (0.6 + 0.4 * state.load)
    product = np.ones_like(state.load)
    for spec in state.profile.failure_modes:
        size = float(getattr(spec, "acceleration_factor", 1.0))
        if size != 1:
            early = np.maximum(state.symptom(spec.mode), 0.0) ** _LEADS
            product *= 1 + (size - 1) * early * state.shows
    jitter = state.wander("acceleration", 0.1, 1.0) + state.wander("contact", 0.1, 48.0)
    shaken: Array = sound * product * np.exp(jitter)
    return shaken


def sound(state: State) -> Array:
    """Return sound pressure level at one metre, dB(A).

    Levels rise with 8 lg of rated power, 30 lg of speed for machines that move a medium and 15 lg for others, 3 dB from
    no load to rated load, and 6 lg of the velocity that defects add to the sound machine's.

    Source: shape after IEC 60034-9 (levels in steps of rated power and speed) and the affinity law P ~ n^3; the sizes
    are assumed, as the constants say.
    """
    per_speed = _DB_PER_FLOW_SPEED if state.machine.flow_m3_h else _DB_PER_SPEED
    base = 60 + _DB_PER_POWER * np.log10(state.machine.plate.rated_power_kw) + per_speed * np.log10(state.speed_share)
    shaken = np.zeros_like(state.load)
    for spec in state.profile.failure_modes:
        size = float(getattr(spec, "vibration_rise_mm_s", 0.0))
        shaken += size * state.symptom(spec.mode) * state.shows
    level = base + 3 * state.load + _DB_PER_VELOCITY * np.log10(1 + shaken / (2 * state.machine.zones[0]))
    heard: Array = (
        level + state.rise("sound_rise_db") + state.wander("sound", 0.5, 2.0) + state.wander("hall", 0.6, 24.0)
    )
    return heard
