"""Prefect's databases, kept from the suite's first server for the next: a first start is 14 s of CPU, or 8.

What `deploy` makes of it is kept too: 10 s, in Prefect's own command and in the server.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightshift.settings import Home

_NAME = "prefect.db"


@dataclass(frozen=True)
class KeptDatabase:
    """A database as a server has left it that was asked for nothing yet.

    Attributes:
        path: where it is kept, for all processes of a run of the suite.
        before: what a home begins with while this one is not kept.
    """

    path: Path
    before: KeptDatabase | None = None

    def into(self, home: Home) -> None:
        """Let a home without a server begin with it; where there is none yet, its server makes its own."""
        if self.path.is_file():
            home.prefect.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, home.prefect / _NAME)
        elif self.before is not None:
            self.before.into(home)

    def keep(self, home: Home) -> None:
        """Keep that of a home whose server knows nothing else."""
        if self.path.is_file():
            return
        made = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        # A server is at work on it: SQLite's own way to copy.
        with closing(sqlite3.connect(home.prefect / _NAME)) as there, closing(sqlite3.connect(made)) as here:
            there.backup(here)
        made.replace(self.path)

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Let the other processes wait, so that one makes it and they find it."""
        with self.path.with_suffix(".lock").open("w") as one:
            fcntl.flock(one, fcntl.LOCK_EX)
            yield
