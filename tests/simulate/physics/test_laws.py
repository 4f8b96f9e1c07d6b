"""Every machine obeys the laws, and each law notices when it is broken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.physics.laws import rate, violations
from nightshift.simulate.physics.roll import Rolled, roll
from nightshift.simulate.units import draw_units
from tests.simulate.physics.made import profile

MADE = profile()
UNITS = draw_units(MADE, 12, 1)
ROLLED = roll(MADE, UNITS, seed=1)
ROWS = [40, 41, 300]


@pytest.mark.parametrize("kind", MachineType)
@pytest.mark.parametrize("sampling_s", [600, 5400])
def test_every_machine_type_obeys_every_law(kind: MachineType, sampling_s: float) -> None:
    made = profile(kind, sampling_s=sampling_s)
    units = draw_units(made, 25, 2)
    rolled = roll(made, units, seed=3)
    counts = violations(made, rolled, units)
    assert len(counts) == 10
    assert set(counts.values()) == {0}, counts
    assert rate(made, rolled, units) == 0


@pytest.mark.parametrize("kind", MachineType)
def test_extreme_operation_obeys_the_laws_too(kind: MachineType) -> None:
    usage = [
        {"name": "low", "share": 0.5, "load": 0.15, "load_spread": 0.15, "swing": 1, "wear_spread": 0.5},
        {"name": "high", "share": 0.5, "load": 1.15, "load_spread": 0.15, "swing": 0},
    ]
    hot = {"mean_c": 55, "yearly_swing_k": 25, "daily_swing_k": 20, "weather_k": 10}
    schedule = {"shifts": [{"begin": "20:00", "end": "02:00"}], "idle_load": 0, "load_noise": 0.5, "season": hot}
    rates = {"censored": 0.5, "missing": 0.3, "sensor_faults_per_1000_h": 50}
    made = profile(kind, usage_modes=usage, schedule=schedule, rates=rates, life={"mean_h": 100, "spread": 0.6})
    units = draw_units(made, 40, 2)
    counts = violations(made, roll(made, units, seed=3), units)
    assert set(counts.values()) == {0}, counts


def _in_frame(name: str, change: Callable[[pd.Series], object]) -> Rolled:
    frame = ROLLED.frame.copy()
    frame.loc[ROWS, name] = change(frame.loc[ROWS, name])
    return Rolled(frame, ROLLED.hidden)


def _in_hidden(name: str, change: Callable[[pd.Series], object]) -> Rolled:
    hidden = ROLLED.hidden.copy()
    hidden.loc[ROWS, name] = change(hidden.loc[ROWS, name])
    return Rolled(ROLLED.frame, hidden)


@pytest.mark.parametrize(
    ("law", "broken", "least"),
    [
        ("damage only grows", _in_hidden("damage", lambda v: v - 0.5), 3),
        ("damage only grows", _in_hidden("damage", lambda v: v + 2), 3),
        ("rul falls by the step", _in_frame("rul", lambda v: v + 1), 1),
        ("rul falls by the step", _in_hidden("true_rul_h", lambda v: -v), 3),
        ("label agrees with rul", _in_frame("failure_status", lambda v: 1 - v), 3),
        ("readings within range", _in_frame("bearing_temperature", lambda v: 900.0), 3),
        ("nothing that heats is colder than the air", _in_hidden("clean_winding_temperature", lambda v: -50.0), 3),
        ("nothing that heats is colder than the air", _in_hidden("clean_bearing_temperature", lambda v: np.nan), 3),
        ("speed up to synchronous", _in_hidden("clean_shaft_speed", lambda v: 1600.0), 3),
        ("speed up to synchronous", _in_hidden("clean_shaft_speed", lambda v: 0.0), 3),
        ("current and power not negative", _in_hidden("clean_stator_current", lambda v: -v), 3),
        ("vibration above zero", _in_hidden("clean_vibration_drive_end", lambda v: 0.0), 3),
        ("runs follow each other", _in_frame("time", lambda v: v - pd.Timedelta(hours=1)), 2),
    ],
)
def test_a_law_that_is_broken_is_counted(law: str, broken: Rolled, least: int) -> None:
    counts = violations(MADE, broken)
    assert counts[law] >= least
    assert rate(MADE, broken) >= least / len(ROLLED.frame)


def test_units_outside_their_limits_are_counted() -> None:
    beyond = UNITS.copy()
    beyond.loc[0, "onset"] = 2.0
    beyond.loc[1, "usage_mode"] = "unheard_of"
    beyond.loc[2, "life_h"] = np.nan
    law = "units within their limits"
    assert violations(MADE, ROLLED, UNITS)[law] == 0
    assert violations(MADE, ROLLED, beyond)[law] == 3
    assert violations(MADE, ROLLED, UNITS.drop(columns="severity"))[law] == len(UNITS)
    assert law not in violations(MADE, ROLLED)
