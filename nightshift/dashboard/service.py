"""What all routes share, made once for a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from nightshift.dashboard.audit import Audit
from nightshift.dashboard.config import DashboardConfig
from nightshift.dashboard.jobs import JobBoard
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.settings import Home


@dataclass
class Service:
    """The parts of a running dashboard.

    Attributes:
        home: where everything is kept.
        config: how it is served.
        prefect: the server that runs flows.
        audit: who did what.
        jobs: trainings and other runs.
    """

    home: Home
    config: DashboardConfig
    prefect: PrefectApi
    audit: Audit = field(init=False)
    jobs: JobBoard = field(init=False)

    def __post_init__(self) -> None:
        self.audit = Audit(self.home)
        self.jobs = JobBoard(self.home, self.prefect)

    async def start(self) -> None:
        """Begin what runs beside the requests."""

    async def stop(self) -> None:
        """End it, and close every connection."""
        await self.jobs.stop()
        await self.prefect.close()


async def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Svc = Annotated[Service, Depends(_service)]
