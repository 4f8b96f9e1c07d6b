"""Commands in homes of their own, which end with this process."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nightshift.settings import Home
from tests.benchmarks._published import ROOT


def bench_home() -> Home:
    """Return an empty home; its server ends with this process."""
    home = Home(Path(tempfile.mkdtemp(prefix="nightshift-bench-")))
    atexit.register(_clean, home)
    return home


def command(*words: str, home: Home | None = None, may_end_with: tuple[int, ...] = (0,)) -> float:
    """Run one nightshift command and return the seconds it took."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PREFECT_API_URL", "NIGHTSHIFT_HOME")}
    if home is not None:
        environment["NIGHTSHIFT_HOME"] = str(home.root)
    line = [sys.executable, "-m", "nightshift.cli", *words]
    start = time.perf_counter()
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in may_end_with:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - start


def _clean(home: Home) -> None:
    command("down", home=home)
    shutil.rmtree(home.root, ignore_errors=True)
