"""train: the family's fit, within its budget."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def train(cell: Cell) -> StageRef:
    """Fit the family on the train part."""
    return reference_to(run("train", cell))
