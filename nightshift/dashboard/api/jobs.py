"""Trainings: asked for, watched, called off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from nightshift.dashboard.auth import Operator, Viewer
from nightshift.dashboard.runs import ENDED, JobStatus, Status
from nightshift.dashboard.service import Svc
from nightshift.dashboard.starting import Started
from nightshift.dashboard.training import KINDS, TrainRequest
from nightshift.errors import NightshiftError

router = APIRouter(prefix="/api/ml", tags=["training"])

Kind = Annotated[
    str,
    Path(
        description="What is to be trained; `batch` for several models of a machine.",
        json_schema_extra={"enum": list(KINDS)},
    ),
]
JobId = Annotated[
    str, Path(description="`<flow-run-id>`, or `<flow-run-id>.<cell_key12>` for one model of a batch.", max_length=60)
]
Key = Annotated[
    str,
    Header(alias="Idempotency-Key", max_length=200, description="The same request under the same key starts one run."),
]


@router.post("/train/{kind}", status_code=202)
async def start(kind: Kind, request: TrainRequest, user: Operator, service: Svc, idempotency_key: Key = "") -> Started:
    """Start a training; nothing is trained that is up to date, unless it is forced."""
    started = await service.jobs.start(request, kind, user.name, idempotency_key)
    if not started.repeated:
        machine = request.machine_id or request.file
        service.audit.note(user.name, "started", started.job_id, kind=kind, machine=machine, force=request.force)
    return started


@router.get("/train/status/{job_id}", response_model=JobStatus)
async def status(job_id: JobId, _user: Viewer, service: Svc) -> Response:
    """Return where a job stands: `pending`, `running`, `completed`, `failed` or `cancelled`."""
    return Response(await service.jobs.status_json(job_id), media_type="application/json")


async def _known(job_id: JobId, service: Svc) -> str:
    """See that there is such a job before a stream begins."""
    await service.jobs.status(job_id)
    service.jobs.logs.see_room()
    return job_id


@router.get("/train/logs/{job_id}", response_class=EventSourceResponse)
async def logs(
    job_id: Annotated[str, Depends(_known)],
    _user: Viewer,
    service: Svc,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=60)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Stream what a job says: events `log` with at, level and text, and `end` with its status when it has ended."""
    async for line in service.jobs.log(job_id, last_event_id):
        yield ServerSentEvent(event="log", data=line.data, id=line.id or None)
    if ended := await _ending(job_id, service):
        yield ServerSentEvent(event="end", data={"status": ended})


async def _ending(job_id: str, service: Svc) -> Status | None:
    """Return how a job has ended; None where it goes on or nobody knows: without an `end`, listeners come back."""
    with suppress(NightshiftError):
        status = (await service.jobs.status(job_id)).status
        return status if status in ENDED else None
    return None


@router.post("/train/cancel/{job_id}", status_code=202)
async def cancel(job_id: JobId, user: Operator, service: Svc) -> JobStatus:
    """Stop a job; what it has finished is kept, and the same request goes on from there."""
    job = await service.jobs.cancel(job_id, user.name)
    service.audit.note(user.name, "cancelled", job_id, name=job.name)
    return job


@router.get("/jobs")
async def jobs(_user: Viewer, service: Svc) -> list[JobStatus]:
    """Return the jobs that go on and the newest that have ended, newest first."""
    return await service.jobs.recent()
