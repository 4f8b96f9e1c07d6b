"""Behaviour cloning as a family: its run on disk, exact resumption, what it begins from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.driven import small_roads
from support.homes import a_home
from support.imitated import answers, curve, interrupted, trained
from support.policies import read_policy

from nightshift.data.dataset import Dataset
from nightshift.driving.runs import RunFolder, RunStatus
from nightshift.errors import InterruptedTraining, TrainingError, UsageError
from nightshift.settings import Home


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("bc")) as home:
        yield home


@pytest.fixture(scope="module")
def roads(place: Home) -> Dataset:
    return small_roads(place)


@pytest.fixture(scope="module")
def whole(place: Home, roads: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    fitted, _ = trained(place, roads, "bc", tmp_path_factory.mktemp("whole"), run_id="whole", clone_patience=0)
    return fitted


def test_a_run_has_a_row_an_epoch_and_is_driven_now_and_then(place: Home, whole: Any) -> None:
    folder, rows = RunFolder(place, "whole"), curve(place, "whole")
    steps = rows[0]["step"]
    assert [row["step"] for row in rows] == [steps, 2 * steps, 3 * steps, 4 * steps, 4 * steps]
    assert [row["score"] is not None for row in rows] == [False, True, False, True, True]
    assert rows[3]["loss"] < rows[0]["loss"]
    status = RunStatus.model_validate_json((folder.logs / "status.json").read_bytes())
    assert (status.state, status.step, status.total_steps) == ("completed", 4 * steps, 4 * steps)
    assert status.best_score == max(row["score"] for row in rows if row["score"] is not None)
    policy, meta = read_policy(folder.checkpoints / "best.pt")
    assert meta["score"] == status.best_score == whole.settings["best_val_score"]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(policy.state_dict().values(), whole.policy.state_dict().values(), strict=True)
    )


def test_a_cloning_that_was_interrupted_twice_ends_as_one_that_was_not(
    place: Home, roads: Dataset, whole: Any, tmp_path: Path
) -> None:
    batches = curve(place, "whole")[0]["step"]
    stops = (batches + 3, batches + 2)
    again = interrupted(place, roads, "bc", tmp_path, *stops, run_id="again", clone_patience=0)
    assert curve(place, "again") == curve(place, "whole")
    assert np.array_equal(answers(again), answers(whole))
    with pytest.raises(UsageError, match="a run 'whole' exists"):
        trained(place, roads, "bc", tmp_path / "other", run_id="whole")


def test_it_begins_with_a_checkpoint_of_its_shape_and_refuses_another(
    place: Home, roads: Dataset, whole: Any, tmp_path: Path
) -> None:
    best = str(RunFolder(place, "whole").checkpoints / "best.pt")
    trained(place, roads, "bc", tmp_path / "more", run_id="more", init_from=best, epochs=1)
    rows = curve(place, "more")
    trained(place, roads, "bc", tmp_path / "more", run_id="more", init_from="/gone.pt", epochs=1)
    # Cut off when all but the word of its end was written: what was, is not written twice.
    assert curve(place, "more") == rows
    assert curve(place, "more")[0]["loss"] < curve(place, "whole")[0]["loss"]
    with pytest.raises(TrainingError, match="components is 1, expected 4"):
        trained(place, roads, "bc", tmp_path / "modes", run_id="modes", init_from=best, modes=4)


def test_a_run_is_seen_and_stopped_while_experts_are_watched(place: Home, roads: Dataset, tmp_path: Path) -> None:
    folder, states = RunFolder(place, "early"), list[str]()

    def status() -> RunStatus:
        return RunStatus.model_validate_json((folder.logs / "status.json").read_bytes())

    def stop() -> bool:
        states.append(status().state)
        return len(states) == 3

    # Pushed otherwise than before, so that they are watched anew.
    with pytest.raises(InterruptedTraining, match="watched"):
        trained(place, roads, "bc", tmp_path, run_id="early", stop=stop, demo_accel_mps2=0.7)
    assert states == ["running"] * 3
    assert status().state == "stopped"
    assert "Watches experts drive" in (folder.logs / "train.log").read_text(encoding="utf-8")
