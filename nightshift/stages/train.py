"""train: calls the family, and keeps what it fitted under `native/`."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace

from nightshift.data.store import open_dataset
from nightshift.plan.cell import Cell
from nightshift.progress import fan_out
from nightshift.stages.chain import StageContext, StageResult, config_of, family_of, keep_fitted, run_context
from nightshift.tracking.driving_need import require_gpu
from nightshift.tracking.live import LiveMetrics


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Fit the family on the train part and save it; the folder appears whole or not at all.

    Raises:
        CapacityError: when a driving policy is to learn on a GPU, and none has the memory.
    """
    family = family_of(cell)
    require_gpu(ctx.home, cell)
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    with LiveMetrics(ctx.home, cell) if ctx.live else nullcontext() as live:
        told = replace(ctx, progress=fan_out(ctx.progress, live)) if live else ctx
        given = run_context(cell, told, "train")
        fitted = (ctx.fit or family.train)(data, config_of(cell), given)
    native = ctx.work(cell) / "native"
    fresh = ctx.work(cell) / "native.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    family.save(fitted, fresh)
    shutil.rmtree(native, ignore_errors=True)
    fresh.rename(native)
    keep_fitted(cell, fitted)
    return StageResult(files=(native,), summary=dict(fitted.summary), findings=tuple(given.findings))
