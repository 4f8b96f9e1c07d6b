"""`nightshift train`: whose data and which device are meant where nobody says, and runs that are gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import vehicles
from support.homes import a_home

from deployments.server import down
from nightshift.cli import main
from nightshift.cli.land import _what_trains
from nightshift.cli.running import _begins_again
from nightshift.cli.vehicle_data import bring
from nightshift.data.store import current, land, open_dataset
from nightshift.plan.records import work_folder
from nightshift.plan.state import make_cell, remember
from nightshift.settings import Home
from tests.tracking.cells import a_cell

SUBJECT = "carla_synthetic"


@pytest.mark.parametrize("family", ["tcn", "lstm_ae", "behaviour", "carbon", "vehicle"])
def test_without_trips_a_vehicle_s_training_names_the_simulator(
    family: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", family]) == 3
    said = capsys.readouterr()
    assert "'carla_synthetic' has no data" in said.err
    assert "`nightshift simulate vehicle`" in said.err
    assert said.err.count("\n") == 1


def test_a_machine_must_be_named(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "anomaly"], ["train-machine"]):
        assert main(words) == 2
        assert f"nightshift {words[0]}: --machine ID is missing." in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "FAMILY is missing. One of classification, rul" in capsys.readouterr().err


def test_tables_of_trips_that_lie_there_are_landed_in_one_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home.data / SUBJECT
    folder.mkdir(parents=True)
    for part, frame in vehicles.trips(rows=120).items():
        frame.to_parquet(folder / f"{part}.parquet")
    bring(home, SUBJECT)
    said = capsys.readouterr().out
    assert said.startswith("carla_synthetic: 33 trips in ")
    assert said.count("\n") == 1
    assert open_dataset(home, SUBJECT).metadata.group == "vehicle"
    before = current(home, SUBJECT)
    bring(home, SUBJECT)
    assert (capsys.readouterr().out, current(home, SUBJECT)) == ("", before)


def test_what_comes_after_a_landing_of_trips_is_their_training(home: Home) -> None:
    vehicles.small_vehicles(home)
    vehicles.small_vehicles(home, subject=SUBJECT)
    land(home, vehicles.trips(), vehicles.metadata("can_bus", truths=vehicles.metadata().truths[-1:]))
    assert _what_trains(home, SUBJECT) == "nightshift train vehicle"
    assert _what_trains(home, vehicles.SUBJECT) == "nightshift train vehicle --subject small_vehicles"
    assert _what_trains(home, "can_bus") == "nightshift train lstm_ae --subject can_bus"


@pytest.mark.parametrize("words", [["train", "--help"], ["train-machine", "--help"], ["train", "vehicle", "--help"]])
def test_help_is_there_for_a_family_a_group_and_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert ("--threshold NUMBER" in shown) == ("vehicle" in words)
    assert ("--resume" in shown) == (words[0] == "train")


def test_a_run_that_left_no_checkpoint_is_said_to_begin_again(home: Home) -> None:
    cell = a_cell().model_copy(update={"family": "tcn"})
    left = work_folder(home, cell.key) / "checkpoints"
    (left / "pruned").mkdir(parents=True)
    assert _begins_again(home, cell)
    # A family that leaves none has none to go on from, and says nothing.
    assert not _begins_again(home, cell.model_copy(update={"family": "carbon"}))
    (left / "training.pt").touch()
    assert not _begins_again(home, cell)


@pytest.fixture
def trips(tmp_path: Path, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path / "home", migrated_db) as home:
        vehicles.small_vehicles(home, subject=SUBJECT, rows=120)
        yield home
        down(home)


def start(home: Home, *words: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "NIGHTSHIFT_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "nightshift.cli", *words],
        env={**kept, "NIGHTSHIFT_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed_after(process: subprocess.Popen[str], sign: str) -> str:
    """Kill a command once it has shown a sign; returns what it had shown."""
    shown, deadline = "", time.monotonic() + 120
    assert process.stdout is not None
    while sign not in shown:
        assert time.monotonic() < deadline, shown
        line = process.stdout.readline()
        assert line, shown
        shown += line
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return shown


def test_a_run_goes_on_only_as_it_was_begun(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    vehicles.small_vehicles(home, subject=SUBJECT)
    cell = make_cell(home, SUBJECT, "tcn", "vehicle", flags={"epochs": 120})
    remember(home, cell)
    key = cell.key[:12]
    assert main(["train", "tcn", "--resume", key, "--epochs", "60", "--learning-rate", "0.0005"]) == 2
    refused = capsys.readouterr().err
    assert (
        "differs: epochs is 120 there and 60 here\ndiffers: learning_rate is 0.001 there and 0.0005 here\n" in refused
    )
    assert main(["train", "--resume", key, "--subject", "other"]) == 2
    assert 'machine is "carla_synthetic" there and "other" here' in capsys.readouterr().err
    assert main(["train", "--resume", key, "--force"]) == 2
    assert "--resume goes on and --force begins anew" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_by_its_key(trips: Home) -> None:
    small = ("--channels", "8", "--blocks", "2", "--checkpoint-epochs", "1", "--patience", "0", "--prune", "0")
    shown = killed_after(start(trips, "train", "tcn", "--epochs", "40", *small, "--threads", "1"), "Epoch 3/40")
    key = shown.split("run tcn ")[1][:12]
    # What lands afterwards is another run's.
    vehicles.small_vehicles(trips, subject=SUBJECT, seed=6, rows=120)

    with start(trips, "train", "tcn", "--resume", key[:6], *small) as process:
        went_on, _ = process.communicate(timeout=240)
    assert process.returncode == 0, went_on
    assert "Epoch 2/40" not in went_on
    assert "Goes on from the checkpoint after epoch " in went_on
    assert "left no checkpoint" not in went_on
    assert "Epoch 40/40" in went_on
    assert "tcn for vehicle: trained, version 1" in went_on
    # As many threads as it was begun with: another sum would be another model.
    assert next(trips.work.glob(f"{key}*/threads")).read_text() == "1"
