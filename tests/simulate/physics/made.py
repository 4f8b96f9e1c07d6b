"""Profiles of every machine type with everything that can be measured on it, and blocks of units by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.simulate.catalogue import KINDS, QUANTITIES, MachineType, Mode
from nightshift.simulate.physics.clock import ambient, load, local_ns
from nightshift.simulate.physics.degradation import Units, Wear
from nightshift.simulate.physics.machine import build_machine
from nightshift.simulate.physics.state import State
from nightshift.simulate.profile import Profile, parse_profile

PLATES: dict[MachineType, dict[str, Any]] = {
    MachineType.INDUCTION_MOTOR: {"rated_power_kw": 11, "rated_speed_rpm": 1460, "vibration_class": "I"},
    MachineType.CENTRIFUGAL_PUMP: {"rated_power_kw": 30, "rated_speed_rpm": 2950},
    MachineType.SCREW_COMPRESSOR: {"rated_power_kw": 75, "rated_speed_rpm": 2970},
    MachineType.GEARBOX: {"rated_power_kw": 160, "rated_speed_rpm": 1485, "vibration_class": "III"},
    MachineType.FAN: {"rated_power_kw": 22, "rated_speed_rpm": 980},
    MachineType.CNC_SPINDLE: {"rated_power_kw": 20, "rated_speed_rpm": 8000, "vibration_class": "I"},
}


def profile(kind: MachineType = MachineType.INDUCTION_MOTOR, **changes: Any) -> Profile:
    """A machine of a type that measures all of its quantities and fails by all of its modes; lives of 100 h."""
    names = KINDS[kind].quantities
    modes = KINDS[kind].modes
    content = {
        "machine_type": kind,
        "title": KINDS[kind].title,
        "timezone": "Europe/Berlin",
        "nameplate": {**PLATES[kind], "bearings": [{"designation": "6209"}]},
        "sampling_s": 3600,
        "sensors": [
            {
                "name": name,
                "measures": name,
                "range": [QUANTITIES[name].low, QUANTITIES[name].high],
                "noise": 0 if QUANTITIES[name].role == "age" else 0.1,
                "bias": 0 if QUANTITIES[name].role != "sensor" else 0.1,
            }
            for name in names
        ],
        "schedule": {"shifts": [{"begin": "06:00", "end": "22:00", "days": ["mon", "tue", "wed", "thu", "fri"]}]},
        "usage_modes": [
            {"name": "light", "share": 0.5, "load": 0.6, "swing": 0.9},
            {"name": "heavy", "share": 0.5, "load": 0.85, "swing": 0.5},
        ],
        "failure_modes": [{"mode": m, "share": 1 / len(modes)} for m in modes],
        "life": {"mean_h": 100},
        "labels": {"horizon_h": 15},
        "rates": {"maintenance_interval_h": 60},
        **changes,
    }
    return parse_profile(content, "made.yaml")


def units(n: int, mode: Mode, **changes: float) -> Units:
    """Units of one kind, every parameter `(n, 1)`."""
    usual = {
        **{"load_level": 0.7, "load_swing": 0.8, "wear_rate": 1.0, "onset": 0.5, "severity": 1.0},
        **{"secondary_wear": 0.0, "ambient_offset_k": 0.0, "noise_scale": 1.0},
        **changes,
    }
    return Units(
        mode=np.full((n, 1), str(mode), dtype=object), **{k: np.full((n, 1), float(v)) for k, v in usual.items()}
    )


def state(made: Profile, mode: Mode | None = None, symptom: float = 0.0, *, n: int = 4, steps: int = 300) -> State:
    """A block of units in operation, all with one symptom of one mode, or sound."""
    block = units(n, mode or made.failure_modes[0].mode)
    time = np.arange(steps, dtype=np.int64) * 3_600_000_000_000 + np.zeros((n, 1), dtype=np.int64)
    local = local_ns(time, made.timezone)
    shape = (n, steps)
    zero = np.zeros(shape)
    by_mode = {m.mode: np.full(shape, symptom if m.mode == mode else 0.0) for m in made.failure_modes}
    wear = Wear(zero, by_mode[mode or made.failure_modes[0].mode], zero, by_mode, zero, np.zeros(shape, dtype=bool))
    seed = (1, 3, 0)
    return State(
        made,
        build_machine(made),
        block,
        load(made, local, block.load_level, block.load_swing, seed),
        ambient(made, local, block.ambient_offset_k, seed),
        wear,
        seed,
    )
