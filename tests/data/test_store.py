"""Landing is all or nothing; what is opened is what was landed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
from pathlib import Path

import pandas as pd
import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import Metadata, Provenance
from nightshift.data.store import (
    current,
    install,
    land,
    open_dataset,
    open_reference,
    reference,
    subjects,
    verify,
    versions,
)
from nightshift.errors import DataError, NightshiftError, UnknownNameError, UsageError
from nightshift.settings import Home, use_home


@pytest.fixture
def landed(home: Home) -> Dataset:
    return split_and_land(home, calendar_rows(), describe())


def files(home: Home) -> set[str]:
    return {p.relative_to(home.data).as_posix() for p in home.data.rglob("*") if p.is_file()}


def test_what_is_opened_is_what_was_landed(home: Home, landed: Dataset) -> None:
    again = open_dataset(home, "pump_1")
    assert again.fingerprint == landed.fingerprint == current(home, "pump_1")
    assert subjects(home) == ("pump_1",)
    verify(again)
    rows = calendar_rows()
    train = again.frame("train")
    assert list(train.columns) == list(rows.columns)
    assert train["heat_c"].to_numpy() == pytest.approx(rows["heat_c"].to_numpy()[: len(train)], rel=1e-6)
    assert again.metadata.sensors[3].categories == ("H", "L", "M")
    assert again.metadata.parts["train"].positives == int(train["failure_status"].sum())


def test_landing_the_same_rows_again_changes_nothing(home: Home, landed: Dataset) -> None:
    before = {p: os.stat(home.data / p).st_mtime_ns for p in files(home) if p.startswith("store/")}
    again = split_and_land(home, calendar_rows(), describe())
    after = {p: os.stat(home.data / p).st_mtime_ns for p in files(home) if p.startswith("store/")}
    assert again.fingerprint == landed.fingerprint
    assert after == before


def test_any_changed_value_is_another_dataset_and_both_stay(home: Home, landed: Dataset) -> None:
    rows = calendar_rows()
    rows.loc[5, "heat_c"] += 0.01
    other = split_and_land(home, rows, describe())
    assert other.fingerprint != landed.fingerprint
    assert versions(home, "pump_1") == (landed.fingerprint[:12], other.fingerprint[:12])
    assert open_dataset(home, "pump_1").fingerprint == other.fingerprint
    old = open_reference(home, reference("pump_1", landed.fingerprint))
    assert old.fingerprint == landed.fingerprint


def test_a_changed_unit_is_another_dataset_but_the_hour_of_landing_is_not(home: Home, landed: Dataset) -> None:
    sensors = tuple(s.model_copy(update={"unit": "K"}) if s.name == "heat_c" else s for s in describe().sensors)
    assert split_and_land(home, calendar_rows(), describe(sensors=sensors)).fingerprint != landed.fingerprint
    dated = split_and_land(home, calendar_rows(), describe(created_at="2001-01-01T00:00:00Z"))
    assert dated.fingerprint == landed.fingerprint


def test_people_find_the_files_under_real_and_metadata(home: Home, landed: Dataset) -> None:
    view = home.data / "real" / "pump_1" / "train.parquet"
    assert view.stat().st_ino == (landed.folder / "train.parquet").stat().st_ino
    told = json.loads((home.data / "metadata" / "pump_1_metadata.json").read_text())
    assert told["subject"] == "pump_1"
    assert pd.read_parquet(view)["rul"].notna().all()


def test_an_unknown_machine_names_the_nearest(home: Home, landed: Dataset) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown machine 'pmp_1'.*Did you mean 'pump_1'"):
        open_dataset(home, "pmp_1")


@pytest.mark.parametrize(
    ("subject", "command"),
    [
        ("can_synthetic", "`nightshift simulate can`"),
        ("can_v40", "`nightshift import can PATH --subject can_v40`"),
        ("obd_leon", "`nightshift import obd PATH --subject obd_leon`"),
        ("nosuch", "`nightshift import csv FILE --mapping M` for a machine, `nightshift import telemetry PATH`"),
    ],
)
def test_an_unknown_subject_is_told_the_command_that_lands_it(home: Home, subject: str, command: str) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(f"Land data first, e.g. {command}")):
        open_dataset(home, subject)


@pytest.mark.parametrize("subject", ["../pump", "a/b", "", "Pump", "..", "x" * 65])
def test_an_id_that_is_no_file_name_is_refused_before_anything_is_read(home: Home, subject: str) -> None:
    with pytest.raises(UsageError, match="is not a machine id"):
        open_dataset(home, subject)
    with pytest.raises(UsageError, match="is not a machine id"):
        describe(subject)


def test_a_fingerprint_that_is_not_stored_is_named(home: Home, landed: Dataset) -> None:
    with pytest.raises(UnknownNameError, match="unknown dataset of 'pump_1' '000000000000'"):
        open_dataset(home, "pump_1", "0" * 64)
    with pytest.raises(DataError, match="no fingerprint"):
        open_dataset(home, "pump_1", "../../etc")


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_truncated_parquet_is_one_clear_error_and_landing_again_mends_it(
    home: Home, landed: Dataset, part: str
) -> None:
    path = landed.folder / f"{part}.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"{part}\.parquet of 'pump_1' is cut short"):
        open_dataset(home, "pump_1")
    verify(split_and_land(home, calendar_rows(), describe()))


def test_damage_in_the_middle_of_a_parquet_is_found_when_it_is_read(home: Home, landed: Dataset) -> None:
    path = landed.folder / "train.parquet"
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[-120:-60] = bytes(60)
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="pump_1"):
        verify(open_dataset(home, "pump_1"))


def test_an_altered_value_is_found_by_verify(home: Home, landed: Dataset) -> None:
    path = landed.folder / "val.parquet"
    frame = pd.read_parquet(path)
    frame.loc[0, "load_nm"] += 1
    path.unlink()
    frame.to_parquet(path, index=False)
    with pytest.raises(DataError, match="altered after landing"):
        verify(open_dataset(home, "pump_1"))


def test_a_missing_file_is_named(home: Home, landed: Dataset) -> None:
    (landed.folder / "val.parquet").unlink()
    with pytest.raises(DataError, match=r"val\.parquet of 'pump_1' is missing"):
        open_dataset(home, "pump_1")


def test_a_damaged_pointer_is_named(home: Home, landed: Dataset) -> None:
    (home.data / "current" / "pump_1").write_bytes(b"\x00\xff")
    with pytest.raises(DataError, match="pointer"):
        open_dataset(home, "pump_1")


def _land_on_a_full_disk(root: Path, answer: multiprocessing.SimpleQueue[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
    try:
        split_and_land(use_home(root), calendar_rows(), describe())
    except NightshiftError as error:
        answer.put(f"{type(error).__name__}: {error}")
    else:
        answer.put("landed")


@pytest.mark.parametrize("already", [False, True], ids=["first landing", "over an older version"])
def test_a_full_disk_leaves_nothing_half_written_and_the_next_landing_works(home: Home, already: bool) -> None:
    if already:
        split_and_land(home, calendar_rows(seed=1), describe())
    before = files(home)
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    child = context.Process(target=_land_on_a_full_disk, args=(home.root, answer))
    child.start()
    child.join(60)
    told = answer.get()
    assert told.startswith("NightshiftError: the dataset could not be written under data/")
    assert "Nothing was changed" in told
    assert files(home) == before
    assert not (home.data / "store" / "pump_1").is_dir() or already
    assert open_dataset(home, split_and_land(home, calendar_rows(), describe()).subject)


def test_a_folder_that_cannot_be_written_is_one_clear_error(home: Home) -> None:
    home.data.mkdir(parents=True)
    (home.data / "store").write_text("a file where the folder belongs")
    with pytest.raises(NightshiftError, match="could not be written"):
        split_and_land(home, calendar_rows(), describe())


def test_what_a_killed_landing_left_is_cleared_by_the_next(home: Home) -> None:
    dead = multiprocessing.get_context("fork").Process(target=int)
    dead.start()
    dead.join()
    leftover = home.data / "store" / ".incoming" / f"{dead.pid}-abcd"
    leftover.mkdir(parents=True)
    (leftover / "train.parquet").write_bytes(b"PAR1")
    split_and_land(home, calendar_rows(), describe())
    assert not leftover.exists()


def test_a_checked_out_folder_comes_back_with_its_fingerprint(home: Home, landed: Dataset, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkout"
    elsewhere.mkdir()
    for path in landed.folder.iterdir():
        (elsewhere / path.name).write_bytes(path.read_bytes())
    fresh = use_home(tmp_path / "other_home")
    assert install(fresh, elsewhere).fingerprint == landed.fingerprint
    (elsewhere / "sketch.json").unlink()
    with pytest.raises(DataError, match="no dataset that can be read"):
        install(fresh, elsewhere)


def test_a_missing_part_or_column_is_refused_before_anything_is_written(home: Home) -> None:
    rows = calendar_rows()
    with pytest.raises(DataError, match="the val part is empty"):
        land(home, {"train": rows, "test": rows}, describe())
    with pytest.raises(DataError, match="column 'shake_mm_s' not found"):
        split_and_land(home, rows.drop(columns="shake_mm_s"), describe())
    assert files(home) == set()


def synthetic(subject: str = "pump_1") -> Metadata:
    return describe(subject).model_copy(update={"provenance": Provenance(kind="synthetic", source="made")})


def test_data_of_another_kind_take_only_their_own_links_with_them(home: Home, landed: Dataset) -> None:
    real = home.data / "real" / "pump_1"
    (real / "notes.txt").write_text("mine")
    split_and_land(home, calendar_rows(seed=1), synthetic())
    assert [p.name for p in real.iterdir()] == ["notes.txt"]
    assert (home.data / "synthetic" / "pump_1" / "test.parquet").is_file()
    split_and_land(home, calendar_rows(seed=2), describe())
    assert not (home.data / "synthetic" / "pump_1").exists()
    assert (real / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["real", "synthetic"])
def test_a_users_own_files_where_the_links_belong_are_left(
    home: Home, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = home.data / "real" / "pump_9"
    own.mkdir(parents=True)
    names = ("train.parquet", "metadata.json")
    for name in names:
        (own / name).write_text("mine")
    metadata = synthetic("pump_9") if kind == "synthetic" else describe("pump_9")
    data = split_and_land(home, calendar_rows(), metadata)
    assert [(own / name).read_text() for name in names] == ["mine", "mine"]
    assert ("pump_9/train.parquet is not a copy" in caplog.text) == (kind == "real")
    assert (home.data / kind / "pump_9" / "val.parquet").samefile(data.folder / "val.parquet")
