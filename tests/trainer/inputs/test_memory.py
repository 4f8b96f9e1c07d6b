"""What does not fit into memory is refused with the sample that would, or trained on that sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from scipy import sparse

from nightshift.errors import TableError
from nightshift.trainer.contract import Cut, Table
from nightshift.trainer.inputs.memory import COPIES, left_mb, row_bytes, within
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Limits, Settings

N = 20_000
X = np.random.default_rng(0).normal(size=(N, 50))
CUT = Cut(np.arange(14_000), np.arange(14_000, 16_000), np.arange(16_000, N), "random", "asked for")
NEED_MB = 14_000 * 50 * 8 * COPIES / 1e6


def table() -> Table:
    return table_of(X, np.arange(N) % 2)


def settings(left: float, n_jobs: int = 1, **given: Any) -> Settings:
    held = psutil.Process().memory_info().rss / 1e6
    return Settings(limits=Limits(memory_mb=held + left, **given), n_jobs=n_jobs)


def test_what_fits_is_left_alone() -> None:
    assert within(table(), CUT, Settings()).cut is CUT
    fits = within(table(), CUT, settings(NEED_MB * 2.5, n_jobs=2))
    assert (fits.cut, fits.n_jobs, fits.findings) == (CUT, 2, ())


def test_fewer_fits_at_once_are_told() -> None:
    fits = within(table(), CUT, settings(NEED_MB * 2.5, n_jobs=4))
    assert fits.n_jobs == 2
    assert fits.cut is CUT
    assert [f.code for f in fits.findings] == ["T032"]
    assert "n_jobs=2" in fits.findings[0].remedy


def test_what_does_not_fit_is_refused_with_the_sample_that_would() -> None:
    with pytest.raises(
        TableError, match=r"T032: a fit of 14,000 rows x 50 columns needs about 13 MB\. .* trains on [67],\d{3}"
    ):
        within(table(), CUT, settings(NEED_MB / 2))
    with pytest.raises(TableError, match="not even a sample"):
        within(table(), CUT, settings(-100.0, beyond_memory="sample"))


def test_a_sample_that_was_asked_for_is_drawn_from_train_rows_alone() -> None:
    fits = within(table(), CUT, settings(NEED_MB / 2, beyond_memory="sample"))
    assert 6_000 < len(fits.cut.train) <= 7_100
    assert fits.cut.train.max() < 14_000
    assert sorted([*fits.cut.train, *fits.cut.dropped]) == list(range(14_000))
    assert fits.cut.test is CUT.test
    assert [f.code for f in fits.findings] == ["T032"]


def test_a_row_is_as_large_as_its_numbers() -> None:
    assert row_bytes(X) == 400
    assert row_bytes(pd.DataFrame({"a": [1.0], "b": ["long text"], "c": [True]})) == 24
    assert row_bytes(sparse.eye(100, format="csr")) == 12
    assert left_mb(Limits()) > 0
