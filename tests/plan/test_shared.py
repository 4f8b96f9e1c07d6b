"""Cells on two machines that share a store and nothing else; a folder is the store."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.store import open_dataset
from nightshift.edge.runtime import Model
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, read_record, work_folder, write_record
from nightshift.plan.shared import share_cell, share_model, sync
from nightshift.plan.state import State, state
from nightshift.settings import STORE_VARIABLE, Home
from nightshift.tracking import registry
from nightshift.tracking.mlflow_store import open_store
from tests.tracking.bundles import a_cell, finish, threshold_for

pytestmark = pytest.mark.slow  # a registration for real, and MLflow's own seconds


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[tuple[Path, Path, Cell]]:
    """A home that has landed and trained one cell, its store, and the cell."""
    folder = tmp_path_factory.mktemp("shared")
    with a_home(folder / "one", migrated_db) as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv(STORE_VARIABLE, str(folder / "store"))
        data = land_demo(one, seed=5)
        cell, store = a_cell(data, 1), open_store(one)
        finish(one, cell, data, threshold_for(data))
        registry.register(one, store, cell)
        write_record(one, record_of(cell, "report"))
        share_cell(one, cell)
        yield one.root, folder / "store", cell


@pytest.fixture
def others(
    trained: tuple[Path, Path, Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Home, Path, Cell]]:
    """Another machine, with a copy of the store of its own to do harm in."""
    _, store, cell = trained
    shutil.copytree(store, tmp_path / "store")
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "store"))
    with a_home(tmp_path / "other") as other:
        yield other, tmp_path / "store", cell


def record_of(cell: Cell, stage: str, **changes: object) -> StageRecord:
    given = {"stage": stage, "cell_key": cell.key, "status": "done", "started_at": "2099-01-01T00:00:00Z"}
    return StageRecord.model_validate({**given, "seconds": 0.1, **changes})


def test_what_one_machine_has_trained_is_fresh_on_another(others: tuple[Home, Path, Cell]) -> None:
    other, _, cell = others
    assert state(other, cell).state is State.STALE
    assert sync(other) == (cell.name,)
    found = state(other, cell)
    assert (found.state, found.reason[:9]) == (State.FRESH, "version 1")
    Model.load(other.models / "anomaly" / cell.subject / "pi" / "v1")
    assert open_dataset(other, cell.subject).fingerprint == cell.dataset
    assert sync(other) == ()


def test_a_failure_elsewhere_is_a_failure_here(
    others: tuple[Home, Path, Cell], trained: tuple[Path, Path, Cell]
) -> None:
    other, _, cell = others
    sync(other)
    with a_home(other.root.with_name("third")) as third:
        sync(third)
        write_record(
            third, record_of(cell, "train", status="failed", error="no memory", started_at="2099-02-01T00:00:00Z")
        )
        (work_folder(third, cell.key) / "report.json").unlink()
        share_cell(third, cell)
    assert sync(other) == (cell.name,)
    assert state(other, cell).state is State.FAILED
    assert read_record(other, cell.key, "report") is None


def test_what_this_machine_did_later_stays_and_is_told(others: tuple[Home, Path, Cell]) -> None:
    other, store, cell = others
    sync(other)
    # Trained here while the store was away.
    write_record(other, record_of(cell, "report", started_at="2099-03-01T00:00:00Z", summary={"report": "later"}))
    store.rename(store.with_name("away"))
    store.write_text("no folder")
    share_cell(other, cell)
    store.unlink()
    store.with_name("away").rename(store)
    assert sync(other) == ()
    assert json.loads((store / "cells" / f"{cell.name}.json").read_text())["texts"]["report.json"].count("later") == 1
    kept = read_record(other, cell.key, "report")
    assert kept is not None
    assert kept.summary == {"report": "later"}


def test_a_person_s_word_is_told_but_not_by_a_machine_that_missed_a_later_training(
    others: tuple[Home, Path, Cell],
) -> None:
    other, store, cell = others
    sync(other)
    told = store / "cells" / f"{cell.name}.json"
    own = read_record(other, cell.key, "register")
    assert own is not None
    write_record(other, own.model_copy(update={"summary": {**own.summary, "gate": "promoted by hand"}}))
    share_model(other, cell.name)
    assert "promoted by hand" in json.loads(told.read_text())["texts"]["register.json"]
    # Trained anew elsewhere meanwhile.
    later = json.loads(told.read_text())
    later["texts"]["report.json"] = record_of(cell, "report", started_at="2099-06-01T00:00:00Z").model_dump_json()
    told.write_text(json.dumps(later))
    before = told.read_bytes()
    share_model(other, cell.name)
    share_model(other, "pump_9.rul.pi")
    assert told.read_bytes() == before


def test_a_cell_goes_on_when_the_others_cannot_be_told(
    others: tuple[Home, Path, Cell], caplog: pytest.LogCaptureFixture
) -> None:
    other, store, cell = others
    sync(other)
    shutil.rmtree(store)
    store.write_text("no folder")
    with caplog.at_level(logging.WARNING, "nightshift"):
        share_cell(other, cell)
    assert "the other machines have not been told" in caplog.text


@pytest.mark.parametrize("harm", ["cut", "outside", "other name"])
def test_a_damaged_object_is_named_and_changes_nothing(
    others: tuple[Home, Path, Cell], harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, store, cell = others
    path = store / "cells" / f"{cell.name}.json"
    content = json.loads(path.read_text())
    if harm == "cut":
        path.write_text(path.read_text()[:500])
    elif harm == "outside":
        register = json.loads(content["texts"]["register.json"])
        register["summary"]["bundle"] = "../outside"
        for file in register["files"]:
            file["path"] = f"../outside/{Path(file['path']).name}"
        content["texts"]["register.json"] = json.dumps(register)
        path.write_text(json.dumps(content))
    else:
        path.rename(path.with_name("other.anomaly.pi.json"))
    with caplog.at_level(logging.WARNING, "nightshift"):
        assert sync(other) == ()
    assert re.search(r"cells/\S+ in \S+ is damaged", caplog.text)
    assert not other.models.exists()
    # The others of the fleet, and its data, come as ever.
    assert open_dataset(other, cell.subject).fingerprint == cell.dataset
    assert state(other, cell).state is State.STALE


def test_a_bundle_or_pointer_that_is_damaged_keeps_nothing_else_from_coming(
    others: tuple[Home, Path, Cell], caplog: pytest.LogCaptureFixture
) -> None:
    other, store, cell = others
    [manifest] = store.glob("models/*/manifest.json")
    manifest.write_text("{")
    (store / "current" / "pump_1").write_text("no fingerprint")
    with caplog.at_level(logging.WARNING, "nightshift"):
        assert sync(other) == ()
    assert "the manifest of models/" in caplog.text
    assert "the pointer to the dataset of 'pump_1'" in caplog.text
    assert open_dataset(other, cell.subject).fingerprint == cell.dataset


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_who_has_the_cell_mends_what_the_store_has_lost(others: tuple[Home, Path, Cell], harm: str) -> None:
    other, store, cell = others
    sync(other)
    path = store / "cells" / f"{cell.name}.json"
    whole = json.loads(path.read_text())
    path.write_text("{") if harm == "cut" else path.unlink()
    assert sync(other) == ()
    assert json.loads(path.read_text()) == whole


def test_without_a_store_nothing_is_done(
    home: Home, trained: tuple[Path, Path, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STORE_VARIABLE)
    assert sync(home) == ()
    share_cell(home, trained[2])
    assert not (home.machinery / "shared").exists()
