"""nuPlan's log database, opened to be read only: its tables and columns are checked before anything is asked of it.

Source: Karnchanachari et al., "Towards learning-based planning: the nuPlan benchmark", 2024 (arXiv 2403.04133), and the
devkit's documented schema (docs/nuplan_schema.md).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nightshift.errors import DataError, first_line

#: What is read of each table.
TABLES: dict[str, tuple[str, ...]] = {
    "log": ("token", "vehicle_name", "date", "logfile", "location"),
    "ego_pose": ("token", "timestamp", "x", "y", "qw", "qx", "qy", "qz"),
    "lidar_pc": ("token", "ego_pose_token", "scene_token", "timestamp"),
    "lidar_box": ("lidar_pc_token", "track_token", "x", "y", "yaw"),
    "track": ("token", "category_token", "width", "length"),
    "category": ("token", "name"),
    "scene": ("token", "name"),
    "scenario_tag": ("lidar_pc_token", "type"),
}
_SQLITE = b"SQLite format 3\x00"
_AGAIN = "Fetch the log again, or leave it out."
_MOST_ROWS = 2_000_000
Row = tuple[Any, ...]


@dataclass(frozen=True)
class LogDatabase:
    """An open log."""

    name: str
    connection: sqlite3.Connection

    def rows(self, query: str, *values: Any) -> list[Row]:
        """Return what a query finds.

        Raises:
            DataError: when the file is damaged there, or that is more than any log holds.
        """
        try:
            found = self.connection.execute(query, values).fetchmany(_MOST_ROWS + 1)
        except UnicodeDecodeError as error:  # SQLite quotes the damaged place, and Python cannot read the quotation
            raise DataError(f"{self.name} cannot be read: it is damaged.", hint=_AGAIN) from error
        except sqlite3.Error as error:
            raise DataError(f"{self.name} cannot be read: {first_line(error)}.", hint=_AGAIN) from error
        if len(found) > _MOST_ROWS:
            raise DataError(f"{self.name} has more than {_MOST_ROWS:,} rows in one scene.", hint=_AGAIN)
        return found


@contextmanager
def open_log(path: Path) -> Iterator[LogDatabase]:
    """Open a log.

    Raises:
        DataError: when it is no SQLite file, is damaged, or lacks a table or column of nuPlan's schema.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SQLITE))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the path.") from error
    if begin != _SQLITE:
        raise DataError(f"{path.name} is no SQLite database.", hint="nuPlan's logs are: give their .db files.")
    try:
        # Immutable: nothing is written beside a log, be it a journal or a lock.
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error as error:
        raise DataError(f"{path.name} cannot be opened: {error}.", hint=_AGAIN) from error
    try:
        log = LogDatabase(path.name, connection)
        # Damaged text is no reason to stop: of names nothing depends.
        connection.text_factory = _text
        # What a stranger's schema computes is not run.
        connection.execute("PRAGMA trusted_schema=OFF")
        _check_schema(log)
        yield log
    finally:
        connection.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _check_schema(log: LogDatabase) -> None:
    there = {row[0] for row in log.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, wanted in TABLES.items():
        if table not in there:
            raise DataError(f"{log.name} has no table '{table}', which nuPlan's logs have.", hint=_AGAIN)
        columns = {row[0] for row in log.rows("SELECT name FROM pragma_table_info(?)", table)}
        missing = [c for c in wanted if c not in columns]
        if missing:
            raise DataError(f"{log.name}: its table '{table}' has no column '{missing[0]}'.", hint=_AGAIN)
