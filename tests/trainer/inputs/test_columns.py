"""A column is known by its values, not by its name or type alone."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nightshift.errors import TableError
from nightshift.trainer.contract import Column
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Encode

N = 200
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=N)
Y = np.arange(N) % 2


def one(values: Any, name: str = "c", encode: Encode | None = None) -> Column:
    return kinds(table_of(pd.DataFrame({name: values}), Y), encode)[0]


def words(many: int) -> list[str]:
    return [f"w{i % many}" for i in range(N)]


@pytest.mark.parametrize(
    ("values", "role", "many"),
    [
        (NUMBERS, "number", N),
        (np.arange(N) % 7, "number", 7),
        (np.arange(N) % 2 * 5.0, "number", 2),
        (np.arange(N) % 2 * 1.0, "flag", 2),
        (np.arange(N) % 2 == 0, "flag", 2),
        (pd.array(np.arange(N) % 7, dtype="Int64"), "number", 7),
        (pd.array(np.arange(N) % 2 == 0, dtype="boolean"), "low", 2),
        (np.array([True, False, None, True] * 50, object), "low", 2),
        (words(10), "low", 10),
        (words(11), "middle", 11),
        (words(49), "middle", 49),
        (words(50), "high", 50),
        (pd.Categorical(np.arange(N) % 3), "low", 3),
        (pd.date_range("2020", periods=N), "datetime", N),
        (pd.date_range("2020", periods=N, tz="UTC"), "datetime", N),
        ([dt.date(2020, 1, 1 + i % 5) for i in range(N)], "datetime", 5),
    ],
)
def test_the_role_follows_the_values(values: Any, role: str, many: int) -> None:
    found = one(values)
    assert (found.role, found.values) == (role, many)


def test_the_borders_between_few_some_and_many_are_the_settings() -> None:
    encode = Encode(one_hot_up_to=2, target_from=4)
    assert [one(words(k), encode=encode).role for k in (2, 3, 4)] == ["low", "middle", "high"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.where(np.arange(N) == 3, np.nan, NUMBERS), True),
        (NUMBERS, False),
        ([None, *words(3)[1:]], True),
        (words(3), False),
        (pd.to_datetime(["NaT", *["2020-01-01"] * (N - 1)]), True),
        (pd.array([pd.NA, *range(N - 1)], dtype="Int64"), True),
        (np.full(N, 1e308), False),
    ],
)
def test_one_missing_value_anywhere_is_seen(values: Any, expected: bool) -> None:
    assert one(values).missing is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.ones(N), True),
        (np.full(N, np.nan), True),
        (["same"] * N, True),
        (np.where(np.arange(N) == 3, np.nan, 1.0), True),
        (np.arange(N) == 3, False),
    ],
)
def test_a_column_of_one_value_is_constant(values: Any, expected: bool) -> None:
    assert one(values).constant is expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("row", RNG.permutation(N) + 1000, True),
        ("c", RNG.permutation(N).astype(float), True),
        ("c", NUMBERS, False),
        ("price", RNG.choice(10**9, N, replace=False), False),
        ("user_id", RNG.choice(10**9, N, replace=False), True),
        ("user_id", np.arange(N) % 20, False),
        ("c", [f"u{i}" for i in range(N)], True),
        ("c", words(50), False),
        ("c", pd.date_range("2020", periods=N), False),
    ],
)
def test_what_names_each_row_is_told(name: str, values: Any, expected: bool) -> None:
    assert one(values, name).id_like is expected


def test_a_value_that_the_sample_misses_is_found() -> None:
    values = np.zeros((30_000, 2))
    values[1, 0], values[4, 1] = 1.0, 7.0
    columns = kinds(table_of(values, np.arange(30_000) % 2), None)
    assert [c.role for c in columns] == ["flag", "number"]
    assert not any(c.constant for c in columns)


def test_an_array_is_known_like_a_frame_and_a_sparse_matrix_not_at_all() -> None:
    values = np.c_[NUMBERS, np.arange(N) % 2, np.where(Y == 0, np.nan, NUMBERS), np.ones(N)]
    of_array = kinds(table_of(values, Y), None)
    of_frame = kinds(table_of(pd.DataFrame(values, columns=["x0", "x1", "x2", "x3"]), Y), None)
    assert of_array == of_frame
    assert [c.role for c in of_array] == ["number", "flag", "number", "number"]
    assert kinds(table_of(sparse.csr_matrix(values), Y), None) == ()


def test_a_large_frame_made_of_an_array_is_known_like_one_of_columns() -> None:
    values = RNG.normal(size=(140_000, 3))
    values[137_000, 1] = np.nan
    together, apart = pd.DataFrame(values), pd.DataFrame({i: values[:, i].copy() for i in range(3)})
    y = np.arange(len(values)) % 2
    found = kinds(table_of(together, y), None)
    assert found == kinds(table_of(apart, y), None)
    assert [c.missing for c in found] == [False, True, False]
    values[139_000, 2] = np.inf
    for frame in (pd.DataFrame(values), pd.DataFrame({i: values[:, i].copy() for i in range(3)})):
        with pytest.raises(TableError, match="1 value in column '2', first in row 139000"):
            table_of(frame, y)
