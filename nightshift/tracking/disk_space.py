"""How much room a removal frees: a file that is linked from elsewhere frees none until its last link goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# POSIX: `st_blocks` counts these, whatever the file system's own block is.
_BLOCK = 512


class Ledger:
    """Counts the room that goes free when one path after the other is removed."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], int] = {}

    def freed(self, paths: Iterable[Path]) -> int:
        """Return the bytes that go with these paths and those counted before; links that stay elsewhere keep a file."""
        return sum(self._of(stat) for path in paths for stat in _stats(path))

    def _of(self, stat: os.stat_result) -> int:
        if stat.st_nlink <= 1:
            return stat.st_blocks * _BLOCK
        key = (stat.st_dev, stat.st_ino)
        self._links[key] = self._links.get(key, 0) + 1
        return stat.st_blocks * _BLOCK if self._links[key] == stat.st_nlink else 0


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Yield every plain file at or below a path; one that goes meanwhile is passed over."""
    try:
        if path.is_dir() and not path.is_symlink():
            for entry in os.scandir(path):
                yield from _stats(Path(entry.path))
        else:
            yield path.lstat()
    except OSError:
        return
