"""Runs the stages of one cell in order, and leaves a record of each that ended.

`load → validate → train → evaluate → export → register → report`. A stage whose record is intact is not run again,
so a second run of an up-to-date cell does no work and a crashed one goes on where it stopped.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from nightshift import families
from nightshift.errors import (
    BlockedError,
    InterruptedTraining,
    NightshiftError,
    NotApplicableError,
    TrainingError,
    TransientError,
)
from nightshift.family import Family, FamilyConfig, Limits, RunContext, time_limit_s
from nightshift.files import disk_full, write_atomic
from nightshift.findings import Finding, finding, unmuted
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, StageRecord, read_record, record_files, work_folder, write_record
from nightshift.plan.state import remember
from nightshift.progress import FileSink, ProgressEvent, Sink, Throttle, fan_out, read_events
from nightshift.settings import Home

logger = logging.getLogger("nightshift")


@dataclass(frozen=True)
class StageContext:
    """What the chain is run with.

    Attributes:
        home: where everything is kept.
        progress: takes progress events, beside the cell's own `progress.jsonl`.
        should_stop: true when training should record its checkpoint and stop.
        threads: processor threads that the cell may use.
    """

    home: Home
    progress: Sink = lambda _event: None
    should_stop: Callable[[], bool] = lambda: False
    threads: int = 2

    def work(self, cell: Cell) -> Path:
        """Return the cell's work folder."""
        return work_folder(self.home, cell.key)

    def sink(self, cell: Cell) -> Sink:
        """Return where this cell's events go."""
        return Throttle(fan_out(FileSink(self.work(cell) / "progress.jsonl"), self.progress), interval_s=0.5)


@dataclass(frozen=True)
class StageResult:
    """What a stage function returns: `files` are recorded with their hashes."""

    status: Literal["done", "blocked", "not_applicable", "pending"] = "done"
    files: tuple[Path, ...] = ()
    summary: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    error: str = ""
    hint: str = ""


def begin(cell: Cell, ctx: StageContext) -> None:
    """Note that work on a cell begins; a forced cell's earlier records are set aside, not deleted.

    Raises:
        NightshiftError: when the disk is full.
    """
    with _disk():
        if cell.forced:
            _set_aside(ctx.work(cell))
        if journal.is_open(ctx.home, cell.key):
            # A crash came between the record and the registry: the stage is idempotent and finishes what it began.
            (ctx.work(cell) / "register.json").unlink(missing_ok=True)
        remember(ctx.home, cell)


def run_chain(cell: Cell, ctx: StageContext) -> list[StageRecord]:
    """Run all stages of a cell under its lock; stops after a blocked one.

    Raises:
        NightshiftError: when a stage fails; its record says why.
        TransientError: when another process trains the cell.
    """
    with lock.held(ctx.home, cell.key, busy=f"{cell.name} is being trained by another process."):
        begin(cell, ctx)
        records: list[StageRecord] = []
        for name in STAGES:
            records.append(run_stage(name, cell, ctx))
            if records[-1].status in ("blocked", "not_applicable"):
                break
        return records


def run_stage(name: str, cell: Cell, ctx: StageContext) -> StageRecord:
    """Run one stage unless its record is intact, and return its record.

    Raises:
        NightshiftError: when the stage fails; a `failed` record is left.
        InterruptedTraining: when it was asked to stop; no record is left.
    """
    kept = read_record(ctx.home, cell.key, name)
    if kept is not None and kept.status == "done":
        logger.info("%s: %s is up to date, nothing to do", cell.name, name)
        return kept
    remarks = _begun_anew(cell, ctx) if name == "train" and kept is None else ()
    _forget_from(name, ctx.work(cell))
    sink = ctx.sink(cell)
    sink(ProgressEvent(cell=cell.key, stage=name, message=f"{cell.name}: {name}"))
    started, clock = _now(), time.perf_counter()
    try:
        with _disk():
            result = _guarded(name, cell, ctx)
            record = StageRecord(
                stage=name,
                cell_key=cell.key,
                status=result.status,
                started_at=started,
                seconds=round(time.perf_counter() - clock, 3),
                files=record_files(ctx.home, result.files),
                summary=result.summary,
                findings=tuple(unmuted((*remarks, *result.findings), config_of(cell).mute)),
                error=result.error,
                hint=result.hint,
            )
            write_record(ctx.home, record)
    except InterruptedTraining:
        raise
    except NightshiftError as error:
        if ctx.should_stop():
            # The signal reaches the stage's own child processes too: their end is not its failure.
            raise InterruptedTraining(f"{cell.name}: {name} was stopped.", hint="Run it again to go on.") from error
        _record_failure(name, cell, ctx, started, time.perf_counter() - clock, error)
        raise
    if record.status in ("blocked", "not_applicable"):
        _tell_in_report(cell, ctx)
    sink(ProgressEvent(cell=cell.key, stage=name, step=1, total=1, message=f"{name} {record.status}"))
    return record


