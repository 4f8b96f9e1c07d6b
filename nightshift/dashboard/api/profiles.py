"""Profiles of machines, and the data made from them."""

from __future__ import annotations

import uuid
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from nightshift.dashboard import machine_view, syntheses
from nightshift.dashboard.auth import Operator, User, Viewer
from nightshift.dashboard.faults import PROBLEM, answer
from nightshift.dashboard.profile_saving import save
from nightshift.dashboard.service import Service, Svc
from nightshift.errors import ConfigError
from nightshift.simulate import edit
from nightshift.simulate.catalogue import KINDS
from nightshift.simulate.keep import RefusedProfileError, TakenError, is_shipped, remarks
from nightshift.simulate.profile import load_profile, profile_names
from nightshift.simulate.wizard import MAX_JSON, read_json

router = APIRouter(prefix="/api", tags=["profiles"])

Machine = Annotated[str, Path(description="the machine's id", examples=["pump_7"])]
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A profile as docs/profiles.md explains it, by the names that its YAML has.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


class TypeTemplate(BaseModel):
    """A usual machine of a type."""

    machine_type: str
    title: str
    profile: dict[str, Any]


class KnownProfile(BaseModel):
    """A machine that has a profile; `shipped` ones cannot be replaced."""

    machine: str
    machine_type: str
    title: str
    shipped: bool


class Templates(BaseModel):
    """What a new machine can begin as."""

    types: list[TypeTemplate]
    machines: list[KnownProfile]


class Kept(BaseModel):
    """A profile that has been kept.

    Attributes:
        file: relative to the home.
        min_rows: the least that data can be made of.
        failing_share: of the rows, as expected.
        remarks: what is allowed, and probably not meant.
    """

    machine: str
    file: str
    min_rows: int
    failing_share: float
    remarks: list[str]


class StartedSynthesis(BaseModel):
    """A synthesis that was started: ask for its status by `job_id`."""

    job_id: str
    estimated_time: float


@router.get("/profiles/templates")
def templates(service: Svc, _user: Viewer) -> Templates:
    """Return what a new machine's profile can begin as: a usual machine of each type, and those that have one."""
    home = service.home
    types = [
        TypeTemplate(machine_type=str(kind), title=about.title, profile=machine_view.begin(home, f"type:{kind}", {}))
        for kind, about in KINDS.items()
    ]
    machines = []
    for name in profile_names(home):
        try:
            found = load_profile(home, name)
        except ConfigError:
            continue
        kind = str(found.machine_type)
        machines.append(KnownProfile(machine=name, machine_type=kind, title=found.title, shipped=is_shipped(name)))
    return Templates(types=types, machines=machines)


@router.get("/profiles/{machine}")
def profile(machine: Machine, service: Svc, _user: Viewer) -> dict[str, Any]:
    """Return a machine's profile, as its YAML holds it."""
    content = edit.content_of(service.home, machine)
    # YAML reads dates, which JSON does not have.
    return {key: value.isoformat() if isinstance(value, date) else value for key, value in content.items()}


@router.put("/profiles/{machine}", responses={200: {"model": Kept}}, openapi_extra=_BODY)
async def put_profile(
    machine: Machine,
    request: Request,
    service: Svc,
    user: Operator,
    replace: Annotated[bool, Query(description="replace a profile that exists")] = False,
) -> Response:
    """Keep a machine's profile; a bad one is refused with every finding, and a shipped machine's stays as it is."""
    body = await request.body()
    return await run_in_threadpool(_put, request, service, user, machine, body, replace)


@router.post("/profiles/{machine}/synthesize", status_code=HTTPStatus.ACCEPTED)
async def synthesize(
    machine: Machine,
    service: Svc,
    user: Operator,
    asked: syntheses.SynthesisAsked | None = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="the same key starts one run, however often it is sent")
    ] = None,
) -> StartedSynthesis:
    """Start to make a machine's data from its profile; what is good enough lands."""
    wanted = asked or syntheses.SynthesisAsked()
    job_id = await syntheses.start(service, user, machine, wanted, idempotency_key or uuid.uuid4().hex)
    past = await run_in_threadpool(syntheses.standing, service.home, machine)
    return StartedSynthesis(job_id=job_id, estimated_time=syntheses.estimate_s(wanted.options.generator_seeds, past))


def _put(request: Request, service: Service, user: User, machine: str, body: bytes, replace: bool) -> Response:
    if len(body) > MAX_JSON:
        return answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a profile has up to {MAX_JSON:,} bytes.")
    try:
        content = read_json(body.decode())
        content.pop("machine", None)
        save(service, user, machine, content, replace=replace)
    except UnicodeDecodeError:
        return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not UTF-8 text.")
    except TakenError as error:
        hint = "Take another id." if is_shipped(machine) else "Take another id, or send replace=true."
        return answer(request, HTTPStatus.CONFLICT, error.what, hint)
    except RefusedProfileError as error:
        return _refused(error)
    found = load_profile(service.home, machine)
    kept = Kept(
        machine=machine,
        file=f"configs/machines/{machine}.yaml",
        min_rows=found.min_rows,
        failing_share=found.failure_share,
        remarks=[f"{r.path} {r.text}".strip() for r in remarks(found)],
    )
    return JSONResponse(kept.model_dump())


def _refused(error: RefusedProfileError) -> Response:
    """Return what is wrong with a profile, one by one."""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": error.what}
    findings = [{"path": p.path, "text": p.text} for p in error.problems]
    return JSONResponse({**body, "hint": error.hint, "findings": findings}, status, media_type=PROBLEM)
