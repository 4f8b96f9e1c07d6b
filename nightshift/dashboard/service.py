"""What all routes share, made once for a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from nightshift.dashboard.audit import Audit
from nightshift.dashboard.config import DashboardConfig
from nightshift.dashboard.jobs import JobBoard
from nightshift.dashboard.matrix import FleetMatrix
from nightshift.dashboard.predictions import Predictor
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

    @cached_property
    def matrix(self) -> FleetMatrix:
        """Where every model stands."""
        return FleetMatrix(self.home)

    @cached_property
    def predictor(self) -> Predictor:
        """Answers rows with the fleet's models."""
        return Predictor(self.home)

    async def start(self) -> None:
        """Begin what runs beside the requests."""
        self.matrix.start()

    async def stop(self) -> None:
        """End it, and close every connection."""
        self.matrix.stop()
        self.predictor.history.close()
        await self.jobs.stop()
        await self.prefect.close()


async def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Svc = Annotated[Service, Depends(_service)]
