"""train: calls the family, and keeps what it fitted under `native/`."""

from __future__ import annotations

import shutil

from nightshift.data.store import open_dataset
from nightshift.plan.cell import Cell
from nightshift.stages.chain import StageContext, StageResult, config_of, family_of, keep_fitted, run_context


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Fit the family on the train part and save it; the folder appears whole or not at all."""
    family = family_of(cell)
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    given = run_context(cell, ctx, "train")
    fitted = family.train(data, config_of(cell), given)
    native = ctx.work(cell) / "native"
    fresh = ctx.work(cell) / "native.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    family.save(fitted, fresh)
    shutil.rmtree(native, ignore_errors=True)
    fresh.rename(native)
    keep_fitted(cell, fitted)
    return StageResult(files=(native,), summary=dict(fitted.summary), findings=tuple(given.findings))
