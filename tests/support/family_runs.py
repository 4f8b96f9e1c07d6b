"""What the family tests share: small budgets and a trained model with what made it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.family import Family, FamilyConfig, RunContext, time_limit_s
from nightshift.plan.config import packaged_configs, resolve
from nightshift.settings import Home
from support import driven, tables

#: What the vehicle families are trained with in tests, over their YAML.
_SMALL_WINDOWS = {"window_rows": 20, "stride_rows": 10}
_FEW_TREES = {"params": {"n_estimators": 10}}
SMALL: dict[str, dict[str, Any]] = {
    "tcn": {**_SMALL_WINDOWS, "epochs": 3, "channels": 8, "blocks": 3},
    "lstm_ae": {**_SMALL_WINDOWS, "epochs": 3, "hidden": 12, "latent": 6},
    "behaviour": _SMALL_WINDOWS,
    "carbon": _SMALL_WINDOWS,
    "classifier": _FEW_TREES,
    "regressor": _FEW_TREES,
}


@dataclass(frozen=True)
class Trained:
    """A family, trained once on the small dataset of its group."""

    family: Family
    config: FamilyConfig
    data: Dataset
    fitted: Any
    ctx: RunContext


def small_context(home: Home, family: str, folder: Path) -> tuple[FamilyConfig, RunContext]:
    """The family's config with the demo's round budgets, or `SMALL`, and a context of its own."""
    group = families.get(family).group
    if group == "driving":
        resolved = resolve(home, driven.SUBJECT, family, "vehicle", params=driven.SMALL[family])
    elif group == "vehicle":
        resolved = resolve(home, "small_vehicles", family, "vehicle", params=SMALL[family])
    elif group == "estimator":
        resolved = resolve(home, tables.SUBJECT, family, "server", params=SMALL[family])
    else:
        resolved = resolve(home, "demo_motor", family, "pi", file=packaged_configs() / "demo.yaml")
    folder.mkdir(parents=True, exist_ok=True)
    ctx = RunContext(
        cell="0" * 64,
        seed=resolved.config.seed,
        limits=resolved.limits,
        work=folder,
        checkpoints=folder / "checkpoints",
        time_limit_s=time_limit_s(resolved.config),
    )
    return resolved.config, ctx


def train_again(trained: Trained, folder: Path) -> Any:
    """Train the same family on the same data with the same seed, somewhere else."""
    folder.mkdir(parents=True, exist_ok=True)
    ctx = dataclasses.replace(trained.ctx, work=folder, checkpoints=folder / "checkpoints", findings=[])
    return trained.family.train(trained.data, trained.config, ctx)
