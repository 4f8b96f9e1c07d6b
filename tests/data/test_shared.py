"""Datasets that machines share, with a folder as the store; tests/scale does the same with S3."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.datasets import calendar_rows, describe
from support.homes import a_home

from nightshift.data import outbox
from nightshift.data.remote import open_remote
from nightshift.data.shared import sync_pointers
from nightshift.data.splits import split
from nightshift.data.store import current, land, open_dataset, subjects, verify
from nightshift.errors import ConfigError, DataError, NightshiftError, UnknownNameError
from nightshift.plan.state import make_cell
from nightshift.settings import STORE_VARIABLE, Home


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared store"
    folder.mkdir()
    monkeypatch.setenv(STORE_VARIABLE, str(folder))
    return folder


def landed(home: Home, seed: int = 0, subject: str = "pump_1") -> str:
    metadata = describe(subject)
    return land(home, split(calendar_rows(seed=seed), metadata), metadata).fingerprint


def test_what_lands_on_one_machine_is_opened_on_another(store: Path, home: Home, tmp_path: Path) -> None:
    fingerprint = landed(home)
    with a_home(tmp_path / "other") as other:
        assert current(other, "pump_1") == fingerprint
        data = open_dataset(other, "pump_1")
        verify(data)
        assert data.folder.is_relative_to(other.root)
        assert data.frame("test").equals(open_dataset(home, "pump_1").frame("test"))
        assert not outbox.pending(other)
        # It stays when the store goes.
        store.rename(store.with_name("gone"))
        assert open_dataset(other, "pump_1", fingerprint[:12]).fingerprint == fingerprint


def test_a_newer_landing_is_taken_over_and_an_older_one_still_fetched(store: Path, home: Home, tmp_path: Path) -> None:
    before = landed(home)
    with a_home(tmp_path / "other") as other:
        remote = open_remote(other)
        assert remote is not None
        assert sync_pointers(other, remote) == ("pump_1",)
        assert sync_pointers(other, remote) == ()
        now = landed(home, seed=1)
        assert current(other, "pump_1") == before
        assert sync_pointers(other, remote) == ("pump_1",)
        assert current(other, "pump_1") == now
        assert open_dataset(other, "pump_1", before[:12]).fingerprint == before


def test_a_cell_is_of_the_data_that_landed_last_anywhere(store: Path, home: Home, tmp_path: Path) -> None:
    landed(home)
    with a_home(tmp_path / "other") as other:
        first = make_cell(other, "pump_1", "anomaly")
        pointer = (other.data / "current" / "pump_1").stat().st_mtime_ns
        assert make_cell(other, "pump_1", "anomaly") == first
        assert (other.data / "current" / "pump_1").stat().st_mtime_ns == pointer
        assert make_cell(other, "pump_1", "anomaly").dataset != landed(home, seed=1)
        assert make_cell(other, "pump_1", "anomaly").dataset == current(home, "pump_1") != first.dataset


def test_data_that_landed_before_there_was_a_store_are_shared(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = landed(home)
    monkeypatch.setenv(STORE_VARIABLE, (tmp_path / "store").as_uri())
    remote = open_remote(home)
    assert remote is not None
    assert sync_pointers(home, remote) == ("pump_1",)
    with a_home(tmp_path / "other") as other:
        assert open_dataset(other, "pump_1").fingerprint == fingerprint


def test_a_damaged_copy_is_refused_and_nothing_appears(store: Path, home: Home, tmp_path: Path) -> None:
    fingerprint = landed(home)
    (file,) = store.glob("datasets/pump_1/*/*/val.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] + bytes(20))
    with a_home(tmp_path / "other") as other:
        with pytest.raises(DataError, match=r"val\.parquet .* was altered") as caught:
            open_dataset(other, "pump_1")
        assert f"Delete datasets/pump_1/{fingerprint}/" in caught.value.hint
        assert list((other.data / "store" / "pump_1").iterdir()) == []
        file.write_bytes(whole)
        assert open_dataset(other, "pump_1").fingerprint == fingerprint


def test_a_copy_whose_manifest_fits_other_data_is_refused(store: Path, home: Home, tmp_path: Path) -> None:
    first, second = landed(home), landed(home, seed=1)
    place = store / "datasets" / "pump_1"
    (place / first).rename(tmp_path / "aside")
    (place / second).rename(place / first)
    with a_home(tmp_path / "other") as other, pytest.raises(DataError, match="pump_1"):
        open_dataset(other, "pump_1", first)


def test_a_landing_that_cannot_be_shared_leaves_nothing_behind(store: Path, home: Home) -> None:
    store.rmdir()
    store.write_text("a file stands where the store was")
    with pytest.raises(NightshiftError, match=r"shared%20store cannot be reached") as caught:
        landed(home)
    assert STORE_VARIABLE in caught.value.hint
    assert subjects(home) == ()
    assert not outbox.pending(home)
    assert not (home.data / "store" / "pump_1").exists()


def test_what_neither_has_is_unknown(store: Path, home: Home) -> None:
    landed(home)
    with pytest.raises(UnknownNameError):
        current(home, "pump_2")
    with pytest.raises(UnknownNameError, match="dataset of 'pump_1'"):
        open_dataset(home, "pump_1", "0" * 64)


def test_a_store_of_an_unknown_kind_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "ftpp://me:secret@place/x")
    with pytest.raises(ConfigError, match="NIGHTSHIFT_STORE_URL is ftpp://place/x: 'ftpp' is no kind of store"):
        landed(home)
