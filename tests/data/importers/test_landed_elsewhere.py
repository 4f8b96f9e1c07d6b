"""Data made elsewhere: everything is held to its description, and refused in one line before it is visible."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.datasets import calendar_rows, describe
from support.elsewhere import calendar_folder, change_csv, refused, write_metadata, write_pump

from nightshift.data import outbox
from nightshift.data.importers import foreign_rows
from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.data.importers.landing import refuse_blockers, split_and_land
from nightshift.errors import EXIT_BLOCKED, BlockedError
from nightshift.findings import Finding
from nightshift.settings import Home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pump(tmp_path / "made")


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
