"""One process at a time per cell: an advisory file lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.errors import TransientError
from nightshift.settings import Home

# A lock that is asked after is free again within this.
_READER_S = 0.005


class BusyError(TransientError):
    """Another process holds the lock."""


def lock_path(home: Home, name: str) -> Path:
    """Return the lock file of a name."""
    return home.locks / f"{name}.lock"


@contextmanager
def held(home: Home, name: str, *, wait: bool = False, busy: str = "") -> Iterator[None]:
    """Hold a lock while the body runs.

    Args:
        wait: wait for another holder instead of raising.
        busy: the message when another process holds it.

    Raises:
        BusyError: when another process holds it and `wait` is false.
    """
    path = lock_path(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _locked(path, wait)
    if fd is None:
        raise BusyError(busy or f"'{name}' is in use by another process.", hint="Try again later.")
    try:
        yield
    finally:
        os.close(fd)


def forget(home: Home, name: str) -> None:
    """Remove the file of a lock that this process holds, where nobody will ask for its name again."""
    lock_path(home, name).unlink(missing_ok=True)


def _locked(path: Path, wait: bool) -> int | None:
    """Return the open and locked file, None when another process holds it.

    The file may have been removed between the opening and the locking: then its lock keeps nobody out.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.fstat(fd).st_ino == path.stat().st_ino:
                return fd
        except BlockingIOError:
            if _held_alone(fd):
                os.close(fd)
                return None
            time.sleep(random.uniform(0.0, _READER_S))
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_held(home: Home, name: str) -> bool:
    """Whether a process holds the lock now; keeps nobody from it."""
    path = lock_path(home, name)
    if not path.exists():
        return False
    with path.open("rb") as file:
        return _held_alone(file.fileno())


def _held_alone(fd: int) -> bool:
    """Whether somebody holds the lock of an open file, not counting who asks just that as this does.

    Askers share the lock for a moment: they do not see each other, and a holder to be tells them from one that stays.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
