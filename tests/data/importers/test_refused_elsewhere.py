"""Folders that do not fit what they say of themselves, or cannot be read, are refused in one line."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.elsewhere import change_csv, refused, write_metadata, write_pump

from nightshift.data.importers import foreign_rows, landed_elsewhere
from nightshift.errors import ConfigError, UsageError
from nightshift.settings import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pump(tmp_path / "made")


def break_json(folder: Path) -> None:
    (folder / "metadata.json").write_text('{"subject": "pump_1", ')


def enlarge_metadata(folder: Path) -> None:
    (folder / "metadata.json").write_text(" " * (landed_elsewhere.MAX_METADATA_BYTES + 1))


def nest_deeply(folder: Path) -> None:
    (folder / "metadata.json").write_text("[" * 50_000)


def endless_number(folder: Path) -> None:
    text = (folder / "metadata.json").read_text()
    (folder / "metadata.json").write_text(text.replace('"minimum": 0}', '"minimum": -1e999}'))


def lone_surrogate(folder: Path) -> None:
    text = (folder / "metadata.json").read_text()
    (folder / "metadata.json").write_text(text.replace("a test bench", "\\ud800"))


def metadata_as_pipe(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    os.mkfifo(folder / "metadata.json")


def metadata_as_device(folder: Path) -> None:
    (folder / "metadata.json").unlink()
    (folder / "metadata.json").symlink_to("/dev/zero")


def rows_as_pipe(folder: Path) -> None:
    (folder / "data.csv").unlink()
    os.mkfifo(folder / "data.csv")


def no_metadata(folder: Path) -> None:
    (folder / "metadata.json").unlink()


def no_rows(folder: Path) -> None:
    (folder / "data.csv").unlink()


def two_forms(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"PAR1")


def two_parts(folder: Path) -> None:
    (folder / "data.csv").rename(folder / "train.parquet")


def cut_parquet(folder: Path) -> None:
    pd.read_csv(folder / "data.csv").to_parquet(folder / "data.parquet")
    (folder / "data.csv").unlink()
    (folder / "data.parquet").write_bytes((folder / "data.parquet").read_bytes()[:-50])


def noise_as_parquet(folder: Path) -> None:
    (folder / "data.csv").unlink()
    (folder / "data.parquet").write_bytes(b"PAR1" + bytes(range(256)) * 4 + struct.pack("<I", 900) + b"PAR1")


def a_folder_as_csv(folder: Path) -> None:
    (folder / "data.csv").unlink()
    (folder / "data.csv").mkdir()


def lists_as_numbers(folder: Path) -> None:
    rows = pd.read_csv(folder / "data.csv")
    rows["temperature_c"] = [[1.0, 2.0]] * len(rows)
    (folder / "data.csv").unlink()
    rows.to_parquet(folder / "data.parquet")


def times_as_numbers(folder: Path) -> None:
    rows = pd.read_csv(folder / "data.csv")
    rows["temperature_c"] = pd.Timestamp("2025-01-01")
    (folder / "data.csv").unlink()
    rows.to_parquet(folder / "data.parquet")


def endless_cell(folder: Path) -> None:
    (folder / "data.csv").write_text("temperature_c,vibration_mm_s,failure_status\n" + "1" * 200_000 + ",2,0\n")


def metadata_with(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write_metadata(folder, **changes)


def twice(folder: Path) -> None:
    text = (folder / "data.csv").read_text().splitlines()
    (folder / "data.csv").write_text("\n".join(["temperature_c,temperature_c,failure_status", *text[1:]]))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (metadata_as_pipe, "metadata.json cannot be read: it is no plain file"),
        (metadata_as_device, "metadata.json cannot be read: it is no plain file"),
        (rows_as_pipe, "data.csv is no file"),
        (no_metadata, "metadata.json is missing in made"),
        (break_json, "metadata.json is no valid JSON"),
        (enlarge_metadata, "metadata.json is larger than 1,000,000 bytes"),
        (nest_deeply, "metadata.json is no valid JSON"),
        (lone_surrogate, "metadata.json is no valid JSON"),
        (endless_number, "metadata.json: 'sensors.1.minimum' is no finite number"),
        (metadata_with(sensor=[]), "metadata.json: unknown key 'sensor'. Did you mean 'sensors'?"),
        (metadata_with(has_rul="perhaps"), "metadata.json: has_rul: Input should be a valid boolean"),
        (metadata_with(sensors=[]), "'sensors' holds 0, expected 1 to 2,000"),
        (metadata_with(sensors=[{"name": "a"}, {"name": "a"}]), "metadata.json: sensor names repeat"),
        (metadata_with(sensors=[{"name": "a", "unit": 3}]), "metadata.json: sensors.0.unit"),
        (metadata_with(time_unit="hours"), "'time_unit' is 'hours', expected 'none' with time_kind 'none'"),
        (metadata_with(has_rul=True), "rows without time have no remaining life"),
        (metadata_with(label_source="from_rul"), "'horizon' is missing"),
        (
            metadata_with(label_source="absent"),
            "holds the column 'failure_status', of which metadata.json says nothing",
        ),
        (no_rows, "made holds none of them; expected train.parquet, val.parquet and test.parquet"),
        (two_forms, "made holds data.parquet, data.csv; expected"),
        (two_parts, "made holds train.parquet; expected"),
        (cut_parquet, "data.parquet is no parquet file, or cut short"),
        (noise_as_parquet, "data.parquet is no parquet file, or cut short"),
        (a_folder_as_csv, "data.csv is no file"),
        (lists_as_numbers, "D020: column 'temperature_c' of data.parquet is of type list<element: double>"),
        (times_as_numbers, "D020: column 'temperature_c' of data.parquet is of type timestamp"),
        (twice, "more than once"),
        (endless_cell, "data.csv is no table: field larger than field limit"),
        (metadata_with(**{"a\nb": 1}), "metadata.json: unknown key 'a b'."),
        (
            metadata_with(
                derived=[{"name": "run", "kind": "ratio", "left": "temperature_c", "right": "vibration_mm_s"}]
            ),
            "the derived column 'run' has the name of another column",
        ),
        (change_csv(lambda r: r.drop(columns="vibration_mm_s")), "D001: data.csv lacks the column 'vibration_mm_s'"),
        (change_csv(lambda r: r.assign(oil=1)), "data.csv holds the column 'oil'"),
        (
            change_csv(lambda r: r.replace({"temperature_c": {r["temperature_c"][3]: "warm"}})),
            "Mend the rows, or what metadata.json",
        ),
        (change_csv(lambda r: r.replace({"temperature_c": {r["temperature_c"][3]: "inf"}})), "infinite"),
        (change_csv(lambda r: r.assign(failure_status=2)), "must hold 0 (well) or 1 (failing)"),
        (change_csv(lambda r: r.assign(run=0.5)), "column 'run' of data.csv holds '0.5' (row 1)"),
        (change_csv(lambda r: r.head(20)), "the data has 20 rows, at least 50 are needed"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    home: Home, folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(folder)
    assert told in refused(home, folder)


def test_a_path_that_is_no_folder_is_named(home: Home, folder: Path) -> None:
    assert "data.csv is no folder" in refused(home, folder / "data.csv")
    assert "nowhere is no folder" in refused(home, folder / "nowhere")


def test_an_id_that_is_no_file_name_and_a_zone_that_is_none_are_refused(home: Home, folder: Path) -> None:
    write_metadata(folder, timezone="Mars/Phobos")
    assert "'Mars/Phobos' is no time zone" in refused(home, folder, ConfigError)
    write_metadata(folder, subject="../pump")
    assert "is not a machine id" in refused(home, folder, UsageError)


def test_what_is_too_large_is_not_read(home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_rows, "MAX_CSV_BYTES", 1_000)
    assert "at most 1,000 are read" in refused(home, folder)
    pd.read_csv(folder / "data.csv").to_parquet(folder / "data.parquet")
    (folder / "data.csv").unlink()
    monkeypatch.setattr(foreign_rows, "MAX_VALUES", 899)
    assert "data.parquet holds 900 values, at most 899 can be landed" in refused(home, folder)
    # A few bytes of parquet can stand for a great many rows.
    same = pd.read_parquet(folder / "data.parquet").iloc[np.zeros(1_000_000, int)]
    same.to_parquet(folder / "data.parquet", compression="zstd", index=False)
    assert (folder / "data.parquet").stat().st_size < 100_000
    assert "holds 3,000,000 values" in refused(home, folder)
