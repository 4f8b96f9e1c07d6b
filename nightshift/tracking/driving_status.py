"""What `nightshift driving status` and the page show: active runs, recent figures, the machine, recommendations."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from nightshift.driving.runs import MetricsRow
from nightshift.settings import Home
from nightshift.tracking.driving_rules import Recommendation, Told, recommend
from nightshift.tracking.driving_runs import RunView, iso, list_runs, read_run, view
from nightshift.tracking.resources import Gpu, Resources, resources

#: Rows of a run in the table of recent figures.
RECENT = 5


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RecentRow(_Record):
    """A line of the table of recent figures.

    Attributes:
        reward, collision, progress, loss: of training, with exploration.
        score, val_collision, val_progress: of validation, where the line follows an evaluation.
    """

    run_id: str
    step: int
    at: str
    reward: float | None
    collision: float | None
    progress: float | None
    loss: float | None
    score: float | None
    val_collision: float | None = None
    val_progress: float | None = None


class DrivingStatus(_Record):
    """Everything at one moment.

    Attributes:
        at: ISO 8601, UTC.
        active: runs at work, here and on other workers.
        ended: the run that ended last, where none is at work.
        recent: newest figures of these, newest first for each run.
        resources: of this machine.
        recommendations: of the rules, run by run.
        remarks: what could not be found out.
    """

    at: str
    active: tuple[RunView, ...]
    ended: RunView | None
    recent: tuple[RecentRow, ...]
    resources: Resources
    recommendations: tuple[Recommendation, ...]
    remarks: tuple[str, ...] = ()


def driving_status(
    home: Home,
    elsewhere: Sequence[RunView] = (),
    *,
    figures: Mapping[str, Sequence[MetricsRow]] | None = None,
    remarks: Sequence[str] = (),
    machine: Resources | None = None,
) -> DrivingStatus:
    """Gather what there is to show.

    Args:
        home: whose files are read.
        elsewhere: runs that other workers train.
        figures: of those, by the id of their MLflow run.
        remarks: to pass on.
        machine: measured already; measured here when left out.
    """
    known = list_runs(home)
    active = [read_run(home, run.run_id) for run in known if run.active]
    last = [read_run(home, known[0].run_id)] if known and not active and not elsewhere else []
    measured = machine or resources(home)
    shown = [with_gpu(view(run), measured.gpus) for run in active]
    far = [(run, (figures or {}).get(run.mlflow_run, ())) for run in elsewhere]
    told = [*((seen, run.rows) for seen, run in zip(shown, active, strict=True)), *far]
    return DrivingStatus(
        at=iso(time.time()),
        active=(*shown, *elsewhere),
        ended=view(last[0]) if last else None,
        recent=tuple(
            row
            for run_id, rows in (*((r.run_id, rows) for r, rows in told), *((r.run_id, r.rows) for r in last))
            for row in recent_rows(run_id, rows)
        ),
        resources=measured,
        recommendations=tuple(advice for run, rows in told for advice in recommend(told_of(run, rows))),
        remarks=tuple(remarks),
    )


def recent_rows(run_id: str, rows: Sequence[MetricsRow]) -> list[RecentRow]:
    """Return the newest rows of a run, newest first."""
    return [
        RecentRow(
            run_id=run_id,
            step=row.step,
            at=row.at,
            reward=row.mean_reward,
            collision=row.collision,
            progress=row.progress,
            loss=row.loss,
            score=row.score,
            val_collision=row.more.get("val_collision"),
            val_progress=row.more.get("val_progress"),
        )
        for row in reversed(rows[-RECENT:])
    ]


def told_of(run: RunView, rows: Sequence[MetricsRow]) -> Told:
    """Return what the rules are asked about a run, here or elsewhere."""
    return Told(
        run_id=run.run_id,
        rows=rows,
        total_steps=run.total_steps,
        device=run.device,
        gpu_use_pct=run.gpu_use_pct,
        gpu_free_mb=run.gpu_free_mb,
        algorithm=run.algorithm,
    )


def with_gpu(run: RunView, gpus: Sequence[Gpu]) -> RunView:
    """Return a run of this machine with what its GPU does, where it trains on one."""
    gpu = gpu_of(run.pid, gpus) if run.pid is not None and run.device == "cuda" else None
    return run.model_copy(update={"gpu_use_pct": gpu.use_pct, "gpu_free_mb": gpu.free_mb}) if gpu else run


def gpu_of(pid: int, gpus: Sequence[Gpu]) -> Gpu | None:
    """Return the GPU that holds a process's memory; the first one where none says so."""
    holding = (gpu for gpu in gpus if any(h.pid == pid for h in gpu.holders))
    return next(holding, gpus[0] if gpus else None)
