"""Notes of landings that nobody has been told of yet.

A note is written just before the pointer to the data, and counts only while that pointer names its fingerprint: so a
landing that is cut off anywhere leaves nothing to tell, and one that is complete cannot be forgotten.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from nightshift.data.schema import Strict
from nightshift.files import write_atomic
from nightshift.settings import Home

#: A note whose data are not the present ones belongs to a landing in progress, or, after this time, to none.
_KEPT = timedelta(hours=1)


class Note(Strict):
    """A landing to tell of.

    Attributes:
        subject: whose data have landed.
        fingerprint: of the data, 64 hex digits.
        rows: of all parts.
        at: when, ISO 8601 UTC.
    """

    subject: str
    fingerprint: str
    rows: int
    at: str


def write(home: Home, subject: str, fingerprint: str, rows: int) -> None:
    """Write the note of a landing whose pointer is about to be set."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    note = Note(subject=subject, fingerprint=fingerprint, rows=rows, at=at)
    write_atomic(_path(home, subject, fingerprint), note.model_dump_json().encode())


def withdraw(home: Home, subject: str, fingerprint: str) -> None:
    """Delete a note, if there is one."""
    _path(home, subject, fingerprint).unlink(missing_ok=True)


def pending(home: Home) -> tuple[Note, ...]:
    """Return the notes of landings that stand, oldest first; forgets those that came to nothing."""
    notes = []
    folder = _folder(home)
    for path in sorted(folder.glob("[!.]*.json")) if folder.is_dir() else []:
        note = _read(path)
        if note is not None and _present(home, note.subject) == note.fingerprint:
            notes.append(note)
        elif note is None or datetime.now(UTC) - datetime.fromisoformat(note.at) > _KEPT:
            path.unlink(missing_ok=True)
    return tuple(sorted(notes, key=lambda n: (n.at, n.subject)))


def _folder(home: Home) -> Path:
    return home.machinery / "outbox"


def _path(home: Home, subject: str, fingerprint: str) -> Path:
    # One file per landing: who has told of one cannot take away the note of the next.
    return _folder(home) / f"{subject}.{fingerprint[:12]}.json"


def _read(path: Path) -> Note | None:
    try:
        return Note.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _present(home: Home, subject: str) -> str:
    try:
        return (home.data / "current" / subject).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
