"""One process at a time per cell: an advisory file lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.errors import TransientError
from nightshift.settings import Home


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
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(busy or f"'{name}' is in use by another process.", hint="Try again later.") from None
        yield
    finally:
        os.close(fd)


def is_held(home: Home, name: str) -> bool:
    """Whether a process holds the lock now."""
    path = lock_path(home, name)
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
