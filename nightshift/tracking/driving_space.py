"""What a sweep searches over where nobody says."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

#: Of families that learn by driving.
SPACE: dict[str, Any] = {
    "learning_rate": {"low": 3e-5, "high": 1e-3, "log": True},
    "gamma": {"low": 0.97, "high": 0.997},
    "ent_coef": {"low": 1e-5, "high": 1e-2, "log": True},
    "gae_lambda": {"low": 0.9, "high": 0.98},
    "clip_range": [0.1, 0.2, 0.3],
    "n_epochs": [3, 5, 10],
    "tau": {"low": 0.002, "high": 0.02, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
#: Of families that have none of those: they clone experts, and that is all.
CLONING_SPACE: dict[str, Any] = {
    "clone_learning_rate": {"low": 1e-4, "high": 5e-3, "log": True},
    "clone_batch_size": [128, 256, 512],
    "entropy_weight": {"low": 1e-5, "high": 1e-2, "log": True},
    "demo_accel_mps2": {"low": 0.5, "high": 2.5},
    "demo_steer_share": {"low": 0.03, "high": 0.3, "log": True},
    "demo_share": {"low": 0.2, "high": 0.9},
}


def usual_space(known: Container[str]) -> dict[str, Any]:
    """Return setting -> what it may be, of those settings that a family has; empty where nothing fits it."""
    fitting = ({name: span for name, span in space.items() if name in known} for space in (SPACE, CLONING_SPACE))
    return next((space for space in fitting if space), {})
