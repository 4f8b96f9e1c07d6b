"""SAC as a family: its run goes on exactly, replay buffer and all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.driven import small_roads
from support.family_runs import small_context
from support.homes import a_home

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.driving.learn.recorder import read_metrics
from nightshift.driving.runs import RunFolder
from nightshift.errors import InterruptedTraining
from nightshift.nets.checkpoint import load
from nightshift.settings import Home

SAC = families.get("sac")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("sac")) as home:
        yield home


@pytest.fixture(scope="module")
def roads(place: Home) -> Dataset:
    return small_roads(place)


def trained(home: Home, roads: Dataset, folder: Path, run_id: str, cell: str, **changes: Any) -> Any:
    config, ctx = small_context(home, "sac", folder)
    config = config.model_copy(update={"run_id": run_id})
    return SAC.train(roads, config, dataclasses.replace(ctx, cell=cell * 64, **changes))


def test_one_that_was_stopped_ends_as_one_that_was_not(place: Home, roads: Dataset, tmp_path: Path) -> None:
    whole = trained(place, roads, tmp_path / "whole", "whole", "a")
    asked = iter([False] * 4 + [True])
    with pytest.raises(InterruptedTraining, match="stopped after 256 of 384 steps"):
        trained(place, roads, tmp_path / "stopped", "stopped", "b", should_stop=lambda: next(asked))
    held = load(RunFolder(place, "stopped").checkpoints / "last.pt")
    assert held is not None
    assert held.more["replay"]["observations"].shape[:2] == (32, 8)
    again = trained(place, roads, tmp_path / "stopped", "stopped", "b")
    ended = load(RunFolder(place, "stopped").checkpoints / "last.pt")
    assert ended is not None
    assert "replay" not in ended.more
    once_more = trained(place, roads, tmp_path / "stopped", "stopped", "b")
    assert once_more.settings["steps_driven"] == again.settings["steps_driven"] == 384
    for mine, other in zip(again.policy.parameters(), whole.policy.parameters(), strict=True):
        assert torch.equal(mine, other)
    curves = [read_metrics(RunFolder(place, name).logs / "metrics.jsonl") for name in ("whole", "stopped")]
    assert [(r.step, r.loss, r.mean_reward, r.score) for r in curves[0]] == [
        (r.step, r.loss, r.mean_reward, r.score) for r in curves[1]
    ]
    assert {"value_loss", "policy_loss", "entropy_weight"} <= set(curves[0][-1].more)


def test_steering_and_pedals_follow_the_drawn_actions_range(place: Home) -> None:
    config: Any = SAC.config()
    assert (config.batch_size, config.gamma, config.learning_rate) == (2048, 0.99, 3e-4)
    assert SAC.config.model_validate({"preset": "quick"}).batch_size == 512
