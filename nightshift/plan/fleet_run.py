"""One run of the fleet: what it was asked for, what it planned, how it ended; kept under `work/fleet/<run id>/`.

The plan is written once, before the first batch starts, so that a retry of the run, or a run that goes on after a
crash, works on the same plan and starts nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.errors import NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.fanout import FleetBatch
from nightshift.plan.fleet import Filters, FleetPlan, PlannedCell
from nightshift.plan.fleet_config import BatchSettings
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome, ended_badly, gravest
from nightshift.settings import Home

_PLAN, _OUTCOME, _GOES_ON = "plan.json", "outcome.json", "goes_on_with"
#: An id names a folder: with no dot and no slash it is none but one of these.
_RUN_ID = re.compile(r"[0-9A-Za-z-]+")


class FleetOptions(BaseModel):
    """How a run of the fleet trains. What is left empty comes from configs/fleet.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int | None = Field(
        default=None, gt=0, title="Processes", description="Cells at once on one worker; empty = one per core."
    )
    cell_time_limit_s: float | None = Field(
        default=None, gt=0, title="Time limit of a cell (s)", description="A cell that takes longer is stopped."
    )
    cell_memory_gb: float | None = Field(
        default=None, gt=0, title="Memory of a cell (GB)", description="A cell whose processes hold more is stopped."
    )
    wait_s: float | None = Field(
        default=None,
        ge=0,
        title="Wait (s)",
        description="How long to wait for a cell that another run trains; as long as a cell may take, if nothing says.",
    )
    target_batch_s: float | None = Field(
        default=None, gt=0, title="Duration of a batch (s)", description="Cells are put together into such batches."
    )
    train: TrainOptions = Field(
        default_factory=TrainOptions, title="Training", description="How to train; each family takes what it knows."
    )

    def over(self, settings: BatchSettings) -> BatchSettings:
        """Return the fleet's settings with what is given here over them."""
        own = self.model_dump(exclude={"train"}, exclude_none=True)
        return settings.model_copy(update=own)


class FleetStart(BaseModel):
    """What a run of the fleet works on.

    Attributes:
        run_id: of the flow run that made the plan; one that goes on after its crash keeps it.
        batches: that its cells are given out in, the same for every try.
        tries: flow runs that have worked on it, 1 = none has crashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    started_at: datetime
    filters: Filters
    options: FleetOptions
    plan: FleetPlan
    batches: tuple[FleetBatch, ...] = ()
    tries: int = 1


class FleetCell(BaseModel):
    """One cell of a run.

    Attributes:
        planned: where it stood before, and why.
        outcome: None where it was not to be trained.
        batch: name of the flow run that trained it, "" for none.
        attempts: batches that it was given to; more than one after a worker's crash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    planned: PlannedCell
    outcome: CellOutcome | None = None
    batch: str = ""
    attempts: int = 0

    @property
    def name(self) -> str:
        """The name of its model, or of the machine."""
        return self.planned.name


class FleetOutcome(BaseModel):
    """How a run of the fleet ended: every cell of its plan, in the plan's order.

    Attributes:
        ended: `cancelled` = stopped on request before all were tried.
        remarks: what concerns no single cell: a pool without a worker, a batch that crashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    started_at: datetime
    ended_at: datetime
    filters: Filters
    cells: tuple[FleetCell, ...]
    ended: Literal["completed", "cancelled"] = "completed"
    remarks: tuple[str, ...] = ()

    @property
    def tried(self) -> tuple[CellOutcome, ...]:
        """How the cells ended that were to be trained."""
        return tuple(c.outcome for c in self.cells if c.outcome is not None)

    @property
    def bad(self) -> tuple[CellOutcome, ...]:
        """The cells that failed or were blocked when they were tried."""
        return ended_badly(self.tried)

    @property
    def wall_s(self) -> float:
        """Seconds from the plan to the end."""
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def exit_code(self) -> int:
        """The gravest of the tried cells' exit codes: failed, then blocked, then unreachable."""
        return gravest(self.tried)


class FleetFailedError(NightshiftError):
    """Some cells of the fleet failed or were blocked, after all were tried."""

    def __init__(self, outcome: FleetOutcome) -> None:
        bad = outcome.bad
        listed = "; ".join(f"{c.name} {c.ending}: {c.reason}" for c in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        super().__init__(
            f"{len(bad)} of {len(outcome.tried)} cells did not end well: {listed}{more}",
            hint="The others are done. Mend the causes, then: nightshift resume",
        )
        self.outcome = outcome
        self.exit_code = outcome.exit_code

    def __reduce__(self) -> tuple[object, ...]:
        return (FleetFailedError, (self.outcome,))


def run_folder(home: Home, run_id: str) -> Path:
    """Return where a run of the fleet keeps its plan and its outcome.

    Raises:
        ValueError: for what is no run's id.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id!r} is no id of a run of the fleet.")
    return home.work / "fleet" / run_id


def keep_start(home: Home, start: FleetStart) -> None:
    """Write what a run works on."""
    write_atomic(run_folder(home, start.run_id) / _PLAN, start.model_dump_json(indent=1).encode())


def read_start(home: Home, run_id: str) -> FleetStart | None:
    """Return what a run works on, None when it has not planned yet or its file cannot be read.

    Of a run that went on with another's plan, it is that one's.
    """
    with suppress(OSError, ValueError):
        run_id = (run_folder(home, run_id) / _GOES_ON).read_text(encoding="ascii").strip()
    try:
        folder = run_folder(home, run_id)
        return FleetStart.model_validate_json((folder / _PLAN).read_bytes())
    except (OSError, ValueError):
        return None


def newest_start(home: Home) -> FleetStart | None:
    """Return what the newest run worked on, None without any."""
    paths = sorted((home.work / "fleet").glob(f"*/{_PLAN}"), key=lambda p: p.stat().st_mtime_ns)
    return read_start(home, paths[-1].parent.name) if paths else None


def note_going_on(home: Home, run_id: str, start: FleetStart) -> None:
    """Note that a flow run works on the plan of another one, which has crashed."""
    if run_id != start.run_id:
        write_atomic(run_folder(home, run_id) / _GOES_ON, start.run_id.encode())


def keep_outcome(home: Home, outcome: FleetOutcome) -> None:
    """Write how a run ended."""
    write_atomic(run_folder(home, outcome.run_id) / _OUTCOME, outcome.model_dump_json(indent=1).encode())


def read_outcome(home: Home, run_id: str) -> FleetOutcome | None:
    """Return how a run ended, None when it has not or its file cannot be read."""
    try:
        return FleetOutcome.model_validate_json((run_folder(home, run_id) / _OUTCOME).read_bytes())
    except (OSError, ValidationError):
        return None


def outcomes(home: Home, last: int | None = None) -> Sequence[FleetOutcome]:
    """Return how past runs ended, newest first.

    Args:
        last: so many at most; None = all that are kept.
    """
    paths = sorted((home.work / "fleet").glob(f"*/{_OUTCOME}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    found = (read_outcome(home, path.parent.name) for path in paths[:last])
    return tuple(outcome for outcome in found if outcome is not None)
