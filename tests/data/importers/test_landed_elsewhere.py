"""Data made elsewhere: everything is held to its description, and refused in one line before it is visible."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.datasets import calendar_rows, describe
from support.elsewhere import describe_pump, write_pump

from nightshift.data import outbox
from nightshift.data.importers import foreign_rows, landed_elsewhere
from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.data.importers.landing import refuse_blockers, split_and_land
from nightshift.data.splits import split
from nightshift.data.store import subjects
from nightshift.errors import EXIT_BLOCKED, BlockedError, ConfigError, DataError, NightshiftError, UsageError
from nightshift.findings import Finding
from nightshift.settings import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pump(tmp_path / "made")


def write_metadata(folder: Path, **changes: Any) -> None:
    (folder / "metadata.json").write_text(json.dumps(describe_pump(**changes)))


def calendar_folder(folder: Path, **changes: Any) -> Path:
    """The calendar rows of the other tests, in three files."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = json.loads(describe().model_dump_json()) | changes
    (folder / "metadata.json").write_text(json.dumps(metadata))
    for part, rows in split(calendar_rows(), describe().time_kind).items():
        rows.to_parquet(folder / f"{part}.parquet", index=False)
    return folder


def refused(home: Home, folder: Path, kind: type[NightshiftError] = DataError) -> str:
    """The one line that a landing is refused with; nothing of it is to be seen."""
    with pytest.raises(kind) as caught:
        land_folder(home, folder)
    assert subjects(home) == ()
    assert outbox.pending(home) == ()
    assert not [p for p in home.data.rglob("*") if p.is_file()]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_csv_is_split_and_landed(home: Home, folder: Path) -> None:
    data = land_folder(home, folder)
    assert data.subject == "pump_1"
    assert {p: s.rows for p, s in data.metadata.parts.items()} == {"train": 210, "val": 45, "test": 45}
    assert [(n.subject, n.rows) for n in outbox.pending(home)] == [("pump_1", 300)]
    assert not land_folder(home, folder).new


def test_one_parquet_lands_as_the_same_csv_does(home: Home, folder: Path) -> None:
    from_csv = land_folder(home, folder)
    pd.read_csv(folder / "data.csv").to_parquet(folder / "data.parquet")
    (folder / "data.csv").unlink()
    from_parquet = land_folder(home, folder)
    assert from_parquet.fingerprint == from_csv.fingerprint
    assert not from_parquet.new


def test_the_three_files_of_a_stored_dataset_land_as_what_they_are(home: Home, tmp_path: Path) -> None:
    data = split_and_land(home, calendar_rows(), describe())
    again = land_folder(home, data.folder)
    assert (again.fingerprint, again.new) == (data.fingerprint, False)
    other = land_folder(home, data.folder, "pump_2", event=False)
    assert other.subject == "pump_2"
    assert [n.subject for n in outbox.pending(home)] == ["pump_1"]


def test_naive_times_are_the_machines_own_and_steps_and_embargo_are_measured(home: Home, tmp_path: Path) -> None:
    folder = calendar_folder(tmp_path / "made", sampling_s=None)
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["embargo"], metadata["sampling_s"]
    (folder / "metadata.json").write_text(json.dumps(metadata))
    for path in folder.glob("*.parquet"):
        rows = pd.read_parquet(path)
        rows["time"] = rows["time"].dt.tz_convert("Europe/Berlin").dt.tz_localize(None)
        rows.to_parquet(path, index=False)
    data = land_folder(home, folder)
    assert data.frame("train")["time"].iloc[0] == calendar_rows()["time"].iloc[0]
    assert data.metadata.sampling_s == 600
    assert data.metadata.embargo == pytest.approx(24 * 600 / 3600 + 2)


def test_what_a_writer_keeps_as_categories_or_decimals_is_read(home: Home, tmp_path: Path) -> None:
    whole = land_folder(home, calendar_folder(tmp_path / "plain"))
    folder = calendar_folder(tmp_path / "made")
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("grade")
        table = table.set_column(at, "grade", table["grade"].dictionary_encode())
        at = table.schema.get_field_index("failure_status")
        pq.write_table(table.set_column(at, "failure_status", table["failure_status"].cast(pa.decimal128(20, 0))), path)
    assert land_folder(home, folder).fingerprint == whole.fingerprint


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


RUN_AS_DERIVED = {"name": "run", "kind": "ratio", "left": "temperature_c", "right": "vibration_mm_s"}


