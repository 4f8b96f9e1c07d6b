"""What became of the cells that a run was asked for: typed, small, the same for command, flow and page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

from nightshift.errors import (
    EXIT_BLOCKED,
    EXIT_CELL_FAILED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    BlockedError,
    NightshiftError,
)
from nightshift.plan.cell import Cell
from nightshift.plan.records import read_record
from nightshift.settings import Home

Ending = Literal["trained", "up to date", "not applicable", "unregistered", "blocked", "failed"]

#: Why a cell is up to date.
UNCHANGED = "no training was done: data, config and code are unchanged"

#: Endings that nobody wants.
BAD: tuple[Ending, ...] = ("failed", "blocked")

_EXIT_CODES: dict[Ending, int] = {
    "trained": EXIT_OK,
    "up to date": EXIT_OK,
    "not applicable": EXIT_OK,
    "unregistered": EXIT_UNREACHABLE,
    "blocked": EXIT_BLOCKED,
    "failed": EXIT_CELL_FAILED,
}


class CellOutcome(BaseModel):
    """How one cell of a run ended.

    Attributes:
        cell_key: "" when not even the cell could be made (an unknown name, a bad config).
        ending: `unregistered` = trained and kept, MLflow unreachable: the next run registers it.
        reason: why it is not simply trained or up to date; one line.
        seconds: of the whole chain in this run.
        cpu_s: processor seconds of its processes in this run, 0.0 where nobody has measured.
        gpu_s: seconds that it held a GPU's slot.
        metric: name of the primary metric, "" without one.
        value: of the shipped model, on the headline part.
        baseline: the best baseline's value of the same metric.
        version: registry version, None when it has none.
        device: `awaiting`, `passed` or `failed` where the target's device has a say, "" elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    family: str
    target: str
    ending: Ending
    cell_key: str = ""
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    metric: str = ""
    value: float | None = None
    baseline: float | None = None
    version: int | None = None
    device: str = ""

    @property
    def name(self) -> str:
        """The registry name."""
        return f"{self.subject}.{self.family}.{self.target}"

    @property
    def exit_code(self) -> int:
        """The command's exit code for this cell."""
        return _EXIT_CODES[self.ending]


def ended_badly(cells: Iterable[CellOutcome]) -> tuple[CellOutcome, ...]:
    """Return the cells that failed or were blocked."""
    return tuple(c for c in cells if c.ending in BAD)


def gravest(cells: Iterable[CellOutcome]) -> int:
    """Return the gravest of the cells' exit codes: failed, then blocked, then unreachable."""
    codes = {c.exit_code for c in cells}
    return next((c for c in (EXIT_CELL_FAILED, EXIT_BLOCKED, EXIT_UNREACHABLE) if c in codes), EXIT_OK)


class MachineOutcome(BaseModel):
    """How the cells of one machine ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    target: str
    cells: tuple[CellOutcome, ...]

    @property
    def exit_code(self) -> int:
        """The gravest of the cells' exit codes: failed, then blocked, then unreachable."""
        return gravest(self.cells)


class CellsFailedError(NightshiftError):
    """Some cells of a machine failed or were blocked, after all were tried."""

    def __init__(self, outcome: MachineOutcome) -> None:
        bad = ended_badly(outcome.cells)
        listed = "; ".join(f"{c.family} {c.ending}: {c.reason}" for c in bad)
        good = len(outcome.cells) - len(bad)
        super().__init__(
            f"{outcome.subject}: {len(bad)} of {len(outcome.cells)} cells did not end well: {listed}",
            hint=f"The other {good} are done; the same command tries only these again." if good else "",
        )
        self.outcome = outcome
        self.exit_code = outcome.exit_code

    def __reduce__(self) -> tuple[object, ...]:
        return (CellsFailedError, (self.outcome,))


def outcome_of(home: Home, cell: Cell, ending: Ending, *, reason: str = "", hint: str = "") -> CellOutcome:
    """Return a cell's outcome with the figures that its records hold."""
    evaluated = read_record(home, cell.key, "evaluate")
    registered = read_record(home, cell.key, "register")
    facts = evaluated.summary if evaluated else {}
    version = registered.summary.get("version") if registered else None
    return CellOutcome(
        subject=cell.subject,
        family=cell.family,
        target=cell.target,
        ending=ending,
        cell_key=cell.key,
        reason=reason,
        hint=hint,
        metric=str(facts.get("primary") or ""),
        value=_number(facts.get("value")),
        baseline=_number(facts.get("best_baseline_value")),
        version=int(version) if isinstance(version, (int, str)) and str(version).isdigit() else None,
        device=str((registered.summary.get("device") if registered else "") or ""),
    )


def is_trained(home: Home, cell: Cell) -> bool:
    """Whether the cell has a model already, so that a chain that ends well has trained none."""
    record = read_record(home, cell.key, "train")
    return record is not None and record.status == "done"


def outcome_of_chain(home: Home, cell: Cell, *, had_model: bool) -> CellOutcome:
    """Return the outcome of a cell whose chain has run to its end.

    Args:
        had_model: what `is_trained` said before.
    """
    registered = read_record(home, cell.key, "register")
    if registered is not None and registered.status == "pending":
        return outcome_of(home, cell, "unregistered", reason=registered.error, hint=registered.hint)
    if had_model:
        return outcome_of(home, cell, "up to date", reason=UNCHANGED)
    return outcome_of(home, cell, "trained")


def outcome_of_error(subject: str, family: str, target: str, error: BaseException, cell_key: str = "") -> CellOutcome:
    """Return the outcome of a cell that ended in an error."""
    if isinstance(error, NightshiftError):
        reason, hint = error.what, error.hint
    else:
        reason, hint = f"{type(error).__name__}: {error}", ""
    return CellOutcome(
        subject=subject,
        family=family,
        target=target,
        ending="blocked" if isinstance(error, BlockedError) else "failed",
        cell_key=cell_key,
        reason=reason,
        hint=hint,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
