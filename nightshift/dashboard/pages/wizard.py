"""From a new machine's nameplate to data that models are trained on."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from nightshift.dashboard import machine_view, profile_form, syntheses
from nightshift.dashboard.auth import Operator, User, Viewer
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.profile_changes import changed
from nightshift.dashboard.profile_saving import save
from nightshift.dashboard.runs import JobStatus
from nightshift.dashboard.service import Service, Svc
from nightshift.dashboard.syntheses import USUAL_ROWS, USUAL_SEED
from nightshift.errors import NightshiftError, ServiceError, UsageError
from nightshift.plan.synthesis import MAX_SEED, ROWS, SynthesisOptions
from nightshift.simulate import edit, keep
from nightshift.simulate.catalogue import KINDS
from nightshift.simulate.profile import find_problems, parse_profile
from nightshift.simulate.profile_problems import Problem
from nightshift.simulate.templates import SHIFTS
from nightshift.simulate.wizard import to_yaml

router = APIRouter(include_in_schema=False)

_GOES_ON = ("pending", "running")
_MAX_FIELDS = 4_000
_FIGURES = ("rated_power_kw", "rated_speed_rpm", "rated_voltage_v", "rated_flow_m3_h", "rated_pressure_bar")

Given = dict[str, list[str]]


@dataclass
class Draft:
    """A profile on its way to a file, as the page shows it.

    Attributes:
        machine: its id, as it was given.
        content: of the profile; None while its YAML cannot be read.
        text: the profile as YAML.
        replace: whether a profile that exists is to be replaced.
        taken: whether there is one.
        problems: of the id and of what was asked, beside those of the profile.
    """

    machine: str
    content: edit.Content | None
    text: str
    replace: bool = False
    taken: bool = False
    problems: dict[str, list[str]] = field(default_factory=dict)


@router.get("/machines/new")
def new_machine(request: Request, service: Svc, user: Viewer, machine: str = "", like: str = "") -> Response:
    """Ask what the machine is, or show the profile that the answers make."""
    figures = {name: value for name in _FIGURES if (value := request.query_params.get(name, "").strip())}
    if not like:
        return page(request, "machine_start.html.j2", begins=machine_view.beginnings(service.home), machine=machine)
    if like == f"own:{machine}":
        content, replace = edit.content_of(service.home, machine), True
    else:
        content, replace = machine_view.begin(service.home, like, figures), False
    return _form(request, user, Draft(machine, content, to_yaml(content), replace, replace))


@router.post("/machines/new")
async def change_machine(request: Request, service: Svc, user: Operator) -> Response:
    """Take what was filled in: check it, change it as a button asks, or save it."""
    given = await _given(request)
    return await run_in_threadpool(_change, request, service, user, given)


@router.get("/machines/{machine}")
async def one_machine(request: Request, service: Svc, user: Viewer, machine: str) -> Response:
    """Show a machine: profile, data, quality, models."""
    under_way = await _under_way(service, machine)
    return await run_in_threadpool(_machine, request, service, user, machine, under_way)


@router.post("/machines/{machine}/synthesize")
async def synthesize(request: Request, service: Svc, user: Operator, machine: str) -> Response:
    """Start making the machine's data, and go to the run."""
    given = await _given(request)
    try:
        job_id = await syntheses.start(service, user, machine, _asked(given), _last(given, "key") or uuid.uuid4().hex)
    except NightshiftError as error:
        # Who may not be here at all is told so without the machine's page.
        await run_in_threadpool(machine_view.check_known, service.home, machine)
        return await run_in_threadpool(_machine, request, service, user, machine, (), error)
    return RedirectResponse(f"/jobs/{job_id}", 303)


async def _given(request: Request) -> Given:
    form = await request.form(max_files=0, max_fields=_MAX_FIELDS)
    found: Given = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found


def _last(given: Given, name: str) -> str:
    return given.get(name, [""])[-1].strip()


def _asked(given: Given) -> syntheses.SynthesisAsked:
    options: dict[str, Any] = {"force": True} if "force" in given else {}
    if _last(given, "how") == "quick":
        options["generator_seeds"] = syntheses.QUICK_SEEDS
    numbers = {name: _last(given, name) for name in ("rows", "seed") if _last(given, name)}
    try:
        return syntheses.SynthesisAsked.model_validate({**numbers, "options": SynthesisOptions(**options)})
    except ValidationError as error:
        bad = error.errors()[0]
        said = f"{bad['loc'][0]} is {str(bad['input'])[:40]!r}: {str(bad['msg']).lower()}."
        raise UsageError(said, hint="Give whole numbers, such as 50000 rows and seed 7.") from None


async def _under_way(service: Service, machine: str) -> tuple[JobStatus, ...]:
    """Return the machine's jobs that go on; none where Prefect is away: the files are shown all the same."""
    try:
        return tuple(job for job in await service.jobs.recent() if job.machine == machine and job.status in _GOES_ON)
    except ServiceError:
        return ()


