"""A checkout of its own with two more families, added as anybody adds one: a file in `nightshift/families/`.

They stop halfway until a file, their config's `gate`, is there: a test can kill what trains them in the middle.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("nightshift", "flows", "tasks", "deployments", "configs")
_FILES = ("prefect.yaml", "pyproject.toml")


def plant(folder: Path) -> Path:
    """Copy the packages to `folder`, with the families `stepwise` (checkpoints) and `plodding` (none)."""
    for name in _PACKAGES:
        # With what is compiled: many processes import it.
        shutil.copytree(ROOT / name, folder / name)
    for name in _FILES:
        shutil.copyfile(ROOT / name, folder / name)
    for path in (Path(__file__).parent / "slow_families").glob("*.py"):
        shutil.copyfile(path, folder / "nightshift" / "families" / path.name)
    return folder