def family_of(cell: Cell) -> Family:
    """Return the cell's family."""
    return families.get(cell.family)


def config_of(cell: Cell) -> FamilyConfig:
    """Return the cell's config, validated."""
    return family_of(cell).config.model_validate(cell.config["config"])


def limits_of(cell: Cell) -> Limits:
    """Return the target's limits for the cell's family."""
    return Limits.model_validate(cell.config["limits"])


def run_context(cell: Cell, ctx: StageContext, stage: str) -> RunContext:
    """Return what a family is given in a stage."""
    config = config_of(cell)
    work = ctx.work(cell)
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return RunContext(
        cell=cell.key,
        seed=config.seed,
        limits=limits_of(cell),
        work=scratch,
        checkpoints=work / "checkpoints",
        time_limit_s=time_limit_s(config),
        device=config.device,
        threads=ctx.threads,
        progress=ctx.sink(cell),
        should_stop=ctx.should_stop,
        stage=stage,
    )


# The last fitted model of this process: evaluate and export need what train has just made.
_last_fitted: dict[str, Any] = {}


def keep_fitted(cell: Cell, fitted: object) -> None:
    """Keep a fitted model in memory for the cell's next stages."""
    _last_fitted.clear()
    _last_fitted[cell.key] = fitted


def forget_fitted() -> None:
    """Give the memory of the last fitted model back."""
    _last_fitted.clear()


def fitted_of(cell: Cell, ctx: StageContext) -> Any:
    """Return the cell's fitted model: the one in memory, else loaded from `native/`."""
    if cell.key not in _last_fitted:
        keep_fitted(cell, family_of(cell).load(ctx.work(cell) / "native"))
    return _last_fitted[cell.key]


def _guarded(name: str, cell: Cell, ctx: StageContext) -> StageResult:
    """Call the stage; a stop becomes a status, and an unforeseen exception a readable error."""
    try:
        result: StageResult = importlib.import_module(f"nightshift.stages.{name}").run(cell, ctx)
        return result
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
            raise _unforeseen(name, cell, ctx, error) from error
        raise TransientError(f"{name}: {error}.", hint="It is tried again.") from error
    except Exception as error:
        raise _unforeseen(name, cell, ctx, error) from error


def _unforeseen(name: str, cell: Cell, ctx: StageContext, error: Exception) -> TrainingError:
    log = ctx.work(cell) / "error.log"
    write_atomic(log, traceback.format_exc().encode())
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return TrainingError(
        f"{cell.name}: {name} failed: {type(error).__name__}: {first[:300]}",
        hint=f"The traceback is in {log.relative_to(ctx.home.root)}.",
    )


def _record_failure(
    name: str, cell: Cell, ctx: StageContext, started: str, seconds: float, error: NightshiftError
) -> None:
    record = StageRecord(
        stage=name,
        cell_key=cell.key,
        status="failed",
        started_at=started,
        seconds=round(seconds, 3),
        error=error.what,
        hint=error.hint,
    )
    try:
        write_record(ctx.home, record)
    except OSError:
        logger.warning("%s: the failure of %s could not be recorded", cell.name, name)
        return
    _tell_in_report(cell, ctx)


def _tell_in_report(cell: Cell, ctx: StageContext) -> None:
    """Renew the machine's report: a cell that stops never reaches the stage that does, and people look there."""
    from nightshift.tracking.report import write_report

    try:
        write_report(ctx.home, cell.subject)
    except Exception as error:
        # Why the cell stopped matters more than that the report could not be written.
        logger.warning("%s: the report could not be renewed: %s", cell.name, error)


def _begun_anew(cell: Cell, ctx: StageContext) -> tuple[Finding, ...]:
    """Remark on a training that was cut off, of a family that keeps no checkpoint."""
    if family_of(cell).checkpoints:
        return ()
    told = [e for e in read_events(ctx.work(cell) / "progress.jsonl") if e.stage == "train"]
    # A training that ended says so last; its record may have gone since, with an earlier stage's.
    if not told or told[-1].message.startswith("train "):
        return ()
    return (finding("R003", f"An earlier training was cut off; '{cell.family}' keeps no checkpoint and began anew."),)


def _forget_from(name: str, work: Path) -> None:
    """Delete the records of a stage and of those after it: they speak of what is about to change."""
    for later in STAGES[STAGES.index(name) :]:
        (work / f"{later}.json").unlink(missing_ok=True)


def _set_aside(work: Path) -> None:
    if not (work / "cell.json").exists():
        return
    n = 1 + sum(1 for _ in work.parent.glob(f"{work.name}.*"))
    work.rename(work.with_name(f"{work.name}.{n}"))
    shutil.rmtree(work.with_name(f"{work.name}.{n}") / "scratch", ignore_errors=True)


class _disk:  # noqa: N801 - reads as a statement: `with _disk():`
    """Turns "no space left" into one readable error."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if why := disk_full(error):
            raise NightshiftError(
                f"{why.capitalize()}.", hint="Free space under NIGHTSHIFT_HOME and run the same command again."
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
