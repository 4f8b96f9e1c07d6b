"""Runs of driving policies that other workers of the pool train: MLflow's live metrics tell of them.

Files of a run lie in the home of the worker that trains it. What every worker reaches is MLflow: its run is tagged with
what a reader needs, each row of figures is logged at its environment step (see `tracking.epochs`), and beside them what
the training holds of its machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from nightshift import families
from nightshift.driving.learn.recorder import FIGURES
from nightshift.driving.runs import MetricsRow
from nightshift.plan.cell import Cell
from nightshift.settings import Home, worker_name
from nightshift.tracking.driving_runs import RunView, iso, run_of_cell, view
from nightshift.tracking.driving_status import with_gpu
from nightshift.tracking.epochs import PREFIX, STEP
from nightshift.tracking.mlflow_store import Patience, open_store, told_apart
from nightshift.tracking.resources import gpus

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

GROUP = "driving"
#: Tags of a driving run, beside those of any cell.
RUN, TOTAL_STEPS, WORKER, HOST, FLOW_RUN, DEVICE = (
    "nightshift.driving_run",
    "nightshift.total_steps",
    "nightshift.worker",
    "nightshift.host",
    "nightshift.flow_run",
    "nightshift.device",
)
#: What else its machine alone can tell, as `RunView` names it: metrics of its MLflow run.
OF_RUN = "run/"
_OF_RUN = ("cpu_pct", "memory_mb", "gpu_memory_mb", "gpu_use_pct", "gpu_free_mb", "best_score", "best_step")
#: Figures of which status shows, or a rule asks, how they went.
_WENT = (*FIGURES, "val_collision", "val_progress", "value_loss", "entropy")
_FAMILY, _SUBJECT, _CELL = "nightshift.family", "nightshift.subject", "nightshift.cell_key"
#: A pool's worker sets it for the processes of its flow run; two of one policy have one name.
_FLOW_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
_AT_ONCE = 200


def is_driving(cell: Cell) -> bool:
    """Whether a cell trains a driving policy."""
    return families.get(cell.family).group == GROUP


def tags_of_driving(home: Home, cell: Cell) -> dict[str, str]:
    """Return what other machines must know of a run while it is trained here; nothing for cells of other groups.

    What is not known is "", and takes the place of what an earlier process has told.
    """
    if not is_driving(cell):
        return {}
    begun = run_of_cell(home, cell.key)
    settings = cell.config.get("config", {})
    run_id = begun.run_id if begun else str(settings.get("run_id") or "")
    status = begun.status if begun else None
    total = status.total_steps if status else settings.get("total_steps")
    tags = {RUN: run_id, TOTAL_STEPS: str(total or ""), WORKER: worker_name(), HOST: socket.gethostname()}
    tags |= {FLOW_RUN: os.environ.get(_FLOW_RUN_VARIABLE, ""), DEVICE: status.device if status else ""}
    return tags


def metrics_of_driving(home: Home, cell: Cell) -> tuple[int, dict[str, float]]:
    """Return what a run that is trained here holds of this machine, and its best policy: its step, and value by name.

    Nothing for cells of other groups.
    """
    begun = run_of_cell(home, cell.key) if is_driving(cell) else None
    if begun is None or not begun.here:
        return 0, {}
    seen = view(begun)
    seen = with_gpu(seen, gpus()) if seen.device == "cuda" else seen
    told = {f"{OF_RUN}{name}": getattr(seen, name) for name in _OF_RUN}
    return seen.step, {name: float(value) for name, value in told.items() if value is not None}


def is_shared(home: Home) -> bool:
    """Whether MLflow is one that other machines use too: a server, or a database of its own."""
    return not home.mlflow_uri.startswith("sqlite:")


def runs_elsewhere(home: Home, known: Collection[str]) -> tuple[RunView, ...]:
    """Return the runs that are at work on other machines, as MLflow tells.

    Args:
        home: whose MLflow is asked.
        known: run ids that this home's files tell of.

    Raises:
        TransientError, ServiceError: when MLflow cannot be asked.
    """
    store = open_store(home, Patience(attempts=1, probe_s=1.0))
    with told_apart(store.uri):
        places = [e.experiment_id for e in store.client.search_experiments(max_results=_AT_ONCE)]
        found = store.client.search_runs(
            places, f"attributes.status = 'RUNNING' and tags.`{RUN}` != ''", max_results=_AT_ONCE
        )
        return tuple(_views(found, known))


def figures_elsewhere(home: Home, runs: Collection[RunView]) -> dict[str, tuple[MetricsRow, ...]]:
    """Return how runs elsewhere went so far, by the id of their MLflow run.

    Raises:
        TransientError, ServiceError: when MLflow cannot be asked.
    """
    asked = [run.mlflow_run for run in runs if run.mlflow_run]
    if not asked:
        return {}
    store = open_store(home, Patience(attempts=1, probe_s=1.0))
    with told_apart(store.uri):
        return {mlflow_run: _rows(store.client, mlflow_run) for mlflow_run in asked}


def _rows(client: MlflowClient, mlflow_run: str) -> tuple[MetricsRow, ...]:
    """Return a run's figures, put together again by step; of two at one step the newer."""
    steps: dict[int, dict[str, float]] = {}
    at: dict[int, int] = {}
    for name in sorted(set(_WENT) & set(client.get_run(mlflow_run).data.metrics)):
        for point in sorted(client.get_metric_history(mlflow_run, name), key=lambda m: m.timestamp):
            steps.setdefault(point.step, {})[name] = point.value
            at[point.step] = max(at.get(point.step, 0), point.timestamp)
    return tuple(
        MetricsRow.model_validate(
            {
                "step": step,
                "at": _iso(at[step]),
                **{name: value for name, value in figures.items() if name in FIGURES},
                "more": {name: value for name, value in figures.items() if name not in FIGURES},
            }
        )
        for step, figures in sorted(steps.items())
    )


