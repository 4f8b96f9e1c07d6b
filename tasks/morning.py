"""What a person finds in the morning: the matrix of the fleet in the Prefect UI, the report, and a message."""

from __future__ import annotations

import logging

from nightshift.plan.fleet import FleetPlan
from nightshift.plan.fleet_run import FleetCell, FleetOutcome
from nightshift.plan.state import State
from nightshift.tracking.text import number
from tasks.artifacts import never_fatal

logger = logging.getLogger("nightshift")


def close(outcome: FleetOutcome, plan: FleetPlan) -> None:
    """Tell how a run of the fleet ended; a failure to tell is logged and left."""
    show_matrix(outcome)
    logger.info("%d cells planned, %d tried, %d bad", len(plan.cells), len(outcome.tried), len(outcome.bad))


def failed(error: BaseException) -> None:
    """Tell that a run of the fleet ended before it had a plan, or without an outcome."""
    logger.error("the fleet was not trained: %s", error)


@never_fatal
def show_matrix(outcome: FleetOutcome) -> None:
    """Show machines by families; machines about which there is nothing to say are counted."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact("\n".join(matrix(outcome)), key="fleet-matrix", description="fleet")


def matrix(outcome: FleetOutcome) -> list[str]:
    """Return the lines of the table, in markdown."""
    columns = list(dict.fromkeys((c.planned.family, c.planned.target) for c in outcome.cells if c.planned.family))
    rows: dict[str, list[FleetCell]] = {}
    for cell in outcome.cells:
        rows.setdefault(cell.planned.subject, []).append(cell)
    told = {subject: cells for subject, cells in rows.items() if any(_says_something(c) for c in cells)}
    lines = [f"| machine | {' | '.join(f'{family} ({target})' for family, target in columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for subject, cells in sorted(told.items()):
        found = {(c.planned.family, c.planned.target): _shown(c) for c in cells}
        lines.append(f"| {subject} | {' | '.join(found.get(column, '-') for column in columns)} |")
    return [*lines, "", f"{len(rows) - len(told)} more machines: all up to date."]


def _says_something(cell: FleetCell) -> bool:
    return cell.outcome is not None or cell.planned.state is not State.FRESH


def _shown(cell: FleetCell) -> str:
    if cell.outcome is None:
        return str(cell.planned.state.value)
    figure = f", {cell.outcome.metric} {number(cell.outcome.value)}" if cell.outcome.metric else ""
    version = f", v{cell.outcome.version}" if cell.outcome.version else ""
    return f"**{cell.outcome.ending}**{figure}{version}"
