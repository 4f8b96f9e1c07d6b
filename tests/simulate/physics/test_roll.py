"""From units to rows: exact in time and labels, the same for the same seed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightshift.data.checks.labels import auc
from nightshift.errors import UsageError
from nightshift.settings import Home
from nightshift.simulate.catalogue import MachineType
from nightshift.simulate.physics.roll import CLEAN, roll
from nightshift.simulate.profile import load_profile
from nightshift.simulate.units import draw_units
from tests.simulate.physics.made import profile

MADE = profile()
UNITS = draw_units(MADE, 50, 3)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (roll(MADE, UNITS, seed=s) for s in (5, 5, 6))
    pd.testing.assert_frame_equal(first.frame, again.frame, check_exact=True)
    pd.testing.assert_frame_equal(first.hidden, again.hidden, check_exact=True)
    assert not first.frame["stator_current"].equals(other.frame["stator_current"])


@pytest.mark.parametrize("kind", MachineType)
def test_columns_are_those_of_the_profile_with_labels_and_hidden_states_beside(kind: MachineType) -> None:
    made = profile(kind)
    rolled = roll(made, draw_units(made, 10, 1), seed=1)
    names = [s.name for s in made.sensors]
    assert list(rolled.frame) == ["time", "run", *names, "failure_status", "rul"]
    assert rolled.frame["time"].dtype == pd.DatetimeTZDtype("ns", "UTC")
    assert rolled.frame["run"].dtype == np.int64
    assert {f"{CLEAN}{n}" for n in names} < set(rolled.hidden)
    states = {"damage", "symptom", "secondary", "load", "ambient_c", "true_rul_h", "service", "zone"}
    assert states < set(rolled.hidden)
    assert len(rolled.hidden) == len(rolled.frame)
    assert not rolled.hidden.isna().any(axis=None)


def test_runs_lie_one_after_the_other_and_each_ends_one_step_before_failure() -> None:
    made = profile(rates={"censored": 0})
    rolled = roll(made, UNITS, seed=5)
    frame = rolled.frame
    assert frame["time"].is_monotonic_increasing
    assert frame["run"].unique().tolist() == list(range(len(UNITS)))
    assert (frame.groupby("run")["time"].diff().dropna() == pd.Timedelta(hours=1)).all()
    assert (frame["time"].diff()[frame["run"].diff() == 1] > pd.Timedelta(hours=8)).all()
    rul = frame.groupby("run")["rul"]
    assert rul.last().to_numpy() == pytest.approx(1.0)
    assert rul.diff().dropna().to_numpy() == pytest.approx(-1.0)
    assert rul.first().to_numpy() == pytest.approx(np.round(UNITS["life_h"]))
    assert np.array_equal(frame["failure_status"] == 1, frame["rul"] <= 15)
    assert frame["failure_status"].notna().all()


def test_of_a_run_that_ended_early_the_end_is_unknown() -> None:
    made = profile(rates={"censored": 0.4})
    rolled = roll(made, UNITS, seed=5)
    frame = rolled.frame.assign(true=rolled.hidden["true_rul_h"])
    runs = [run for _, run in frame.groupby("run")]
    ended = [run for run in runs if run["rul"].isna().any()]
    assert 10 <= len(ended) <= 30
    for run in ended:
        assert run["rul"].isna().all()
        assert run["failure_status"].iloc[-15:].isna().all()
        assert (run["failure_status"].iloc[:-15] == 0).all()
        assert run["true"].iloc[-1] > 1
    assert all(run["failure_status"].notna().all() for run in runs if run["rul"].notna().all())


def test_rows_cut_the_table_and_the_last_run_is_still_running() -> None:
    made = profile(rates={"censored": 0})
    rolled = roll(made, UNITS, seed=5, rows=1234)
    assert len(rolled.frame) == len(rolled.hidden) == 1234
    last = rolled.frame[rolled.frame["run"] == rolled.frame["run"].iloc[-1]]
    assert last["rul"].isna().all()
    assert rolled.hidden["true_rul_h"].iloc[-1] > 1
    started = roll(made, UNITS, seed=5, rows=10, start=datetime(2031, 2, 3, tzinfo=UTC))
    assert started.frame["time"].iloc[0] == pd.Timestamp("2031-02-03T00:00Z")


def test_labels_that_the_profile_switches_off_are_left_out() -> None:
    made = profile(labels={"horizon_h": 15, "failure_status": False})
    assert "failure_status" not in roll(made, UNITS, seed=5).frame
    neither = profile(labels={"horizon_h": 15, "failure_status": False, "rul": False})
    assert {"failure_status", "rul"}.isdisjoint(roll(neither, UNITS, seed=5).frame)


def test_a_table_of_other_units_is_refused() -> None:
    with pytest.raises(UsageError, match="lacks onset"):
        roll(MADE, UNITS.drop(columns="onset"), seed=1)
    with pytest.raises(UsageError, match=r"fail by 'rust'.*bearing_wear"):
        roll(MADE, UNITS.assign(failure_mode="rust"), seed=1)
    with pytest.raises(UsageError, match="severity is not finite"):
        roll(MADE, UNITS.assign(severity=np.nan), seed=1)
    with pytest.raises(UsageError, match="empty"):
        roll(MADE, UNITS.head(0), seed=1)
    with pytest.raises(UsageError, match="are asked for"):
        roll(MADE, UNITS, seed=1, rows=10**6)


def test_the_units_table_is_left_as_it_was() -> None:
    before = UNITS.copy()
    roll(MADE, UNITS, seed=5)
    pd.testing.assert_frame_equal(UNITS, before, check_exact=True)


def test_load_follows_the_civil_day_and_week() -> None:
    rolled = roll(MADE, UNITS, seed=5)
    local = rolled.frame["time"].dt.tz_convert("Europe/Berlin")
    load = rolled.frame["load"]
    workday, day = local.dt.dayofweek < 5, local.dt.hour.between(8, 19)
    assert load[workday & day].mean() > 1.4 * load[workday & local.dt.hour.between(0, 4)].mean()
    assert load[workday & day].mean() > 1.4 * load[~workday & day].mean()


def test_no_sensor_alone_tells_the_classes_of_the_motor_apart_but_some_know_something() -> None:
    motor = load_profile(Home(Path("nowhere")), "motor_siemens_1la7_001")
    frame = roll(motor, draw_units(motor, 60, 1), seed=1).frame
    label = frame["failure_status"].to_numpy(np.float64)
    known = ~np.isnan(label)
    areas = [auc(frame[s.name].to_numpy(np.float64)[known], label[known]) for s in motor.sensors]
    areas = [max(a, 1 - a) for a in areas]
    assert max(areas) < 0.95
    assert sum(a > 0.65 for a in areas) >= 3


def test_fine_sampling_and_single_units_roll_too() -> None:
    fine = profile(sampling_s=60)
    rolled = roll(fine, draw_units(fine, 2, 1), seed=1)
    assert (rolled.frame.groupby("run")["time"].diff().dropna() == pd.Timedelta(minutes=1)).all()
    assert rolled.frame["rul"].dropna().min() == pytest.approx(1 / 60)
