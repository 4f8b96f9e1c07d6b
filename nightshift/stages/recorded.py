"""How any stage runs, of a cell or of a synthesis: timed, guarded against the unforeseen, and recorded when it ends."""

from __future__ import annotations

import itertools
import logging
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nightshift.errors import (
    BlockedError,
    InterruptedTraining,
    NightshiftError,
    NotApplicableError,
    TrainingError,
    TransientError,
    first_line,
)
from nightshift.files import disk_full, write_atomic
from nightshift.findings import Finding, unmuted
from nightshift.plan.records import PROGRESS, Job, StageRecord, record_files, work_folder, write_record
from nightshift.progress import FileSink, ProgressEvent, Sink, Throttle, fan_out
from nightshift.settings import Home

logger = logging.getLogger("nightshift")


@dataclass(frozen=True)
class StageContext:
    """What a chain of stages is run with.

    Attributes:
        home: where everything is kept.
        progress: takes progress events, beside the job's own `progress.jsonl`.
        should_stop: true when a stage should record its checkpoint and stop.
        threads: processor threads that the job may use.
        live: whether MLflow shows the epochs of a training while it runs.
        fit: takes the place of the family's own training, with its arguments: the model has been trained elsewhere.
    """

    home: Home
    progress: Sink = lambda _event: None
    should_stop: Callable[[], bool] = lambda: False
    threads: int = 2
    live: bool = True
    fit: Callable[..., Any] | None = None

    def work(self, job: Job) -> Path:
        """Return the job's work folder."""
        return work_folder(self.home, job.key)

    def sink(self, job: Job) -> Sink:
        """Return where this job's events go."""
        return Throttle(fan_out(FileSink(self.work(job) / PROGRESS), self.progress), interval_s=0.5)


@dataclass(frozen=True)
class StageResult:
    """What a stage function returns: `files` are recorded with their hashes."""

    status: Literal["done", "blocked", "not_applicable", "pending"] = "done"
    files: tuple[Path, ...] = ()
    summary: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    error: str = ""
    hint: str = ""


def run_recorded(
    name: str,
    job: Job,
    ctx: StageContext,
    call: Callable[[], StageResult],
    *,
    remarks: tuple[Finding, ...] = (),
    mute: Callable[[], tuple[str, ...]] = tuple,
) -> StageRecord:
    """Call a stage and write its record.

    Args:
        name: of the stage.
        job: that it belongs to.
        ctx: what it is run with.
        call: does the work.
        remarks: findings to put before the stage's own.
        mute: returns codes of findings to leave out; asked once the stage has ended.

    Raises:
        NightshiftError: when the stage fails; a `failed` record is left.
        InterruptedTraining: when it was asked to stop; no record is left.
    """
    sink = ctx.sink(job)
    sink(ProgressEvent(cell=job.key, stage=name, message=f"{job.name}: {name}"))
    started, clock = now(), time.perf_counter()
    try:
        with disk_errors():
            result = _guarded(name, job, ctx, call)
            record = StageRecord(
                stage=name,
                cell_key=job.key,
                status=result.status,
                started_at=started,
                seconds=round(time.perf_counter() - clock, 3),
                files=record_files(ctx.home, result.files),
                summary=result.summary,
                findings=tuple(unmuted((*remarks, *result.findings), mute())),
                error=result.error,
                hint=result.hint,
            )
            write_record(ctx.home, record)
    except InterruptedTraining:
        raise
    except NightshiftError as error:
        if ctx.should_stop():
            # The signal reaches the stage's own child processes too: their end is not its failure.
            raise InterruptedTraining(f"{job.name}: {name} was stopped.", hint="Run it again to go on.") from error
        _record_failure(name, job, ctx, started, time.perf_counter() - clock, error)
        raise
    sink(ProgressEvent(cell=job.key, stage=name, step=1, total=1, message=f"{name} {record.status}"))
    return record


def forget_from(name: str, stages: tuple[str, ...], work: Path) -> None:
    """Delete the records of a stage and of those after it: they speak of what is about to change."""
    for later in stages[stages.index(name) :]:
        (work / f"{later}.json").unlink(missing_ok=True)


def set_aside(work: Path, described: str) -> None:
    """Keep a forced job's earlier folder under a number, without its scratch; `described` is the job's own file."""
    if not (work / described).exists():
        return
    places = (work.with_name(f"{work.name}.{n}") for n in itertools.count(1))
    aside = next(place for place in places if not place.exists())
    work.rename(aside)
    shutil.rmtree(aside / "scratch", ignore_errors=True)


def _guarded(name: str, job: Job, ctx: StageContext, call: Callable[[], StageResult]) -> StageResult:
    """Call the stage; a stop becomes a status, and an unforeseen exception a readable error."""
    try:
        return call()
    except BlockedError as error:
        return StageResult(status="blocked", error=error.what, hint=error.hint)
    except NotApplicableError as error:
        return StageResult(status="not_applicable", error=error.what, hint=error.hint)
    except NightshiftError:
        raise
    except OSError as error:
        if disk_full(error):
            raise
        if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
            raise _unforeseen(name, job, ctx, error) from error
        raise TransientError(f"{name}: {error}.", hint="It is tried again.") from error
    except Exception as error:
        raise _unforeseen(name, job, ctx, error) from error


def _unforeseen(name: str, job: Job, ctx: StageContext, error: Exception) -> TrainingError:
    log = ctx.work(job) / "error.log"
    write_atomic(log, traceback.format_exc().encode())
    return TrainingError(
        f"{job.name}: {name} failed: {type(error).__name__}: {first_line(error, 300)}.",
        hint=f"The traceback is in {log.relative_to(ctx.home.root)}.",
    )


def _record_failure(
    name: str, job: Job, ctx: StageContext, started: str, seconds: float, error: NightshiftError
) -> None:
    record = StageRecord(
        stage=name,
        cell_key=job.key,
        status="failed",
        started_at=started,
        seconds=round(seconds, 3),
        error=error.what,
        hint=error.hint,
    )
    try:
        write_record(ctx.home, record)
    except OSError:
        logger.warning("%s: the failure of %s could not be recorded", job.name, name)


class disk_errors:  # noqa: N801 - reads as a statement: `with disk_errors():`
    """Turns "no space left" into one readable error."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if why := disk_full(error):
            raise NightshiftError(
                f"{why.capitalize()}.", hint="Free space under NIGHTSHIFT_HOME and run the same command again."
            ) from error


def now() -> str:
    """Return the time as records have it: ISO 8601 with Z."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
