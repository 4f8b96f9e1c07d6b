"""The harness that finds converter faults must itself find them."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.edge.agree import max_abs_delta
from nightshift.graphs import parity as harness
from nightshift.graphs.build import Graph
from nightshift.graphs.parity import (
    adversarial_rows,
    adversarial_windows,
    compare,
    split_thresholds,
    thresholds_by_column,
)
from nightshift.graphs.trees import Tree, TreeModel, add_tree_models, floor_float32

THRESHOLD = 0.1  # no float32: the nearest one is above it


def stump(graph: Graph, features: str, threshold: np.float32, column: int = 0) -> str:
    """Left (value 1) where `x <= threshold`, NaN right (value 2)."""
    tree = Tree(
        feature=np.array([column, 0, 0]),
        threshold=np.array([threshold, 0, 0], np.float32),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        nan_left=np.array([False, False, False]),
        value=np.array([[0.0], [1.0], [2.0]]),
    )
    return add_tree_models(graph, features, [TreeModel([tree], np.zeros(1), "identity")])


def graph_of(threshold: np.float32, *, gathered: bool = False) -> Graph:
    graph = Graph("stump")
    window = graph.input("window", "float32", ["batch", 2])
    features = graph.add("Gather", window, graph.const([1, 0], "int64"), axis=1) if gathered else window
    value = stump(graph, features, threshold)
    graph.output(graph.add("Cast", value, to=1), "value", "float32", ["batch", 1])
    label = graph.add("Cast", graph.add("Greater", value, graph.const(1.5, "float64")), to=7)
    graph.output(label, "label", "int64", ["batch", 1])
    return graph


def library(inputs: harness.Arrays) -> harness.Arrays:
    left = inputs["window"][:, :1].astype(np.float64) <= THRESHOLD
    return {"value": np.where(left, 1.0, 2.0), "label": np.where(left, 0, 1)}


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)


def test_a_floored_threshold_passes(rows: np.ndarray) -> None:
    model = graph_of(floor_float32(np.array([THRESHOLD]))[0]).build()
    made = adversarial_rows(rows, split_thresholds(model))
    parity = compare(model.SerializeToString(), library, {"window": made}, {"value": 0.0})
    assert parity.ok, parity
    assert parity.rows == len(made)


def test_a_rounded_threshold_is_found_on_made_up_rows_and_missed_on_random_ones(rows: np.ndarray) -> None:
    model = graph_of(np.float32(THRESHOLD)).build()
    graph = model.SerializeToString()
    assert compare(graph, library, {"window": rows}, {"value": 0.0}).ok
    made = adversarial_rows(rows, split_thresholds(model))
    parity = compare(graph, library, {"window": made}, {"value": 0.0})
    assert not parity.ok
    assert parity.flips >= 1
    assert parity.max_abs == {"value": 1.0}


def test_chunks_add_up(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = graph_of(np.float32(THRESHOLD)).build()
    made = adversarial_rows(rows, split_thresholds(model))
    whole = compare(model.SerializeToString(), library, {"window": made}, {"value": 0.0})
    monkeypatch.setattr(harness, "CHUNK_VALUES", 7)
    parts = compare(model.SerializeToString(), library, {"window": made}, {"value": 0.0})
    assert parts.model_copy(update={"batches": whole.batches}) == whole


@pytest.mark.parametrize(
    ("want", "got", "delta"),
    [
        ([1.0, np.nan], [1.5, np.nan], 0.5),
        ([np.inf, -np.inf], [np.inf, -np.inf], 0.0),
        ([1.0], [np.nan], np.inf),
        ([1.0], [np.inf], np.inf),
        ([1.0, 2.0], [1.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_nan_equals_only_nan(want: list[float], got: list[float], delta: float) -> None:
    assert max_abs_delta(np.array(want), np.array(got)) == delta


def test_an_output_without_tolerance_must_be_equal(rows: np.ndarray) -> None:
    graph = graph_of(np.float32(THRESHOLD)).build().SerializeToString()

    def off(inputs: harness.Arrays) -> harness.Arrays:
        return {**library(inputs), "value": library(inputs)["value"] + 1e-6}

    assert not compare(graph, off, {"window": rows}, {}).ok
    assert compare(graph, off, {"window": rows}, {"value": 1e-5}).ok


def test_thresholds_are_followed_through_a_gather() -> None:
    found = split_thresholds(graph_of(np.float32(0.5), gathered=True).build())
    assert {column: values.tolist() for column, values in found.items()} == {1: [0.5]}


def test_the_newest_row_of_a_window_is_no_gathering_of_columns() -> None:
    graph = Graph("stump")
    window = graph.input("window", "float32", ["batch", 1, 2])
    newest = graph.add("Gather", window, graph.const(-1, "int64"), axis=1)
    graph.output(graph.add("Cast", stump(graph, newest, np.float32(0.5)), to=1), "value", "float32", ["batch", 1])
    found = split_thresholds(graph.build())
    assert {column: values.tolist() for column, values in found.items()} == {0: [0.5]}


def test_made_up_rows_sit_on_and_beside_thresholds_and_miss_values(rows: np.ndarray) -> None:
    at = np.float32(0.5)
    made = adversarial_rows(rows, {0: np.array([at]), 7: np.array([at])})
    assert made.dtype == np.float32
    for value in (at, np.nextafter(at, np.float32(1)), np.nextafter(at, np.float32(0))):
        assert (made[:, 0] == value).any()
    assert np.isnan(made[:, 1]).any()
    assert np.isnan(made).all(axis=1).any()
    np.testing.assert_array_equal(made[: len(rows)], rows)


def test_windows_sit_on_a_threshold_throughout_or_in_the_newest_row(rows: np.ndarray) -> None:
    windows = np.repeat(rows[:, None, :], 4, axis=1)
    made = adversarial_windows(windows, {0: np.array([0.5, 0.6], np.float32)})["window"]
    whole = (made[:, :, 0] == made[:, -1:, 0]).all(axis=1)
    assert whole[len(rows) :].any()
    assert (~whole[len(rows) :]).any()


def test_every_row_says_what_it_is_there_for_and_infinities_come_as_readings_only(rows: np.ndarray) -> None:
    thresholds = {0: np.array([0.5], np.float32)}
    made = adversarial_windows(np.repeat(rows[:, None, :], 3, axis=1), thresholds)
    window = made["window"]
    assert set(made.case) == {
        "real",
        "on a split",
        "one step above",
        "one step below",
        "extreme",
        "infinite",
        "missing",
    }
    for where in (slice(None), -1):
        assert all((window[made.case == "infinite"][:, where, 0] == value).any() for value in (np.inf, -np.inf))
    assert np.isfinite(window[made.case != "missing"][:, 0]).sum() < window[made.case != "missing"][:, 0].size
    assert not np.isnan(window[made.case != "missing"]).any()
    assert (window[made.case == "on a split"][:, -1, 0] == np.float32(0.5)).all()
    assert not np.isinf(adversarial_rows(rows, thresholds)).any()
    graph = last_value_graph()
    parity = compare(graph, lambda inputs: {"value": inputs["window"][:, -1, :1]}, made, {"value": 0.0})
    assert parity.ok
    assert parity.cases["real"] == len(rows)
    assert sum(parity.cases.values()) == parity.rows == len(window)


def last_value_graph() -> bytes:
    graph = Graph("last")
    window = graph.input("window", "float32", ["batch", 3, 2])
    newest = graph.add("Gather", window, graph.const(-1, "int64"), axis=1)
    graph.output(graph.add("Gather", newest, graph.const([0], "int64"), axis=1), "value", "float32", ["batch", 1])
    return graph.build().SerializeToString()


def batch_graph(op: str) -> bytes:
    """A graph whose answers hang on the other rows of the batch."""
    graph = Graph("batch")
    window = graph.input("window", "float32", ["batch", 2])
    whole = graph.add(op, window, graph.const([0], "int64"), keepdims=1)
    graph.output(graph.add("Add", window, whole), "value", "float32", ["batch", 2])
    return graph.build().SerializeToString()


def test_an_answer_that_hangs_on_its_batch_is_found(rows: np.ndarray) -> None:
    window = rows.copy()
    window[:, :] = 1.0

    def mean_added(inputs: harness.Arrays) -> harness.Arrays:
        return {"value": inputs["window"] + inputs["window"].mean(axis=0)}

    def sum_added(inputs: harness.Arrays) -> harness.Arrays:
        return {"value": inputs["window"] + inputs["window"].sum(axis=0)}

    # All rows being equal, their mean is the same in every batch, and their sum is not.
    same = compare(batch_graph("ReduceMean"), mean_added, {"window": window}, {"value": 1e-6})
    assert same.ok
    assert same.batches == (0, 1, 2, 7, 1000)
    other = compare(batch_graph("ReduceSum"), sum_added, {"window": window}, {"value": 1e-6})
    assert not other.ok
    assert other.between_batches == {"value": 999.0}
    assert other.max_abs == {"value": 0.0}


def test_large_windows_are_compared_in_smaller_batches(rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "CHUNK_VALUES", 60)
    window = np.ones_like(rows)
    parity = compare(batch_graph("ReduceMean"), lambda inputs: {"value": inputs["window"] * 2}, {"window": window}, {})
    assert parity.batches == (0, 1, 2, 7, 30)


def test_thresholds_of_a_columns_statistics_are_put_together() -> None:
    found = thresholds_by_column(
        {0: np.array([1.0], np.float32), 1: np.array([2.0], np.float32), 2: np.array([3.0], np.float32)},
        ["speed__last", "speed__mean", "grade"],
        ["grade", "speed"],
    )
    assert {column: values.tolist() for column, values in found.items()} == {0: [3.0], 1: [1.0, 2.0]}
