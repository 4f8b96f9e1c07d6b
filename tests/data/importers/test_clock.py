"""Times are read without guessing, also in the hour that daylight saving repeats."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.data.importers.clock import read_times
from nightshift.data.importers.mapping import TimeColumn
from nightshift.errors import ConfigError, DataError

BERLIN = TimeColumn(column="t", timezone="Europe/Berlin")


def read(cells: list[object], spec: TimeColumn = BERLIN) -> list[str]:
    times = read_times(pd.Series(cells, name="t"), spec, np.zeros(len(cells), dtype=np.int64))
    return [t.strftime("%m-%d %H:%M") for t in times]


def test_local_times_become_utc() -> None:
    assert read(["2025-01-01 12:00", "2025-07-01T12:00:00.5"]) == ["01-01 11:00", "07-01 10:00"]


def test_offsets_win_over_the_zone_and_may_change() -> None:
    assert read(["2025-01-01T12:00Z", "2025-07-01 12:00+02:00"]) == ["01-01 12:00", "07-01 10:00"]


def test_the_repeated_hour_is_told_apart_by_order() -> None:
    cells = ["2025-10-26 01:30", "2025-10-26 02:00", "2025-10-26 02:30", "2025-10-26 02:00", "2025-10-26 02:30"]
    assert read([*cells, "2025-10-26 03:00"]) == [
        "10-25 23:30",
        "10-26 00:00",
        "10-26 00:30",
        "10-26 01:00",
        "10-26 01:30",
        "10-26 02:00",
    ]


def test_an_ambiguous_hour_that_comes_once_is_the_first() -> None:
    assert read(["2025-10-26 01:30", "2025-10-26 02:30", "2025-10-26 03:30"])[1] == "10-26 00:30"


def test_the_hour_that_never_was_is_moved_forward() -> None:
    assert read(["2025-03-30 02:30"]) == ["03-30 01:00"]


def test_epoch_counts_are_read() -> None:
    assert read([0, 86400], TimeColumn(column="t", epoch="s")) == ["01-01 00:00", "01-02 00:00"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2025-01-01", "01.02.2025"], r"holds '01.02.2025' \(row 2\).*format"),
        (["01/02/2025"], "format"),
        (["2025-01-01 00:00", "2025-01-01T01:00Z"], "mixes times with and without"),
        (["2025-13-01"], "2025-13-01"),
    ],
)
def test_what_could_mean_two_dates_is_refused(cells: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(cells)


def test_a_stated_format_is_held() -> None:
    spec = TimeColumn(column="t", format="%d/%m/%Y %H:%M")
    assert read(["01/02/2025 03:04"], spec) == ["02-01 03:04"]
    with pytest.raises(DataError, match="of the form %d/%m"):
        read(["02/31/2025 03:04"], spec)


@pytest.mark.parametrize("zone", ["Europe/Berlinn", "../etc/passwd", ""])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match="is no time zone"):
        read(["2025-01-01"], TimeColumn(column="t", timezone=zone))
