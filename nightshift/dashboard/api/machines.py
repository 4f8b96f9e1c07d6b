"""Machines, and where each of their models stands."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.machine_facts import Facts
from nightshift.dashboard.matrix import Asked, Word
from nightshift.dashboard.service import Svc
from nightshift.plan.past import Trained

router = APIRouter(prefix="/api", tags=["machines"])


class MachineAnswer(Facts):
    """A machine, vehicle, scenario set or table.

    Attributes:
        families: of its models.
        trouble: why no model of it can be planned, "" where nothing is wrong.
    """

    id: str
    tags: tuple[str, ...]
    families: tuple[str, ...]
    trouble: str


class MachinesAnswer(BaseModel):
    """The machines as of a moment."""

    as_of: datetime
    problem: str
    machines: tuple[MachineAnswer, ...]


class CellAnswer(BaseModel):
    """One model of a machine.

    Attributes:
        name: in the registry.
        reasons: why it stands so.
        estimated_s: of training it, 0 where there is nothing to train.
        champion: the version in use, as files tell, None without one.
        newest: the newest version, None without any.
    """

    machine: str
    family: str
    target: str
    name: str
    state: Word
    reasons: tuple[str, ...]
    estimated_s: float
    champion: Trained | None
    newest: int | None


class MatrixAnswer(BaseModel):
    """Where models stand.

    Attributes:
        as_of: every change up to then is in it.
        problem: why it could not be brought up to date, "" when it was.
        counts: state -> models in it, of the machines that text and tag leave.
    """

    as_of: datetime
    problem: str
    counts: dict[Word, int]
    cells: tuple[CellAnswer, ...]


def _asked(
    text: Annotated[str, Query(max_length=100, description="part of a machine's id, title or type")] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    state: Literal[""] | Word = "",
) -> Asked:
    return Asked(text, tag, state)


#: A parameter of routes: which part of the matrix.
AskedFor = Annotated[Asked, Depends(_asked)]


@router.get("/machines")
def machines(service: Svc, _user: Viewer, asked: AskedFor) -> MachinesAnswer:
    """List machines, vehicles, scenario sets and tables."""
    found = service.matrix.get()
    return MachinesAnswer(
        as_of=found.as_of,
        problem=found.problem,
        machines=tuple(
            MachineAnswer(
                **machine.facts.model_dump(),
                id=machine.id,
                tags=machine.tags,
                families=tuple(dict.fromkeys(cell.family for cell in machine.cells)),
                trouble=machine.trouble,
            )
            for machine in asked.machines(found)
        ),
    )


@router.get("/matrix")
def matrix(service: Svc, _user: Viewer, asked: AskedFor) -> MatrixAnswer:
    """Say where every model stands, and why; with a state, only the models that are in it."""
    found = service.matrix.get()
    cells = (cell for machine in asked.machines(found) for cell in machine.cells)
    return MatrixAnswer(
        as_of=found.as_of,
        problem=found.problem,
        counts=asked.counts(found),
        cells=tuple(
            CellAnswer(
                machine=cell.machine,
                family=cell.family,
                target=cell.target,
                name=cell.name,
                state=cell.state,
                reasons=cell.reasons,
                estimated_s=cell.estimated_s,
                champion=cell.champion,
                newest=cell.versions[0].version if cell.versions else None,
            )
            for cell in cells
            if not asked.state or cell.state == asked.state
        ),
    )
