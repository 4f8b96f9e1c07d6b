"""The demo machine: seeded, physical, and worth training on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.data.checks.labels import auc
from nightshift.data.validate import validate
from nightshift.findings import blockers
from nightshift.settings import Home
from nightshift.simulate.wear import HORIZON_H, SENSORS, land_demo, simulate


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return simulate()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(rows: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(rows, simulate())
    assert not simulate(8, runs=2)["stator_current_a"].equals(simulate(7, runs=2)["stator_current_a"])


def test_runs_follow_each_other_on_one_clock_in_steps_of_ten_minutes(rows: pd.DataFrame) -> None:
    assert rows["time"].is_monotonic_increasing
    assert rows["run"].nunique() >= 40
    assert 12_000 <= len(rows) <= 20_000
    assert (rows.groupby("run")["time"].diff().dropna() == pd.Timedelta(minutes=10)).all()
    pauses = rows["time"].diff()[rows["run"].diff() == 1]
    assert pauses.min() > pd.Timedelta(hours=2)


def test_rul_falls_to_the_end_of_each_run_and_the_label_follows(rows: pd.DataFrame) -> None:
    assert rows.groupby("run")["rul"].last().to_numpy() == pytest.approx(1 / 6)
    assert rows.groupby("run")["rul"].diff().dropna().to_numpy() == pytest.approx(-1 / 6)
    assert np.array_equal(rows["failure_status"] == 1, rows["rul"] <= HORIZON_H)


def test_values_stay_in_their_physical_range(rows: pd.DataFrame) -> None:
    for sensor in SENSORS:
        assert rows[sensor.name].between(sensor.minimum, sensor.maximum).all(), sensor.name


def test_no_sensor_alone_gives_the_failure_away_but_together_they_know_something(rows: pd.DataFrame) -> None:
    label = rows["failure_status"].to_numpy(np.float64)
    areas = [auc(rows[s.name].to_numpy(np.float64), label) for s in SENSORS]
    assert max(areas) < 0.95
    assert max(areas) > 0.75


def test_load_follows_the_civil_day_and_week(rows: pd.DataFrame) -> None:
    local = rows["time"].dt.tz_convert("Europe/Berlin")
    load = rows["load_torque_nm"]
    workday = local.dt.dayofweek < 5
    assert load[local.dt.hour.between(9, 19)].mean() > 1.3 * load[local.dt.hour.between(0, 4)].mean()
    day = local.dt.hour.between(9, 19)
    assert load[day & workday].mean() > 1.1 * load[day & ~workday].mean()


def test_the_demo_lands_with_enough_runs_in_test_and_no_blocker(home: Home) -> None:
    data = land_demo(home)
    assert data.metadata.offers == {"labels", "rul", "runs", "clock"}
    assert data.metadata.parts["test"].runs >= 6
    assert blockers(validate(data, data.metadata.offers, "rul")) == []
    assert (home.data / "synthetic" / data.subject / "train.parquet").is_file()
    assert land_demo(home).fingerprint == data.fingerprint
