"""The Prefect face of a stage: retries, a cache key, persisted results, artifacts, and one call into nightshift."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Generic, TypeVar

from prefect import Task, task
from prefect.tasks import exponential_backoff
from pydantic import BaseModel, ConfigDict

from nightshift.errors import BlockedError, NotApplicableError, TransientError
from nightshift.files import disk_full
from nightshift.plan.cell import Cell, sha256_json
from nightshift.plan.records import Job, StageRecord, read_record
from nightshift.settings import Home, home
from nightshift.stages.chain import StageContext, run_stage
from tasks.artifacts import ProgressBar, show_findings
from tasks.signals import StopOnSignal

logger = logging.getLogger("nightshift")

JobT = TypeVar("JobT", bound=Job)

#: What the job of this run is worked on with; set by `at_work`.
context: ContextVar[StageContext | None] = ContextVar("stage_context", default=None)

RETRIES = 3
# 2, 4, 8 s, each up to half as long again, so that cells that failed together do not come back together.
BACKOFF_S = 2.0
JITTER = 0.5


@contextmanager
def at_work(job: Job, threads: int | None) -> Iterator[ProgressBar]:
    """Show the job's progress, and give its stages what they work with.

    Args:
        threads: that they may use; None = one per core.
    """
    with ProgressBar(job) as bar:
        token = context.set(StageContext(home=home(), progress=bar, threads=threads or os.cpu_count() or 1))
        try:
            yield bar
        finally:
            context.reset(token)


class StageRef(BaseModel):
    """A reference to a stage's record: what a task returns and Prefect's cache keeps.

    Attributes:
        made: hash of when the stage ran and of what it wrote; a file that is only moved, as registering moves a bundle,
            keeps it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    cell_key: str
    status: str
    made: str


class StageTask(Generic[JobT]):
    """A stage as a call from a flow; `task` is the Prefect task behind it.

    A cached reference counts only while the record it names, and every file of that record, is what it was: otherwise
    the task runs, whatever the cache says.
    """

    def __init__(self, behind: Task[[JobT], StageRef]) -> None:
        self.task = behind
        self.stage = behind.name
        self.__doc__ = behind.fn.__doc__

    def __call__(self, job: JobT) -> StageRef:
        """Run the stage of a job unless it is done."""
        kept = reference(home(), job.key, self.stage)
        if kept is not None:
            found = self.task(job)
            if found == kept:
                logger.info("%s: %s is up to date, nothing to do", job.name, self.stage)
            if found == reference(home(), job.key, self.stage):
                return found
        return self.task.with_options(refresh_cache=True)(job)


def stage(function: Callable[[JobT], StageRef]) -> StageTask[JobT]:
    """Make the task of a stage from a function of its name, which takes the job alone.

    Retried is only what may work a moment later; the key is (dataset, config, code) and the stage, as in the records.
    """
    name = function.__name__
    return StageTask(
        task(
            name=name,
            task_run_name=name,
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF_S),
            retry_jitter_factor=JITTER,
            retry_condition_fn=may_pass,
            cache_key_fn=cache_key,
            persist_result=True,
            result_serializer="json",
        )(function)
    )


def cache_key(run: Any, parameters: dict[str, Any]) -> str:
    """Return the cache key of a stage of a job."""
    (job,) = parameters.values()
    return f"{job.name}-{run.task.name}-{job.key}"


def may_pass(_task: object, _run: object, state: Any) -> bool:
    """Whether a failure may be gone a moment later: I/O, a lock, tracking; never bad data."""
    try:
        error = state.result(raise_on_failure=False)
    except Exception:
        return False
    return is_transient(error)


def is_transient(error: object) -> bool:
    """Whether an error is one of the moment."""
    if isinstance(error, OSError):
        return not disk_full(error)
    return isinstance(error, TransientError)


def run(name: str, cell: Cell) -> StageRecord:
    """Run a stage of a cell with this run's context, show its findings, and return its record.

    Raises:
        BlockedError: when findings stop the cell.
        NotApplicableError: when the family cannot apply to the dataset.
        InterruptedTraining: when it was asked to stop.
    """
    return run_with(run_stage, name, cell)


def run_with(call: Callable[[str, JobT, StageContext], StageRecord], name: str, job: JobT) -> StageRecord:
    """Run a stage by `call` with this run's context, as `run` does."""
    given = context.get() or StageContext(home())
    with StopOnSignal() as stop:
        record = call(name, job, replace(given, should_stop=lambda: stop.asked() or given.should_stop()))
    show_findings(job, name, record.findings)
    for finding in record.findings:
        logger.warning("%s: %s", job.name, finding.line())
    if record.status == "blocked":
        raise BlockedError(record.error, hint=record.hint, codes=tuple(f.code for f in record.findings))
    if record.status == "not_applicable":
        raise NotApplicableError(record.error, hint=record.hint)
    return record


def reference_to(record: StageRecord) -> StageRef:
    """Return the reference to a record."""
    made = sha256_json([record.started_at, sorted(f.sha256 for f in record.files)])
    return StageRef(stage=record.stage, cell_key=record.cell_key, status=record.status, made=made)


def reference(place: Home, cell_key: str, name: str) -> StageRef | None:
    """Return the reference to a stage's record; None unless it is done and intact."""
    record = read_record(place, cell_key, name)
    return reference_to(record) if record is not None and record.status == "done" else None
