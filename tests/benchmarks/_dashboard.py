"""The dashboard of a home, as `nightshift up` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deployments import dashboard_server, processes
from nightshift.settings import Home
from tests.benchmarks._published import ROOT

_UP_S = 60.0


@contextmanager
def dashboard_of(home: Home, prefect_url: str) -> Iterator[tuple[str, int]]:
    """Yield its address and its process id; it ends with the block."""
    port = processes.free_port(0)
    environment = {
        **os.environ,
        **home.environment(),
        "PREFECT_API_URL": prefect_url,
        "NIGHTSHIFT_HOME": str(home.root),
    }
    words = [sys.executable, "-m", "nightshift.dashboard", "--port", str(port)]
    with subprocess.Popen(words, cwd=ROOT, env=environment) as process:
        try:
            yield _up(f"http://127.0.0.1:{port}"), process.pid
        finally:
            process.terminate()


def _up(url: str) -> str:
    deadline = time.monotonic() + _UP_S
    while wrong := dashboard_server.health(url):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the dashboard did not come up: {wrong}")
        time.sleep(0.1)
    return url
