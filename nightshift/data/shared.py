"""Datasets in the store that the machines of a fleet share: `datasets/<subject>/<fingerprint>` and `current/<subject>`.

Where no store is named, nothing here does anything. The shared pointer is the one that counts: a machine takes it over
when it plans. It is set after the dataset, so that whoever reads it finds what it names.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from nightshift.data.remote import MANIFEST, Remote, open_remote
from nightshift.data.schema import PARTS, check_subject
from nightshift.data.stored_files import keep
from nightshift.errors import DataError, NightshiftError, ServiceError
from nightshift.files import write_atomic
from nightshift.settings import Home

logger = logging.getLogger("nightshift")

_FILES = (*(f"{part}.parquet" for part in PARTS), "metadata.json", "sketch.json")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_CURRENT = "current"


def share(home: Home, subject: str, fingerprint: str, folder: Path) -> None:
    """Bring a stored dataset into the shared store, and make it its subject's present one there.

    Raises:
        ServiceError, TransientError: when the store cannot be used; the others see what they saw before.
    """
    remote = open_remote(home)
    if remote is None:
        return
    remote.put_folder(f"datasets/{subject}/{fingerprint}", folder, _files_of(folder))
    text = f"{fingerprint}\n".encode()
    if remote.get(f"{_CURRENT}/{subject}") != text:
        note_seen(home, f"{_CURRENT}/{subject}", remote.put(f"{_CURRENT}/{subject}", text))


def fetch(home: Home, subject: str, fingerprint: str, folder: Path, check: Callable[[Path], object]) -> bool:
    """Bring a dataset from the shared store to its place in the home; False when it is not there either.

    Args:
        home: where it is to appear.
        subject: the machine or vehicle.
        fingerprint: whole, or its first 12 digits or more.
        folder: its place.
        check: sees the folder before it appears.

    Raises:
        DataError: when what came is not what was landed.
        ServiceError, TransientError: when the store cannot be used.
    """
    remote = open_remote(home)
    if remote is None:
        return False
    whole = _whole(remote, subject, fingerprint)
    if not whole:
        return False

    def checked(place: Path) -> None:
        check(place)
        keep(place)

    return remote.get_folder(f"datasets/{subject}/{whole}", folder, checked)


def take_pointer(home: Home, subject: str) -> None:
    """Take over what the shared store says of a subject; without a store, or a word of it there, nothing changes.

    Raises:
        ServiceError, TransientError: when the store cannot be used.
        DataError: when the pointer there is damaged.
    """
    remote = open_remote(home)
    if remote is not None:
        _take(home, remote, subject, tag="")


def sync_pointers(home: Home, remote: Remote) -> tuple[str, ...]:
    """Take over every pointer that has changed in the store, and share what it has none of; returns the subjects.

    A pointer that is damaged is told of and left out: it concerns one machine, and not the fleet.

    Raises:
        ServiceError, TransientError: when the store cannot be used.
    """
    listed = remote.listing(_CURRENT)
    changed = [s for s, tag in listed.items() if seen(home, f"{_CURRENT}/{s}") != tag or not _pointer(home, s).exists()]
    taken = [subject for subject in changed if _take_sound(home, remote, subject, listed[subject])]
    folder = home.data / _CURRENT
    own = [p.name for p in folder.iterdir() if p.is_file() and p.name[0] != "."] if folder.is_dir() else []
    mine = sorted(set(own) - set(listed))
    for subject in mine:
        fingerprint = _pointer(home, subject).read_text(encoding="ascii", errors="replace").strip()
        stored = home.data / "store" / subject / fingerprint[:12]
        # One that is damaged or gone is the plan's to tell.
        if _FINGERPRINT.fullmatch(fingerprint) and all((stored / name).is_file() for name in _FILES):
            share(home, subject, fingerprint, stored)
    return (*taken, *mine)


def seen(home: Home, key: str) -> str:
    """Return the tag of a shared object that this home has taken over or written last, "" for none."""
    try:
        return (_marks(home) / key).read_text(encoding="utf-8")
    except OSError:
        return ""


def note_seen(home: Home, key: str, tag: str) -> None:
    """Note the tag of a shared object that this home and the store agree on; "" for none."""
    if tag:
        write_atomic(_marks(home) / key, tag.encode())
    else:
        (_marks(home) / key).unlink(missing_ok=True)


def _take_sound(home: Home, remote: Remote, subject: str, tag: str) -> bool:
    try:
        _take(home, remote, subject, tag)
    except DataError as error:
        logger.warning("%s: what has landed elsewhere is not taken over: %s", subject, error)
        return False
    return True


def _take(home: Home, remote: Remote, subject: str, tag: str) -> None:
    try:
        check_subject(subject)
    except NightshiftError:
        return  # not ours
    found = remote.get(f"{_CURRENT}/{subject}")
    if found is None:
        return
    text = found.decode("ascii", "replace").strip()
    if not _FINGERPRINT.fullmatch(text):
        raise DataError(
            f"the pointer to the dataset of '{subject}' in {remote.url} is damaged.", hint="Land the data again."
        )
    pointer, content = _pointer(home, subject), f"{text}\n".encode()
    # When it was set tells when data landed.
    if not pointer.is_file() or pointer.read_bytes() != content:
        write_atomic(pointer, content)
    if tag:
        note_seen(home, f"{_CURRENT}/{subject}", tag)


def _whole(remote: Remote, subject: str, fingerprint: str) -> str:
    """Return the whole fingerprint of a beginning, "" when the store has none such.

    Raises:
        ServiceError: for a beginning of two.
    """
    if _FINGERPRINT.fullmatch(fingerprint):
        return fingerprint
    names = (PurePosixPath(name) for name in remote.listing(f"datasets/{check_subject(subject)}"))
    found = {p.parts[0] for p in names if p.name == MANIFEST and p.parts[0].startswith(fingerprint)}
    if len(found) > 1:
        raise ServiceError(f"'{fingerprint}' fits {len(found)} datasets of '{subject}' in {remote.url}.")
    return next(iter(found), "")


def _files_of(folder: Path) -> tuple[str, ...]:
    """Return the files of a stored dataset, those beside its rows among them."""
    told = json.loads((folder / "metadata.json").read_bytes())
    return (*_FILES, *told.get("files", {}))


def _pointer(home: Home, subject: str) -> Path:
    return home.data / _CURRENT / subject


def _marks(home: Home) -> Path:
    return home.machinery / "shared"
