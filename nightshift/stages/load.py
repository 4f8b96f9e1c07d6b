"""load: resolves the cell's dataset and asks whether the family can apply to it."""

from __future__ import annotations

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.data.store import open_dataset, verify
from nightshift.data.validate import missing_needs
from nightshift.errors import NotApplicableError
from nightshift.plan.cell import Cell
from nightshift.stages.chain import StageContext, StageResult, family_of

#: What the data of a group of families are called.
_OF = {
    "machine": "a machine's data",
    "vehicle": "trips of vehicles",
    "driving": "driving scenarios",
    "estimator": "a table",
}


def run(cell: Cell, ctx: StageContext) -> StageResult:
    """Open the dataset by reference; its rows are verified against the fingerprint.

    Raises:
        NotApplicableError: when the dataset is of another group, or does not offer what the family needs.
        DataError: when the dataset is missing, truncated or altered.
    """
    data = open_dataset(ctx.home, cell.subject, cell.dataset)
    family = family_of(cell)
    if family.group != data.metadata.group:
        raise NotApplicableError(
            f"{cell.family} is for {_OF[family.group]}, '{cell.subject}' holds {_OF[data.metadata.group]}.",
            hint=_way_out(data, data.metadata.group, "Name other data with --subject"),
        )
    missing = missing_needs(data.metadata, family.needs, cell.family)
    if missing:
        what = " ".join(found.what for found in missing)
        raise NotApplicableError(
            f"{cell.family} cannot apply to {cell.subject}: {what}",
            hint=_way_out(data, family.group, missing[0].remedy),
        )
    verify(data)
    parts = data.metadata.parts
    summary: dict[str, str | int | float | bool | None] = {f"rows_{name}": part.rows for name, part in parts.items()}
    return StageResult(summary={"dataset": data.fingerprint, **summary})


def _way_out(data: Dataset, group: str, remedy: str) -> str:
    """Name what mends it, and the families of a group that apply as the data is."""
    others = [other for name in families.names() if (other := families.get(name)).group == group]
    able = [other.name for other in others if other.needs <= data.metadata.offers]
    return f"{remedy.removesuffix('.')}, or train only {', '.join(able)}." if able else remedy
