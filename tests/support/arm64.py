"""An arm64 Python under emulation, as `.ci/arm64` makes it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: An emulated process starts Python and onnxruntime in about 5 s; on a machine that is busy with other things, in 90.
LONGEST_S = 900


def _folder() -> Path:
    folder = Path(os.environ.get("NIGHTSHIFT_ARM64", ROOT / "build" / "arm64"))
    if not (folder / "site").is_dir():
        pytest.fail(f"{folder} holds no arm64 Python; `make test-arm64` makes it and then runs these tests")
    return folder


def versions() -> list[str]:
    """onnxruntime's, the oldest first."""
    found = (p.name for p in (_folder() / "site").iterdir() if p.is_dir())
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


@dataclass(frozen=True)
class Board:
    """A processor and a version of onnxruntime: what a device's base install would be."""

    processor: str
    onnxruntime: str

    def edge(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `nightshift-edge` there."""
        return self.python("-m", "nightshift.edge.cli", *arguments)

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Python there, with the base install alone on its path."""
        folder = _folder()
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NIGHTSHIFT_"))}
        path = os.pathsep.join([str(folder / "site" / self.onnxruntime), str(ROOT)])
        return subprocess.run(
            [folder / self.processor / "python", *arguments],
            env={**env, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
