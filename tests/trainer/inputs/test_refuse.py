"""What nothing can be trained on is refused in one line: what, expected, got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from nightshift.errors import TableError
from nightshift.trainer.inputs.table import table_of

N = 30
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.arange(N) % 2
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def with_value(value: Any, row: int = 17, column: int = 1) -> np.ndarray:
    changed = X.copy()
    changed[row, column] = value
    return changed


def column(values: Any) -> pd.DataFrame:
    return FRAME.assign(b=values)


def y_with(value: Any) -> np.ndarray:
    changed = Y.astype(float)
    changed[5] = value
    return changed


BAD: dict[str, tuple[Any, Any, str]] = {
    "lengths": (X, Y[:-1], r"inconsistent numbers of samples: X 30, y 29\. Expected 30"),
    "no rows": (X[:0], Y[:0], r"Found array with 0 sample\(s\)"),
    "no columns": (X[:, :0], Y, r"0 feature\(s\).*\(30, 0\)"),
    "one dimension": (X[:, 0], Y, r"Expected 2D array for X, got 1D array instead: shape \(30,\)\. X\.reshape"),
    "three dimensions": (X[:, :, None], Y, "got 3D array"),
    "ragged": ([[1.0], [1.0, 2.0]], [0, 1], "rows of different length"),
    "generator": ((row for row in X), Y, "Expected an array or DataFrame, got generator. Pass list"),
    "y generator": (X, (v for v in Y), "Input y .* got generator"),
    "nothing": (None, Y, "Input X is missing"),
    "path": (Path("table.csv"), Y, "Expected an array or DataFrame, got 'table.csv'. Read the file"),
    "y by name": (FRAME, "target", "Input y is text"),
    "mapping": ({"a": [1]}, [0], "got dict. Pass pandas.DataFrame"),
    "infinite": (with_value(np.inf), Y, r"infinity: 1 value in column 'x1', first in row 17\. .* got inf"),
    "infinite, a frame": (column(with_value(-np.inf)[:, 1]), Y, r"column 'b', first in row 17\. .* got -inf"),
    "infinite, nullable": (column(pd.array(with_value(np.inf)[:, 1], dtype="Float64")), Y, "column 'b', first in row"),
    "infinite, sparse": (sparse.csr_matrix(with_value(np.inf)), Y, "column 'x1', first in row 17"),
    "infinite beside NaN": (np.where(np.isinf(with_value(np.inf)), np.inf, np.nan), Y, "column 'x1', first in row 17"),
    "duplicated names": (
        FRAME.set_axis(["a", "b", "a"], axis=1),
        Y,
        r"duplicated column names: 'a'\. .* 3 columns, got 2",
    ),
    "names of two levels": (
        FRAME.set_axis(pd.MultiIndex.from_tuples([("a", i) for i in range(3)]), axis=1),
        Y,
        "2 levels",
    ),
    "names of two types": (
        FRAME.set_axis(["a", "b", 3], axis=1),
        Y,
        r"string names\. Expected str, got \['int', 'str'\]",
    ),
    "mixed types": (column(["one", 2.5] * 15), Y, r"'b' of mixed types.*'one' \(str\) and '2.5' \(float\)\. .*astype"),
    "numbers as objects": (column(np.array([1, None] * 15, object)), Y, "dtype object that holds numbers.*to_numeric"),
    "durations": (column(pd.to_timedelta(range(N), "s")), Y, r"dtype timedelta64\[ns\].*total_seconds"),
    "complex": (column(X[:, 0] + 1j), Y, "dtype complex128"),
    "sparse column": (column(pd.arrays.SparseArray(X[:, 0])), Y, "sparse column 'b'.*tocsr"),
    "text in an array": (np.full((N, 2), "a"), Y, "Expected numbers in an array.*DataFrame"),
    "mixed array": (np.array([["a", 1.0]] * N, object), Y, "X has dtype object"),
    "NaN in y": (X, y_with(np.nan), "y contains NaN: 1 of 30 rows, first row 5. Expected a value"),
    "None in y": (X, [None, *Y[1:]], "y contains NaN: 1 of 30 rows, first row 0"),
    "NaT in y": (X, pd.Series(pd.to_datetime(["NaT", *["2020-01-01"] * 29])), "y contains NaN"),
    "NA in y": (X, pd.array([pd.NA, *Y[1:]], dtype="Int64"), "y contains NaN"),
    "infinite y": (X, y_with(np.inf), "y contains infinity: 1 of 30 rows, first row 5"),
    "one class": (X, ["a"] * N, r"greater than one; got 1 class: 'a' in all 30 rows"),
    "two columns of y": (X, np.c_[Y, Y], r"y should be a 1d array, got an array of shape \(30, 2\)"),
    "dates in y": (X, pd.date_range("2020", periods=N), "y has dtype datetime64"),
    "mixed y": (X, np.array(["a", 1] * 15, object), r"y has mixed types.*'a' \(str\) and '1' \(int\)"),
    "a list of numbers and text": (X, [1] * 15 + ["b"] * 15, r"y has mixed types.*got '1' \(int\) and 'b' \(str\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name: str) -> None:
    given, y, words = BAD[name]
    with pytest.raises(TableError, match=words) as error:
        table_of(given, y)
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert any(word in str(error.value) for word in ("Expected", "got", "expects"))


@pytest.mark.parametrize(
    ("groups", "times", "words"),
    [
        (np.arange(N - 1), None, "X 30, y 30, groups 29"),
        (None, np.arange(N + 1), "X 30, y 30, times 31"),
        ([None, *["a"] * 29], None, "groups contains NaN: 1 of 30 rows, first row 0"),
        (np.zeros((N, 2)), None, "groups should be a 1d array"),
        ((g for g in range(N)), None, "got generator"),
        (None, ["yesterday"] * N, "times holds no dates.*'yesterday'"),
        (None, [np.nan, *range(29)], "times contains NaN or infinity, first in row 0"),
        (None, pd.to_datetime(["NaT", *["2020-01-01"] * 29]), "times contains NaN or infinity, first in row 0"),
    ],
)
def test_bad_groups_and_times_are_refused(groups: Any, times: Any, words: str) -> None:
    with pytest.raises(TableError, match=words):
        table_of(X, Y, groups=groups, times=times)


LABELLED = pd.DataFrame(X, index=[f"row {i}" for i in range(N)])
TURNED = pd.Series(Y, index=LABELLED.index).iloc[::-1]


@pytest.mark.parametrize(
    "given",
    [
        {"X": LABELLED, "y": TURNED},
        {"X": LABELLED, "y": TURNED.to_frame()},
        {"X": LABELLED, "y": Y, "groups": TURNED},
        {"X": LABELLED, "y": Y, "times": TURNED},
        {"X": X, "y": TURNED, "groups": TURNED.iloc[::-1]},
        {"X": pd.DataFrame(X), "y": TURNED.reset_index(drop=True).iloc[::-1]},
        {"X": LABELLED.set_axis([0, 0, *range(2, N)]), "y": TURNED.set_axis([0, 2, 0, *range(3, N)])},
    ],
)
def test_the_same_index_in_another_order_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TableError, match=r"have the same index in another order.*\.loc\[(X|y)\.index\]"):
        table_of(**given)


@pytest.mark.parametrize("y", [TURNED.reset_index(drop=True), TURNED.set_axis(LABELLED.index), TURNED.to_numpy()])
def test_another_index_or_none_says_nothing(y: Any) -> None:
    assert table_of(LABELLED, y).y.tolist() == TURNED.tolist()


@pytest.mark.parametrize(
    ("model", "y", "words"),
    [
        (RandomForestClassifier(), Y + 0.5, "Unknown label type: continuous. RandomForestClassifier .* such as 0.5"),
        (RandomForestRegressor(), ["a", "b"] * 15, "RandomForestRegressor expects numbers in y, got 'a'"),
    ],
)
def test_y_of_another_kind_than_the_model_answers_is_refused(model: Any, y: Any, words: str) -> None:
    with pytest.raises(TableError, match=words):
        table_of(X, y, model)
