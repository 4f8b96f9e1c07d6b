"""Who did what through the dashboard: one JSON line each in `.nightshift/logs/audit.jsonl`, only ever added to."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.errors import without_credentials
from nightshift.settings import Home

#: A line is rarely longer than 300 bytes: the end of the file holds the newest.
_END_BYTES = 256 * 1024
_LONGEST = 500

logger = logging.getLogger("nightshift.dashboard")


class Note(BaseModel):
    """One line.

    Attributes:
        at: ISO 8601, with Z.
        user: who did it.
        did: a verb, such as `started`.
        what: that it was done to, such as a job or a model's name.
        details: whatever else tells one deed from another.
    """

    model_config = ConfigDict(frozen=True)

    at: str
    user: str
    did: str
    what: str
    details: dict[str, Any] = Field(default_factory=dict)


class Audit:
    """The log of a home."""

    def __init__(self, home: Home) -> None:
        self.path = home.logs / "audit.jsonl"

    def note(self, user: str, did: str, what: str, **details: Any) -> None:
        """Add a line: `audit.note(user.name, "started", job_id, machine="press-1")`.

        Where it cannot be written, the log of the dashboard has it: what was done stays done.

        Args:
            details: values that JSON holds, or that can be shown as text; no secrets.
        """
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        shown = {key: without_credentials(value) if isinstance(value, str) else value for key, value in details.items()}
        note = Note(at=at, user=user[:_LONGEST], did=did, what=without_credentials(what)[:_LONGEST], details=shown)
        line = json.dumps(note.model_dump(), default=str) + "\n"
        try:
            self._add(line.encode())
        except OSError as error:
            logger.error("%s cannot be written (%s): %s", self.path, error.strerror or error, line.rstrip())

    def _add(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One write to the end of the file: lines of two processes do not mix.
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def newest(self, count: int = 50) -> list[Note]:
        """Return the newest lines, the newest first; what is no line is left out."""
        return list(self._notes())[-count:][::-1]

    def _notes(self) -> Iterator[Note]:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - _END_BYTES))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield Note.model_validate_json(line)
            except ValidationError:  # cut off where reading began, or by a full disk
                continue
