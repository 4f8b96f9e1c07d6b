"""What is compared of roll-outs in time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.quality.rows import (
    Rows,
    autocorrelation,
    autocorrelation_match,
    best_sensor_auc,
    daily_pattern,
    daily_pattern_match,
    failure_share,
    row_shapes,
    thinned,
    weekly_pattern,
)
from tests.simulate.quality.made import frame, motor

PROFILE = motor()
NAMES = [s.name for s in PROFILE.sensors]


def _rows(table: pd.DataFrame) -> Rows:
    return Rows.of(PROFILE, table)


def test_rows_know_their_runs_and_their_local_hour() -> None:
    rows = _rows(frame(PROFILE, runs=3, rows=50))
    assert rows.first[[0, 49, 50, 149]].tolist() == [0, 0, 50, 100]
    # Monday, 1 January 2024, 00:00 UTC is 01:00 in Berlin.
    assert rows.hour[:2].tolist() == [1, 2]
    assert rows.values.shape == (150, len(NAMES))


def test_failure_share_counts_labelled_rows_only() -> None:
    table = frame(PROFILE, runs=2, rows=100)
    assert failure_share(_rows(table)) == pytest.approx(0.36)
    table.loc[0:99, "failure_status"] = np.nan
    assert failure_share(_rows(table)) == pytest.approx(0.36)
    table.loc[:49, "failure_status"] = 1.0
    assert failure_share(_rows(table)) == pytest.approx((36 + 50) / 150)
    assert failure_share(_rows(table.drop(columns="failure_status"))) is None


def test_the_telling_sensor_is_found_whichever_way_it_goes_and_missing_readings_do_not_matter() -> None:
    table = frame(PROFILE)
    rng = np.random.default_rng(0)
    for name in NAMES:
        table[name] = rng.standard_normal(len(table))
    assert best_sensor_auc(_rows(table)) == pytest.approx(0.5, abs=0.1)
    table[NAMES[4]] = -table["failure_status"] + 1e-3 * rng.standard_normal(len(table))
    table.loc[table.index % 7 == 0, NAMES[4]] = np.nan
    assert best_sensor_auc(_rows(table)) == pytest.approx(1.0)
    assert best_sensor_auc(_rows(table.drop(columns="failure_status"))) is None


def test_autocorrelation_follows_an_ar1_process_and_never_crosses_runs() -> None:
    rng = np.random.default_rng(1)
    n = 40_000
    shocks, values = rng.standard_normal(n), np.zeros(n)
    for i in range(1, n):
        values[i] = 0.9 * values[i - 1] + shocks[i]
    table = frame(PROFILE, runs=4, rows=10_000)
    table[NAMES[0]] = values
    table[NAMES[1]] = np.repeat([0.0, 100.0, 0.0, 100.0], 10_000) + rng.standard_normal(n)
    found = autocorrelation(_rows(table))
    assert found.shape == (3, len(NAMES))
    assert found[:, 0] == pytest.approx([0.9, 0.9**6, 0.9**24], abs=0.03)
    assert found[:, 1] == pytest.approx([0.0, 0.0, 0.0], abs=0.03)


def test_rows_in_random_order_lose_the_autocorrelation_match() -> None:
    table = frame(PROFILE)
    mixed = table.copy()
    order = np.random.default_rng(2).permutation(len(table))
    mixed[NAMES] = table[NAMES].to_numpy()[order]
    same, other = (autocorrelation(_rows(t)) for t in (frame(PROFILE, seed=9), mixed))
    real = autocorrelation(_rows(table))
    assert autocorrelation_match(real, same) > 0.95
    assert autocorrelation_match(real, other) < 0.6


def test_a_sensor_that_stands_still_is_left_out() -> None:
    table = frame(PROFILE).assign(**{NAMES[2]: 5.0})
    found = autocorrelation(_rows(table))
    assert np.isnan(found[:, 2]).all()
    assert autocorrelation_match(found, found) == 1.0


def test_a_shifted_day_loses_the_daily_match_and_missing_readings_do_not() -> None:
    table = frame(PROFILE, runs=8)
    shifted = table.copy()
    shifted["time"] = table["time"] + pd.Timedelta(hours=8)
    holes = frame(PROFILE, runs=8, seed=3)
    holes.loc[holes.index % 5 == 0, NAMES] = np.nan
    assert daily_pattern_match(_rows(table), _rows(holes)) > 0.9
    assert daily_pattern_match(_rows(table), _rows(shifted)) < 0.6


def test_the_daily_pattern_peaks_at_the_local_hour() -> None:
    pattern = daily_pattern(_rows(frame(PROFILE, runs=8)))
    assert pattern.shape == (24, len(NAMES))
    assert set(np.argmax(pattern, axis=0)) <= {5, 6, 7}
    assert np.allclose(pattern.mean(axis=0), 0.0, atol=0.02)


def test_the_weekly_pattern_is_zero_where_no_row_lies() -> None:
    pattern = weekly_pattern(_rows(frame(PROFILE, runs=1, rows=24)))
    assert pattern.shape == (168, len(NAMES))
    assert np.flatnonzero(pattern.any(axis=1)).tolist() == list(range(1, 25))


def test_sensor_shapes_fall_with_a_shifted_level() -> None:
    table = frame(PROFILE, runs=8)
    other = frame(PROFILE, runs=8, seed=4)
    higher = other.assign(**{name: other[name] + 1.0 for name in NAMES})
    assert row_shapes(_rows(table), _rows(other), 0) > 0.95
    assert row_shapes(_rows(table), _rows(higher), 0) < 0.75


def test_thinning_draws_each_place_once_and_in_order() -> None:
    assert thinned(5, 10, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = thinned(1000, 300, 1)
    assert len(drawn) == 300
    assert (np.diff(drawn) > 0).all()
    assert not np.array_equal(drawn, thinned(1000, 300, 2))
