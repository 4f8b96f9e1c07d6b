"""Rows of a CSV file, as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.bundles import manifest, sum_graph

from nightshift.edge.manifest import BundleManifest, Column
from nightshift.edge.rows import Rows, codes, read_csv, rows_of
from nightshift.errors import BundleError, DtypeError

MANIFEST = manifest(sum_graph())


def read(tmp_path: Path, text: str, given: BundleManifest = MANIFEST, encoding: str = "utf-8") -> Rows:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode(encoding))
    return read_csv(path, given)


def test_columns_are_found_by_name_and_others_left_out(tmp_path: Path) -> None:
    rows = read(tmp_path, "note,temperature,grade,speed\nx,2.5,H,1\ny,,?,nan\n")
    np.testing.assert_array_equal(rows.values, np.array([[1, 2.5, 2], [np.nan, np.nan, -1]], np.float32))
    assert rows.civil_s is None
    assert rows.run.tolist() == [0, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_semicolons_mean_decimal_commas(tmp_path: Path, encoding: str) -> None:
    rows = read(tmp_path, "speed;temperature;grade;\r\n1,5;-2,25e1;M;\r\n", encoding=encoding)
    assert rows.values.tolist() == [[1.5, -22.5, 1.0]]


def test_runs_and_times_are_read(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "time,run,speed,temperature,grade\n"
        "2026-07-01T12:00:00Z,b,1,1,L\n"
        "2026-07-01T12:10:00+00:00,b,1,1,L\n"
        "1782900000,a,1,1,L\n",
    )
    assert rows.run.tolist() == [1, 1, 0]
    assert rows.civil_s is not None
    assert np.diff(rows.civil_s[:2]).tolist() == [600]
    assert rows.civil_s[2] == 1782900000


def test_civil_time_follows_daylight_saving(tmp_path: Path) -> None:
    given = manifest(sum_graph(), timezone="Europe/Berlin")
    rows = read(
        tmp_path,
        "time,speed,temperature,grade\n"
        "2026-01-10T05:00:00Z,1,1,L\n"  # 06:00 in winter
        "2026-07-10T04:00:00Z,1,1,L\n"  # 06:00 in summer
        "2026-07-10T06:00:00,1,1,L\n"  # naive: the machine's own clock
        "2026-10-25T02:50:00,1,1,L\n"
        "2026-10-25T02:10:00,1,1,L\n",  # the hour that a naive clock shows twice
        given,
    )
    assert rows.civil_s is not None
    assert (rows.civil_s % 86400 // 60).tolist() == [360, 360, 360, 170, 130]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speed,temperature\n1,2\n", "column 'grade' is missing"),
        ("speed,temprature,grade\n1,2,L\n", "'temperature' is missing.*'temprature'"),
        ("speed [Hz],temperature,grade\n1,2,L\n", "'speed' is in 'Hz', the model takes 'rpm'"),
        ("speed,temperature,grade\n1,2,L\n1,warm,L\n", "line 3, column 'temperature': 'warm' is no number"),
        ("speed,temperature,grade\n1,2\n", "line 2 .* has 2 cells, the header has 3"),
        ("speed,temperature,grade,speed\n1,2,L,1\n", "twice"),
        ("speed,temperature,grade\n", "no rows"),
        ("", "no rows"),
        ("time,speed,temperature,grade\nnoon,1,2,L\n", "line 2, column 'time': 'noon' is no time"),
        (
            "time,speed,temperature,grade\n2026-01-02T00:00:00Z,1,2,L\n2026-01-01T00:00:00Z,1,2,L\n",
            "line 3: time goes back within a run",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        read(tmp_path, text)


def test_a_unit_that_agrees_is_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, "speed [rpm],temperature (degC),grade\n1,2,L\n").values.tolist() == [[1, 2, 0]]


def test_a_missing_file_and_foreign_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_csv(tmp_path / "absent.csv", MANIFEST)
    with pytest.raises(BundleError, match="not UTF-8"):
        read(tmp_path, "speed,temperature,grade\n1,2,ü\n", encoding="latin-1")


def test_an_unknown_zone_is_named(tmp_path: Path) -> None:
    given = manifest(sum_graph(), timezone="Mars/Olympus")
    with pytest.raises(BundleError, match=r"time zone 'Mars/Olympus'.*tzdata"):
        read(tmp_path, "time,speed,temperature,grade\n2026-01-10T05:00:00Z,1,1,L\n", given)


def test_a_quotation_mark_left_open_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('speed,temperature,grade\n1,2,L\n1,2,"L\n' + "1,2,L\n" * 30_000)
    with pytest.raises(BundleError, match=r"line \d+ of rows\.csv cannot be read: field larger than .*left open"):
        read_csv(path, manifest(sum_graph()))


def test_a_line_is_named_as_an_editor_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('note,speed,temperature,grade\n"two\nlines",1,2,L\n\nnone,warm,2,L\n')
    with pytest.raises(DtypeError, match="line 5, column 'speed'"):
        read_csv(path, manifest(sum_graph()))


def test_blanks_around_a_value_do_not_count() -> None:
    given = {"speed": [" 1"], "temperature": [2], "grade": [" L "], "time": ["2026-01-01T00:00:00Z "]}
    assert rows_of(given, manifest(sum_graph())).values.tolist() == [[1, 2, 0]]
    assert codes(Column(name="grade", categories=("L", " L", "H "))) == {"L": 0, " L": 1, "H ": 2, "H": 2}
