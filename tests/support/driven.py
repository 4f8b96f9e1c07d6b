"""A small set of made scenarios, landed, and what driving families are trained with in tests."""

from __future__ import annotations

from typing import Any

from nightshift.data.dataset import Dataset
from nightshift.driving.landing import MadeSet, land_made
from nightshift.settings import Home

SUBJECT = "small_roads"
_LITTLE = {"hidden": [16], "eval_scenarios": 2, "pictures": False}
_BUDGET = {**_LITTLE, "checkpoint_every_s": 0}
#: Family -> settings over its YAML.
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {**_BUDGET, "n_steps": 32, "n_epochs": 2, "batch_size": 128, "total_steps": 768, "eval_every_steps": 512},
    "bc": {**_LITTLE, "epochs": 4, "eval_every_epochs": 2},
    "gail": {
        **_BUDGET,
        "num_envs": 8,
        "n_steps": 32,
        "n_epochs": 2,
        "batch_size": 128,
        "total_steps": 512,
        "eval_every_steps": 256,
        "clone_epochs": 1,
        "disc_updates": 2,
    },
    "cimrl": {
        **_BUDGET,
        "num_envs": 8,
        "n_steps": 32,
        "n_epochs": 2,
        "batch_size": 128,
        "total_steps": 512,
        "eval_every_steps": 256,
        "clone_epochs": 2,
        "critic_hidden": [16, 8],
        "recovery_envs": 4,
        "recovery_steps": 512,
        "recovery": {"offline_steps": 256, "pretrain_updates": 5, "batch_size": 32, "capacity": 400},
    },
    "sac": {
        **_BUDGET,
        "batch_size": 32,
        "learning_starts": 128,
        "buffer_size": 2_000,
        "total_steps": 384,
        "eval_every_steps": 256,
    },
}


def small_roads(home: Home) -> Dataset:
    """A few motorways, one to validate on and one to test on."""
    return land_made(home, MadeSet(kinds=("highway",), scenarios=6, seed=3), SUBJECT)
