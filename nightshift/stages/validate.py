"""validate: schema and findings; blockers stop the cell with one readable message."""

from __future__ import annotations

from nightshift.data.store import open_dataset
from nightshift.data.validate import validate
from nightshift.findings import blockers
from nightshift.plan.cell import Cell
from nightshift.stages.chain import StageContext, StageResult, family_of


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Return the findings on the cell's dataset, as far as they concern its family."""
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    found = tuple(validate(data, family_of(cell).needs, cell.family))
    stopping = blockers(found)
    if stopping:
        return StageResult(
            status="blocked",
            findings=found,
            error="; ".join(f"{f.code} {f.what}" for f in stopping),
            hint=stopping[0].remedy,
        )
    return StageResult(findings=found, summary={"findings": len(found)})