def change_csv(change: Callable[[pd.DataFrame], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        rows = pd.read_csv(folder / "data.csv", dtype=object)
        made = change(rows)
        (made if isinstance(made, pd.DataFrame) else rows).to_csv(folder / "data.csv", index=False)

    return spoil


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


def test_parts_that_do_not_belong_together_are_refused(home: Home, tmp_path: Path) -> None:
    part = {"rows": 5, "runs": 1}
    folder = calendar_folder(tmp_path / "made", parts={"train": part, "val": part, "test": part})
    assert "says that 'train' holds 5 rows; there are" in refused(home, folder)


def test_a_finding_that_blocks_refuses_the_landing_with_its_code(home: Home, tmp_path: Path) -> None:
    folder = calendar_folder(tmp_path / "made")
    train = pd.read_parquet(folder / "train.parquet")
    train.iloc[::-1].to_parquet(folder / "train.parquet", index=False)
    with pytest.raises(BlockedError) as caught:
        land_folder(home, folder)
    assert (caught.value.codes, caught.value.exit_code) == (("D003",), EXIT_BLOCKED)
    assert "the data of 'pump_1' were not landed. D003: time goes back" in refused(home, folder, BlockedError)


@pytest.mark.parametrize(
    ("column", "value", "code"), [("rul", -1.0, "D011"), ("heat_c", np.nan, "D002"), ("run", 0, "D013")]
)
def test_each_blocker_is_one(home: Home, tmp_path: Path, column: str, value: float, code: str) -> None:
    folder = calendar_folder(tmp_path / "made")
    for path in folder.glob("*.parquet"):
        pd.read_parquet(path).assign(**{column: value}).to_parquet(path, index=False)
    assert code in refused(home, folder, BlockedError)


def test_one_class_blocks_a_model_and_not_the_landing(home: Home, folder: Path) -> None:
    change_csv(lambda r: r.assign(failure_status=0))(folder)
    assert land_folder(home, folder).new


def test_a_year_that_no_clock_of_ours_reaches_is_refused(home: Home, tmp_path: Path) -> None:
    folder = calendar_folder(tmp_path / "made")
    table = pq.read_table(folder / "train.parquet")
    far = pa.array([2**60] * len(table), pa.int64()).cast(pa.timestamp("us", tz="UTC"), safe=False)
    at = table.schema.get_field_index("time")
    pq.write_table(table.set_column(at, "time", far), folder / "train.parquet")
    assert "D020: column 'time' holds" in refused(home, folder)


def test_nothing_is_unpickled(home: Home, folder: Path, tmp_path: Path) -> None:
    """What a writer notes beside the columns could name types of its own; it is not read."""
    mark = tmp_path / "unpickled"
    payload = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    notes = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    table = pa.Table.from_pandas(pd.read_csv(folder / "data.csv"), preserve_index=False)
    schema = pa.schema([field.with_metadata(notes) for field in table.schema], metadata={b"pandas": payload})
    (folder / "data.csv").unlink()
    with pq.ParquetWriter(folder / "data.parquet", schema) as writer:
        writer.write_table(pa.Table.from_arrays(table.columns, schema=schema))
    assert land_folder(home, folder).new
    assert not mark.exists()


def leak(folder: Path, kind: str) -> None:
    """A sensor that tells the classes apart by itself, in data that claim to be of a kind."""
    write_metadata(folder, provenance={"kind": kind, "source": "a test bench"})
    rows = pd.read_csv(folder / "data.csv")
    rows["vibration_mm_s"] = 3 + 2 * rows["failure_status"] + 0.001 * np.arange(len(rows))
    rows.to_csv(folder / "data.csv", index=False)


def test_made_data_that_give_their_label_away_are_refused_and_a_real_machines_are_remarked_on(
    home: Home, folder: Path
) -> None:
    leak(folder, "synthetic")
    assert "D015: vibration_mm_s (AUC 1.000) alone tells the classes apart" in refused(home, folder, BlockedError)
    leak(folder, "import")
    remarks: list[Finding] = []
    land_folder(home, folder, check=lambda data: remarks.extend(refuse_blockers(data)))
    assert "D015" in [f.code for f in remarks]


def test_where_data_come_from_is_noted_as_a_claim(home: Home, folder: Path) -> None:
    data = land_folder(home, folder)
    assert data.metadata.provenance.details == {"claimed_by": "metadata.json of a folder that was landed"}
    assert not land_folder(home, folder).new


def test_a_few_bytes_that_stand_for_gigabytes_of_text_are_refused(
    home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_rows, "MAX_TEXT_BYTES", 50_000_000)
    sensors = [{"name": "temperature_c"}, {"name": "grade", "role": "category"}]
    write_metadata(folder, sensors=sensors, label_source="absent")
    (folder / "data.csv").unlink()
    word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["w" * 1_000_000])
    table = pa.table({"temperature_c": np.arange(100_000.0), "grade": word})
    pq.write_table(table, folder / "data.parquet", compression="zstd")
    assert (folder / "data.parquet").stat().st_size < 2_000_000
    assert "holds 100,000,000,000 bytes of text, at most 50,000,000" in refused(home, folder)
    plain = table.slice(0, 60).cast(pa.schema({"temperature_c": pa.float64(), "grade": pa.string()}))
    pq.write_table(plain, folder / "data.parquet", compression="zstd", use_dictionary=False)
    assert "bytes of text, at most 50,000,000" in refused(home, folder)
    encoding = {"grade": "DELTA_BYTE_ARRAY"}
    pq.write_table(plain, folder / "data.parquet", use_dictionary=False, column_encoding=encoding)
    assert "DELTA_BYTE_ARRAY, which is not read" in refused(home, folder)


def test_text_in_several_row_groups_lands_as_in_one(home: Home, tmp_path: Path) -> None:
    whole = land_folder(home, calendar_folder(tmp_path / "plain"))
    folder = calendar_folder(tmp_path / "made")
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path), path, row_group_size=50)
    assert pq.ParquetFile(folder / "train.parquet").num_row_groups > 2
    assert land_folder(home, folder).fingerprint == whole.fingerprint
