"""What can be trained on becomes a table of the caller's own X."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from nightshift.errors import TableError
from nightshift.trainer.inputs.table import table_of

N = 40
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.arange(N) % 2


@pytest.mark.parametrize("given", [X, np.asfortranarray(X), pd.DataFrame(X), sparse.csr_matrix(X)])
def test_x_is_the_callers_own_object(given: Any) -> None:
    assert table_of(given, Y).X is given


def test_a_list_and_an_array_of_objects_become_numbers() -> None:
    assert table_of(X.tolist(), Y.tolist()).X.dtype == np.float64
    table = table_of(np.array([[1, None]] * N, object), Y)
    assert np.isnan(table.X[:, 1]).all()
    assert table.columns == ("x0", "x1")


def test_what_is_masked_is_missing() -> None:
    masked = np.ma.masked_array(X, mask=X > 1)
    assert np.isnan(table_of(masked, Y).X).sum() == (X > 1).sum()
    with pytest.raises(TableError, match=r"y contains NaN: 2 of 40 rows, first row 3\."):
        table_of(X, np.ma.masked_array(Y, mask=np.isin(np.arange(N), (3, 9))))


def test_a_sparse_array_becomes_the_matrix_that_every_library_takes() -> None:
    table = table_of(sparse.csr_array(X), Y)
    assert isinstance(table.X, sparse.csr_matrix)
    assert np.array_equal(table.X.toarray(), X)


def test_a_table_of_another_library_is_read_by_way_of_pandas() -> None:
    import pyarrow as pa

    table = table_of(pa.table({"a": X[:, 0], "b": ["u", "v"] * 20}), pa.chunked_array([Y]))
    assert table.columns == ("a", "b")
    assert table.y.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("y", "model", "task", "classes"),
    [
        (["b", "a"] * 20, None, "binary", ("a", "b")),
        (pd.Series(["b", "a"] * 20, dtype="category"), None, "binary", ("a", "b")),
        (pd.array(["b", "a"] * 20, dtype="string"), None, "binary", ("a", "b")),
        (Y.astype(bool), None, "binary", (False, True)),
        (pd.array(Y.astype(bool), dtype="boolean"), None, "binary", (False, True)),
        (np.array([0, 1] * 20, object), None, "binary", (0, 1)),
        (Y[:, None], None, "binary", (0, 1)),
        (pd.DataFrame({"y": Y}), None, "binary", (0, 1)),
        (Y.astype(np.uint64), None, "binary", (0, 1)),
        (np.arange(N) % 3, None, "regression", ()),
        (np.arange(N) % 3, RandomForestClassifier(), "multiclass", (0, 1, 2)),
        (np.tile(np.arange(N) % 3, 5)[:N], "lightgbm", "regression", ()),
        (np.arange(N) * 10**9, None, "regression", ()),
        (Y, RandomForestRegressor(), "regression", ()),
        (Y.astype(bool), RandomForestRegressor(), "regression", ()),
        (Y + 0.5, None, "regression", ()),
        (Y.astype(float), None, "binary", (0.0, 1.0)),
        (Y.astype(np.float32) + 1, "lightgbm", "binary", (1.0, 2.0)),
        (pd.array(Y, dtype="Float64"), None, "binary", (0.0, 1.0)),
        (Y.astype(float), RandomForestRegressor(), "regression", ()),
        (np.arange(N) % 3 + 0.0, None, "regression", ()),
        (pd.Series(Y, dtype="bool[pyarrow]"), None, "binary", (False, True)),
        (pd.Series(["b", "a"] * 20, dtype="string[pyarrow]"), None, "binary", ("a", "b")),
        (pd.Series(Y, dtype="int64[pyarrow]"), None, "binary", (0, 1)),
        (pd.Series(pd.Categorical(["b", "a"] * 20, categories=["z", "b", "a"])), None, "binary", ("a", "b")),
        (Y.astype(float), RandomForestClassifier(), "binary", (0.0, 1.0)),
    ],
)
def test_the_task_follows_the_model_and_else_the_values(
    y: Any, model: Any, task: str, classes: tuple[Any, ...]
) -> None:
    table = table_of(X, y, model)
    assert (table.task, table.classes) == (task, classes)
    if task == "regression":
        assert table.y.dtype == np.float64
    else:
        assert table.y.tolist() == np.asarray(y).ravel().tolist()


def test_three_codes_among_many_rows_are_classes() -> None:
    codes = np.arange(200) % 3
    assert table_of(np.zeros((200, 1)), codes).classes == (0, 1, 2)


def test_groups_are_numbered_and_dates_are_seconds() -> None:
    table = table_of(X, Y, groups=["b", "a"] * 20, times=pd.date_range("1970-01-02", periods=N, tz="Europe/Berlin"))
    assert table.groups is not None
    assert table.groups[:2].tolist() == [1, 0]
    assert table.times is not None
    assert table.times[:2].tolist() == [86400 - 3600, 2 * 86400 - 3600]
    table = table_of(X, Y, groups=np.arange(N) / 2, times=[f"2020-01-{1 + i % 28:02d}" for i in range(N)])
    assert table.groups is not None
    assert table.groups.max() == N - 1
    assert table.times is not None
    assert table.times[1] - table.times[0] == 86400


def test_numbers_are_times_as_they_are() -> None:
    assert table_of(X, Y, times=np.arange(N)).times.tolist() == list(range(N))  # type: ignore[union-attr]


def test_a_finite_sum_that_overflows_is_no_infinity() -> None:
    assert table_of(np.full((N, 2), 1e308), Y).n_rows == N


def test_a_large_array_is_looked_at_in_no_time() -> None:
    large, y = np.ones((200_000, 50)), np.arange(200_000) % 2
    begun = time.process_time()
    table_of(large, y)
    assert time.process_time() - begun < 0.5
