"""The versions of a model: which there are, where they come from, who is champion; and the bundles themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from nightshift.dashboard import models
from nightshift.dashboard.auth import Operator, Viewer
from nightshift.dashboard.downloads import Delivery, deliver
from nightshift.dashboard.models import Change, ModelId
from nightshift.dashboard.service import Service, Svc
from nightshift.problems.evaluation import Figure
from nightshift.tracking.lineage import Entry

router = APIRouter(prefix="/api/models/{machine}/{family}", tags=["models"])

#: A version's number; no registry has counted further.
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]
Target = Annotated[str, Query(max_length=64, description="device class; left out, the one that there is")]
Variant = Literal["", "optimised", "dsp"]


def _model(service: Svc, machine: str, family: str, target: Target = "") -> ModelId:
    return models.model_id(service.home, machine, family, target)


#: A parameter of routes: the model that an address names.
Asked = Annotated[ModelId, Depends(_model)]


class ModelAnswer(BaseModel):
    """A model.

    Attributes:
        name: in the registry.
        state: where it stands, "" where no plan knows it.
        reasons: why it stands so.
        as_of: of state and reasons.
        champion: the version in use, None without one.
        versions: newest first.
        lineage: what made and judged the champion, else the newest version.
    """

    name: str
    machine: str
    family: str
    target: str
    state: str
    reasons: tuple[str, ...]
    as_of: datetime
    champion: int | None
    versions: tuple[Entry, ...]
    lineage: dict[str, Any]


class PromoteRequest(BaseModel):
    """Which version is to be champion.

    Attributes:
        note: why, for the history.
    """

    model_config = ConfigDict(extra="forbid")

    version: VersionNumber
    note: str = Field(default="", max_length=500)
    target: str = Field(default="", max_length=64)


class RollbackRequest(BaseModel):
    """Why the champion before is to be champion again."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field(default="", max_length=500)
    target: str = Field(default="", max_length=64)
    champion: VersionNumber | None = Field(default=None, description="The version that is left; another is refused.")


@router.get("")
def model(service: Svc, _user: Viewer, asked: Asked) -> ModelAnswer:
    """Return a model's versions, its champion, and everything that made and judged that."""
    found = models.read_registry(service.home, asked)
    matrix = service.matrix.get()
    machine = matrix.by_id.get(asked.machine)
    cell = next((c for c in machine.cells if c.name == asked.name), None) if machine else None
    return ModelAnswer(
        name=asked.name,
        machine=asked.machine,
        family=asked.family,
        target=asked.target,
        state=cell.state if cell else "",
        reasons=cell.reasons if cell else (),
        as_of=matrix.as_of,
        champion=next((entry.version for entry in found.versions if entry.champion), None),
        versions=found.versions,
        lineage=found.lineage.model_dump(mode="json"),
    )


@router.get("/figures")
def figures(service: Svc, _user: Viewer, asked: Asked, version: VersionNumber | None = None) -> list[Figure]:
    """Return the figures of a version's evaluation; of the champion, else the newest, when none is named."""
    chosen = models.chosen_version(service.home, asked, version)
    found = models.results_of(service.home, asked, chosen)
    return found.evaluation.figures if found and found.evaluation else []


class Sent(StreamingResponse):
    """A file on its way; what it holds open is closed at its end, or where whoever asked for it goes away."""

    def __init__(self, found: Delivery) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{found.name}"', "X-Model-Version": str(found.version)}
        super().__init__(found.content, media_type=found.media_type, headers=headers)
        self._content = found.content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._content.close()


@router.get(
    "/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {}, "application/octet-stream": {}}}},
)
def download(
    service: Svc,
    _user: Viewer,
    asked: Asked,
    version: VersionNumber | None = None,
    variant: Variant = "",
    file: Annotated[Literal["", "onnx"], Query(description="`onnx`: the graph alone")] = "",
) -> StreamingResponse:
    """Return a version's whole bundle as a zip, or its graph alone, held against the hashes that were registered."""
    return Sent(deliver(service.home, asked, version, variant=variant, graph_alone=file == "onnx"))


@router.post("/promote")
def promote(service: Svc, user: Operator, machine: str, family: str, wanted: PromoteRequest) -> Change:
    """Make a version champion by hand."""
    asked = models.model_id(service.home, machine, family, wanted.target)
    return told(
        service, user.name, "promoted", models.promote(service.home, asked, wanted.version, wanted.note), wanted.note
    )


@router.post("/rollback")
def rollback(service: Svc, user: Operator, machine: str, family: str, wanted: RollbackRequest) -> Change:
    """Make the champion before the present one champion again."""
    asked = models.model_id(service.home, machine, family, wanted.target)
    return told(
        service,
        user.name,
        "rolled back",
        models.roll_back(service.home, asked, wanted.note, wanted.champion),
        wanted.note,
    )


def told(service: Service, user: str, did: str, change: Change, note: str) -> Change:
    """Keep who changed the champion, and return the change."""
    service.audit.note(user, did, change.name, version=change.version, before=change.before, note=note)
    return change
