"""Where a training is asked for."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from nightshift.dashboard import training_form
from nightshift.dashboard.api import jobs as trainings
from nightshift.dashboard.auth import Operator, User, Viewer
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.service import Svc
from nightshift.dashboard.starting import ConflictError
from nightshift.dashboard.tables import columns_of, table_files
from nightshift.dashboard.training import plan_training
from nightshift.dashboard.training_form import Filled, filled, request_of
from nightshift.data.groups import ESTIMATOR, MACHINE, NAMES
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.config import targets
from nightshift.settings import Home
from nightshift.trainer.kinds.named import NAMES as MODELS

router = APIRouter(include_in_schema=False)


@router.get("/train")
def asked(request: Request, service: Svc, user: Viewer) -> Response:
    """Show the form, filled in by the address: `?of=…`, `?machine=…&families=…`."""
    return _page(request, service.home, user, filled(request.query_params))


@router.get("/train/estimate")
def estimated(request: Request, service: Svc, _user: Viewer) -> Response:
    """Say how long what is filled in would take, or why it cannot be."""
    form = filled(request.query_params, sent=True)
    return page(request, "_estimate.html.j2", estimate=_estimate(service.home, form))


@router.post("/train")
async def start(request: Request, service: Svc, user: Operator) -> Response:
    """Start what was asked for, and lead to its run; the form again where it cannot be."""
    async with request.form(max_files=0, max_fields=300) as sent:
        form = filled(sent, sent=True)
    wanted = await run_in_threadpool(request_of, service.home, form)
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if wanted is not None:
        kind, what = wanted
        try:
            started = await trainings.start(kind, what, user, service, form.values["key"])
        except ServiceError as error:
            form.errors[""], status = f"{error.what} {error.hint}".strip(), HTTPStatus.SERVICE_UNAVAILABLE
        except NightshiftError as error:
            if isinstance(error, ConflictError):
                form.values["key"] = training_form.new_key()
            await run_in_threadpool(training_form.refuse, service.home, form, error)
        else:
            return RedirectResponse(f"/jobs/{quote(started.job_id)}", HTTPStatus.SEE_OTHER)
    return await run_in_threadpool(_page, request, service.home, user, form, status)


def _page(request: Request, home: Home, user: User, form: Filled, status: HTTPStatus = HTTPStatus.OK) -> Response:
    known, files = training_form.by_group(home), table_files(home)
    asked_for = form.values["of"] if form.values["of"] in NAMES else ""
    there = [group for group in NAMES if group in known]
    of = training_form.group_named(home, form.machine) or asked_for or next(iter(there), MACHINE)
    choices = (
        {"": known.get(of, [])}
        if of != ESTIMATOR
        else {"Files in data/tables": list(files), "Landed before": known.get(of, [])}
    )
    every = [one for ids in choices.values() for one in ids]
    if not form.machine and len(every) == 1:
        form.values["machine"] = every[0]
    # To a subject of another group neither time limit nor preset nor target means the same.
    moved = request.method == "GET" and bool(asked_for) and of != asked_for
    if request.method == "GET":
        begins = training_form.usual(of)
        form.values |= {k: v for k, v in begins.items() if moved or k not in request.query_params}
        if moved:
            form.values["target"] = ""
    target, offered = training_form.offers(home, form.machine, form.values["target"])
    fitting = {one.name for one in offered}
    all_meant = bool(request.query_params.get("all")) and not moved
    if not form.errors and not all_meant and not fitting.intersection(form.families):
        # Another subject was chosen, whose data are for other families.
        form.families, form.whole = training_form.usual_families(of, offered)
    usual, own = training_form.presets(offered)
    columns, unreadable = _columns(home, files[form.machine]) if form.machine in files else ((), "")
    return page(
        request,
        "training.html.j2",
        status_code=status.value,
        form=form,
        of=of,
        groups=NAMES,
        choices=choices,
        n_choices=len(every),
        offered=offered,
        columns=columns,
        unreadable=unreadable,
        models=MODELS,
        target=target,
        targets=targets(home),
        usual=usual,
        own=own,
        keys=frozenset().union(*(one.keys for one in offered)),
        members={one.name: one.members for one in offered if one.members},
        refusal="" if user.may_act else f"You are a {user.role}: operators start trainings.",
        estimate=_estimate(home, form) if (offered or columns) and not form.errors else None,
    )


def _columns(home: Home, file: str) -> tuple[tuple[str, ...], str]:
    """Return the columns of a file, or () and what is wrong with it."""
    try:
        return columns_of(home.root / file), ""
    except NightshiftError as error:
        return (), f"{error.what} {error.hint}".strip()


def _estimate(home: Home, form: Filled) -> dict[str, Any] | None:
    """Return how long a training is expected to take, or why it cannot be; None while something is missing."""
    tried = replace(form, errors={})
    wanted = request_of(home, tried)
    if wanted is None:
        # What nobody has chosen yet is no fault.
        said = next(iter(tried.errors.values()), "") if form.machine and tried.errors.keys() != {"column"} else ""
        return {"error": said, "hint": ""} if said else None
    kind, what = wanted
    try:
        planned = plan_training(home, kind, what)
    except NightshiftError as error:
        return {"error": error.what, "hint": error.hint}
    is_limit = planned.estimated_from == "time_limit"
    # The training of a table has no limit.
    unknown = is_limit and training_form.group_named(home, form.machine) == ESTIMATOR
    return {"error": "", "seconds": None if unknown else planned.estimated_s, "is_limit": is_limit}
