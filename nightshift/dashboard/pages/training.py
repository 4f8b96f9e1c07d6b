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
from nightshift.dashboard.training import plan_training
from nightshift.dashboard.training_form import Filled, filled, request_of
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.config import targets
from nightshift.settings import Home

router = APIRouter(include_in_schema=False)


@router.get("/train")
def asked(request: Request, service: Svc, user: Viewer) -> Response:
    """Show the form, filled in by the address: `?machine=…&families=…`."""
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
    wanted = request_of(form)
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
            training_form.refuse(form, error)
        else:
            return RedirectResponse(f"/jobs/{quote(started.job_id)}", HTTPStatus.SEE_OTHER)
    return await run_in_threadpool(_page, request, service.home, user, form, status)


def _page(request: Request, home: Home, user: User, form: Filled, status: HTTPStatus = HTTPStatus.OK) -> Response:
    known = training_form.machines(home)
    n_machines = sum(len(ids) for ids in known.values())
    if not form.machine and n_machines == 1:
        form.values["machine"] = next(iter(known.values()))[0]
    group = training_form.group_named(home, form.machine)
    if request.method == "GET":
        # To a machine of another group neither time limit nor device class means the same.
        moved = request.query_params.get("group", group) != group
        if moved or "minutes" not in request.query_params:
            form.values["minutes"] = training_form.usual_minutes(group)
        if moved:
            form.values["target"] = ""
    target, offered = training_form.offers(home, form.machine, form.values["target"])
    fitting = {one.name for one in offered}
    if not form.errors and not fitting.intersection(form.families):
        # Another machine was chosen, whose data are for other families.
        form.families, form.whole = (), True
    usual, own = training_form.presets(offered)
    return page(
        request,
        "training.html.j2",
        status_code=status.value,
        form=form,
        machines=known,
        n_machines=n_machines,
        offered=offered,
        group=group,
        target=target,
        targets=targets(home),
        usual=usual,
        own=own,
        keys=frozenset().union(*(one.keys for one in offered)),
        members={one.name: one.members for one in offered if one.members},
        table="params" in frozenset().union(*(one.keys for one in offered)),
        refusal="" if user.may_act else f"You are a {user.role}: operators start trainings.",
        estimate=_estimate(home, form) if offered and not form.errors else None,
    )


def _estimate(home: Home, form: Filled) -> dict[str, Any] | None:
    """Return how long a training is expected to take, or why it cannot be; None while something is missing."""
    tried = replace(form, errors={})
    wanted = request_of(tried)
    if wanted is None:
        said = next(iter(tried.errors.values()), "") if form.machine else ""
        return {"error": said, "hint": ""} if said else None
    kind, what = wanted
    try:
        planned = plan_training(home, kind, what)
    except NightshiftError as error:
        return {"error": error.what, "hint": error.hint}
    return {"error": "", "seconds": planned.estimated_s, "is_limit": planned.estimated_from == "time_limit"}
