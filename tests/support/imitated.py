"""Families that learn from experts, trained on a few made roads: whole, or interrupted and gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.driving.learn.recorder import read_metrics
from nightshift.driving.observe import N_OBS
from nightshift.driving.runs import RunFolder
from nightshift.errors import InterruptedTraining
from nightshift.family import RunContext
from nightshift.settings import Home
from support.family_runs import small_context


def trained(
    home: Home, roads: Dataset, family: str, folder: Path, *, stop: Callable[[], bool] = bool, **settings: Any
) -> tuple[Any, RunContext]:
    """Train with the tests' small budget."""
    kind = families.get(family)
    config, ctx = small_context(home, family, folder)
    config = kind.config.model_validate({**config.model_dump(), **settings})
    ctx = dataclasses.replace(ctx, should_stop=stop, findings=[])
    return kind.train(roads, config, ctx), ctx


def interrupted(home: Home, roads: Dataset, family: str, folder: Path, *stops: int, **settings: Any) -> Any:
    """Train, asked to stop at the n-th question each time, then to the end."""
    for n in stops:
        questions = iter(range(10_000))
        with pytest.raises(InterruptedTraining):
            trained(home, roads, family, folder, stop=lambda at=n, asked=questions: next(asked) >= at, **settings)  # type: ignore[misc]
    fitted, _ = trained(home, roads, family, folder, **settings)
    return fitted


def answers(fitted: Any) -> np.ndarray:
    seen = np.random.default_rng(0).uniform(-1, 1, (64, N_OBS)).astype(np.float32)
    return np.asarray(fitted.answer(seen))


def curve(home: Home, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of a run but for what a clock has put into them."""
    rows = [row.model_dump(exclude={"at"}) for row in read_metrics(RunFolder(home, run_id).logs / "metrics.jsonl")]
    for row in rows:
        row["more"].pop("steps_per_s", None)
    return rows
