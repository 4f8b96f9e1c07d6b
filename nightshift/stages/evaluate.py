"""evaluate: judges the model on train, validation and test, beside the baselines; test is read here and only here."""

from __future__ import annotations

from nightshift.data.store import open_dataset
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.problems.evaluation import Evaluation
from nightshift.stages.chain import StageContext, StageResult, config_of, family_of, fitted_of, run_context

EVALUATION_FILE = "evaluation.json"


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Write `evaluation.json`."""
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    given = run_context(cell, ctx, "evaluate")
    evaluation = family_of(cell).evaluate(fitted_of(cell, ctx), data, config_of(cell), given)
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


def read_evaluation(cell: Cell, ctx: StageContext) -> Evaluation:
    """Return what `run` wrote."""
    return Evaluation.model_validate_json((ctx.work(cell) / EVALUATION_FILE).read_bytes())
