"""Puts the cells of a plan into batches: of one pool and queue each, and of about the duration that the fleet wants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from nightshift.plan.fleet import FleetPlan, PlannedCell
from nightshift.plan.state import State

#: However quick the cells are: all of them are one parameter of a flow run, which Prefect keeps below 512 KB.
MOST_CELLS = 500
#: One that another run trains now is waited for, and trained should that run be cut off.
_RUNS = (State.STALE, State.FAILED, State.TRAINING)


class FleetBatch(BaseModel):
    """Cells that one flow run trains.

    Attributes:
        name: `pi-pool 2 of 3`, for people.
        cells: names of planned cells, in the plan's order.
        estimated_s: with so many cells at once as the batch was made for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pool: str
    queue: str
    cells: tuple[str, ...]
    estimated_s: float


def to_run(plan: FleetPlan) -> tuple[PlannedCell, ...]:
    """Return the cells of a plan that a run brings to an end, most urgent first."""
    return tuple(c for c in plan.cells if c.state in _RUNS)


def fan_out(cells: Iterable[PlannedCell], target_batch_s: float, processes: int) -> tuple[FleetBatch, ...]:
    """Return the cells as batches: as few as `target_batch_s` allows, of about the same duration, most urgent first.

    Args:
        cells: in the order in which they are to begin.
        target_batch_s: that a batch takes at most, unless one of its cells alone takes longer.
        processes: cells at once in a batch.
    """
    places: dict[tuple[str, str], list[PlannedCell]] = {}
    for cell in cells:
        places.setdefault((cell.pool, cell.queue), []).append(cell)
    batches = []
    for (pool, queue), found in sorted(places.items()):
        parts = _cut(found, target_batch_s * processes)
        for number, part in enumerate(parts, 1):
            batch = FleetBatch(
                name=f"{pool} {number} of {len(parts)}",
                pool=pool,
                queue=queue,
                cells=tuple(c.name for c in part),
                estimated_s=round(duration_s(part, processes), 1),
            )
            batches.append(batch)
    return tuple(batches)


def duration_s(cells: Sequence[PlannedCell], processes: int) -> float:
    """Return how long cells take, so many at once: no less than the longest of them."""
    alone = [c.estimated_s for c in cells]
    return max(sum(alone) / processes, max(alone, default=0.0))


def _cut(cells: Sequence[PlannedCell], most_s: float) -> list[list[PlannedCell]]:
    """Cut a list into stretches whose sums are alike, and at most `most_s` as far as its cells allow."""
    total = sum(c.estimated_s for c in cells)
    count = max(1, math.ceil(total / most_s))
    parts: list[list[PlannedCell]] = [[]]
    begun, held = 0, 0.0
    for cell in cells:
        # By where its middle falls, so that rounding leaves no last stretch of one quick cell.
        middle = (held + cell.estimated_s / 2) / total if total else 0.0
        stretch = min(int(middle * count), count - 1)
        if parts[-1] and (stretch > begun or len(parts[-1]) >= MOST_CELLS):
            parts.append([])
        begun = stretch
        parts[-1].append(cell)
        held += cell.estimated_s
    return parts
