"""A training's epochs: told in its progress file, logged in MLflow as `epoch/…` with their number as the step.

What a driving policy's run tells has environment steps (a figure `step`): its figures are logged by their own names at
those, so that runs with rows of other lengths lie over each other, and only the step stands at the row's number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.records import PROGRESS, work_folder
from nightshift.plan.resume import RUN_FILE
from nightshift.progress import ProgressEvent, read_events
from nightshift.settings import Home
from nightshift.tracking.mlflow_store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

PREFIX = "epoch/"
#: The figure that says at which environment step the others were.
STEP = "step"

# MLflow refuses larger batches.
_BATCH = 1000


def told(home: Home, cell: Cell) -> dict[int, ProgressEvent]:
    """Return the cell's epochs by number; of a training that was begun anew only the later one's."""
    found: dict[int, ProgressEvent] = {}
    for event in read_events(work_folder(home, cell.key) / PROGRESS):
        if event.epoch == 1:
            found.clear()
        if event.epoch:
            found[event.epoch] = event
    return found


def log(store: Store, run_id: str, events: Iterable[ProgressEvent]) -> None:
    """Log epochs in as few calls as MLflow allows."""
    from mlflow.entities import Metric

    points = [
        Metric(name, value, int(event.at * 1000), step) for event in events for name, value, step in points_of(event)
    ]
    for start in range(0, len(points), _BATCH):
        store.client.log_batch(run_id, metrics=points[start : start + _BATCH])


def points_of(event: ProgressEvent) -> Iterator[tuple[str, float, int]]:
    """Yield (name, value, step) of what MLflow is told of an epoch."""
    at = event.metrics.get(STEP)
    for name, value in event.metrics.items():
        if at is None or name == STEP:
            yield f"{PREFIX}{name}", float(value), event.epoch
        else:
            yield name, float(value), int(at)


def sent(store: Store, run: Run) -> set[int]:
    """Return the epochs that a run has."""
    names = sorted(name for name in run.data.metrics if name.startswith(PREFIX))
    return {m.step for m in store.client.get_metric_history(run.info.run_id, names[0])} if names else set()


def note_run(home: Home, cell: Cell, run_id: str) -> None:
    """Note the run that shows the cell's training."""
    write_atomic(work_folder(home, cell.key) / RUN_FILE, run_id.encode())


def noted_run(home: Home, cell: Cell) -> str:
    """Return the id of the run that shows the cell's training, "" when there is none."""
    with suppress(OSError):
        return (work_folder(home, cell.key) / RUN_FILE).read_text(encoding="ascii").strip()
    return ""


def open_run(store: Store, cell: Cell) -> Run | None:
    """Return that run unless it has ended well, was deleted, or is not there."""
    from mlflow.exceptions import MlflowException

    run_id = noted_run(store.home, cell)
    if not run_id:
        return None
    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        if str(error.error_code) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.status != "FINISHED" and run.info.lifecycle_stage == "active" else None
