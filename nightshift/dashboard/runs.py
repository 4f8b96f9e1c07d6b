"""Flow runs as Prefect tells them, the cells that they are about, and how a job is told of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift import families
from nightshift.errors import without_credentials
from nightshift.plan.batch import CellRef, each_once
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.table import TableOutcome
from nightshift.progress import ProgressEvent
from nightshift.settings import Home, without_places

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
ENDED = ("completed", "failed", "cancelled")
#: Of our runs and deployments.
TAG = "nightshift"
#: Label of a run: who asked for it in the dashboard.
USER = "nightshift.user"
#: What Prefect calls a flow run.
RUN_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: Digits of a cell's key in a job's id.
KEY_DIGITS = 12
TRAIN, MACHINE, BATCH, SYNTHESIS = "train", "train-machine", "train-batch", "synthesize-machine"
TABLE = "train-estimator"
#: The flow whose batches are flow runs of their own.
FLEET = "train-fleet"

_STATUS: dict[str, Status] = {
    **dict.fromkeys(("SCHEDULED", "PENDING", "PAUSED"), "pending"),
    **dict.fromkeys(("RUNNING", "CANCELLING"), "running"),
    "COMPLETED": "completed",
    **dict.fromkeys(("FAILED", "CRASHED"), "failed"),
    "CANCELLED": "cancelled",
}
# A record's moment has no fractions, and clocks of processes agree this well.
_SLACK_S = 1.5
_LONGEST_NAME = 100
_RAISED = re.compile(r"^(?:Flow run|Task run) encountered an exception:? ?")
_ERROR_NAME = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt):\s*")


class CellStatus(BaseModel):
    """Where one model of a job stands.

    Attributes:
        job_id: `<flow-run-id>.<cell_key12>`; "" while nobody can tell which cell it will be.
        name: `<machine>.<family>.<target>`.
        progress: of the whole chain, 0 to 100.
        remaining_s: expected, None where nobody knows.
        metrics: of the model on its headline part, once it was evaluated.
        model_path: of the bundle, relative to the home, once it was exported.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    name: str
    family: str
    status: Status
    progress: float = 0.0
    current_step: str = ""
    remaining_s: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    model_path: str = ""
    error: str = ""
    hint: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class JobStatus(CellStatus):
    """Where a job stands.

    Attributes:
        as_of: when Prefect and the records were read.
        flow: which of the flows runs.
        machine: "" where the job is of many, or of none.
        families: of its cells.
        by: who asked for it in the dashboard; "" where a command or a schedule did.
        table: how a training on a table ended, once it has.
        cells: where it has several; of ended jobs `/api/ml/jobs` leaves them out. Of a run of the fleet they are its
            batches, which are jobs of their own.
    """

    as_of: datetime
    flow: str = ""
    machine: str = ""
    families: tuple[str, ...] = ()
    target: str = ""
    by: str = ""
    created_at: datetime | None = None
    table: TableOutcome | None = None
    cells: tuple[CellStatus, ...] = ()


@dataclass(frozen=True)
class Bar:
    """What a run shows of its progress in Prefect, on whatever machine it is at work.

    Attributes:
        percent: of the whole.
        events: name of a job within it -> what it does now.
    """

    percent: float
    events: Mapping[str, ProgressEvent]


NO_BARS: Mapping[str, Bar] = {}


