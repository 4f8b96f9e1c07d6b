"""What surrounds the cells of a batch in a flow: a task each, a stop that all of them hear, and how they ended."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any, cast
from uuid import UUID

from prefect import State, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled
from prefect.task_runners import ThreadPoolTaskRunner

from nightshift.errors import InterruptedTraining, NightshiftError, ServiceError, TransientError
from nightshift.plan.batch import (
    BatchFailedError,
    BatchOptions,
    BatchOutcome,
    CellRef,
    each_once,
    hearing_stops,
    is_to_stop,
)
from nightshift.plan.outcome import CellOutcome, outcome_of_error
from nightshift.settings import home
from nightshift.stages.batch import Batch
from nightshift.stages.batch_dask import DaskBatch
from nightshift.tracking.text import number
from nightshift.tracking.unversioned import outstanding
from tasks import logs
from tasks.artifacts import BatchBar, key_of, never_fatal
from tasks.cell_run import STOPPED
from tasks.gpu import gpu_of_run
from tasks.signals import StopOnSignal
from tasks.version import version

logger = logging.getLogger("nightshift")

#: Key of the artifact by which a batch tells another run how its cells ended, whatever machine that runs on.
OUTCOME = "batch-outcome"
#: The batch that this run's tasks work for.
_batch: ContextVar[Batch | DaskBatch] = ContextVar("batch")
_ended: ContextVar[dict[str, CellOutcome]] = ContextVar("ended")


class CellFailedError(NightshiftError):
    """A cell of a batch failed or was blocked; the others go on."""


def train_cells(cells: Sequence[CellRef], options: BatchOptions) -> BatchOutcome | None:
    """Train the cells of a batch, a task and a process to each, and show how they ended; None when it was stopped.

    Raises:
        CapacityError: when the machine has too little memory or disk for them.
        KeyboardInterrupt: after Ctrl-C, when the cells have kept what they had.
    """
    logs.set_up()
    clock = time.perf_counter()
    try:
        with StopOnSignal() as stop:
            batch, ended = _run_all(cells, options, stop)
            seconds = round(time.perf_counter() - clock, 3)
            outcome = BatchOutcome(cells=ended, processes=batch.processes, seconds=seconds)
            publish(outcome)
    except InterruptedTraining as reason:
        logger.warning("%s", reason)
        return None
    except (ServiceError, TransientError):
        raise
    except NightshiftError as error:
        # It would end the same way again: who asked for the batch reads it, and does not give it again.
        publish(refused(cells, error))
        raise
    show_matrix(outcome)
    return outcome


def refused(cells: Sequence[CellRef], error: NightshiftError) -> BatchOutcome:
    """Return the outcome of a batch that ended before its cells began: each has failed for the same reason."""
    return BatchOutcome(cells=tuple(outcome_of_error(c.subject, c.family, c.target, error) for c in each_once(cells)))


def version_trained(outcome: BatchOutcome, options: BatchOptions) -> None:
    """Version the data and models of the machines that DVC does not hold all of; a run that asked for it all does so.

    One process versions at a time, and batches end at the same moment.
    """
    if options.for_run:
        return
    for subject in dict.fromkeys(c.subject for c in outcome.cells if c.cell_key):
        if outstanding(home(), subject):
            version(subject)


@never_fatal
def publish(outcome: BatchOutcome) -> None:
    """Leave the outcome with the server, where the run that asked for the batch reads it; of a stopped one, a part."""
    table = [{"outcome": outcome.model_dump_json()}]
    create_table_artifact(
        table, key=OUTCOME, description=f"{len(outcome.cells)} cells, for the run that asked for them"
    )


def outcome_of_run(flow_run_id: UUID | str) -> BatchOutcome | None:
    """Return how the cells of a batch ended, as its newest try told; None when it did not come so far.

    Of a batch that was stopped on request it holds the cells that had ended before.
    """
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]), key=ArtifactFilterKey(any_=[OUTCOME])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    if not found:
        return None
    data = found[0].data
    try:
        rows: Any = json.loads(data) if isinstance(data, str) else data
        return BatchOutcome.model_validate_json(rows[0]["outcome"])
    except (ValueError, LookupError, TypeError) as error:
        logger.warning("the outcome of the batch %s cannot be read: %s", flow_run_id, error)
        return None


def settled(outcome: BatchOutcome) -> BatchOutcome:
    """Return the outcome.

    Raises:
        BatchFailedError: when a cell failed or was blocked.
    """
    if outcome.bad:
        raise BatchFailedError(outcome)
    return outcome


def _run_all(
    cells: Sequence[CellRef], options: BatchOptions, stop: StopOnSignal
) -> tuple[Batch | DaskBatch, tuple[CellOutcome, ...]]:
    # Every batch of one run of the fleet, however often it is given out, forces a cell once.
    own_id, place = str(flow_run.id or ""), home()
    run_id = options.for_run or own_id
    gpu = gpu_of_run(stop.asked)
    batch: Batch | DaskBatch
    ended: dict[str, CellOutcome] = {}
    with ExitStack() as held:
        bar = held.enter_context(BatchBar(place, [ref.name for ref in each_once(cells)], ended))
        if options.runner == "dask":
            batch = held.enter_context(DaskBatch(place, cells, options, run_id=run_id, should_stop=stop.asked, gpu=gpu))
        else:
            held.enter_context(hearing_stops(place, own_id))
            named = partial(is_to_stop, place, own_id)
            batch = held.enter_context(
                Batch(
                    place,
                    cells,
                    options,
                    run_id=run_id,
                    should_stop=stop.asked,
                    gpu=gpu,
                    cell_to_stop=named,
                    look=bar.look,
                )
            )
        logger.info("%d cells, %d at once with %d threads each", len(batch.cells), batch.processes, batch.threads)
        tokens = _batch.set(batch), _ended.set(ended)
        try:
            runner: ThreadPoolTaskRunner[Any]
            with ThreadPoolTaskRunner(max_workers=batch.callers) as runner:
                # Prefect's types know `submit` of asynchronous tasks alone.
                futures: list[PrefectFuture[Any]]
                futures = [runner.submit(cast(Any, _cell), {"ref": ref}) for ref in batch.cells]
                for ref, future in zip(batch.cells, futures, strict=True):
                    future.wait()
                    if ref.name not in ended and not stop.asked():
                        # A cell that was stopped alone has not ended well, and the batch says so.
                        stopped = future.state.is_cancelled()
                        error = InterruptedTraining(STOPPED) if stopped else future.state.result(raise_on_failure=False)
                        ended[ref.name] = outcome_of_error(ref.subject, ref.family, ref.target, error)
        finally:
            _batch.reset(tokens[0])
            _ended.reset(tokens[1])
    return batch, tuple(ended[ref.name] for ref in batch.cells if ref.name in ended)


@task(
    name="cell",
    task_run_name="{ref.name}",
    persist_result=False,
    cache_policy=NO_CACHE,
)
def _cell(ref: CellRef) -> State[Any] | None:
    """Train one cell of the batch in a process of its own, unless it is up to date.

    Raises:
        CellFailedError: when it failed or was blocked.
    """
    outcome = _batch.get().run(ref)
    if outcome is None:
        return Cancelled(message=STOPPED)
    _ended.get()[ref.name] = outcome
    if outcome.ending in ("failed", "blocked"):
        raise CellFailedError(f"{ref.name} {outcome.ending}: {outcome.reason}", hint=outcome.hint)
    return None


@never_fatal
def show_matrix(outcome: BatchOutcome) -> None:
    """Show the cells as one table, a row to each machine, and below it why some are not simply trained."""
    from prefect.artifacts import create_markdown_artifact

    if outcome.cells:
        create_markdown_artifact("\n".join(matrix(outcome)), key=key_of("batch-matrix"), description="batch")


def matrix(outcome: BatchOutcome) -> list[str]:
    """Return the lines of the table, in markdown."""
    columns = list(dict.fromkeys((c.family, c.target) for c in outcome.cells))
    found = {(c.subject, c.family, c.target): c for c in outcome.cells}
    lines = [
        f"{len(outcome.cells)} cells, {outcome.processes} at once, {outcome.seconds:.0f} s",
        "",
        f"| machine | {' | '.join(f'{family} ({target})' for family, target in columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for subject in dict.fromkeys(c.subject for c in outcome.cells):
        shown = (_shown(found.get((subject, *column))) for column in columns)
        lines.append(f"| {subject} | {' | '.join(shown)} |")
    remarks = [c for c in outcome.cells if c.ending not in ("trained", "up to date")]
    for c in remarks:
        why = " ".join(f"{c.reason} {c.hint}".split())
        lines += ["", f"- **{c.subject} {c.family} {c.target}** {c.ending}: {why}"]
    return lines


def _shown(cell: CellOutcome | None) -> str:
    if cell is None:
        return "-"
    figure = f", {cell.metric} {number(cell.value)}" if cell.metric and cell.value is not None else ""
    version = f", v{cell.version}" if cell.version else ""
    return f"**{cell.ending}**{figure}{version}"
