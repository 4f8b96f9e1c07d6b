"""Trains the cells of a batch, each in a process of its own: limits on time and memory, and no failure spreads."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from uuid import uuid4

from pydantic import ValidationError

from nightshift import families
from nightshift.errors import InterruptedTraining, NightshiftError, ServiceError
from nightshift.plan import lock, shared
from nightshift.plan.batch import GRACE_S, BatchOptions, CellRef, each_once, wants_gpu
from nightshift.plan.cell import Cell
from nightshift.plan.options import settings_of
from nightshift.plan.outcome import UNCHANGED, CellOutcome, outcome_of, outcome_of_error
from nightshift.plan.records import STAGES, StageRecord, read_record, work_folder, write_record
from nightshift.plan.state import TRAINED, State, make_cell, state
from nightshift.settings import Home
from nightshift.stages.batch_cell import unforced_if_begun
from nightshift.stages.batch_children import Child, Children
from nightshift.stages.batch_job import CellEnd, CellJob
from nightshift.stages.batch_limits import processes_for, room_now, usage_of
from nightshift.stages.batch_slots import Slot, Slots
from nightshift.stages.recorded import disk_errors, now

logger = logging.getLogger("nightshift")

POLL_S = 1.0
#: Memory that grows does not wait as long as time does.
_MEMORY_GRACE_S = 5.0
_ELSEWHERE = "another run has trained it meanwhile"
# Threads that may wait for a GPU beside those whose cells run.
_MAX_WAITING = 32

Cause = Literal["", "stop", "time", "memory"]


@dataclass
class _Watched:
    """A cell's process as its batch sees it; `cause` is why it was told to stop."""

    began: float
    cause: Cause = ""
    told: float = 0.0
    peak_gb: float = 0.0
    cpu_s: float = 0.0
    seconds: float = 0.0


