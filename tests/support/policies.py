"""Policies as a run leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nightshift.nets.checkpoint import load
from nightshift.nets.policy import Policy, policy_of


def read_policy(path: Path) -> tuple[Policy, dict[str, Any]]:
    """The policy in a checkpoint, and the facts beside it."""
    found = load(path)
    assert found is not None
    return policy_of(found, path.name), found.meta
