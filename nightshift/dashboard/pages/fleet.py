"""The fleet at a glance, and each model of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from nightshift.dashboard import models, results
from nightshift.dashboard.api.machines import AskedFor
from nightshift.dashboard.api.models import Asked, VersionNumber, told
from nightshift.dashboard.auth import Operator, Viewer
from nightshift.dashboard.faults import fit_to_show
from nightshift.dashboard.matrix import Machine, MatrixCell
from nightshift.dashboard.models import ModelId
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.service import Svc
from nightshift.data.groups import NAMES, TARGETS
from nightshift.errors import NightshiftError, ServiceError, UnknownNameError
from nightshift.plan.past import Past
from nightshift.settings import Home
from nightshift.tracking import lineage_words
from nightshift.tracking.report import Table
from nightshift.tracking.results import family_rank

router = APIRouter(include_in_schema=False)

_A_PAGE, _A_LOT = 100, 1_000
_VERSIONS = 25
_DAY_S, _HOUR_S = 86_400.0, 3_600.0
Note = Annotated[str, Form(max_length=500)]
Start = Annotated[int, Query(ge=0, le=1_000_000)]


@dataclass(frozen=True)
class Section:
    """The machines of a group, with a column for each of their families.

    Attributes:
        rows: each machine with its cells by column, several where it has several targets.
    """

    title: str
    families: tuple[str, ...]
    rows: tuple[tuple[Machine, tuple[tuple[MatrixCell, ...], ...]], ...]


@router.get("/")
def fleet(
    request: Request,
    service: Svc,
    _user: Viewer,
    asked: AskedFor,
    start: Start = 0,
    size: Annotated[int, Query(ge=1, le=_A_LOT)] = _A_PAGE,
) -> HTMLResponse:
    """Show machines by families: where each model stands, its champion, and why."""
    matrix = service.matrix.get()
    found = asked.machines(matrix)
    return page(
        request,
        "fleet.html.j2",
        matrix=matrix,
        asked=asked,
        counts=asked.counts(matrix),
        sections=_sections(found[start : start + size]),
        shown=pages(len(found), start, size, {"text": asked.text, "tag": asked.tag, "state": asked.state}),
        usual=TARGETS,
        age=_Ages(datetime.now(UTC)),
    )


@dataclass(frozen=True)
class Pages:
    """Which part of a list is shown.

    Attributes:
        before, after: queries of the pages beside it, "" without one.
    """

    total: int
    first: int
    last: int
    before: str
    after: str


def pages(total: int, start: int, size: int, asked: dict[str, str], *, sized: bool = True) -> Pages:
    """Return which part of a list a page shows, with the way to the others.

    Args:
        total: of the list.
        start: of the part.
        size: of the part.
        asked: further parameters of the address.
        sized: whether the address tells the size too.
    """

    def query(start: int) -> str:
        kept = {key: value for key, value in asked.items() if value}
        return urlencode({**kept, "start": start, **({"size": size} if sized else {})})

    before = query(max(0, start - size)) if start else ""
    after = query(start + size) if start + size < total else ""
    return Pages(total, min(start + 1, total), min(start + size, total), before, after)


def _sections(machines: Sequence[Machine]) -> list[Section]:
    groups: dict[str, list[Machine]] = {}
    for machine in machines:
        groups.setdefault(machine.facts.group, []).append(machine)
    return [_section(group, own) for group, own in groups.items()]


def _section(group: str, machines: Sequence[Machine]) -> Section:
    families = sorted({c.family for m in machines for c in m.cells}, key=lambda f: (family_rank(f), f))
    rows = []
    for machine in machines:
        by_family: dict[str, tuple[MatrixCell, ...]] = {}
        for cell in machine.cells:
            by_family[cell.family] = (*by_family.get(cell.family, ()), cell)
        rows.append((machine, tuple(by_family.get(family, ()) for family in families)))
    return Section(NAMES.get(group, group), tuple(families), tuple(rows))


class _Ages:
    """Says how old something is, shortly; of one moment for a whole page."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self, at: datetime) -> str:
        seconds = max((self._now - at).total_seconds(), 0.0)
        if seconds >= 2 * _DAY_S:
            return f"{seconds / _DAY_S:.0f} d"
        return f"{seconds / _HOUR_S:.0f} h" if seconds >= _HOUR_S else f"{seconds / 60:.0f} min"


