"""report: renews the machine's report from the records of all its families."""

from __future__ import annotations

from nightshift.plan.cell import Cell
from nightshift.stages.chain import StageContext, StageResult
from nightshift.tracking.report import write_report


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Write `reports/<subject>/`; the next cell of the machine rewrites it, so its files are not part of the record."""
    report = write_report(ctx.home, cell.subject)
    return StageResult(summary={"report": str(report.html.relative_to(ctx.home.root))})
