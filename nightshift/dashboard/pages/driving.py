"""Trainings of driving policies, and of any cell that learns by epochs, with live curves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from threading import Lock

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from nightshift.dashboard import live
from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.service import Svc
from nightshift.driving.runs import MetricsRow
from nightshift.errors import NightshiftError
from nightshift.plan.state import State, cell_of, state
from nightshift.settings import Home
from nightshift.tracking import epochs
from nightshift.tracking.driving_others import figures_elsewhere, is_shared, runs_elsewhere
from nightshift.tracking.driving_rules import recommend
from nightshift.tracking.driving_runs import (
    RunView,
    checkpoints,
    going_on,
    list_runs,
    log_of,
    read_run,
    run_of_cell,
    view,
)
from nightshift.tracking.driving_status import driving_status, told_of, with_gpu
from nightshift.tracking.report import Table
from nightshift.tracking.resources import gpus
from nightshift.tracking.text import number

router = APIRouter(include_in_schema=False)

_LOG_BYTES, _LOG_LINES = 16_000, 14
_SHOWN_EPOCHS = 40
#: MLflow is asked of other machines' runs so often.
_ELSEWHERE_S = 15.0

Elsewhere = tuple[tuple[RunView, ...], dict[str, tuple[MetricsRow, ...]], tuple[str, ...]]


class _Others:
    """Runs of other machines, as MLflow told a moment ago; in a home of its own nobody is asked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._until: dict[Path, tuple[float, Elsewhere]] = {}

    def of(self, home: Home, known: Sequence[str]) -> Elsewhere:
        if not is_shared(home):
            return (), {}, ()
        with self._lock:
            until, told = self._until.get(home.root, (0.0, ((), {}, ())))
            if time.monotonic() > until:
                told = self._asked(home, known)
                self._until[home.root] = (time.monotonic() + _ELSEWHERE_S, told)
            return told

    def _asked(self, home: Home, known: Sequence[str]) -> Elsewhere:
        try:
            found = runs_elsewhere(home, known)
            return found, figures_elsewhere(home, found), ()
        except NightshiftError as error:
            return (), {}, (f"Runs of other workers are not shown: {error.what}",)


_others = _Others()


@router.get("/driving")
def driving(request: Request, service: Svc, _user: Viewer) -> Response:
    """Show runs at work, recent figures, this machine, recommendations, and all runs."""
    home = service.home
    known = list_runs(home)
    elsewhere, figures, remarks = _others.of(home, [run.run_id for run in known])
    status = driving_status(home, elsewhere, figures=figures, remarks=remarks)
    runs = [view(run) for run in known if not run.active]
    return page(request, "driving.html.j2", status=status, runs=runs)


@router.get("/driving/{run_id}")
def driving_run(request: Request, service: Svc, _user: Viewer, run_id: str, have: str | None = None) -> Response:
    """Show one run: how far it is, its curves, checkpoints and log; nothing where its page has these curves already."""
    home = service.home
    run = read_run(home, run_id)
    names = live.run_names(run.rows)
    if run.active and have == ",".join(names):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    shown = view(run)
    shown = with_gpu(shown, gpus()) if shown.device == "cuda" else shown
    cell = cell_of(home, shown.cell) if live.is_key(shown.cell) else None
    return page(
        request,
        "driving_run.html.j2",
        run=shown,
        active=run.active,
        names={name: live.title_of(name) for name in names},
        advice=recommend(told_of(shown, run.rows)) if run.active else (),
        checkpoints=checkpoints(home, run),
        log=_tail(log_of(home, run_id)),
        going_on="" if run.active or run.standing == "completed" else going_on(run),
        cell=cell,
        settings=_settings(run.file.config if run.file else {}),
    )


@router.get("/runs/{cell_key}")
def cell_run(request: Request, service: Svc, _user: Viewer, cell_key: str, have: str | None = None) -> Response:
    """Show the training of one cell, epoch by epoch; a driving policy's has a page of its own.

    There is nothing to show where the page of a training that goes on has these curves already.
    """
    home = service.home
    cell = live.cell_at(home, cell_key)
    run = run_of_cell(home, cell.key)
    if run is not None:
        return RedirectResponse(f"/driving/{run.run_id}", 303)
    where, curves = state(home, cell), live.live_names(home, cell.key)
    active = where.state is State.TRAINING
    if active and have == ",".join(curves):
        return Response(status_code=HTTPStatus.NO_CONTENT)
    told = epochs.told(home, cell)
    names = list(dict.fromkeys(name for event in told.values() for name in event.metrics))
    rows = [
        (str(epoch), *(number(event.metrics.get(name)) for name in names)) for epoch, event in sorted(told.items())
    ][::-1][:_SHOWN_EPOCHS]
    return page(
        request,
        "cell_run.html.j2",
        cell=cell,
        where=where,
        active=active,
        names={name: live.title_of(name) for name in curves},
        epochs=Table(("epoch", *(n.replace("_", " ") for n in names)), rows, [""] * len(rows)) if rows else None,
    )


def _tail(path: Path) -> str:
    """Return the newest lines of a log, "" where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _settings(config: dict[str, object]) -> Table | None:
    rows = [(name, str(value)) for name, value in sorted(config.items()) if value not in (None, "", [], {})]
    return Table(("setting", "value"), rows, [""] * len(rows)) if rows else None
