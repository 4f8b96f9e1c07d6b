"""evaluate: judges the model on train, validation and test, beside the baselines; test is read here and only here."""

from __future__ import annotations

from nightshift.data.groups import SUBJECTS
from nightshift.data.store import open_dataset
from nightshift.files import write_atomic
from nightshift.findings import Finding
from nightshift.plan.cell import Cell
from nightshift.problems.evaluation import Evaluation
from nightshift.stages.chain import StageContext, StageResult, config_of, family_of, fitted_of, run_context

EVALUATION_FILE = "evaluation.json"


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Write `evaluation.json`."""
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    given = run_context(cell, ctx, "evaluate")
    judged = family_of(cell).evaluate(fitted_of(cell, ctx), data, config_of(cell), given)
    evaluation = judged.model_copy(update={"findings": [_for_subject(found, cell) for found in judged.findings]})
    path = ctx.work(cell) / EVALUATION_FILE
    write_atomic(path, evaluation.model_dump_json().encode())
    best = evaluation.best_baseline()
    summary: dict[str, str | int | float | bool | None] = {
        "primary": evaluation.primary,
        "value": evaluation.score(evaluation.headline_part),
        "best_baseline": best[0] if best else None,
        "best_baseline_value": best[1] if best else None,
    }
    return StageResult(files=(path,), summary=summary, findings=(*evaluation.findings, *given.findings))


def _for_subject(found: Finding, cell: Cell) -> Finding:
    """Name the data in the command that a finding says to try, where they are not those that the command means."""
    if cell.subject in SUBJECTS.values():
        return found
    command = f"`nightshift train {cell.family} "
    return found.model_copy(update={"remedy": found.remedy.replace(command, f"{command}--subject {cell.subject} ")})


def read_evaluation(cell: Cell, ctx: StageContext) -> Evaluation:
    """Return what `run` wrote."""
    return Evaluation.model_validate_json((ctx.work(cell) / EVALUATION_FILE).read_bytes())
