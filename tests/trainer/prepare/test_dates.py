"""Dates become their parts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from nightshift.trainer.prepare.dates import PARTS, DateParts

STAMPS = pd.to_datetime(["2024-02-29 13:45:10", "1969-12-31 23:00:00", "NaT", "2026-11-22 00:00:00"])


def test_parts_are_those_that_pandas_tells() -> None:
    dates = pd.Series(pd.date_range("1965-01-01", "2031-01-01", freq="37h"))
    found = DateParts().fit_transform(dates.to_frame("when"))
    for i, part in enumerate(PARTS[:-1]):
        assert found[:, i].tolist() == getattr(dates.dt, part).tolist()
    assert found[:3, 5].tolist() == [0.0, 37 * 3600, 2 * 37 * 3600]


def test_seconds_count_from_the_first_row_that_was_learnt_from() -> None:
    parts = DateParts().fit(pd.DataFrame({"when": STAMPS[[0, 3]]}))
    found = parts.transform(pd.DataFrame({"when": STAMPS}))
    assert found[0, 5] == 0
    assert found[1, 5] < 0
    assert np.isnan(found[2]).all()
    assert parts.get_feature_names_out().tolist()[:2] == ["when_year", "when_month"]


@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame({"when": STAMPS.date}),
        pd.DataFrame({"when": STAMPS.normalize().astype("datetime64[s]")}),
        pd.DataFrame({"when": ["2024-02-29", "1969-12-31", "no date", "2026-11-22"]}),
        STAMPS.normalize().to_numpy()[:, None],
    ],
)
def test_dates_of_any_type_are_read(given: Any) -> None:
    found = DateParts().fit_transform(given)
    assert found[0, :5].tolist() == [2024, 2, 29, 3, 0]
    assert np.isnan(found[2]).all()


def test_the_hour_is_that_of_the_learnt_zone() -> None:
    berlin = pd.DataFrame({"when": pd.date_range("2024-07-01 12:00", periods=2, tz="Europe/Berlin")})
    parts = clone(DateParts()).fit(berlin)
    assert parts.transform(berlin)[0, 4] == 12
    utc = pd.DataFrame({"when": berlin["when"].dt.tz_convert("UTC")})
    assert parts.transform(utc).tolist() == parts.transform(berlin).tolist()


def test_a_column_of_no_dates_is_all_missing() -> None:
    found = DateParts().fit_transform(pd.DataFrame({"when": [None, None], "then": [dt.date(2020, 1, 1)] * 2}))
    assert np.isnan(found[:, :6]).all()
    assert np.isfinite(found[:, 6:]).all()


def test_an_unfitted_one_says_so() -> None:
    with pytest.raises(NotFittedError):
        DateParts().transform(pd.DataFrame({"when": STAMPS}))
