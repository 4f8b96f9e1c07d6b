"""A batch: the cells that one run trains, what they may use, and how they ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from nightshift import families
from nightshift.errors import NightshiftError
from nightshift.families import ALIASES
from nightshift.files import write_atomic
from nightshift.plan import lock
from nightshift.plan.cell import Cell
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome, ended_badly, gravest
from nightshift.settings import Home

#: Seconds that a cell has to keep its checkpoint once it is told to stop; then it is killed.
GRACE_S = 20.0


class CellRef(BaseModel):
    """A cell by its names: data, config and code are looked up when its turn comes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str = Field(title="Machine", examples=["motor_siemens_1la7_001"])
    family: str = Field(title="Family", examples=["rul"])
    target: str = Field(default="pi", title="Target")
    forced: str = Field(
        default="", title="Force", description="Why it is trained even when it is up to date; empty: it is not."
    )

    @property
    def name(self) -> str:
        """The registry name."""
        return f"{self.subject}.{self.family}.{self.target}"


class BatchOptions(BaseModel):
    """What a batch may use, and how its cells are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int | None = Field(
        default=None, gt=0, title="Processes", description="Cells at once; empty = one per processor core."
    )
    cell_time_limit_s: float | None = Field(
        default=None, gt=0, title="Time limit of a cell (s)", description="A cell that takes longer is stopped."
    )
    cell_memory_gb: float = Field(
        default=4.0,
        gt=0,
        title="Memory of a cell (GB)",
        description="A cell whose processes hold more is stopped; so many cells run at once as have room.",
    )
    disk_mb_per_model: float = Field(
        default=500.0,
        ge=0,
        title="Disk of a model (MB)",
        description="Must be free when a cell starts, for it and those that run.",
    )
    wait_s: float | None = Field(
        default=None,
        ge=0,
        title="Wait (s)",
        description="How long to wait for a cell that another run trains; empty = as long as a cell may take.",
    )
    train: TrainOptions = Field(
        default_factory=TrainOptions, title="Training", description="How to train; each family takes what it knows."
    )
    runner: Literal["processes", "dask"] = Field(
        default="processes", title="Runner", description="Processes of this machine, or a Dask cluster."
    )
    dask_address: str = Field(
        default="",
        title="Dask scheduler",
        description="Its address; empty = one of this machine, for the batch. There, no cell holds a GPU's limit.",
    )
    for_run: str = Field(
        default="",
        title="For run",
        description="The run that asks for this batch: it versions what was trained, and is told of nothing twice.",
    )

    @property
    def longest_wait_s(self) -> float | None:
        """How long a cell that another run trains is waited for; None = until it is done: no cell has a limit."""
        return self.cell_time_limit_s if self.wait_s is None else self.wait_s


class BatchOutcome(BaseModel):
    """How the cells of a batch ended, in the order in which they were asked for.

    Attributes:
        processes: cells that ran at once; 0 = the batch was refused before any began.
        seconds: of the whole batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: tuple[CellOutcome, ...]
    processes: int = 0
    seconds: float = 0.0

    @property
    def bad(self) -> tuple[CellOutcome, ...]:
        """The cells that failed or were blocked."""
        return ended_badly(self.cells)

    @property
    def exit_code(self) -> int:
        """The gravest of the cells' exit codes: failed, then blocked, then unreachable."""
        return gravest(self.cells)


class BatchFailedError(NightshiftError):
    """Some cells of a batch failed or were blocked, after all were tried."""

    def __init__(self, outcome: BatchOutcome) -> None:
        bad = outcome.bad
        listed = "; ".join(f"{c.name} {c.ending}: {c.reason}" for c in bad)
        good = len(outcome.cells) - len(bad)
        super().__init__(
            f"{len(bad)} of {len(outcome.cells)} cells did not end well: {listed}",
            hint=f"The other {good} are done; the same batch tries only these again." if good else "",
        )
        self.outcome = outcome
        self.exit_code = outcome.exit_code

    def __reduce__(self) -> tuple[object, ...]:
        return (BatchFailedError, (self.outcome,))


class CapacityError(NightshiftError):
    """This machine has too little memory or disk for what is planned."""


@contextmanager
def hearing_stops(home: Home, run_id: str) -> Iterator[None]:
    """Say, while the body runs, that a flow run's batch is at work in this home and hears of single cells to stop.

    It ends with its process, however that ends; what was asked is forgotten then.
    """
    with ExitStack() as held:
        # An earlier try of the run that has not quite died yet may have it.
        with suppress(lock.BusyError):
            held.enter_context(lock.held(home, _hearing(run_id)))
            held.callback(lock.forget, home, _hearing(run_id))
        try:
            yield
        finally:
            for path in (home.run / "stops").glob(f"{run_id}.*"):
                path.unlink(missing_ok=True)


def hears_stops(home: Home, run_id: str) -> bool:
    """Whether it does: one on a machine with a home of its own never hears of them, nor does one before its start."""
    return lock.is_held(home, _hearing(run_id))


def _hearing(run_id: str) -> str:
    return f"{run_id}.stops"


def ask_to_stop(home: Home, run_id: str, name: str) -> None:
    """Ask the batch of a flow run on this machine to stop one cell, which keeps what it has, and no other."""
    write_atomic(_stop_file(home, run_id, name), b"")


def is_to_stop(home: Home, run_id: str, name: str) -> bool:
    """Whether somebody has asked for that."""
    return _stop_file(home, run_id, name).exists()


def _stop_file(home: Home, run_id: str, name: str) -> Path:
    return home.run / "stops" / f"{run_id}.{name}"


def wants_gpu(cell: Cell) -> bool:
    """Whether the cell uses a GPU where there is one: driving, torch, or a config that asks for it."""
    family = families.get(cell.family)
    return family.group == "driving" or "torch" in family.libraries or cell.config["config"].get("device") == "cuda"


def each_once(cells: Sequence[CellRef]) -> tuple[CellRef, ...]:
    """Return the cells without those named twice, in order; the first one's reason to force counts."""
    found: dict[str, CellRef] = {}
    for cell in cells:
        own = ALIASES.get(cell.family, cell.family)
        found.setdefault(f"{cell.subject}.{own}.{cell.target}", cell)
    return tuple(found.values())
