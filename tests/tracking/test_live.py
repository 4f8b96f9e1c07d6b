"""Epochs in MLflow while a training runs, in a real store: one run over interruptions, and never the training's end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.errors import InterruptedTraining, TrainingError
from nightshift.plan.cell import Cell
from nightshift.plan.records import work_folder
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home
from nightshift.tracking import epochs, registry, runs
from nightshift.tracking.live import LiveMetrics
from nightshift.tracking.mlflow_store import Store, open_store
from tests.tracking import bundles
from tests.tracking.cells import a_cell

QUICK_S = 0.02


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("live"), migrated_db) as home:
        yield home


@pytest.fixture(scope="module")
def store(place: Home) -> Store:
    return open_store(place)


def tell(home: Home, cell: Cell, live: LiveMetrics, *numbers: int) -> None:
    """Train some epochs, as the sinks of a stage see it."""
    file = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    for number in numbers:
        event = ProgressEvent(
            cell=cell.key, stage="train", step=number, total=9, metrics={"train_loss": 1 / number}, epoch=number
        )
        file(event)
        live(event)
    live(ProgressEvent(cell=cell.key, stage="train", step=1, total=2, metrics={"other": 1.0}))


def steps(store: Store, cell: Cell) -> list[int]:
    history = store.client.get_metric_history(epochs.noted_run(store.home, cell), "epoch/train_loss")
    return sorted(m.step for m in history)


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(store: Store, cell: Cell) -> str:
    return str(store.client.get_run(epochs.noted_run(store.home, cell)).info.status)


def break_off(store: Store, cell: Cell, error: Exception) -> None:
    """Train two epochs that MLflow gets to see, and end with an error."""
    with LiveMetrics(store.home, cell, QUICK_S) as live:
        tell(store.home, cell, live, 1, 2)
        wait_for(lambda: bool(epochs.noted_run(store.home, cell)) and steps(store, cell) == [1, 2])
        raise error


def test_epochs_are_there_while_training_runs_and_registering_goes_on_with_the_run(place: Home, store: Store) -> None:
    data = land_demo(place, seed=5)
    cell = bundles.a_cell(data, 1)
    with LiveMetrics(place, cell, QUICK_S) as live:
        tell(place, cell, live, 1, 2, 3)
        wait_for(lambda: bool(epochs.noted_run(place, cell)) and steps(store, cell) == [1, 2, 3])
        run_id = epochs.noted_run(place, cell)
        assert status(store, cell) == "RUNNING"
    # Told when the last call had been made: registering sends it.
    FileSink(work_folder(place, cell.key) / "progress.jsonl")(
        ProgressEvent(cell=cell.key, stage="train", metrics={"train_loss": 0.1, "accuracy_pct": 84.0}, epoch=4)
    )
    bundles.finish(place, cell, data, bundles.threshold_for(data))
    assert registry.register(place, store, cell).run_id == run_id
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[runs.COMPLETE] == "true"
    assert steps(store, cell) == [1, 2, 3, 4]
    assert run.data.metrics["epoch/accuracy_pct"] == 84.0
    assert "test/f1" in run.data.metrics
    assert "seed" in {name.split(".")[-1] for name in run.data.params}


def test_a_stopped_training_says_so_and_goes_on_in_its_run(place: Home, store: Store) -> None:
    cell = a_cell(subject="stopped")
    with pytest.raises(InterruptedTraining):
        break_off(store, cell, InterruptedTraining("stopped"))
    run_id = epochs.noted_run(place, cell)
    assert status(store, cell) == "KILLED"
    # It goes on from a checkpoint after its first epoch: the second comes again, and stands there once.
    with LiveMetrics(place, cell, QUICK_S) as live:
        tell(place, cell, live, 2, 3)
        wait_for(lambda: steps(store, cell) == [1, 2, 3])
    assert epochs.noted_run(place, cell) == run_id
    assert status(store, cell) == "RUNNING"


def test_a_training_that_is_begun_anew_gets_a_run_of_its_own(place: Home, store: Store) -> None:
    cell = a_cell(subject="anew")
    with pytest.raises(TrainingError):
        break_off(store, cell, TrainingError("it broke"))
    first = epochs.noted_run(place, cell)
    assert status(store, cell) == "FAILED"
    with LiveMetrics(place, cell, QUICK_S) as live:
        tell(place, cell, live, 1)
        wait_for(lambda: epochs.noted_run(place, cell) != first and steps(store, cell) == [1])


def test_a_short_training_opens_no_store(tmp_path: Path) -> None:
    with a_home(tmp_path) as home, LiveMetrics(home, a_cell()) as live:
        tell(home, a_cell(), live, 1, 2)
    assert not home.mlflow_db.exists()
    assert sorted(epochs.told(home, a_cell())) == [1, 2]


def test_mlflow_that_is_broken_stops_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with a_home(tmp_path) as home:
        home.mlflow_db.parent.mkdir(parents=True, exist_ok=True)
        home.mlflow_db.write_bytes(b"no database" * 100)
        with LiveMetrics(home, a_cell(), QUICK_S) as live:
            tell(home, a_cell(), live, 1, 2)
            wait_for(lambda: "MLflow shows no epochs now" in caplog.text)
            tell(home, a_cell(), live, 3)
    assert "Training goes on." in caplog.text
    assert not [t for t in threading.enumerate() if t.name == "live-metrics"]
