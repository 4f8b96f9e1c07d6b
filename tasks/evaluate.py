"""evaluate: the model beside its baselines, as a table in the UI."""

from nightshift.plan.cell import Cell
from nightshift.settings import home
from nightshift.stages.chain import StageContext
from tasks.artifacts import show_metrics
from tasks.stage import StageRef, reference_to, run, stage


@stage
def evaluate(cell: Cell) -> StageRef:
    """Judge the model on train, validation and test, and show the table."""
    from nightshift.stages.evaluate import read_evaluation

    record = run("evaluate", cell)
    show_metrics(cell, read_evaluation(cell, StageContext(home())))
    return reference_to(record)