@dataclass(frozen=True)
class Run:
    """A flow run (or, of a batch's cell, its task run) as Prefect tells it.

    Attributes:
        flow: name of its flow.
        state: type of its state.
        state_name: such as `Late`.
        deployed: whether a worker runs it, and not the process that asked for it.
    """

    id: str
    name: str
    flow: str
    state: str
    state_name: str = ""
    message: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    created: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    deployed: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Any], flow: str = "") -> Run:
        """Return what Prefect's answer says."""
        state = found.get("state") or {}
        return cls(
            id=str(found["id"]),
            name=str(found["name"]),
            flow=flow,
            state=str(found.get("state_type") or "SCHEDULED"),
            state_name=str(found.get("state_name") or ""),
            message=str(state.get("message") or ""),
            parameters=found.get("parameters") or {},
            created=_moment(found.get("created")),
            start=_moment(found.get("start_time")),
            end=_moment(found.get("end_time")),
            deployed=bool(found.get("deployment_id")),
            labels=found.get("labels") or {},
        )

    @property
    def status(self) -> Status:
        """In our words."""
        return _STATUS.get(self.state, "pending")

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDED

    @property
    def why(self) -> str:
        """The first line of what its state says."""
        lines = _RAISED.sub("", self.message).strip().splitlines()
        return without_credentials(_ERROR_NAME.sub("", lines[0])[:500]) if lines else ""

    @property
    def by(self) -> str:
        """Who asked for it in the dashboard, "" where nobody did; whoever reaches Prefect can give labels."""
        told = without_credentials(str(self.labels.get(USER) or ""))
        return "".join(c for c in told if c.isprintable())[:_LONGEST_NAME]

    def holds(self, moment: datetime) -> bool:
        """Whether something that happened then can be this run's."""
        if self.start is None:
            return False
        until = self.end or datetime.now(UTC)
        return self.start.timestamp() - _SLACK_S <= moment.timestamp() <= until.timestamp() + _SLACK_S


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None


def refs_of(run: Run, outcomes: Mapping[str, CellOutcome] = MappingProxyType({})) -> tuple[CellRef, ...]:
    """Return the cells that a run's parameters name, of a table those that it has told of; () for another flow's."""
    given = run.parameters
    if run.flow == TABLE:
        return tuple(CellRef(subject=one.subject, family=one.family, target=one.target) for one in outcomes.values())
    with suppress(ValidationError, TypeError, AttributeError, KeyError):
        if run.flow == TRAIN:
            return (_ref(given, given["family"]),)
        if run.flow == MACHINE:
            return each_once([_ref(given, family) for family in given["families"]])
        if run.flow == BATCH:
            return each_once([CellRef.model_validate(one) for one in given["cells"]])
    return ()


def fit_to_show(home: Home, job: JobStatus) -> JobStatus:
    """Return a job whose words, and those of its cells, name no place of this machine."""
    cells = [(cell, _fitted(home, cell)) for cell in job.cells]
    each = tuple(cell.model_copy(update=said) if said else cell for cell, said in cells)
    return job.model_copy(update=_fitted(home, job) | {"cells": each})


def _fitted(home: Home, told: CellStatus) -> dict[str, str]:
    said = {name: getattr(told, name) for name in ("current_step", "error", "hint")}
    return {name: without_places(home, text) for name, text in said.items() if "/" in text}


def with_table(home: Home, job: JobStatus, table: TableOutcome) -> JobStatus:
    """Return where a training on a table stands, with how it ended; its figures too, where no model is registered."""
    # Earlier versions wrote the whole path.
    saved = table.saved.removeprefix(f"{home.root}/")
    own = {} if job.cells else {"metrics": table.judged, "model_path": saved}
    shown = table.model_copy(update={"saved": saved, "reason": without_places(home, table.reason)})
    return job.model_copy(update={"table": shown, **own})


def name_of(run: Run, cells: Sequence[CellStatus]) -> str:
    """Return what people call a run of these cells."""
    if len(cells) == 1:
        return cells[0].name
    subjects = {cell.name.rsplit(".", 2)[0] for cell in cells}
    if len(subjects) == 1:
        return f"{subjects.pop()}: {', '.join(cell.family for cell in cells)}"
    if cells:
        return f"{len(subjects)} machines, {len(cells)} models"
    # One that an event or the schedule asks for has a made-up name until it begins.
    return "fleet" if run.flow == FLEET else run.name


def _ref(given: Mapping[str, Any], family: str) -> CellRef:
    own = families.ALIASES.get(family, family)
    return CellRef(subject=given["subject"], family=own, target=given.get("target") or "pi")
