"""Windows end at their row and never leave their run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.quality.rows import Rows
from nightshift.simulate.quality.windows import Windows, windows
from tests.simulate.quality.made import frame, motor

# 12 h and 36 h windows at one row an hour.
PROFILE = motor()
SHORT, LONG = 12, 36


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    made = frame(PROFILE, runs=3, rows=80)
    rng = np.random.default_rng(0)
    for sensor in PROFILE.sensors:
        made.loc[rng.random(len(made)) < 0.1, sensor.name] = np.nan
    return made


@pytest.fixture(scope="module")
def found(table: pd.DataFrame) -> Windows:
    return windows(Rows.of(PROFILE, table))


@pytest.mark.parametrize(("name", "how", "length"), [("short", "mean", SHORT), ("long", "mean", LONG)])
def test_means_agree_with_pandas(table: pd.DataFrame, found: Windows, name: str, how: str, length: int) -> None:
    sensors = [s.name for s in PROFILE.sensors]
    expected = table.groupby("run")[sensors].rolling(length, min_periods=1).agg(how).to_numpy()
    assert np.allclose(getattr(found, name), expected, equal_nan=True)


def test_spread_agrees_with_pandas(table: pd.DataFrame, found: Windows) -> None:
    sensors = [s.name for s in PROFILE.sensors]
    expected = table.groupby("run")[sensors].rolling(SHORT, min_periods=1).std(ddof=0).to_numpy()
    assert np.allclose(found.spread, expected, equal_nan=True, atol=1e-6)


def test_the_rise_compares_with_a_long_window_earlier_and_at_first_with_the_first(found: Windows) -> None:
    assert np.nan_to_num(found.rise[80]).tolist() == [0.0] * len(PROFILE.sensors)
    assert found.rise[80 + 70] == pytest.approx(found.long[150] - found.long[150 - LONG])
    assert found.rise[80 + 20] == pytest.approx(found.long[100] - found.long[80], nan_ok=True)
    assert np.isfinite(found.rise[80 + 20]).any()


def test_an_hour_meter_enters_by_its_newest_value_alone(table: pd.DataFrame) -> None:
    meter = {"name": "hours", "measures": "hours_since_overhaul", "range": [0, 9000], "noise": 0}
    sensors = [s.model_dump(exclude_none=True) for s in PROFILE.sensors]
    profile = motor(sensors=[*sensors, meter])
    rows = Rows.of(profile, table.assign(hours=np.arange(len(table))))
    picked = np.array([3, 50, 200])
    features = windows(rows).features(rows, picked)
    assert features.shape == (3, 5 * len(PROFILE.sensors) + 1)
    assert features.dtype == np.float32
    assert features[:, -1].tolist() == [3, 50, 200]