@router.get("/models/{machine}/{family}")
def model(
    request: Request,
    service: Svc,
    _user: Viewer,
    asked: Asked,
    version: VersionNumber | None = None,
    start: Start = 0,
    registry: bool = False,
    changed: bool = False,
) -> HTMLResponse:
    """Show a model: its versions, its champion's results, and where it comes from.

    The registry is asked only with `registry`, which the page does by itself once it is drawn.
    """
    home = service.home
    past = asked.past(home, most=None)
    start = min(start, max(0, len(past.versions) - 1) // _VERSIONS * _VERSIONS)
    chosen = models.chosen_version(home, asked, version) if past.versions else None
    found = models.results_of(home, asked, chosen)
    matrix = service.matrix.get()
    machine = matrix.by_id.get(asked.machine)
    return page(
        request,
        "model.html.j2",
        model=asked,
        changed=changed,
        machine=machine,
        cell=next((c for c in machine.cells if c.name == asked.name), None) if machine else None,
        targets=[c.target for c in machine.cells if c.family == asked.family] if machine else [],
        versions=past.versions[start : start + _VERSIONS],
        listed=pages(len(past.versions), start, _VERSIONS, {"target": asked.target}, sized=False),
        champion=past.champion.version if past.champion else None,
        version=chosen,
        asked_for=version,
        # The page has buttons of its own, for the version that it is about.
        shown=results.shown(home, found) | {"try_at": "", "download_at": ""} if found else None,
        registry=_registry(home, asked, version, past) if registry else None,
    )


@dataclass(frozen=True)
class RegistryShown:
    """What the registry says, or why it does not.

    Attributes:
        history: versions, newest first.
        lineage: (label, text) of the version asked for, else of the champion, else of the newest.
        version: that the lineage is of.
        mlflow_at: where MLflow shows that version, "" where it has no pages.
        elsewhere: versions of which the files of this home tell nothing.
    """

    history: Table | None = None
    lineage: tuple[tuple[str, str], ...] = ()
    version: int | None = None
    mlflow_at: str = ""
    elsewhere: tuple[int, ...] = ()
    error: Sequence[str] = ()


def _registry(home: Home, asked: ModelId, number: int | None, past: Past) -> RegistryShown:
    try:
        found = models.read_registry(home, asked, number)
    except UnknownNameError:
        return RegistryShown()
    except ServiceError as error:
        return RegistryShown(error=[fit_to_show(home, said) for said in (error.what, error.hint)])
    rows = lineage_words.history_rows(found.versions)
    marks = ["model" if entry.champion else "" for entry in found.versions]
    version, store = found.lineage.entry.version, found.lineage.tracking_uri.rstrip("/")
    here = {known.version for known in past.versions}
    return RegistryShown(
        Table(lineage_words.HISTORY, rows, marks),
        tuple(lineage_words.lines(found.lineage)),
        version,
        f"{store}/#/models/{asked.name}/versions/{version}" if store.startswith("http") else "",
        tuple(entry.version for entry in found.versions if entry.version not in here),
    )


@router.post("/models/{machine}/{family}/promote")
def promote(
    service: Svc, user: Operator, asked: Asked, version: Annotated[VersionNumber, Form()], note: Note = ""
) -> RedirectResponse:
    """Make a version champion by hand, and show the model again."""
    told(service, user.name, "promoted", models.promote(service.home, asked, version, note), note)
    return _back(service, asked)


@router.post("/models/{machine}/{family}/rollback")
def rollback(
    service: Svc,
    user: Operator,
    asked: Asked,
    champion: Annotated[VersionNumber | None, Form()] = None,
    note: Note = "",
) -> RedirectResponse:
    """Go back to the champion before, and show the model again."""
    told(service, user.name, "rolled back", models.roll_back(service.home, asked, note, champion), note)
    return _back(service, asked)


def _back(service: Svc, asked: ModelId) -> RedirectResponse:
    # It is done, whatever reading the fleet again may say.
    with suppress(NightshiftError):
        service.matrix.get(now=True)
    query = urlencode({"target": asked.target, "changed": True})
    return RedirectResponse(f"/models/{asked.machine}/{asked.family}?{query}", 303)
