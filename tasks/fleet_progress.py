"""How far a run of the fleet is: cells that have ended, and what is left by the estimates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from deployments.api import ENDED, ask
from nightshift.plan.fanout import FleetBatch
from nightshift.plan.fleet_run import FleetStart

#: Estimates give way to this run's own pace once so much of the work is done.
_OWN_PACE = 0.15


@dataclass(frozen=True)
class FleetProgress:
    """How far a run of the fleet is.

    Attributes:
        cells: to be brought to an end.
        done: of them.
        batches: all.
        ended: batches that have.
        left_s: expected until all cells are done.
        running: names of the batches at work.
    """

    cells: int
    done: int
    batches: int
    ended: int
    left_s: float
    running: tuple[str, ...]


#: Is told of progress; a command sets it to show some.
watcher: ContextVar[Callable[[FleetProgress], None] | None] = ContextVar("fleet_watcher", default=None)


def progress_of(
    start: FleetStart, ended: Sequence[FleetBatch], running: Sequence[tuple[FleetBatch, str]], began_s: float
) -> FleetProgress:
    """Return how far a run is.

    Args:
        start: what it works on.
        ended: batches.
        running: batches at work, with their flow runs' ids.
        began_s: when it began to wait for them, seconds since the epoch.

    Raises:
        ServiceError: when the server does not answer.
    """
    cells = sum(len(batch.cells) for batch in start.batches)
    counts = [(batch, _ended_in(run_id, batch)) for batch, run_id in running]
    total_s = sum(batch.estimated_s for batch in start.batches)
    done_of = {batch.name: batch.estimated_s for batch in ended}
    done_of |= {batch.name: batch.estimated_s * count / len(batch.cells) for batch, count in counts}
    took_s = time.time() - began_s
    share = sum(done_of.values()) / total_s if total_s else 1.0
    left_s = _left_by_estimates(start, done_of) if share < _OWN_PACE else took_s * (1 - share) / share
    return FleetProgress(
        cells=cells,
        done=sum(len(batch.cells) for batch in ended) + sum(count for _, count in counts),
        batches=len(start.batches),
        ended=len(ended),
        left_s=max(0.0, left_s),
        running=tuple(batch.name for batch, _ in running),
    )


def _left_by_estimates(start: FleetStart, done_of: Mapping[str, float]) -> float:
    """Return what the pools need, which work beside each other, each on one batch at a time."""
    left: dict[str, float] = {}
    for batch in start.batches:
        left[batch.pool] = left.get(batch.pool, 0.0) + batch.estimated_s - done_of.get(batch.name, 0.0)
    return max(left.values(), default=0.0)


def _ended_in(run_id: str, batch: FleetBatch) -> int:
    """Return how many cells of a batch have ended: each is a task of its name."""
    wanted = {
        "flow_runs": {"id": {"any_": [run_id]}},
        "task_runs": {"name": {"any_": list(batch.cells)}, "state": {"type": {"any_": list(ENDED)}}},
    }
    return int(ask("task_runs/count", wanted)[1])
