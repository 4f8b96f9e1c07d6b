"""The dashboard over a home, asked in this process; it notes what it would start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.settings import Home
from support.dashboards import ADDRESS, NO_SERVER

JOB = "0a1b2c3d-0000-4000-8000-000000000001"


class Started:
    """Takes the place of the jobs: notes what was started."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, dict[str, Any], str, str]] = []

    async def run_flow(
        self, deployment: str, parameters: Mapping[str, Any], name: str, key: str = "", user: str = ""
    ) -> tuple[str, bool]:
        """Note it; the same key starts one."""
        asked = (deployment, dict(parameters), name, key)
        new = asked not in self.runs
        if new:
            self.runs.append(asked)
        return JOB, new

    async def recent(self) -> list[Any]:
        """Nothing goes on."""
        return []

    async def stop(self) -> None:
        """Nothing runs."""


@contextmanager
def asked(home: Home, started: Started | None = None) -> Iterator[TestClient]:
    """Give a client of a home's dashboard, which follows no redirect; `started` notes what it starts."""
    app = create_app(home, load_config(home), NO_SERVER)
    with TestClient(app, base_url=ADDRESS, follow_redirects=False) as found:
        if started is not None:
            app.state.service.jobs = started
        yield found
