"""load: the cell's dataset, and whether the family can apply to it."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def load(cell: Cell) -> StageRef:
    """Resolve and verify the cell's dataset."""
    return reference_to(run("load", cell))