@dataclass
class _Used:
    """What the processes of one cell have used, waiting left out."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0


class Batch:
    """The cells of one run; `run` may be called from `callers` threads at once.

    Args:
        home: where everything is kept.
        cells: to train; one that is named twice is trained once.
        options: what the batch may use.
        run_id: the same for every try of one run: what was forced by an earlier try is not forced again.
        should_stop: true when all cells are to keep what they have and end.
        gpu: holds a GPU for a cell that uses one; None = as many as want one may use it.
        cell_to_stop: whether the cell of this name is to keep what it has and end, and no other.
        look: is handed each cell that runs, about once a second.

    Attributes:
        cells: each once, in the order given.
        processes: how many run at once; fewer while other batches of this machine run.
        callers: threads that keep so many running, although some wait for a GPU.
        threads: that each cell may use.

    Raises:
        CapacityError: when the machine has too little memory or disk for even one cell.
        ServiceError, TransientError: when the store that the machines share cannot be used.
    """

    def __init__(
        self,
        home: Home,
        cells: Sequence[CellRef],
        options: BatchOptions,
        *,
        run_id: str = "",
        should_stop: Callable[[], bool] = lambda: False,
        gpu: Callable[[Cell], AbstractContextManager[object]] | None = None,
        cell_to_stop: Callable[[str], bool] = lambda _name: False,
        look: Callable[[Cell], None] = lambda _cell: None,
    ) -> None:
        self.cells = each_once(cells)
        self._home, self._options, self._run_id = home, options, run_id or uuid4().hex
        self._should_stop, self._gpu, self._cell_to_stop, self._look = should_stop, gpu, cell_to_stop, look
        self._chosen = _known_families(self.cells)
        shared.sync(home)
        room = room_now(home)
        self._slots = Slots(home, options.processes or room.cores, options.cell_memory_gb, options.disk_mb_per_model)
        left = self._left()
        # What cells of other batches hold is free when they have ended: it is waited for.
        later = replace(room, memory_gb=room.memory_gb + self._slots.held_gb())
        self.processes = processes_for(len(left), options, later)
        self._slots.bound(self.processes)
        self.callers = self.processes + min(_MAX_WAITING, sum(map(wants_gpu, left)) if gpu else 0)
        self.threads = options.train.threads or max(1, room.cores // self.processes)
        self._children: Children | None = None
        self._lock = threading.Lock()
        self._results = home.tmp / "batch"
        _sweep(self._results)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs."""
        if self._children is not None:
            self._children.close()

    def run(self, ref: CellRef) -> CellOutcome | None:
        """Train a cell unless it is up to date; None when it was stopped on request.

        A cell that another run trains is waited for, and is not trained again.
        """
        clock, used = time.perf_counter(), _Used()
        try:
            with disk_errors():
                outcome = self._settle(self._cell(ref), used)
        except InterruptedTraining:
            outcome = None
        except Exception as error:
            if not isinstance(error, NightshiftError):
                logger.exception("%s: unforeseen", ref.name)
            # A stop ends the fork server too, were it still loading what the cells need.
            stopped = isinstance(error, ServiceError) and self._should_stop()
            outcome = None if stopped else outcome_of_error(ref.subject, ref.family, ref.target, error)
        if outcome is None:
            logger.warning("%s: stopped on request", ref.name)
            return None
        seconds = used.seconds or time.perf_counter() - clock
        figures = {"seconds": seconds, "cpu_s": used.cpu_s, "gpu_s": used.gpu_s}
        outcome = outcome.model_copy(update={name: round(value, 3) for name, value in figures.items()})
        logger.info("%s: %s. %s", ref.name, outcome.ending, outcome.reason)
        return outcome

    def _cell(self, ref: CellRef) -> Cell:
        options = self._options.train
        file = Path(options.config_file) if options.config_file else None
        params = settings_of(options, ref.family, self._chosen)
        cell = make_cell(self._home, ref.subject, ref.family, ref.target, file=file, params=params, forced=ref.forced)
        return unforced_if_begun(self._home, cell, self._run_id)

    def _left(self) -> list[Cell]:
        """Return the cells that are not up to date, without those that cannot even be made."""
        left = []
        for ref in self.cells:
            with suppress(NightshiftError):
                cell = self._cell(ref)
                if cell.forced or state(self._home, cell).state not in TRAINED:
                    left.append(cell)
        return left

    def _settle(self, cell: Cell, used: _Used) -> CellOutcome | None:
        """Bring a cell to its end: nothing to do, another run's, or a process of its own."""
        limit_s = self._options.longest_wait_s
        began, waited = time.monotonic(), False
        while not self._is_to_stop(cell):
            found = state(self._home, cell).state
            if found is State.TRAINING:
                if limit_s is not None and time.monotonic() - began >= limit_s:
                    reason = f"another run still trains it after {limit_s:g} s."
                    return outcome_of(self._home, cell, "failed", reason=reason, hint="Try again when that has ended.")
                if not waited:
                    logger.info("%s: another run trains it; waiting", cell.name)
                waited = True
                time.sleep(POLL_S)
                continue
            if found in TRAINED and (waited or not cell.forced):
                return outcome_of(self._home, cell, "up to date", reason=_ELSEWHERE if waited else UNCHANGED)
            end, outcome = self._train(cell, used)
            if end != "busy":
                return outcome
            waited = True
        return None

    def _train(self, cell: Cell, used: _Used) -> tuple[Literal["ended", "busy", "stopped"], CellOutcome | None]:
        """Train a cell in a process of its own; tells how that ended, and the outcome if there is one.

        Who waits for a GPU holds no core meanwhile.
        """
        gpu = self._gpu if wants_gpu(cell) else None
        with ExitStack() as held:
            if gpu is not None:
                held.enter_context(gpu(cell))
            since = time.perf_counter()
            slot = held.enter_context(self._slots.one(lambda: self._is_to_stop(cell)))
            began = time.perf_counter()
            try:
                return self._train_in(slot, cell, used)
            finally:
                used.seconds += time.perf_counter() - began
                used.gpu_s += time.perf_counter() - since if gpu is not None else 0.0

    def _train_in(
        self, slot: Slot, cell: Cell, used: _Used
    ) -> tuple[Literal["ended", "busy", "stopped"], CellOutcome | None]:
        result = self._results / f"{os.getpid()}-{uuid4().hex}.json"
        job = self._job(cell, result)
        Path(job.log).unlink(missing_ok=True)
        try:
            child = self._fork_server().start(job)
            watched = self._watch(cell, child, slot)
            end = _read_end(result)
        finally:
            result.unlink(missing_ok=True)
        used.cpu_s += watched.cpu_s
        logger.info(
            "%s: its process held %.2f GB at most, and a processor for %.1f s",
            cell.name,
            watched.peak_gb,
            watched.cpu_s,
        )
        if end is not None and end.what != "stopped":
            return end.what, end.outcome
        if watched.cause == "stop":
            return "stopped", None
        return "ended", self._failed(cell, self._why(cell, child, watched, Path(job.log)))

    def _job(self, cell: Cell, result: Path, *, report_only: bool = False) -> CellJob:
        log = self._home.logs / "cells" / f"{cell.name}.log"
        return CellJob(
            cell=cell,
            threads=self.threads,
            run_id=self._run_id,
            result=str(result),
            log=str(log),
            report_only=report_only,
        )

    def _fork_server(self) -> Children:
        """Return the fork server; a new one when the last has died, as by the kernel's out-of-memory killer."""
        with self._lock:
            if self._children is None or not self._children.alive:
                if self._children is not None:
                    self._children.close()
                self._children = Children(self._home, self._chosen, self.threads)
            return self._children

    def _watch(self, cell: Cell, child: Child, slot: Slot) -> _Watched:
        """Hold a process to its limits until it has ended: SIGTERM, and SIGKILL after a grace."""
        seen = _Watched(began=time.monotonic())
        while not child.ended_within(POLL_S):
            self._look(cell)
            now_used = usage_of(child.pid)
            slot.note(child.pid)
            seen.peak_gb = max(seen.peak_gb, now_used.memory_gb)
            # Helpers that nobody has waited for are not in what the system tells at its end.
            seen.cpu_s = max(seen.cpu_s, now_used.cpu_s)
            seen.seconds = time.monotonic() - seen.began
            if not seen.cause:
                seen.cause, seen.told = self._cause(cell, now_used.memory_gb, seen.seconds), time.monotonic()
            if seen.cause:
                grace_s = _MEMORY_GRACE_S if seen.cause == "memory" else GRACE_S
                late = time.monotonic() - seen.told > grace_s
                child.signal(signal.SIGKILL if late else signal.SIGTERM)
        seen.cpu_s = max(seen.cpu_s, child.cpu_s)
        return seen

    def _is_to_stop(self, cell: Cell) -> bool:
        return self._should_stop() or self._cell_to_stop(cell.name)

    def _cause(self, cell: Cell, held_gb: float, seconds: float) -> Cause:
        if self._is_to_stop(cell):
            return "stop"
        if held_gb > self._options.cell_memory_gb:
            return "memory"
        limit_s = self._options.cell_time_limit_s
        return "time" if limit_s is not None and seconds > limit_s else ""

    def _why(self, cell: Cell, child: Child, watched: _Watched, log: Path) -> tuple[str, str]:
        """Return why a process left no outcome, and what can be done."""
        stage = self._stage(cell)
        if watched.cause == "memory":
            limit_gb = self._options.cell_memory_gb
            return (
                f"{stage} was stopped: its processes held {watched.peak_gb:.2f} GB, a cell may hold {limit_gb:g} GB.",
                "Raise cell_memory_gb, or lower the family's budget (rows, trees, window).",
            )
        if watched.cause == "time":
            return (
                f"{stage} was stopped after {watched.seconds:.0f} s, a cell may take "
                f"{self._options.cell_time_limit_s:g} s.",
                "Raise cell_time_limit_s, or lower the family's budget; what had ended is kept.",
            )
        shown = log.relative_to(self._home.root)
        if child.code is None:
            return f"{stage} ended with the process that all cells are forked from.", f"See {shown}; run it again."
        if child.code < 0:
            name = signal.Signals(-child.code).name
            memory = " A full memory is the usual reason." if -child.code == signal.SIGKILL else ""
            return f"{stage} ended because its process was killed by {name}.", f"{memory} See {shown}.".strip()
        if child.code == os.EX_IOERR:
            return f"{stage} ended because the disk is full.", "Free space under NIGHTSHIFT_HOME and run it again."
        return f"{stage} ended because its process left with code {child.code}.", f"See {shown}."

    def _stage(self, cell: Cell) -> str:
        """Return the first stage that has not ended well."""
        records = ((name, read_record(self._home, cell.key, name)) for name in STAGES)
        return next((name for name, record in records if record is None or record.status != "done"), STAGES[-1])

    def _failed(self, cell: Cell, why: tuple[str, str]) -> CellOutcome:
        """Record a failure that the process could not record itself, and return the outcome."""
        reason, hint = why
        record = StageRecord(
            stage=self._stage(cell),
            cell_key=cell.key,
            status="failed",
            started_at=now(),
            seconds=0.0,
            # Its next training is one that begins anew after it was cut off, and says so.
            summary={"cut_off": True},
            error=reason,
            hint=hint,
        )
        try:
            with lock.held(self._home, cell.key):
                if work_folder(self._home, cell.key).is_dir():
                    write_record(self._home, record)
            self._fork_server().start(self._job(cell, Path(), report_only=True)).ended_within(GRACE_S)
        except (lock.BusyError, ServiceError, OSError) as error:
            logger.warning("%s: the failure could not be recorded everywhere: %s", cell.name, error)
        return outcome_of(self._home, cell, "failed", reason=reason, hint=hint)


def _sweep(folder: Path) -> None:
    """Make a folder of results, and remove those that a batch which was killed could not read any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if not Path("/proc", path.name.partition("-")[0]).exists():
            path.unlink(missing_ok=True)


def _known_families(cells: Sequence[CellRef]) -> tuple[str, ...]:
    own = (families.ALIASES.get(ref.family, ref.family) for ref in cells)
    return tuple(dict.fromkeys(name for name in own if name in families.names()))


def _read_end(path: Path) -> CellEnd | None:
    try:
        return CellEnd.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
