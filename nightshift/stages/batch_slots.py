"""Slots that all batches on one machine share: together they run no more cells at once than it has room for.

A slot is a file lock, which ends with its process. The file says which process the cell is and what it may come to
hold, so that a start is admitted only where the memory promised to those that run is left too.
"""

from __future__ import annotations

import fcntl
import os
import platform
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from nightshift.errors import InterruptedTraining
from nightshift.plan import lock
from nightshift.plan.batch import CapacityError
from nightshift.settings import Home
from nightshift.stages.batch_limits import Room, no_disk, room_now, usage_of

#: How long a cell waits for memory that no cell of ours holds.
PATIENCE_S = 60.0
_POLL_S = (0.05, 0.25)
_ADMISSION = "slots"


class Slot:
    """A place that is held for one cell."""

    def __init__(self, fd: int, memory_gb: float) -> None:
        self._fd, self._memory_gb = fd, memory_gb
        self.note(0)

    def note(self, pid: int) -> None:
        """Write down which process it is held for; 0 = it has not started yet."""
        # On a full disk others know a little less.
        with suppress(OSError):
            os.pwrite(self._fd, f"{pid:10d} {self._memory_gb:12.3f}\n".encode(), 0)

    def release(self) -> None:
        """Give it back."""
        os.close(self._fd)


class Slots:
    """The slots of this machine, as one batch sees them.

    Args:
        home: where the locks are.
        at_once: cells of all batches together.
        memory_gb: that a cell of this batch may hold.
        disk_mb: that a cell of this batch may need.
    """

    def __init__(self, home: Home, at_once: int, memory_gb: float, disk_mb: float = 0.0) -> None:
        self._home, self._at_once, self._memory_gb, self._disk_mb = home, at_once, memory_gb, disk_mb
        self._own: threading.Semaphore | None = None
        # Machines that share a home do not share their cores.
        self._stem = f"{platform.node() or 'local'}-"

    def bound(self, processes: int) -> None:
        """Let this batch run so many of its cells at once."""
        self._own = threading.Semaphore(processes)

    def held_gb(self) -> float:
        """Return what the cells of all batches hold now: it is free when they have ended."""
        return sum(usage_of(other.pid).memory_gb for other in self._others())

    @contextmanager
    def one(self, should_stop: Callable[[], bool]) -> Iterator[Slot]:
        """Hold a slot while the body runs; waits for one.

        Raises:
            InterruptedTraining: when a stop is wished for meanwhile.
            CapacityError: when no cell runs, and the disk is too full or the memory stays used up.
        """
        while self._own is not None and not self._own.acquire(timeout=_POLL_S[1]):
            _go_on(should_stop)
        try:
            slot = self._taken(should_stop)
            try:
                yield slot
            finally:
                slot.release()
        finally:
            if self._own is not None:
                self._own.release()

    def _taken(self, should_stop: Callable[[], bool]) -> Slot:
        """Wait for a free slot with the memory and the disk for a cell."""
        lacking_since = 0.0
        while True:
            _go_on(should_stop)
            with lock.held(self._home, _ADMISSION, wait=True):
                others = self._others()
                fd = self._free()
                room = room_now(self._home)
                # Those that run may need as much as this one.
                on_disk = room.disk_mb >= self._disk_mb * (len(others) + 1)
                if fd is not None and on_disk and self._lacking_gb(others, room) <= 0:
                    return Slot(fd, self._memory_gb)
                if fd is not None:
                    os.close(fd)
            if not others and not on_disk:
                raise no_disk(self._disk_mb, room)
            if others:
                lacking_since = 0.0
            elif not lacking_since:
                lacking_since = time.monotonic()
            elif time.monotonic() - lacking_since > PATIENCE_S:
                raise CapacityError(
                    f"a cell may hold {self._memory_gb:g} GB of memory; {room.memory_gb:.1f} GB are "
                    "free, and no other cell runs.",
                    hint="Stop what holds the rest, or lower cell_memory_gb.",
                )
            # At random, so that no batch is always the first to look.
            time.sleep(random.uniform(*_POLL_S))

    def _lacking_gb(self, others: Iterable[_Noted], room: Room) -> float:
        """Return by how much the free memory is too little for a cell beside what the running ones may come to hold."""
        promised = sum(max(0.0, other.limit_gb - usage_of(other.pid).memory_gb) for other in others)
        return self._memory_gb + promised - room.memory_gb

    def _free(self) -> int | None:
        """Return the open file of a slot that is now held, None when there is no free one."""
        for number in range(self._at_once):
            path = lock.lock_path(self._home, f"slot-{self._stem}{number}")
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
            else:
                return fd
        return None

    def _others(self) -> list[_Noted]:
        """Return what is noted in the slots that are held."""
        found = self._home.locks.glob(f"slot-{self._stem}*.lock")
        return [_noted(path) for path in found if lock.is_held(self._home, path.stem)]


class _Noted(NamedTuple):
    """The process that a slot is held for, 0 = it has not started yet, and what it may hold."""

    pid: int = 0
    limit_gb: float = 0.0


def _noted(path: Path) -> _Noted:
    try:
        pid, limit_gb = path.read_text(encoding="ascii").split()
        return _Noted(int(pid), float(limit_gb))
    except (OSError, ValueError):
        return _Noted()


def _go_on(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise InterruptedTraining("It was stopped while it waited for a free slot.")
