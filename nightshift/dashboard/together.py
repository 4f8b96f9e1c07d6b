"""A run's own standing, from those of its cells, or of the batches that it has given to workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nightshift.dashboard.runs import (
    ENDED,
    FLEET,
    MACHINE,
    SYNTHESIS,
    TABLE,
    TRAIN,
    Bar,
    CellStatus,
    JobStatus,
    Run,
    name_of,
)
from nightshift.dashboard.words import step_of, waits


def is_silent(run: Run, job: JobStatus) -> bool:
    """Whether nothing here tells how far a run is that goes on: it may be at work on another machine."""
    if job.status != "running" or run.start is None or run.flow == FLEET:
        return False
    return not any(cell.status == "running" and cell.progress > 0 for cell in job.cells)


def shows_as(run: Run, parts: Mapping[str, Run]) -> list[str]:
    """Return the runs whose bars show how far a run is: its own, or those of the flows within it."""
    return [part.id for part in parts.values() if not part.ended] if run.flow == MACHINE else [run.id]


def whole(run: Run, cells: Sequence[CellStatus], now: datetime, bar: Bar | None = None) -> JobStatus:
    """Return a run's own standing from those of its cells; that of a flow without cells from its bar."""
    given = run.parameters
    machines = {cell.name.rsplit(".", 2)[0] for cell in cells} if run.flow != SYNTHESIS else {given.get("machine_id")}
    targets = {cell.name.rsplit(".", 1)[1] for cell in cells} if run.flow != SYNTHESIS else set()
    facts = _facts(run, now) | {
        "name": name_of(run, cells),
        "machine": str(machines.pop() or "") if len(machines) == 1 else "",
        "target": targets.pop() if len(targets) == 1 else "",
        "family": cells[0].family if len(cells) == 1 else "",
        "families": tuple(dict.fromkeys(cell.family for cell in cells)),
    }
    if len(cells) == 1 and run.flow in (TRAIN, SYNTHESIS, TABLE):
        taken = ("progress", "current_step", "remaining_s", "metrics", "model_path", "error", "hint")
        return JobStatus(**facts, **{name: getattr(cells[0], name) for name in taken}, cells=tuple(cells))
    at_work = [cell for cell in cells if cell.status == "running"]
    step = "; ".join([f"{_done(cells)} of {len(cells)} done"] + [f"{c.family}: {c.current_step}" for c in at_work[:2]])
    facts |= {"cells": tuple(cells), "remaining_s": _left_s(cells)}
    if not cells:
        event = next(iter(bar.events.values()), None) if bar else None
        step = step_of(event, "running", run) if event else "Running"
        return JobStatus(**facts, **_together(run, bar.percent if bar else 0.0, step))
    return JobStatus(**facts, **_together(run, _mean(cells, [1] * len(cells)), step))


def of_batches(run: Run, batches: Sequence[Run], known: Mapping[str, JobStatus], now: datetime) -> JobStatus:
    """Return where a run of the fleet stands: the mean of the cells of the batches that it has given so far.

    Args:
        run: of the fleet.
        batches: its own.
        known: job -> where it stands.
        now: when Prefect was asked.
    """
    cells = tuple(_as_cell(batch, known.get(batch.id)) for batch in batches)
    percent = _mean(cells, [_size(batch) for batch in batches]) if cells else 0.0
    step = f"{_done(cells)} of {len(cells)} batches" if cells else "Running"
    facts = _facts(run, now) | {"name": name_of(run, ()), "cells": cells, "remaining_s": _left_s(cells)}
    return JobStatus(**facts, family="", **_together(run, percent, step))


def _size(batch: Run) -> int:
    given = batch.parameters.get("cells")
    return len(given) if isinstance(given, list) and given else 1


def _as_cell(batch: Run, job: JobStatus | None) -> CellStatus:
    told: dict[str, Any] = _together(batch, 0.0, "Running")
    if job is not None and job.status == batch.status:
        told = {name: getattr(job, name) for name in (*told, "remaining_s")}
    told |= {"started_at": batch.start, "ended_at": batch.end if batch.ended else None}
    return CellStatus(job_id=batch.id, name=batch.name, family="", status=batch.status, **told)


def _facts(run: Run, now: datetime) -> dict[str, Any]:
    return {
        "job_id": run.id,
        "flow": run.flow,
        "status": run.status,
        "as_of": now,
        "by": run.by,
        "created_at": run.created,
        "started_at": run.start,
        "ended_at": run.end if run.ended else None,
    }


def _done(cells: Sequence[CellStatus]) -> int:
    return sum(cell.status in ENDED for cell in cells)


def _left_s(cells: Sequence[CellStatus]) -> float | None:
    """Return what is left of cells that have all begun, by the one that takes longest; None where nobody knows."""
    at_work = [cell for cell in cells if cell.status == "running"]
    left = [cell.remaining_s for cell in at_work if cell.remaining_s is not None]
    return max(left) if left and len(at_work) + _done(cells) == len(cells) else None


def _mean(cells: Sequence[CellStatus], weights: Sequence[int]) -> float:
    done = [100.0 if cell.status in ENDED else cell.progress for cell in cells]
    return sum(d * w for d, w in zip(done, weights, strict=True)) / sum(weights)


def _together(run: Run, percent: float, step: str) -> dict[str, Any]:
    """Return what a run says of the whole of it.

    Args:
        percent: and `step`: while it runs.
    """
    if run.status == "completed":
        step, percent = "Done", 100.0
    elif run.status in ("failed", "cancelled"):
        step = "Failed" if run.status == "failed" else "Stopped on request"
    elif run.status == "pending":
        step = waits(run)
    error = (run.why or run.state_name) if run.status == "failed" else ""
    return {"progress": round(percent, 1), "current_step": step, "error": error}
