"""A dataset's parts as rows of a table, counted as its group counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.data.groups import DRIVING, ESTIMATOR, VEHICLE
from nightshift.tracking.text import number

if TYPE_CHECKING:
    from nightshift.data.schema import Metadata

#: Data without an order -> what their rows are called.
_ONLY_ROWS = {DRIVING: "scenarios", ESTIMATOR: "rows"}


def parts_of(metadata: Metadata, *, days: bool = False) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return header and rows; with `days` moments are cut to their day."""
    trips = metadata.group == VEHICLE
    header = ["part", "rows", "trips" if trips else "runs", "first", "last", *([] if trips else ["positive rows"])]
    if metadata.group in _ONLY_ROWS:
        header = ["part", _ONLY_ROWS[metadata.group]]

    def at(moment: str | None) -> str:
        text = moment or ""
        return text.partition("T")[0] if days else text

    rows = [
        (name, f"{p.rows:,}", f"{p.runs:,}", at(p.first), at(p.last), number(p.positives))[: len(header)]
        for name, p in metadata.parts.items()
    ]
    return header, rows
