"""Registration against a real MLflow store: five steps, each of which may fail or be the last."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.dataset import Dataset
from nightshift.edge.signature import KEY_VARIABLE
from nightshift.errors import ServiceError, TransientError, UnknownNameError
from nightshift.findings import finding
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import read_record
from nightshift.plan.state import State, state
from nightshift.settings import Home
from nightshift.tracking import promotion, registry, runs, versions
from nightshift.tracking.finished import staging_folder, version_folder
from nightshift.tracking.mlflow_store import Store, open_store
from tests.tracking.bundles import a_cell, finish, threshold_for


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("registry"), migrated_db) as home:
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_demo(place, seed=5)


@pytest.fixture(scope="module")
def store(place: Home) -> Store:
    return open_store(place)


@pytest.fixture(scope="module")
def first(place: Home, store: Store, data: Dataset) -> registry.Registered:
    cell = a_cell(data, 1)
    finish(
        place, cell, data, threshold_for(data), findings=(finding("T003", "3 % are positive.", columns=["vibration"]),)
    )
    return registry.register(place, store, cell)


def all_versions(store: Store, name: str) -> dict[int, dict[str, str]]:
    found = store.client.search_model_versions(f"name = '{name}'")
    return {int(v.version): dict(v.tags) for v in found}


def test_the_first_good_bundle_is_version_1_and_champion(
    place: Home, store: Store, data: Dataset, first: registry.Registered
) -> None:
    cell = a_cell(data, 1)
    assert (first.name, first.version) == (cell.name, 1)
    assert first.folder == place.models / "anomaly" / data.subject / "pi" / "v1"
    assert (first.folder / "native" / "threshold.txt").is_file()
    assert not staging_folder(place, cell.key).exists()
    assert first.decision is not None
    assert first.decision.promote
    tags = all_versions(store, cell.name)[1]
    assert tags[versions.STATE] == "ready"
    assert tags[runs.CELL_KEY] == cell.key
    assert tags[runs.BUNDLE_ID] == first.bundle_id
    for found in (versions.champion(store, cell.name), versions.challenger(store, cell.name)):
        assert found is not None
        assert found.version == 1
    assert not journal.is_open(place, cell.key)


def test_the_run_holds_all_that_made_and_judged_the_model(
    store: Store, data: Dataset, first: registry.Registered, tmp_path: Path
) -> None:
    cell = a_cell(data, 1)
    run = store.client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["config.seed"] == "1"
    assert run.data.params["config.contamination"] == "0.05"
    assert run.data.params["limits.size_mb"] == "250.0"
    assert run.data.params["fitted.threshold"] == str(threshold_for(data))
    logged = json.loads(runs.read_artifact(store, first.run_id, "evaluation.json"))
    f1 = {r["part"]: r["metrics"]["f1"] for r in logged["rows"] if r["kind"] == "model"}
    assert {part: run.data.metrics[f"{part}/f1"] for part in f1} == f1
    assert run.data.metrics["baseline/always_ never/test/f1"] == 0.0
    assert run.data.metrics["bundle/size_mb"] > 0
    assert run.data.metrics["seconds/train"] == 1.5
    assert "test/undefined" not in run.data.metrics
    tags = run.data.tags
    assert tags[runs.DATASET] == cell.dataset
    assert tags["nightshift.code"] == cell.code
    assert tags["nightshift.findings"] == "T003"
    assert run.inputs.dataset_inputs[0].dataset.digest == cell.dataset[:12]
    read = {n: json.loads(runs.read_artifact(store, first.run_id, n)) for n in ("cell.json", "findings.json")}
    assert Cell.model_validate(read["cell.json"]) == cell
    assert read["findings.json"][0]["code"] == "T003"
    assert len(logged["statistics"]["units"]) == data.metadata.parts["test"].runs
    about = json.loads(runs.read_artifact(store, first.run_id, "environment.json"))
    assert about["libraries"]["onnxruntime"]
    assert json.loads(runs.read_artifact(store, first.run_id, "gate.json"))["promote"] is True


def test_the_model_loads_from_the_registry_with_signature_and_stated_requirements(
    place: Home, store: Store, data: Dataset, first: registry.Registered
) -> None:
    import mlflow

    mlflow.set_tracking_uri(place.mlflow_uri)
    model = mlflow.pyfunc.load_model(f"models:/{first.name}@champion")
    window = np.zeros((2, 1, len(data.metadata.columns)), np.float32)
    window[1] = 99.0
    assert model.predict({"window": window})["vote"].tolist() == [0, 1]
    assert [i.name for i in model.metadata.signature.inputs.inputs] == ["window"]
    logged = Path(store.client.get_run(first.run_id).info.artifact_uri.removeprefix("file://")) / "model"
    assert (logged / "model.onnx").read_bytes() == (first.folder / "model.onnx").read_bytes()
    assert (logged / "bundle.json").read_bytes() == (first.folder / "bundle.json").read_bytes()
    assert not (logged / "native").exists()
    stated = (logged / "requirements.txt").read_text(encoding="utf-8").split()
    assert sorted(line.split("==")[0] for line in stated) == ["mlflow", "numpy", "onnxruntime"]


def test_the_export_record_follows_its_files(place: Home, data: Dataset, first: registry.Registered) -> None:
    record = read_record(place, a_cell(data, 1).key, "export")
    assert record is not None
    assert all(f.path.startswith(first.folder.relative_to(place.root).as_posix()) for f in record.files)
    assert any(f.path.endswith("native/threshold.txt") for f in record.files)


def test_registering_again_changes_nothing(
    place: Home, store: Store, data: Dataset, first: registry.Registered
) -> None:
    again = registry.register(place, store, a_cell(data, 1))
    assert (again.version, again.run_id, again.bundle_id) == (first.version, first.run_id, first.bundle_id)
    assert list(all_versions(store, first.name)) == [1]
    history = store.client.get_metric_history(first.run_id, "test/f1")
    assert len(history) == 1


def test_a_worse_challenger_leaves_the_champion_and_a_better_one_takes_its_place(
    place: Home, store: Store, data: Dataset
) -> None:
    told = []
    for seed, share in ((1, 0.8), (2, 0.5), (3, 1.0)):
        cell = a_cell(data, seed, target="server")
        finish(place, cell, data, threshold_for(data, share))
        told.append(registry.register(place, store, cell))
    name = told[0].name
    assert [t.version for t in told] == [1, 2, 3]
    decisions = [t.decision for t in told if t.decision]
    assert [d.promote for d in decisions] == [True, False, True]
    assert [f.code for f in decisions[1].findings] == ["G002"]
    assert decisions[2].difference is not None
    assert decisions[2].difference > 0.05
    champion, challenger = versions.champion(store, name), versions.challenger(store, name)
    assert champion is not None
    assert challenger is not None
    assert (champion.version, challenger.version) == (3, 3)
    assert all_versions(store, name)[2][versions.GATE] == "not promoted"
    promotion.promote(store, name, 2)
    by_hand = versions.champion(store, name)
    assert by_hand is not None
    assert by_hand.version == 2
    with pytest.raises(UnknownNameError):
        promotion.promote(store, name, 9)


def test_a_champion_whose_folder_was_deleted_is_fetched_from_mlflow(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [a_cell(data, seed, target="vehicle") for seed in (1, 2)]
    finish(place, cells[0], data, threshold_for(data))
    shutil.rmtree(registry.register(place, store, cells[0]).folder)
    finish(place, cells[1], data, threshold_for(data))
    # A key that is set later: neither of them is signed, and the registry knows both by their ids.
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef" * 2)
    decision = registry.register(place, store, cells[1]).decision
    assert decision is not None
    assert decision.promote
    assert decision.difference == 0


def test_a_champion_trained_on_all_of_it_cannot_be_compared(place: Home, store: Store, data: Dataset) -> None:
    cells = [a_cell(data, seed, target="gpu") for seed in (1, 2, 3)]
    finish(place, cells[0], data, threshold_for(data, 0.8), trained_until="2025-05-04T00:00:00Z")
    registry.register(place, store, cells[0])
    finish(place, cells[1], data, threshold_for(data))
    few = registry.register(place, store, cells[1]).decision
    assert few is not None
    assert "fewer than 5" in " ".join(few.reasons)
    finish(place, cells[2], data, threshold_for(data), window_rows=2)
    changed = registry.register(place, store, cells[2]).decision
    assert changed is not None
    assert [f.code for f in changed.findings] == ["G004"]


def test_a_number_is_never_used_again(place: Home, store: Store, data: Dataset) -> None:
    cells = [a_cell(data, seed, target="numbers") for seed in (1, 2, 3)]
    for cell in cells:
        finish(place, cell, data, threshold_for(data))
    assert registry.register(place, store, cells[0]).version == 1
    store.client.delete_model_version(cells[0].name, "1")
    assert registry.register(place, store, cells[1]).version == 2
    version_folder(place, cells[2], 3).mkdir(parents=True)  # as after the loss of MLflow's database
    assert registry.register(place, store, cells[2]).version == 4


STEPS = ("log_run", "_create_version", "_move", "_write_stage_record", "_make_ready", "_ask_gate")


class Killed(BaseException):
    """Ends a registration as a kill does: nothing gets to clean up."""


def break_at(monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException, *, after: bool) -> None:
    """Let a step raise, before or after it has done its work."""
    owner = runs if step == "log_run" else registry
    real = getattr(owner, step)

    def broken(*arguments: object) -> object:
        if after:
            real(*arguments)
        raise error

    monkeypatch.setattr(owner, step, broken)


def is_whole(home: Home, store: Store, cell: Cell, done_version: int) -> None:
    held = all_versions(store, cell.name)
    assert held[done_version][versions.STATE] == "ready"
    assert held[done_version][versions.GATE] == "promoted"
    assert (version_folder(home, cell, done_version) / "model.onnx").is_file()
    assert not staging_folder(home, cell.key).exists()
    assert not journal.is_open(home, cell.key)
    assert sorted(p.name for p in version_folder(home, cell, 1).parent.iterdir()) == [f"v{done_version}"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_is_finished_at_the_next_start(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    cell = a_cell(data, 1, target=f"k{STEPS.index(step)}{int(after)}")
    finish(place, cell, data, threshold_for(data))
    with monkeypatch.context() as patch:
        break_at(patch, step, Killed(), after=after)
        with pytest.raises(Killed):
            registry.register(place, store, cell)
    assert journal.is_open(place, cell.key)
    assert versions.champion(store, cell.name) is None or step == "_ask_gate"
    assert state(place, cell).state is State.STALE
    told = registry.reconcile(place)
    assert len(told) == 1
    assert "whole now" in told[0]
    is_whole(place, store, cell, 1)
    record = read_record(place, cell.key, "register")
    assert record is not None
    assert record.summary["champion"] is True
    assert registry.reconcile(place) == []


@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_leaves_nothing_half_registered(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    cell = a_cell(data, 1, target=f"e{STEPS.index(step)}")
    finish(place, cell, data, threshold_for(data))
    with monkeypatch.context() as patch:
        break_at(patch, step, ServiceError("MLflow refused."), after=True)
        with pytest.raises(ServiceError):
            registry.register(place, store, cell)
    assert not journal.is_open(place, cell.key)
    held = all_versions(store, cell.name)
    assert all(tags[versions.STATE] == "ready" for tags in held.values())
    assert bool(held) == (step in ("_make_ready", "_ask_gate"))
    export = read_record(place, cell.key, "export")
    assert export is not None, "the bundle is whole, where the export's record says"
    done = registry.register(place, store, cell)
    assert done.decision is not None
    is_whole(place, store, cell, done.version)


def test_mlflow_lost_half_way_is_gone_on_with(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(data, 1, target="lost")
    finish(place, cell, data, threshold_for(data))
    with monkeypatch.context() as patch:
        break_at(patch, "_make_ready", TransientError("MLflow is away."), after=False)
        with pytest.raises(TransientError):
            registry.register(place, store, cell)
    assert registry.register(place, store, cell).version == 1
    is_whole(place, store, cell, 1)


def test_a_pending_version_whose_bundle_is_gone_is_deleted(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(data, 1, target="gone")
    finish(place, cell, data, threshold_for(data))
    with monkeypatch.context() as patch:
        break_at(patch, "_move", Killed(), after=False)
        with pytest.raises(Killed):
            registry.register(place, store, cell)
    shutil.rmtree(staging_folder(place, cell.key))
    assert "taken back" in registry.reconcile(place)[0]
    assert all_versions(store, cell.name) == {}
    assert not journal.is_open(place, cell.key)


def test_a_bundle_trained_anew_replaces_a_pending_one(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(data, 1, target="anew")
    finish(place, cell, data, threshold_for(data, 0.8))
    with monkeypatch.context() as patch:
        break_at(patch, "_write_stage_record", Killed(), after=False)
        with pytest.raises(Killed):
            registry.register(place, store, cell)
    finish(place, cell, data, threshold_for(data))
    assert registry.register(place, store, cell).version == 2
    is_whole(place, store, cell, 2)


def test_what_another_process_works_on_is_left_to_it(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(data, 1, target="busy")
    finish(place, cell, data, threshold_for(data))
    with monkeypatch.context() as patch:
        break_at(patch, "_move", Killed(), after=True)
        with pytest.raises(Killed):
            registry.register(place, store, cell)
    with lock.held(place, cell.key):
        assert registry.reconcile(place) == []
    assert all_versions(store, cell.name)[1][versions.STATE] == "pending"
    assert len(registry.reconcile(place)) == 1


KILLED_FOR_REAL = """
import os, sys
from pathlib import Path
from nightshift.plan import journal
from nightshift.settings import use_home
from nightshift.tracking import registry
from nightshift.tracking.mlflow_store import open_store
home = use_home(Path(sys.argv[1]))
registry._write_stage_record = lambda *_: os.kill(os.getpid(), 9)
(cell,) = journal.entries(home)
registry.register(home, open_store(home), cell)
"""


def test_a_process_killed_between_two_steps_holds_no_lock_and_leaves_no_half(
    place: Home, store: Store, data: Dataset
) -> None:
    cell = a_cell(data, 1, target="killed")
    finish(place, cell, data, threshold_for(data))
    journal.open_entry(place, cell)
    root = Path(registry.__file__).resolve().parents[2]
    child = [sys.executable, "-c", KILLED_FOR_REAL, str(place.root)]
    assert subprocess.run(child, cwd=root, capture_output=True, check=False).returncode == -9
    assert all_versions(store, cell.name)[1][versions.STATE] == "pending"
    assert len(registry.reconcile(place)) == 1
    is_whole(place, store, cell, 1)