def _machine(
    request: Request,
    service: Service,
    user: User,
    machine: str,
    under_way: Sequence[JobStatus] = (),
    refused: NightshiftError | None = None,
) -> Response:
    shown = machine_view.machine_view(service.home, machine)
    content = {"shown": shown, "may_act": user.may_act, "key": uuid.uuid4().hex, "refused": refused}
    content |= {"rows": (USUAL_ROWS, ROWS[1]), "seed": (USUAL_SEED, MAX_SEED)}
    goes_on = bool(under_way) or (shown.synthesis is not None and shown.synthesis.state == "running")
    content |= {"under_way": under_way, "goes_on": goes_on, **_models(service, machine)}
    answer = page(request, "machine.html.j2", status_code=422 if refused else 200, **content)
    if "hx-request" in request.headers and not goes_on:
        # The page watched a run that has ended: data, quality and models are other ones now.
        answer.headers["HX-Refresh"] = "true"
    return answer


def _models(service: Service, machine: str) -> dict[str, Any]:
    """Return where the machine's models stand, as the fleet's page tells; why they cannot be told, where that is so."""
    try:
        found = service.matrix.get().by_id.get(machine)
    except NightshiftError as error:
        return {"cells": (), "trouble": str(error)}
    return {"cells": found.cells, "trouble": found.trouble} if found else {"cells": (), "trouble": ""}


def _change(request: Request, service: Service, user: User, given: Given) -> Response:
    draft = _read(given)
    action = _last(given, "action")
    if action == "save" and draft.content is not None and _saved(service, user, draft):
        return _go_to(request, f"/machines/{draft.machine}#data")
    if action != "save" and draft.content is not None:
        draft.content = changed(draft.content, action, {name: _last(given, name) for name in given})
        draft.text = to_yaml(draft.content)
    return _form(request, user, draft, status_code=422 if action == "save" else 200)


def _read(given: Given) -> Draft:
    """Return what was sent: the YAML where that was edited, else the fields over it."""
    text = given.get("yaml", [""])[-1].replace("\r\n", "\n")
    # The form has that box only where there is a profile to replace.
    replace = "replace" in given
    draft = Draft(_last(given, "machine"), None, text, replace, taken=replace)
    try:
        content = profile_form.read_text(text)
        if _hash(text) == _last(given, "was"):
            content = profile_form.filled(content, given)
        draft.text = to_yaml(content)
        draft.content = content
    except NightshiftError as error:
        draft.problems[""] = [str(error)]
    return draft


def _saved(service: Service, user: User, draft: Draft) -> bool:
    """Whether the profile stands in its file now; else the draft says why not."""
    assert draft.content is not None
    try:
        save(service, user, draft.machine, draft.content, replace=draft.replace)
    except keep.RefusedProfileError as error:
        # The form shows what is wrong with a profile by itself.
        known = find_problems(draft.content)
        more = [str(problem) for problem in error.problems if problem not in known]
        draft.problems |= {"": more} if more else {}
        return False
    except keep.TakenError as error:
        draft.taken = not keep.is_shipped(draft.machine)
        draft.problems["machine"] = [error.what]
        return False
    except NightshiftError as error:
        draft.problems["machine"] = [str(error)]
        return False
    return True


def _form(request: Request, user: User, draft: Draft, *, status_code: int = 200) -> Response:
    content: dict[str, Any] = {"form": None, "wrong": dict(draft.problems), "summary": None, "remarks": ()}
    if draft.content is not None:
        form = profile_form.form_of(draft.content)
        problems = find_problems(draft.content)
        for path, texts in profile_form.by_field(form, problems).items():
            content["wrong"].setdefault(path, []).extend(texts)
        content |= {"form": form, "kind": _kind_title(draft.content), "count": len(problems)}
        if not problems:
            profile = parse_profile(draft.content, draft.machine or "the profile")
            content |= {"summary": profile, "remarks": [_in_words(form, r) for r in keep.remarks(profile)]}
    shown = {"draft": draft, "was": _hash(draft.text), "working": tuple(SHIFTS), "may_act": user.may_act}
    return page(request, "machine_profile.html.j2", status_code=status_code, **shown, **content)


def _in_words(form: profile_form.Form, remark: Problem) -> str:
    """Return a remark with its sensor's name instead of its place."""
    pieces = remark.path.split(".")
    row = next((r for r in form.sensors if pieces[0] == "sensors" and str(r.number) == pieces[1]), None)
    return f"{row.title}, range {remark.text}" if row else remark.text


def _kind_title(content: edit.Content) -> str:
    return next((about.title for kind, about in KINDS.items() if kind == content.get("machine_type")), "machine")


def _go_to(request: Request, address: str) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
