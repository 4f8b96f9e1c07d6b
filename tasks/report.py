"""report: the machine's training report."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def report(cell: Cell) -> StageRef:
    """Write the report of the cell's machine."""
    return reference_to(run("report", cell))
