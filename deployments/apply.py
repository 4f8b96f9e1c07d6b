"""Applies `prefect.yaml`, the only list of deployments, to the server that `PREFECT_API_URL` names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deployments import processes
from deployments.api import API_VARIABLE, ask
from nightshift.errors import ServiceError
from nightshift.settings import Home, checkout

_LIMIT_S = 300.0


def prefect_yaml() -> Path:
    """Return `prefect.yaml`: the checkout's, else the installed wheel's.

    Raises:
        ServiceError: when neither has one.
    """
    root = checkout()
    path = (root or Path(sys.prefix) / "share" / "nightshift") / "prefect.yaml"
    if not path.is_file():
        raise ServiceError(f"{path} is missing.", hint="Install Nightshift again, or run it from its checkout.")
    return path


def deploy_all(home: Home, pool: str) -> None:
    """Create the work pool unless it exists, and create or update every deployment.

    Prefect's own command reads the file, so that no second reader of its format has to be kept right.

    Raises:
        ServiceError: when Prefect refuses; with what it printed.
    """
    # The pool's first worker gives it the template of its type.
    ask("work_pools/", {"name": pool, "type": "process"}, accept=(409,))
    _prefect(home, "deploy", "--all", "--prefect-file", str(prefect_yaml()))


def _prefect(home: Home, *arguments: str) -> None:
    command = processes.python("-m", "prefect", "--no-prompt", *arguments)
    environment = processes.environment(home, os.environ[API_VARIABLE])
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=home.machinery,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"`prefect {' '.join(arguments)}` took more than {_LIMIT_S:.0f} s.") from error
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ServiceError(f"`prefect {' '.join(arguments)}` failed:", hint="\n" + "\n".join(lines[-8:]))
