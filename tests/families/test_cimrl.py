"""Imitation with reinforcement as a family: both methods, their graphs, exact resumption, what they begin from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.driven import small_roads
from support.homes import a_home
from support.imitated import answers, curve, interrupted, trained
from support.policies import read_policy

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.driving.bicycle import ACCEL_LAG_S, ACCEL_MIN_MPS2
from nightshift.driving.learn.evaluation import answer_of
from nightshift.driving.runs import RunFolder, RunStatus
from nightshift.driving.scenario import STEP_S
from nightshift.driving.score_comfort import LIMITS
from nightshift.errors import InterruptedTraining, TrainingError, UsageError
from nightshift.family import RunContext
from nightshift.graphs.parity import compare
from nightshift.settings import Home

CIMRL: Any = families.get("cimrl")
RECOVERY = {"method": "recovery", "compare": False}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("cimrl")) as home:
        yield home


@pytest.fixture(scope="module")
def roads(place: Home) -> Dataset:
    return small_roads(place)


@pytest.fixture(scope="module")
def recovering(place: Home, roads: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RunContext]:
    return trained(place, roads, "cimrl", tmp_path_factory.mktemp("whole"), run_id="whole", **RECOVERY)


def test_the_recovery_method_is_one_graph_and_answers_like_the_library(
    recovering: tuple[Any, RunContext], roads: Dataset, tmp_path: Path
) -> None:
    fitted, ctx = recovering
    assert fitted.method == "recovery"
    model = CIMRL.export(fitted, ctx)
    inputs, tolerances = CIMRL.parity_inputs(fitted, roads, ctx), CIMRL.tolerances(fitted)
    parity = compare(model.SerializeToString(), lambda given: CIMRL.predict(fitted, given), inputs, tolerances)
    assert parity.ok, parity
    assert tolerances == {"action": 1e-5}
    CIMRL.save(fitted, tmp_path / "kept")
    assert np.array_equal(answers(CIMRL.load(tmp_path / "kept")), answers(fitted))


def test_the_decider_drives_other_than_the_mixture_that_proposes(
    place: Home, recovering: tuple[Any, RunContext]
) -> None:
    fitted, _ = recovering
    mixture, _ = read_policy(RunFolder(place, "whole").checkpoints / "best.pt")
    seen = np.random.default_rng(0).uniform(-1, 1, (64, mixture.shape.observation)).astype(np.float32)
    assert not np.allclose(answer_of(mixture)(seen), fitted.answer(seen))


def test_no_run_begins_with_the_policy_that_only_proposes(
    place: Home, roads: Dataset, recovering: tuple[Any, RunContext], tmp_path: Path
) -> None:
    best = str(RunFolder(place, "whole").checkpoints / "best.pt")
    for family in ("bc", "cimrl"):
        with pytest.raises(TrainingError, match=r"best\.pt is of cimrl's recovery method.*the clone that proposes"):
            trained(place, roads, family, tmp_path / family, run_id=f"{family}-from", init_from=best, modes=3)


def test_a_recovery_run_that_was_interrupted_ends_as_one_that_was_not(
    place: Home, roads: Dataset, recovering: tuple[Any, RunContext], tmp_path: Path
) -> None:
    questions = [0]

    def count() -> bool:
        questions[0] += 1
        return False

    trained(place, roads, "cimrl", tmp_path / "counted", run_id="counted", stop=count, **RECOVERY)
    again = interrupted(place, roads, "cimrl", tmp_path / "again", questions[0] - 2, run_id="again", **RECOVERY)
    assert curve(place, "again") == curve(place, "whole")
    assert np.array_equal(answers(again), answers(recovering[0]))


def test_a_finetune_run_that_was_interrupted_is_held_to_the_clone_that_it_began_with(
    place: Home, roads: Dataset, tmp_path: Path
) -> None:
    settings = {"method": "finetune", "compare": False, "total_steps": 1_024}
    whole, _ = trained(place, roads, "cimrl", tmp_path / "held", run_id="held", **settings)
    told = RunFolder(place, "held-again").logs / "metrics.jsonl"
    with pytest.raises(InterruptedTraining, match="after 512 of 1,024 steps"):
        trained(
            place,
            roads,
            "cimrl",
            tmp_path / "again",
            run_id="held-again",
            # The clone's row, and two of which the second one has moved off it.
            stop=lambda: told.exists() and len(told.read_text(encoding="utf-8").splitlines()) == 3,
            **settings,
        )
    again, _ = trained(place, roads, "cimrl", tmp_path / "again", run_id="held-again", **settings)
    rows = curve(place, "held-again")
    assert rows == curve(place, "held")
    assert [row["more"]["anchor_weight"] for row in rows[1:]] == pytest.approx([2.325, 1.65, 0.975, 0.3])
    ended = [
        read_policy(RunFolder(place, run).checkpoints / "last.pt")[0].state_dict() for run in ("held", "held-again")
    ]
    assert all(torch.equal(weights, ended[1][name]) for name, weights in ended[0].items())
    assert np.array_equal(answers(again), answers(whole))


def test_one_departure_from_a_mode_is_not_felt_as_a_jerk() -> None:
    reached = 1.0 - math.exp(-STEP_S / ACCEL_LAG_S)
    jerk = CIMRL.config().accel_step * -ACCEL_MIN_MPS2 * reached / STEP_S
    assert 0.0 < jerk < LIMITS["jerk_along_mps3"][1]


def test_both_methods_are_judged_and_the_first_one_is_shipped(place: Home, roads: Dataset, tmp_path: Path) -> None:
    fitted, ctx = trained(place, roads, "cimrl", tmp_path, run_id="both")
    assert (fitted.method, fitted.other.method) == ("finetune", "recovery")
    assert (RunFolder(place, "both-recovery").checkpoints / "best.pt").exists()
    judged = CIMRL.evaluate(fitted, roads, CIMRL.config(eval_scenarios=1), ctx)
    shipped = [row for row in judged.rows if row.kind == "model"]
    other = [row for row in judged.rows if row.kind == "member"]
    assert {row.who for row in shipped} == {"cimrl (finetune)"}
    assert {row.who for row in other} == {"cimrl (recovery)"}
    assert [row.part for row in shipped] == [row.part for row in other]
    CIMRL.save(fitted, tmp_path / "kept")
    loaded = CIMRL.load(tmp_path / "kept")
    assert np.array_equal(answers(loaded), answers(fitted))
    assert np.array_equal(answers(loaded.other), answers(fitted.other))


def test_one_ceiling_of_time_holds_for_all_phases_and_both_methods(place: Home, roads: Dataset, tmp_path: Path) -> None:
    spent = tmp_path / "checkpoints" / "spent.json"
    spent.parent.mkdir()
    spent.write_text('{"experts": 1e6}')  # As if they had been watched for longer than the whole training may take.
    fitted, ctx = trained(place, roads, "cimrl", tmp_path, run_id="slow", clone_epochs=3)
    assert (fitted.settings["steps_driven"], fitted.other.settings["steps_driven"]) == (256, 64)
    told = [finding.what for finding in ctx.findings if finding.code == "T020"]
    assert "over after 1 of 3 epochs" in told[0]
    assert re.search(r"256 of 512 steps were driven in 1,000,0\d\d s", told[1])
    assert fitted.settings["trained_s"] > json.loads(spent.read_text())["clone"] > 0


def test_it_begins_with_a_clone_and_teaches_another_shape_what_that_does(
    place: Home, roads: Dataset, tmp_path: Path
) -> None:
    trained(place, roads, "bc", tmp_path / "bc", run_id="clone", epochs=6)
    best = str(RunFolder(place, "clone").checkpoints / "best.pt")
    settings = {"init_from": best, "compare": False, "total_steps": 256, "learning_rate": 1e-12}
    same, _ = trained(place, roads, "cimrl", tmp_path / "same", run_id="same", **settings)
    trained(place, roads, "cimrl", tmp_path / "same", run_id="same", **{**settings, "init_from": "/gone.pt"})
    clone, _ = trained(place, roads, "bc", tmp_path / "bc2", run_id="clone2", epochs=6)
    np.testing.assert_allclose(answers(same), answers(clone), atol=1e-4)
    settings |= {"hidden": [24], "clone_epochs": 6}
    wider, _ = trained(place, roads, "cimrl", tmp_path / "wider", run_id="wider", **settings)
    assert wider.policy.shape.hidden == (24,)
    assert not (tmp_path / "same" / "checkpoints" / "cloning.pt").exists()
    assert (tmp_path / "wider" / "checkpoints" / "cloning.pt").exists()
    with pytest.raises(TrainingError, match="missing"):
        trained(place, roads, "cimrl", tmp_path / "none", run_id="none", **{**settings, "init_from": "/nowhere.pt"})


def test_both_runs_are_seen_and_stopped_while_the_first_is_cloned(place: Home, roads: Dataset, tmp_path: Path) -> None:
    folders = [RunFolder(place, run) for run in ("seen", "seen-recovery")]
    seen: list[str] = []

    def states() -> list[str]:
        return [RunStatus.model_validate_json((f.logs / "status.json").read_bytes()).state for f in folders]

    def log(folder: RunFolder) -> str:
        path = folder.logs / "train.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def stop() -> bool:
        if "Clones the experts: epoch 1/" not in log(folders[0]):
            return False
        seen.extend(states())
        return True

    with pytest.raises(InterruptedTraining):
        trained(place, roads, "cimrl", tmp_path, run_id="seen", stop=stop, clone_epochs=3)
    assert seen == ["running", "running"]
    assert states() == ["stopped", "stopped"]
    assert "waits for run seen" in log(folders[1])
    assert not (folders[0].checkpoints / "last.pt").exists()


def test_neither_run_is_begun_where_the_second_ones_name_is_taken(place: Home, roads: Dataset, tmp_path: Path) -> None:
    long = "n" * 57
    with pytest.raises(InterruptedTraining):
        trained(place, roads, "cimrl", tmp_path / "long", run_id=long, stop=lambda: True)
    assert RunFolder(place, long).checkpoints.is_dir()
    (second,) = (place.root / "experiments" / "checkpoints").glob("nnn*-recovery")
    assert len(second.name) == 64
    taken = RunFolder(place, "first-recovery").checkpoints
    taken.mkdir()
    (taken / "run.json").write_bytes((second / "run.json").read_bytes())
    for _ in range(2):
        with pytest.raises(UsageError, match="a run 'first-recovery' exists"):
            trained(place, roads, "cimrl", tmp_path / "taken", run_id="first")
        assert not RunFolder(place, "first").checkpoints.exists()
    (taken / "run.json").unlink()
    with pytest.raises(InterruptedTraining):
        trained(place, roads, "cimrl", tmp_path / "taken", run_id="first", stop=lambda: True)