def _views(found: Collection[Run], known: Collection[str]) -> Iterator[RunView]:
    own = socket.gethostname()
    for run in found:
        tags, metrics = run.data.tags, run.data.metrics
        run_id = tags[RUN]
        if run_id in known and tags.get(HOST) == own:
            continue
        step = int(metrics.get(f"{PREFIX}{STEP}", 0.0))
        total = int(tags.get(TOTAL_STEPS) or 0)
        speed = metrics.get("steps_per_s")
        yield RunView(
            run_id=run_id,
            algorithm=tags.get(_FAMILY, ""),
            subject=tags.get(_SUBJECT, ""),
            state="running",
            worker=tags.get(WORKER, ""),
            host=tags.get(HOST, ""),
            device=tags.get(DEVICE, ""),
            step=step,
            total_steps=total,
            steps_per_s=speed,
            eta_s=(total - step) / speed if speed and total > step else None,
            reward=metrics.get("mean_reward"),
            collision=metrics.get("collision"),
            progress=metrics.get("progress"),
            loss=metrics.get("loss"),
            **{name: metrics.get(f"{OF_RUN}{name}") for name in _OF_RUN},
            started_at=_iso(run.info.start_time),
            updated_at=_iso(_newest(run)),
            source="mlflow",
            cell=tags.get(_CELL, ""),
            flow_run=tags.get(FLOW_RUN, ""),
            mlflow_run=str(run.info.run_id),
        )


def _newest(run: Run) -> int:
    """Return when a run's newest figure was logged, ms since the epoch."""
    stamps = [int(m.timestamp) for m in getattr(run.data, "_metric_objs", ())]
    return max(stamps, default=int(run.info.start_time or 0))


def _iso(stamp_ms: int | None) -> str:
    return "" if stamp_ms is None else iso(stamp_ms / 1000)
