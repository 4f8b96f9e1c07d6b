"""validate: schema and findings; a blocker stops the cell."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def validate(cell: Cell) -> StageRef:
    """Hold the dataset against its schema and collect the findings."""
    return reference_to(run("validate", cell))
