"""load: resolves the cell's dataset and asks whether the family can apply to it."""

from __future__ import annotations

from nightshift.data.store import open_dataset, verify
from nightshift.errors import NotApplicableError
from nightshift.plan.cell import Cell
from nightshift.stages.chain import StageContext, StageResult, family_of

_REASONS = {
    "labels": "no `failure_status`, no `rul` and no alarm limits to derive labels from",
    "rul": "no `rul` column",
    "runs": "rows are independent: no runs in time",
    "clock": "no clock time",
    "scenarios": "no scenarios",
}


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Open the dataset by reference; its rows are verified against the fingerprint.

    Raises:
        NotApplicableError: when the dataset does not offer what the family needs.
        DataError: when the dataset is missing, truncated or altered.
    """
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    missing = sorted(family_of(cell).needs - data.metadata.offers)
    if missing:
        raise NotApplicableError(
            f"{cell.family} cannot apply to {cell.subject}: {'; '.join(_REASONS[m] for m in missing)}.",
            hint="The other families go on.",
        )
    verify(data)
    parts = data.metadata.parts
    summary: dict[str, str | int | float | bool | None] = {f"rows_{name}": part.rows for name, part in parts.items()}
    return StageResult(summary={"dataset": data.fingerprint, **summary})
