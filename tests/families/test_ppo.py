"""PPO as a family: its run on disk, exact resumption on the world, what it begins from, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.driven import SMALL, small_roads
from support.family_runs import small_context
from support.homes import a_home
from support.policies import read_policy

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.driving.learn.recorder import read_metrics
from nightshift.driving.observe import N_OBS
from nightshift.driving.runs import RunFolder, RunStatus
from nightshift.errors import ConfigError, InterruptedTraining, TrainingError, UsageError
from nightshift.families._driving import DrivingModel
from nightshift.family import RunContext
from nightshift.nets.policy import Policy, PolicyShape, save_policy
from nightshift.plan.config import resolve
from nightshift.progress import ProgressEvent
from nightshift.settings import Home

PPO = families.get("ppo")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("ppo")) as home:
        yield home


@pytest.fixture(scope="module")
def roads(place: Home) -> Dataset:
    return small_roads(place)


def trained(home: Home, roads: Dataset, folder: Path, cell: str = "a", **changes: Any) -> tuple[Any, RunContext]:
    named = PPO.config.model_fields.keys() - RunContext.__dataclass_fields__.keys()
    settings = {key: changes.pop(key) for key in list(changes) if key in named}
    config, ctx = small_context(home, "ppo", folder)
    config = PPO.config.model_validate({**config.model_dump(), **settings})
    ctx = dataclasses.replace(ctx, cell=cell * 64, findings=[], **changes)
    return PPO.train(roads, config, ctx), ctx


@pytest.fixture(scope="module")
def whole(place: Home, roads: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[DrivingModel, list[Any]]:
    told: list[ProgressEvent] = []
    fitted, _ = trained(place, roads, tmp_path_factory.mktemp("whole"), run_id="whole", progress=told.append)
    return fitted, told


def curve(home: Home, run_id: str) -> list[dict[str, Any]]:
    rows = read_metrics(RunFolder(home, run_id).logs / "metrics.jsonl")
    shown = [row.model_dump(exclude={"at"}) for row in rows]
    for row in shown:
        row["more"].pop("steps_per_s", None)
    return shown


def test_a_run_is_on_disk_and_told(
    place: Home, roads: Dataset, whole: tuple[DrivingModel, list[ProgressEvent]]
) -> None:
    fitted, told = whole
    folder = RunFolder(place, "whole")
    file = json.loads((folder.checkpoints / "run.json").read_text())
    assert (file["algorithm"], file["subject"], file["cell"]) == ("ppo", "small_roads", "a" * 64)
    assert file["config"]["batch_size"] == 128
    status = RunStatus.model_validate_json((folder.logs / "status.json").read_bytes())
    assert (status.state, status.step, status.total_steps) == ("completed", 768, 768)
    rows = curve(place, "whole")
    assert [row["step"] for row in rows] == [256, 512, 768]
    assert [row["score"] is not None for row in rows] == [False, True, True]
    count = len(roads.frame("train"))
    before = [event.message for event in told[: told.index(next(event for event in told if event.line))]]
    assert f"made {count} of {count} scenarios" in before
    epochs = [event for event in told if event.epoch]
    assert [event.epoch for event in epochs] == [1, 2, 3]
    assert {"loss", "score", "val_collision"} <= set(epochs[-1].metrics)
    assert any({"mean_reward", "collision", "progress"} <= set(event.metrics) for event in epochs)
    (by_rule,) = [event.message for event in told if event.line]
    assert by_rule.startswith("Drivers by rule on the scenarios of validation: IDM driver: score ")
    assert "; constant speed: score " in by_rule
    log = (folder.logs / "train.log").read_text()
    assert by_rule in log
    beside = by_rule.partition("validation: ")[2]
    assert all(f"({beside})" in event.message for event in epochs[1:])
    assert "; validation: score " in epochs[-1].message
    assert "validation" not in epochs[0].message
    assert fitted.summary["run_id"] == "whole"
    assert fitted.summary["best_val_score"] == max(row["score"] or 0 for row in rows)
    policy, meta = read_policy(folder.checkpoints / "best.pt")
    seen = torch.zeros(1, N_OBS)
    assert torch.equal(policy(seen), fitted.policy(seen))
    assert meta["step"] == fitted.summary["best_step"]


def test_one_that_was_stopped_ends_as_one_that_was_not(
    place: Home, roads: Dataset, whole: tuple[DrivingModel, list[Any]], tmp_path: Path
) -> None:
    asked = iter([False, True])
    with pytest.raises(InterruptedTraining):
        trained(place, roads, tmp_path, "b", run_id="stopped", should_stop=lambda: next(asked))
    folder = RunFolder(place, "stopped")
    assert RunStatus.model_validate_json((folder.logs / "status.json").read_bytes()).state == "stopped"
    assert len(curve(place, "stopped")) == 1
    # What the drivers by rule did is told as it was kept: they are not driven again.
    rivals = folder.checkpoints / "rivals.json"
    held = json.loads(rivals.read_text())
    held["drivers"]["IDM driver"]["comfort"] = 0.123
    rivals.write_text(json.dumps(held))
    fitted, _ = trained(place, roads, tmp_path, "b", run_id="stopped")
    assert curve(place, "stopped") == curve(place, "whole")
    for mine, other in zip(fitted.policy.parameters(), whole[0].policy.parameters(), strict=True):
        assert torch.equal(mine, other)
    log = (folder.logs / "train.log").read_text()
    assert "goes on from the checkpoint at step 256" in log
    assert "comfort 12.3%; constant speed" in log


def test_a_run_id_that_exists_is_refused_and_nothing_is_touched(
    place: Home, roads: Dataset, whole: tuple[DrivingModel, list[Any]], tmp_path: Path
) -> None:
    folder = RunFolder(place, "whole")
    before = {p: p.read_bytes() for p in folder.checkpoints.iterdir()}
    with pytest.raises(UsageError, match="a run 'whole' exists: ppo on small_roads"):
        trained(place, roads, tmp_path, "c", run_id="whole")
    assert {p: p.read_bytes() for p in folder.checkpoints.iterdir()} == before


def test_it_begins_from_a_checkpoint_of_its_own_shape(
    place: Home, roads: Dataset, whole: tuple[DrivingModel, list[Any]], tmp_path: Path
) -> None:
    best = str(shutil.copy(RunFolder(place, "whole").checkpoints / "best.pt", tmp_path / "best.pt"))
    little = {"run_id": "on", "total_steps": 256, "learning_rate": 1e-12}
    fitted, _ = trained(place, roads, tmp_path / "on", "d", init_from=best, **little)
    # What goes on from a checkpoint needs no file to begin with.
    trained(place, roads, tmp_path / "on", "d", init_from="/gone.pt", **little)
    seen = torch.rand(50, N_OBS, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fitted.policy(seen), whole[0].policy(seen), atol=1e-4, rtol=0)
    with pytest.raises(
        TrainingError, match=r"best\.pt holds a policy of another shape: hidden is \(16,\).*hidden=\[16\]"
    ):
        trained(place, roads, tmp_path / "wide", "e", run_id="wide", init_from=best, hidden=(32,))
    other = tmp_path / "other.pt"
    save_policy(other, Policy(PolicyShape(observation=N_OBS, hidden=(16,))), {"layout": "of last year"})
    with pytest.raises(TrainingError, match="another layout of the observation"):
        trained(place, roads, tmp_path / "old", "f", run_id="old", init_from=str(other))


def test_time_that_is_over_is_remarked_on(place: Home, roads: Dataset, tmp_path: Path) -> None:
    fitted, ctx = trained(place, roads, tmp_path, "g", time_limit_s=0.0)
    assert [f.code for f in ctx.findings] == ["T020"]
    assert "256 of 768 steps" in ctx.findings[0].what
    assert fitted.summary["run_id"] == "ppo-gggggggg"


def test_a_rollout_is_cut_into_whole_minibatches() -> None:
    with pytest.raises(ValidationError, match=r"num_envs 8 \* n_steps 100 = 800 transitions .* batch_size 2048"):
        PPO.config.model_validate({"n_steps": 100})
    assert PPO.config().rollout == 8 * 1024
    with pytest.raises(ValidationError, match="is no run id"):
        PPO.config.model_validate({"run_id": "../x"})


def test_a_preset_gives_what_is_not_set(place: Home) -> None:
    quick = resolve(place, "small_roads", "ppo", "vehicle", params={"preset": "quick", "num_envs": 64})
    config: Any = quick.config
    assert (config.num_envs, config.n_steps, config.batch_size) == (64, 64, 2048)
    assert config.total_steps <= 2_000_000
    fast: Any = resolve(place, "small_roads", "ppo", "vehicle", params={"preset": "fast"}).config
    assert fast.num_envs >= 256
    assert fast.total_steps == 10_000_000
    assert fast.learning_rate == 3e-4
    assert PPO.config.model_validate(fast.model_dump(mode="json")) == fast
    with pytest.raises(ConfigError, match="unknown preset 'quik'"):
        resolve(place, "small_roads", "ppo", "vehicle", params={"preset": "quik"})


def test_the_answer_is_physical_and_never_full_lock_at_speed(whole: tuple[DrivingModel, list[Any]]) -> None:
    seen = np.random.default_rng(0).uniform(-1.5, 1.5, (500, N_OBS)).astype(np.float32)
    seen[:, 0] = 1.0  # 40 m/s
    action = PPO.predict(whole[0], {"observation": seen})["action"]
    assert action.dtype == np.float32
    assert (np.abs(action[:, 1]) < 0.01).all()
    assert action[:, 0].min() >= -6
    assert action[:, 0].max() <= 3


def test_budgets_of_tests_are_settings_of_the_family() -> None:
    assert set(SMALL["ppo"]) <= set(PPO.config.model_fields)
