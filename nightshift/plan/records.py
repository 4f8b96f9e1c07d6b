"""Stage records: one JSON per finished stage under `work/<cell_key>/`, renamed into place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.files import sha256_file, write_atomic
from nightshift.findings import Finding
from nightshift.settings import Home

STAGES = ("load", "validate", "train", "evaluate", "export", "register", "report")
#: What a job writes of its progress, in its folder under `work/`.
PROGRESS = "progress.jsonl"


class Job(Protocol):
    """Work in stages that leaves records: a cell, or a synthesis.

    Attributes:
        key: names its folder under `work/`.
        name: for people, and of its artifacts.
        label: what a progress bar of it is called.
    """

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def label(self) -> str: ...  # noqa: D102


class FileRecord(BaseModel):
    """A file that a stage made: path relative to the home, and what it held."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    size: int
    mtime_ns: int

    def intact(self, home: Home) -> bool:
        """Whether the file is still what was recorded; reads it only when its stamp has changed."""
        # Text, not Path: a plan of a fleet asks this a hundred thousand times.
        path = os.path.join(home.root, self.path)
        try:
            stat = os.stat(path)
        except OSError:
            return False
        if stat.st_size != self.size:
            return False
        return stat.st_mtime_ns == self.mtime_ns or sha256_file(Path(path)) == self.sha256


class StageRecord(BaseModel):
    """What a stage left behind.

    Attributes:
        status: `done`, `blocked` (by findings), `not_applicable`, `failed`, `pending` (register: MLflow unreachable).
        seconds: wall time.
        files: what it wrote that later stages read.
        summary: small facts for later stages and people.
        error: one line, when it did not end well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    cell_key: str
    status: Literal["done", "blocked", "not_applicable", "failed", "pending"]
    started_at: str
    seconds: float
    files: tuple[FileRecord, ...] = ()
    summary: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    error: str = ""
    hint: str = ""


def work_folder(home: Home, cell_key: str) -> Path:
    """Return the cell's folder."""
    return home.work / cell_key


def write_record(home: Home, record: StageRecord) -> Path:
    """Write a record atomically and return its path."""
    path = work_folder(home, record.cell_key) / f"{record.stage}.json"
    write_atomic(path, record.model_dump_json(indent=1).encode())
    return path


def read_record(home: Home, cell_key: str, stage: str) -> StageRecord | None:
    """Return a stage's record; None when there is none, it cannot be read, or its files are missing or altered."""
    try:
        with open(os.path.join(work_folder(home, cell_key), f"{stage}.json"), "rb") as file:
            record = StageRecord.model_validate_json(file.read())
    except (OSError, ValidationError):
        return None
    return record if all(f.intact(home) for f in record.files) else None


def record_files(home: Home, paths: Iterable[Path]) -> tuple[FileRecord, ...]:
    """Describe files (folders: all files below) for a record."""
    found: list[FileRecord] = []
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            stat = file.stat()
            relative = file.relative_to(home.root).as_posix()
            found.append(
                FileRecord(path=relative, sha256=sha256_file(file), size=stat.st_size, mtime_ns=stat.st_mtime_ns)
            )
    return tuple(found)
