"""export: one ONNX file, its parity and latency, into the staging folder."""

from nightshift.plan.cell import Cell
from tasks.stage import StageRef, reference_to, run, stage


@stage
def export(cell: Cell) -> StageRef:
    """Write the bundle and measure it."""
    return reference_to(run("export", cell))
