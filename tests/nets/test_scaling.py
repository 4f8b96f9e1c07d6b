"""Raw columns to a network's inputs: what is missing, what does not vary, and what a class has of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nightshift.nets.scaling import LIMIT, ColumnPlan, fit_scaling

NAN, INF = np.float32("nan"), np.float32("inf")


def scaled(plan: ColumnPlan, train: np.ndarray, rows: list[list[float]], least: float = 0.0) -> np.ndarray:
    return fit_scaling(plan, train, least=least).table(np.array(rows, np.float32))


def test_numbers_come_out_in_spreads_from_their_train_mean() -> None:
    train = np.random.default_rng(0).normal([5.0, -200.0], [2.0, 30.0], (5_000, 2)).astype(np.float32)
    train[::7, 1] = NAN
    out = fit_scaling(ColumnPlan(numbers=(0, 1)), train).table(train)
    known = np.isfinite(train[:, 1])
    assert out[known].mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert out[known].std(axis=0) == pytest.approx([1, 1], abs=0.02)


def test_missing_and_infinite_readings_are_the_mean_and_wild_ones_are_limited() -> None:
    train = np.array([[1.0], [3.0]], np.float32)
    out = scaled(ColumnPlan(numbers=(0,)), train, [[NAN], [INF], [-INF], [2.0], [1e30], [-3e38]])
    assert out[:, 0].tolist() == [0.0, 0.0, 0.0, 0.0, LIMIT, -LIMIT]


def test_a_column_without_spread_or_without_values_says_nothing() -> None:
    train = np.array([[4.1, NAN]] * 9, np.float32)
    assert scaled(ColumnPlan(numbers=(0, 1)), train, [[4.1, 1.0], [9.0, 2.0]]).tolist() == [[0.0, 0.0]] * 2
    assert scaled(ColumnPlan(numbers=(0,)), train, [[5.1, 0.0]], least=0.02)[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_a_class_has_an_input_of_its_own_and_an_unseen_one_none() -> None:
    plan = ColumnPlan(numbers=(1,), classes=((0, 3),))
    out = scaled(plan, np.array([[0, 1.0], [2, 3.0]], np.float32), [[0, 2], [2, 2], [-1, 2], [NAN, 2], [7, 2]])
    # A code beyond the classes is the last one's: no reader makes one.
    assert out[:, 1:].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_a_key_chooses_mean_and_spread_and_an_unseen_one_has_those_of_all() -> None:
    train = np.array([[0, 10.0], [0, 12.0], [1, 100.0], [1, 140.0]], np.float32)
    plan = ColumnPlan(numbers=(1,), unseen=((0, 2),), key=(0, 2))
    out = scaled(plan, train, [[0, 12.0], [1, 140.0], [1, NAN], [-1, 65.5]])
    assert out[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.0, 0.0])
    assert out[:, 1].tolist() == [0.0, 0.0, 0.0, LIMIT]


def test_what_hardly_varies_within_a_class_counts_by_a_share_of_its_mean_there() -> None:
    train = np.array([[0, 10.0]] * 5 + [[1, 1000.0]] * 5 + [[2, 0.0]] * 5, np.float32)
    plan = ColumnPlan(numbers=(1,), key=(0, 3))
    out = scaled(plan, train, [[0, 10.2], [1, 1004.0], [2, 9.0]], least=0.02)
    over_all = float(train[:, 1].std())
    assert out[:, 0].tolist() == pytest.approx([1.0, 4 / (0.02 * over_all), 9 / (0.02 * over_all)], rel=1e-4)


def test_windows_are_scaled_as_tables_are() -> None:
    rng = np.random.default_rng(1)
    train = np.column_stack([rng.integers(-1, 3, 60), rng.normal(size=(60, 2))]).astype(np.float32)
    scaling = fit_scaling(ColumnPlan(numbers=(1, 2), unseen=((0, 3),), key=(0, 3)), train)
    windows = scaling(torch.from_numpy(train.reshape(6, 10, 3)))
    np.testing.assert_array_equal(windows.numpy().reshape(60, -1), scaling.table(train))
