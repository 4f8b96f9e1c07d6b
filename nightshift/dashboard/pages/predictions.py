"""Predictions: trying a model, those made before, and the models as files to take away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import FormData, UploadFile

from nightshift.dashboard import models
from nightshift.dashboard.answer_figures import figures_of
from nightshift.dashboard.api.machines import AskedFor
from nightshift.dashboard.api.models import VersionNumber
from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.examples import Example, example
from nightshift.dashboard.faults import fit_to_show, status_of
from nightshift.dashboard.history import KEPT, Drawn, Head, PredictionDetails, details_of, table_of
from nightshift.dashboard.matrix import MatrixCell
from nightshift.dashboard.pages.fleet import Start, pages
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.predictions import MAX_BYTES, MAX_ROWS, Answer, Ready
from nightshift.dashboard.service import Service, Svc
from nightshift.edge.manifest import MODEL_FILE, Column
from nightshift.errors import NightshiftError, UnknownNameError, UsageError
from nightshift.plan.past import Trained
from nightshift.settings import Home

router = APIRouter(include_in_schema=False)

_A_PAGE = 50
#: Lines of a table of answers; the first half and the last of more.
_LINES = 60
#: Characters of a typed value that are kept.
_TYPED = 100
#: How the fields of a form are told from its others.
_FIELD = "column."
Name = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True)
class Field:
    """One input of the form that a bundle's columns make.

    Attributes:
        value: to begin with.
    """

    column: Column
    name: str
    value: str


@dataclass(frozen=True)
class Given:
    """What a form brought.

    Attributes:
        how: `form`, `csv` (pasted) or `file`.
        before: whether the machine's last known rows go before the one of the form.
    """

    how: str = "form"
    values: dict[str, str] | None = None
    time: str = ""
    before: bool = True
    pasted: str = ""
    uploaded: bytes = b""


@router.get("/predict")
def predict_page(
    request: Request,
    service: Svc,
    _user: Viewer,
    machine: Name = "",
    family: Name = "",
    target: Name = "",
    version: VersionNumber | None = None,
) -> HTMLResponse:
    """Show which models can be tried, and the form of the chosen one.

    Args:
        family: a family, or one with its device class behind a dot, as in the registry's names.
    """
    family, _, behind = family.partition(".")
    try:
        choice = _choice(service, machine, family, target or behind, version)
    except UnknownNameError:
        if version is not None:
            raise
        # The machine was changed, and has no such model: it shows which it has.
        choice = _Choice(machine, lacks=family)
    return _shown(request, service, choice, Given())


@router.post("/predict")
async def predict(
    request: Request,
    service: Svc,
    user: Viewer,
    machine: Name,
    family: Name,
    target: Name = "",
    version: VersionNumber | None = None,
) -> Response:
    """Answer what the form holds; the answer has an address of its own, so that loading it again asks nothing."""
    async with request.form(max_files=1, max_fields=1_000, max_part_size=MAX_BYTES) as form:
        given = await _given(form)

    def answered() -> Response:
        choice = _choice(service, machine, family, target, version)
        try:
            made, drawn = _answer(service, user.name, choice.ready, given)
        except NightshiftError as error:
            return _shown(request, service, choice, given, error)
        number = service.predictor.history.keep(made, drawn)
        # What could not be kept has no address, and is shown at once.
        return RedirectResponse(f"/history/{number}", 303) if number else _answered(request, service, made, drawn)

    return await run_in_threadpool(answered)


@dataclass(frozen=True)
class _Choice:
    """Which model is tried.

    Attributes:
        ready: None until one is chosen.
        lacks: the family that was asked for, where the machine has no model of it.
    """

    machine: str = ""
    ready: Ready | None = None
    lacks: str = ""


def _choice(service: Service, machine: str, family: str, target: str, version: int | None) -> _Choice:
    if not machine or not family:
        return _Choice(machine)
    asked = models.model_id(service.home, machine, family, target)
    return _Choice(machine, service.predictor.ready(asked, version))


async def _given(form: FormData) -> Given:
    texts = {key: value for key, value in form.items() if isinstance(value, str)}
    upload = form.get("file")
    content = await upload.read(MAX_BYTES + 1) if isinstance(upload, UploadFile) and upload.filename else b""
    pasted = texts.get("csv", "")
    return Given(
        how="file" if content else "csv" if texts.get("how") == "csv" else "form",
        values={key.removeprefix(_FIELD): value for key, value in texts.items() if key.startswith(_FIELD)},
        time=texts.get("time", "").strip(),
        before=texts.get("before") == "on",
        pasted=pasted,
        uploaded=content,
    )


def _answer(service: Service, user: str, ready: Ready | None, given: Given) -> tuple[PredictionDetails, Drawn]:
    if ready is None:
        raise UsageError("No model is chosen.", hint="Choose a machine, then one of its models.")
    answer, rows = service.predictor.answer_csv(ready, _csv(service.home, ready, given))
    columns = tuple(column.name for column in ready.model.interface.columns)
    typed = given.values or {}
    drawn = Drawn(
        figures=tuple(figures_of(answer, rows, ready.model.manifest)),
        answers=_lines(answer),
        values={name: typed[name][:_TYPED] for name in columns if name in typed},
        time=given.time[:_TYPED],
        before=given.before or given.how != "form",
    )
    return details_of(user, answer, rows, columns), drawn


def _csv(home: Home, ready: Ready, given: Given) -> bytes:
    """Return what was given as a CSV file: the one row of a form after the machine's last ones, where that is asked.

    Raises:
        UsageError: when nothing was given, or too much.
    """
    content = given.uploaded if given.how == "file" else given.pasted.encode()
    if given.how != "form":
        if not content.strip():
            raise UsageError("There are no rows.", hint="Paste lines of CSV, the header first, or choose a file.")
        if len(content) > MAX_BYTES:
            raise UsageError(f"More than {MAX_BYTES // 1_000_000} MB.", hint="Send fewer rows at once.")
        return content
    known = example(home, ready.model.manifest)
    clock = known.header[:1] == ("time",)
    names = [column.name for column in ready.model.interface.columns]
    values = given.values or {}
    row = (*([given.time or known.rows[-1][0]] if clock else []), *(values.get(name, "") for name in names))
    before = known.rows[:-1] if given.before and known.known else ()
    return Example(known.header, (*before, row), known=known.known).csv().encode()


def _lines(answer: Answer) -> Head:
    header, rows = table_of(answer)
    if len(rows) > _LINES:
        left_out = (f"… {len(rows) - _LINES:,} more", *("…" for _ in header[1:]))
        rows = [*rows[: _LINES // 2], left_out, *rows[-_LINES // 2 :]]
    return Head(header=header, rows=tuple(rows))


def _shown(
    request: Request, service: Service, choice: _Choice, given: Given, error: NightshiftError | None = None
) -> HTMLResponse:
    machines = [m for m in service.matrix.get().machines if any(c.versions for c in m.cells)]
    return page(
        request,
        "predict.html.j2",
        status_code=status_of(error).value if error else 200,
        machines=[m.id for m in machines],
        chosen=next((m for m in machines if m.id == choice.machine), None),
        machine=choice.machine,
        lacks=choice.lacks,
        error=[fit_to_show(service.home, said) for said in (error.what, error.hint) if said] if error else [],
        **_form(service.home, choice.ready, given),
    )


def _form(home: Home, ready: Ready | None, given: Given) -> dict[str, Any]:
    """Return what `_ask.html.j2` shows."""
    known = example(home, ready.model.manifest) if ready else None
    fields = _fields(ready, known, given) if ready and known else []
    return {"ready": ready, "example": known, "fields": fields, "given": given, "max_rows": MAX_ROWS}


def _fields(ready: Ready, known: Example, given: Given) -> list[Field]:
    columns = ready.model.interface.columns
    last = known.rows[-1][-len(columns) :]
    values = given.values or {}
    return [
        Field(column, f"{_FIELD}{column.name}", values.get(column.name, value))
        for column, value in zip(columns, last, strict=True)
    ]


@router.get("/history")
def history(
    request: Request, service: Svc, _user: Viewer, machine: Name = "", family: Name = "", start: Start = 0
) -> HTMLResponse:
    """Show the predictions that were made here, newest first."""
    found, total = service.predictor.history.page(machine.strip(), family, offset=start, limit=_A_PAGE)
    return page(
        request,
        "history.html.j2",
        predictions=found,
        machine=machine,
        family=family,
        kept=KEPT,
        shown=pages(total, start, _A_PAGE, {"machine": machine, "family": family}, sized=False),
    )


@router.get("/history/{number}")
def prediction(request: Request, service: Svc, _user: Viewer, number: VersionNumber) -> HTMLResponse:
    """Show one prediction: what was given, what was said; and the form, to ask again."""
    history = service.predictor.history
    return _answered(request, service, history.find(number), history.drawn(number))


def _answered(request: Request, service: Service, made: PredictionDetails, drawn: Drawn | None) -> HTMLResponse:
    ready, gone = None, ""
    try:
        ready = _choice(service, made.machine, made.family, made.target, made.version).ready
    except NightshiftError as error:
        gone = fit_to_show(service.home, error.what)
    given = Given(values=drawn.values, time=drawn.time, before=drawn.before) if drawn else Given()
    form = _form(service.home, ready, given)
    return page(request, "prediction.html.j2", prediction=made, drawn=drawn, gone=gone, **form)


@dataclass(frozen=True)
class Registered:
    """A version as a file to take away.

    Attributes:
        size_bytes: of its graph, None where it is not here.
        older: further versions of the model, which its own page lists.
    """

    machine: str
    family: str
    target: str
    version: int
    at: datetime
    champion: bool
    size_bytes: int | None
    older: int


@router.get("/downloads")
def downloads(request: Request, service: Svc, _user: Viewer, asked: AskedFor, start: Start = 0) -> HTMLResponse:
    """Show the newest versions and the champion of each model, with the way to take them away."""
    matrix = service.matrix.get()
    every = [(cell, v) for machine in asked.machines(matrix) for cell in machine.cells for v in cell.versions]
    return page(
        request,
        "downloads.html.j2",
        asked=asked,
        as_of=matrix.as_of,
        versions=[_registered(service.home, *one) for one in every[start : start + _A_PAGE]],
        shown=pages(len(every), start, _A_PAGE, {"text": asked.text, "tag": asked.tag}, sized=False),
    )


def _registered(home: Home, cell: MatrixCell, version: Trained) -> Registered:
    model = models.ModelId(cell.machine, cell.family, cell.target)
    try:
        size = (model.folder(home, version.version) / MODEL_FILE).stat().st_size
    except OSError:
        size = None
    return Registered(
        machine=cell.machine,
        family=cell.family,
        target=cell.target,
        version=version.version,
        at=version.at,
        champion=version == cell.champion,
        size_bytes=size,
        older=cell.older if version == cell.versions[-1] else 0,
    )
