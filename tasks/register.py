"""register: MLflow run and version, the bundle's final place, the gate."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def register(cell: Cell) -> StageRef:
    """Register the bundle as challenger, and as champion when the gate passes."""
    return reference_to(run("register", cell))
