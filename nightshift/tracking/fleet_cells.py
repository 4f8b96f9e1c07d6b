"""Where each cell of a run of the fleet ended, and the matrix of machines by families: for page, artifact and message.

A fleet of a thousand machines has a thousand rows, of which a person wants those that say something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nightshift.plan.fleet_run import FleetCell
from nightshift.plan.state import AWAITS, State
from nightshift.tracking.results import family_rank
from nightshift.tracking.text import number

Kind = Literal["trained", "fresh", "failed", "blocked", "waits", "none"]

#: So many machines are shown whether or not there is something to say; of more, only those with something.
SMALL_FLEET = 30
#: No page needs more rows; the gravest come first.
MAX_ROWS = 200

_DOES_NOT_APPLY = "does not apply"
_AWAITS = str(State.AWAITING)
_MARKS: dict[Kind, str] = {"trained": "●", "fresh": "○", "failed": "✕", "blocked": "■", "waits": "…", "none": "–"}
_ENDINGS: dict[str, tuple[str, Kind, int]] = {
    "trained": ("trained", "trained", 1),
    "up to date": ("up to date", "fresh", 0),
    "not applicable": (_DOES_NOT_APPLY, "none", 0),
    "unregistered": ("not registered", "waits", 2),
    "blocked": ("blocked", "blocked", 2),
    "failed": ("failed", "failed", 3),
}


@dataclass(frozen=True)
class Standing:
    """How a cell stands after the run.

    Attributes:
        word: for people.
        kind: how it is painted.
        grave: 0 = there is nothing to say.
        why: why it was trained, or why it was not.
    """

    word: str
    kind: Kind
    grave: int
    why: str

    @property
    def mark(self) -> str:
        """A sign that is told without colours."""
        return _MARKS[self.kind]


@dataclass(frozen=True)
class Row:
    """One machine.

    Attributes:
        cells: one to each column, None where the plan has none.
        whole: the one blocked cell of a machine whose data cannot be opened.
    """

    subject: str
    cells: tuple[FleetCell | None, ...]
    whole: FleetCell | None = None


@dataclass(frozen=True)
class Matrix:
    """Machines by families.

    Attributes:
        columns: (family, target).
        rows: the gravest first, then by name.
        quiet: machines left out about which there is nothing to say.
        cut: machines left out although there is.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    quiet: int = 0
    cut: int = 0


def standing(cell: FleetCell) -> Standing:
    """Say how a cell stands."""
    planned, outcome = cell.planned, cell.outcome
    reasons = ", ".join(planned.reasons)
    if outcome is not None and outcome.device == AWAITS and outcome.ending in ("trained", "up to date"):
        return Standing(_AWAITS, "waits", 1, reasons)
    if outcome is not None:
        word, kind, grave = _ENDINGS[outcome.ending]
        why = " – ".join(part for part in (reasons, outcome.reason) if part) if grave == 1 else outcome.reason
        return Standing(word, kind, grave, why)
    if planned.state is State.FRESH:
        return Standing("up to date", "fresh", 0, reasons)
    if planned.state is State.BLOCKED and reasons.startswith(_DOES_NOT_APPLY):
        return Standing(_DOES_NOT_APPLY, "none", 0, reasons.removeprefix(f"{_DOES_NOT_APPLY}: "))
    if planned.state is State.BLOCKED:
        return Standing("blocked", "blocked", 2, reasons)
    if planned.state is State.AWAITING:
        return Standing(_AWAITS, "waits", 1, reasons)
    if planned.state is State.TRAINING:
        return Standing("another run's", "waits", 1, reasons)
    return Standing("not tried", "waits", 1, reasons)


def matrix_of(cells: Sequence[FleetCell], small: int = SMALL_FLEET, limit: int = MAX_ROWS) -> Matrix:
    """Lay the cells out as machines by families, folded to the machines that have something to say.

    Args:
        cells: of a run.
        small: so many machines are all shown.
        limit: rows at most.
    """
    pairs = {(c.planned.family, c.planned.target) for c in cells if c.planned.family}
    columns = tuple(sorted(pairs, key=lambda pair: (family_rank(pair[0]), *pair)))
    machines: dict[str, list[FleetCell]] = {}
    for cell in cells:
        machines.setdefault(cell.planned.subject, []).append(cell)
    grave = {subject: max(standing(c).grave for c in own) for subject, own in machines.items()}
    order = sorted(machines, key=lambda subject: (-grave[subject], subject))
    told = order if len(order) <= small else [subject for subject in order if grave[subject]]
    rows = tuple(_row(subject, machines[subject], columns) for subject in told[:limit])
    return Matrix(columns, rows, quiet=len(order) - len(told), cut=max(len(told) - limit, 0))


def _row(subject: str, own: Iterable[FleetCell], columns: Sequence[tuple[str, str]]) -> Row:
    found = {(c.planned.family, c.planned.target): c for c in own}
    return Row(subject, tuple(found.get(column) for column in columns), found.get(("", "")))


def as_markdown(matrix: Matrix) -> list[str]:
    """Return the lines of the matrix as a markdown table, with what was left out below."""
    targets = {target for _, target in matrix.columns}
    titles = [family if len(targets) == 1 else f"{family} ({target})" for family, target in matrix.columns]
    lines = [f"| {' | '.join(['machine', *titles])} |", "|---" * (len(titles) + 1) + "|"]
    for row in matrix.rows:
        if row.whole is not None:
            # One word to the machine: the table's cells are its families'.
            said = [f"**{_plain(standing(row.whole).word)}**: {_plain(standing(row.whole).why)}"]
            shown = (said + ["-"] * len(titles))[: max(len(titles), 1)]
        else:
            shown = [_brief(cell) for cell in row.cells]
        lines.append(f"| {_plain(row.subject)} | {' | '.join(shown)} |")
    return [*lines, *(f"\n{line}" for line in left_out(matrix))]


def left_out(matrix: Matrix) -> list[str]:
    """Say which machines the matrix leaves out."""
    lines = []
    if matrix.cut:
        lines.append(f"{matrix.cut:,} more machines have something to say: `nightshift plan` lists them.")
    if matrix.quiet:
        lines.append(f"{matrix.quiet:,} more machines: all their models are up to date.")
    return lines


def _brief(cell: FleetCell | None) -> str:
    if cell is None:
        return "-"
    stands, outcome = standing(cell), cell.outcome
    word = f"**{stands.word}**" if stands.grave else stands.word
    if outcome is None or stands.grave == 0:
        return word
    figure = f", {outcome.metric} {number(outcome.value)}" if outcome.metric else ""
    return f"{word}{figure}{f', v{outcome.version}' if outcome.version else ''}"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())
