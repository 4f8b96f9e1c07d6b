"""A fingerprint changes with the data and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from nightshift.trainer.contract import Table
from nightshift.trainer.inputs import fingerprint as module
from nightshift.trainer.inputs.fingerprint import fingerprint
from nightshift.trainer.inputs.table import table_of

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
Y = np.arange(N) % 2


def mixed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": X[:, 0],
            "whole": np.arange(N),
            "yes": Y == 1,
            "text": ["u", "v", "w"] * 20,
            "kind": pd.Categorical(["p", "q"] * 30),
            "null": pd.array([1, None, 3] * 20, dtype="Int64"),
            "when": pd.date_range("2024", periods=N),
            "then": pd.date_range("2024", periods=N, tz="Europe/Berlin"),
        }
    )


def table() -> Table:
    return table_of(mixed(), Y, groups=np.arange(N) // 3, times=np.arange(N))


def swapped(values: Any) -> Any:
    order = np.r_[[1, 0], np.arange(2, N)]
    return values.iloc[order] if hasattr(values, "iloc") else values[order]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 256)


CHANGES: dict[str, Callable[[Table], Table]] = {
    "y": lambda t: replace(t, y=1 - t.y),
    "text y": lambda t: replace(t, y=np.array(["a", "b"] * 30, object)),
    "groups": lambda t: replace(t, groups=swapped(np.arange(N))),
    "no groups": lambda t: replace(t, groups=None),
    "times": lambda t: replace(t, times=np.arange(N, dtype=np.float64)[::-1]),
    "no times": lambda t: replace(t, times=None),
    "name": lambda t: table_of(mixed().rename(columns={"a": "b"}), Y, groups=t.groups, times=t.times),
    "column order": lambda t: table_of(mixed()[mixed().columns[::-1]], Y, groups=t.groups, times=t.times),
    "row order": lambda t: replace(t, X=swapped(t.X)),
    "dtype": lambda t: replace(t, X=t.X.astype({"whole": float})),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_the_data_is_another_fingerprint(change: str) -> None:
    assert fingerprint(CHANGES[change](table())) != fingerprint(table())


@pytest.mark.parametrize("name", mixed().columns)
def test_other_values_of_any_column_are_another_fingerprint(name: str) -> None:
    given = table()
    changed = given.X.assign(**{name: given.X[name].array[::-1]})
    assert fingerprint(replace(given, X=changed)) != fingerprint(given)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, pd.DataFrame])
def test_one_bit_in_the_last_row_is_seen(kind: Any) -> None:
    other = X.copy()
    other[-1, -1] = np.nextafter(other[-1, -1], 9)
    assert fingerprint(table_of(kind(other), Y)) != fingerprint(table_of(kind(X), Y))


def test_the_same_data_in_another_memory_is_the_same_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fingerprint(table()) == fingerprint(table())
    assert fingerprint(table_of(np.asfortranarray(X), Y)) == fingerprint(table_of(X, Y))
    apart = pd.DataFrame({i: X[:, i].copy() for i in range(3)})
    monkeypatch.setattr(module, "rows_together", lambda _: False)
    one = fingerprint(table_of(apart, Y))
    monkeypatch.setattr(module, "rows_together", lambda _: True)
    assert fingerprint(table_of(pd.DataFrame(X), Y)) == one
    assert fingerprint(table_of(pd.DataFrame(X, index=range(5, N + 5)), Y)) == one


def test_another_process_tells_the_same() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import numpy as np, pandas as pd; from nightshift.trainer.inputs.table import table_of;"
            "from nightshift.trainer.inputs.fingerprint import fingerprint;"
            "print(fingerprint(table_of(pd.DataFrame({'a': ['u', 'v'] * 9, 'b': range(18)}), ['p', 'q'] * 9)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    here = table_of(pd.DataFrame({"a": ["u", "v"] * 9, "b": range(18)}), ["p", "q"] * 9)
    assert told.stdout.strip() == fingerprint(here)
