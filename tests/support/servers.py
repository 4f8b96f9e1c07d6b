"""Prefect's empty database, kept from the suite's first server for the next: a first start is 14 s of CPU, or 8."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nightshift.settings import Home

_NAME = "prefect.db"


@dataclass(frozen=True)
class EmptyDatabase:
    """A database as Prefect's migrations leave it, once a server has made one.

    Attributes:
        path: where it is kept, for all processes of a run of the suite.
    """

    path: Path

    def into(self, home: Home) -> None:
        """Let a home without a server begin with it; where there is none yet, its server makes its own."""
        if self.path.is_file():
            home.prefect.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, home.prefect / _NAME)

    def keep(self, home: Home) -> None:
        """Keep that of a home whose server has just come up and knows nothing yet."""
        if self.path.is_file():
            return
        made = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        # A server is at work on it: SQLite's own way to copy.
        with closing(sqlite3.connect(home.prefect / _NAME)) as there, closing(sqlite3.connect(made)) as here:
            there.backup(here)
        made.replace(self.path)
