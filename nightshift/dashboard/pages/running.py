"""Runs: how far they are, what they say, what came of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from nightshift.dashboard.api import jobs as trainings
from nightshift.dashboard.auth import Operator, Viewer
from nightshift.dashboard.jobs import parsed
from nightshift.dashboard.live import cell_at, live_names
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.results import scores_of, shown
from nightshift.dashboard.runs import ENDED, FLEET, CellStatus, JobStatus
from nightshift.dashboard.service import Svc
from nightshift.dashboard.training_form import again
from nightshift.errors import UnknownNameError, without_credentials
from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.results import read_result

router = APIRouter(include_in_schema=False)

#: Cells of a batch that are listed, and those whose results stand on its own page; the others have pages.
_LISTED, _IN_FULL = 200, 6
#: What a person looks for first.
_ORDER = {"running": 0, "failed": 1, "pending": 2, "cancelled": 3, "completed": 4}
#: Prefect's UI lies beside its API.
_API = "/api"


@router.get("/jobs")
async def runs(request: Request, service: Svc, _user: Viewer, part: Literal["", "list"] = "") -> Response:
    """List the runs that go on, and the newest that have ended."""
    jobs = await service.jobs.recent()
    name = "_runs.html.j2" if part else "runs.html.j2"
    return await run_in_threadpool(page, request, name, jobs=jobs, took=_took)


@router.get("/jobs/{job_id}")
async def run(
    request: Request, job_id: str, service: Svc, _user: Viewer, part: Literal["", "now", "results"] = ""
) -> Response:
    """Show one run, or the part of its page that changes."""
    run_id, digits = parsed(job_id)
    job = await service.jobs.status(job_id)
    ended = job.status in ENDED
    content: dict[str, Any] = {"job": job, "ended": ended, "took": _took, "left_out": 0, "whole_id": run_id}
    listed = len(job.cells) > 1 or job.flow == FLEET
    content["cells"] = sorted(job.cells, key=lambda cell: _ORDER[cell.status])[:_LISTED] if listed else []
    content["left_out"] = max(0, len(job.cells) - _LISTED)
    if part == "now":
        return page(request, "_run_now.html.j2", **content)
    content["shown_results"] = await run_in_threadpool(_results, service.home, job) if ended else []
    content["scores"] = scores_of(job.table) if job.table else None
    if part == "results":
        return page(request, "_run_results.html.j2", **content)
    asked = await service.jobs.run(run_id)
    return page(
        request,
        "run.html.j2",
        **content,
        again=await run_in_threadpool(again, service.home, asked),
        of_whole=bool(digits),
        curves={},
        have="",
        prefect_at=f"{without_credentials(service.prefect.url).removesuffix(_API)}/runs/flow-run/{run_id}",
    )


@router.get("/jobs/{job_id}/curves")
async def curves(request: Request, job_id: str, service: Svc, _user: Viewer, have: str = "") -> Response:
    """Show the learning curves of what is trained now; nothing where these are what the page has already."""
    parsed(job_id)
    job = await service.jobs.status(job_id)
    found = await run_in_threadpool(_curves, service.home, job)
    now = ",".join(found)
    if now == have and job.status not in ENDED:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return page(request, "_run_curves.html.j2", job=job, curves=found, have=now, ended=job.status in ENDED)


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: str, service: Svc, user: Operator) -> Response:
    """Stop a run, and show it again."""
    parsed(job_id)
    await trainings.cancel(job_id, user, service)
    return RedirectResponse(f"/jobs/{quote(job_id)}", HTTPStatus.SEE_OTHER)


def _curves(home: Home, job: JobStatus) -> dict[str, str]:
    """Return the addresses of the curves of a job's running cells, and what each is of."""
    running = [cell for cell in job.cells or (job,) if cell.status == "running" and "." in cell.job_id]
    found: dict[str, str] = {}
    for cell in running[:_IN_FULL]:
        key = cell.job_id.partition(".")[2]
        # A cell that is only about to begin has left nothing yet.
        with suppress(UnknownNameError):
            found |= {f"{key}/{quote(name)}": f"{cell.family}: {name}" for name in live_names(home, key)}
    return found


def _results(home: Home, job: JobStatus) -> list[dict[str, Any]]:
    """Return what came of a run's cells, as far as they were judged; of a large batch nothing, its cells have pages."""
    cells: Sequence[CellStatus] = job.cells or (job,)
    results = (read_result(home, cell) for cell in _cells(home, cells if len(cells) <= _IN_FULL else ()))
    return [shown(home, result) for result in results if result.evaluation is not None]


def _cells(home: Home, told: Sequence[CellStatus]) -> Iterator[Cell]:
    """Yield the cells that a job is about, as far as they have been worked on."""
    for one in told:
        with suppress(UnknownNameError):
            if key := one.job_id.partition(".")[2]:
                yield cell_at(home, key, one.name)


def _took(job: CellStatus) -> float | None:
    """Return how long a job has taken so far, s; None before its start."""
    if job.started_at is None:
        return None
    return max(0.0, ((job.ended_at or datetime.now(UTC)) - job.started_at).total_seconds())
