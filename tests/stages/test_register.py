"""The register stage in the chain: MLflow away, the second run, progress and the record."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.dataset import Dataset
from nightshift.plan import journal
from nightshift.plan.records import read_record, work_folder
from nightshift.plan.state import State, state
from nightshift.progress import read_events
from nightshift.settings import Home
from nightshift.stages import register
from nightshift.stages.chain import StageContext, begin, run_stage
from nightshift.tracking import registry, versions
from nightshift.tracking.finished import staging_folder
from nightshift.tracking.mlflow_store import Patience, open_store
from tests.tracking.bundles import a_cell, finish, threshold_for

FAST = Patience(attempts=2, wait_s=0.01, longest_s=0.05, probe_s=0.05)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("register"), migrated_db) as home:
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_demo(place, seed=5)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "run", functools.partial(register.run, patience=FAST))


def test_the_record_says_all_that_the_closing_block_shows(place: Home, data: Dataset) -> None:
    cell = a_cell(data, 1)
    finish(place, cell, data, threshold_for(data))
    record = run_stage("register", cell, StageContext(place))
    assert record.status == "done"
    facts = record.summary
    assert (facts["version"], facts["semantic_version"], facts["champion"]) == (1, "1.1.0", True)
    assert facts["name"] == f"{data.subject}.anomaly.pi"
    assert facts["tracking_uri"] == place.mlflow_uri
    assert (place.root / str(facts["onnx"])).is_file()
    assert str(facts["dvc"]) == f".nightshift/dvc/models/{facts['bundle_sha256']}.dvc"
    assert str(facts["gate"]).startswith("promoted: f1 0.")
    assert len(str(facts["run_id"])) == 32
    events = [e for e in read_events(work_folder(place, cell.key) / "progress.jsonl") if e.stage == "register"]
    assert events[-1].step == events[-1].total
    again = run_stage("register", cell, StageContext(place))
    assert again == record


def test_a_gate_that_refuses_leaves_its_findings_in_the_record(place: Home, data: Dataset) -> None:
    cells = [a_cell(data, seed, target="server") for seed in (1, 2)]
    finish(place, cells[0], data, threshold_for(data))
    run_stage("register", cells[0], StageContext(place))
    finish(place, cells[1], data, threshold_for(data, 0.6))
    record = run_stage("register", cells[1], StageContext(place))
    assert record.status == "done"
    assert [f.code for f in record.findings] == ["G002"]
    assert record.summary["champion"] is False


@pytest.mark.usefixtures("impatient")
def test_without_mlflow_the_model_is_kept_and_the_next_run_registers_without_training(
    place: Home, data: Dataset
) -> None:
    cell = a_cell(data, 1, target="vehicle")
    finish(place, cell, data, threshold_for(data))
    trained = read_record(place, cell.key, "train")
    holder = sqlite3.connect(place.mlflow_db, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    record = run_stage("register", cell, StageContext(place))
    holder.execute("ROLLBACK")
    holder.close()
    assert record.status == "pending"
    assert [f.code for f in record.findings] == ["R001"]
    assert "without training" in record.hint
    assert (staging_folder(place, cell.key) / "model.onnx").is_file()
    assert state(place, cell).reason == "trained, not registered"
    begin(cell, StageContext(place))
    assert run_stage("export", cell, StageContext(place)).seconds == 1.5, "nothing before it is done again"
    assert run_stage("register", cell, StageContext(place)).summary["version"] == 1
    assert read_record(place, cell.key, "train") == trained


class Killed(BaseException):
    """Ends a registration as a kill does."""


def test_a_record_alone_does_not_say_that_registration_has_ended(
    place: Home, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(data, 1, target="gpu")
    finish(place, cell, data, threshold_for(data))

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_make_ready", killed)
        with pytest.raises(Killed):
            run_stage("register", cell, StageContext(place))
    record = read_record(place, cell.key, "register")
    assert record is not None
    assert record.status == "done"
    assert state(place, cell).state is State.STALE
    assert state(place, cell).reason == "its registration did not end"
    begin(cell, StageContext(place))
    assert run_stage("register", cell, StageContext(place)).summary["champion"] is True
    assert not journal.is_open(place, cell.key)


def test_a_run_of_one_cell_finishes_what_a_crash_left_of_another(
    place: Home, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, other = a_cell(data, 1, target="left"), a_cell(data, 1, target="other")
    for cell in (left, other):
        finish(place, cell, data, threshold_for(data))

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_move", killed)
        with pytest.raises(Killed):
            run_stage("register", left, StageContext(place))
    run_stage("register", other, StageContext(place))
    found = versions.champion(open_store(place), left.name)
    assert found is not None
    assert found.version == 1
    record = read_record(place, left.key, "register")
    assert record is not None
    assert record.summary["champion"] is True
