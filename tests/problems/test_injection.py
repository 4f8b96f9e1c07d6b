"""Injected anomalies: of every kind, where they are said to be, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems.injection import KINDS, ROW_KINDS, SHARE, Injected, inject

RUNS = np.repeat(np.arange(12), 400)
COLUMNS = np.array([0, 2])


def table() -> np.ndarray:
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(len(RUNS), 3)), axis=0)
    return (walk + rng.normal(size=walk.shape)).astype(np.float32)


def made(window_rows: int = 12, seed: int = 0) -> Injected:
    values = table()
    return inject(values, RUNS, COLUMNS, values.std(axis=0), window_rows=window_rows, seed=seed)


def test_changes_only_labelled_rows_of_allowed_columns() -> None:
    values, result = table(), made()
    changed = (result.values != values).any(axis=1)
    assert set(np.unique(result.kind[result.label == 1])) == set(KINDS)
    assert not changed[result.label == 0].any()
    assert changed[result.label == 1].mean() > 0.9
    np.testing.assert_array_equal(result.values[:, 1], values[:, 1])
    assert result.label.mean() == pytest.approx(SHARE, abs=0.03)


def test_same_seed_same_anomalies_and_input_untouched() -> None:
    values = table()
    before = values.copy()
    first = inject(values, RUNS, COLUMNS, values.std(axis=0), window_rows=12, seed=4)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(first.values, made(seed=4).values)
    assert (first.label != made(seed=5).label).any()


def test_rows_whose_window_still_holds_an_anomaly_are_not_judged() -> None:
    result = made(window_rows=20)
    ends = np.flatnonzero((result.label[:-1] == 1) & (result.label[1:] == 0) & (RUNS[:-1] == RUNS[1:])) + 1
    assert len(ends) > 5
    for end in ends:
        after = slice(end, end + 19)
        own = RUNS[after] == RUNS[end - 1]
        assert not result.judged[after][own].any()
    assert result.judged[result.label == 1].all()


def test_flatlines_are_flat_and_lags_are_late() -> None:
    values, result = table(), made(window_rows=24)
    starts = np.flatnonzero((result.label == 1) & (np.append(0, result.label[:-1]) == 0))
    seen = set()
    for start in starts:
        kind, rows = result.kind[start], slice(start, start + 24)
        column = int(np.flatnonzero((result.values[rows] != values[rows]).any(axis=0))[0])
        if kind == "flatline":
            assert len(np.unique(result.values[rows, column])) == 1
        if kind == "lag":
            np.testing.assert_array_equal(result.values[rows, column], values[start - 24 : start, column])
        seen.add(kind)
    assert {"flatline", "lag"} <= seen


def test_independent_rows_get_kinds_that_need_no_neighbours() -> None:
    values = table()
    result = inject(values, np.arange(len(values)), COLUMNS, values.std(axis=0), window_rows=1, seed=0)
    assert set(np.unique(result.kind[result.label == 1])) == set(ROW_KINDS)
    assert result.judged.all()


def test_runs_too_short_for_an_episode_stay_as_they_are() -> None:
    values = table()[:60]
    result = inject(values, np.repeat(np.arange(10), 6), COLUMNS, values.std(axis=0), window_rows=12, seed=0)
    assert result.label.sum() == 0
    np.testing.assert_array_equal(result.values, values)
