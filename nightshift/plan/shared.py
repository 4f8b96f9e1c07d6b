"""What has become of cells, for all machines of a fleet: their records and bundles in the store that they share.

`cells/<name>.json` holds the records of a model's newest cell, `models/<bundle id>` its bundle. A machine brings there
what it has trained, and takes over what others have when it plans. So a plan is the same wherever it is made, without
a disk that all machines see. Checkpoints, native models and the reports of single machines stay where they were made.
"""

from __future__ import annotations

import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.data.remote import Remote, open_remote
from nightshift.data.shared import note_seen, seen, sync_pointers
from nightshift.errors import DataError, NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.lock import is_held
from nightshift.plan.records import STAGES, FileRecord, StageRecord, work_folder
from nightshift.plan.state import newest, newest_names
from nightshift.settings import Home

logger = logging.getLogger("nightshift")

_CELLS = "cells"
# Requests wait for the network, not for a processor.
_AT_ONCE = 16
_TEXT = re.compile(r"[a-z_]+\.json")
_KEY = re.compile(r"[0-9a-f]{64}")


class SharedCell(BaseModel):
    """A model's newest cell as the store has it.

    Attributes:
        key: the cell's.
        texts: files of its work folder, name -> content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    texts: dict[str, str]

    @property
    def at(self) -> datetime | None:
        """When its newest stage began; None without any record that can be read."""
        found = (self.record(stage) for stage in STAGES)
        return max((datetime.fromisoformat(r.started_at) for r in found if r), default=None)

    def record(self, stage: str) -> StageRecord | None:
        """Return a stage's record, None when there is none or it cannot be read."""
        try:
            return StageRecord.model_validate_json(self.texts.get(f"{stage}.json", ""))
        except ValidationError:
            return None


def share_cell(home: Home, cell: Cell) -> None:
    """Tell the other machines what has become of a cell; where that fails it is made up for by the next `sync`."""
    try:
        remote = open_remote(home)
        if remote is not None:
            _give(home, remote, cell.name)
    except (NightshiftError, OSError) as error:
        note_seen(home, _object(cell.name), "")
        logger.warning("%s: the other machines have not been told: %s", cell.name, error)


def share_model(home: Home, name: str) -> None:
    """Tell the other machines that the records of a model have changed, as `share_cell` does after a training.

    A machine that has not heard of the store's later cell says nothing: it would put an older one in its place.
    """
    cell = newest(home, name)
    if cell is not None and not _is_behind(home, name):
        share_cell(home, cell)


def _is_behind(home: Home, name: str) -> bool:
    try:
        remote = open_remote(home)
        found = remote.get(_object(name)) if remote is not None else None
        theirs = SharedCell.model_validate_json(found).at if found is not None else None
        own = _own(home, name)
    except (NightshiftError, ValueError):
        # What cannot be read is told of, or replaced, by whoever writes.
        return False
    ours = own.at if own is not None else None
    return theirs is not None and (ours is None or theirs > ours)


def sync(home: Home) -> tuple[str, ...]:
    """Take over what other machines have landed and trained, and tell them what they do not know of this one.

    Without a shared store it does nothing. What is damaged in it is told of and left out: it concerns one model, and
    not the fleet.

    Returns:
        the names of models that were taken over.

    Raises:
        ServiceError, TransientError: when the store cannot be used.
    """
    remote = open_remote(home)
    if remote is None:
        return ()
    sync_pointers(home, remote)
    listed = {name.removesuffix(".json"): tag for name, tag in remote.listing(_CELLS).items()}
    changed = [name for name, tag in listed.items() if seen(home, _object(name)) != tag]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        taken = list(pool.map(lambda name: _take_sound(home, remote, name, listed[name]), changed))
        told = [name for name in newest_names(home) if name not in listed or not seen(home, _object(name))]
        list(pool.map(lambda name: _give(home, remote, name), told))
    return tuple(name for name, took in zip(changed, taken, strict=True) if took)


def _give(home: Home, remote: Remote, name: str) -> None:
    own = _own(home, name)
    if own is None:
        return
    register = own.record("register")
    if register is not None and register.status == "done" and all(f.intact(home) for f in register.files):
        names = [PurePosixPath(f.path).name for f in register.files]
        remote.put_folder(_bundle(register), home.root / _place(register), names)
    note_seen(home, _object(name), remote.put(_object(name), own.model_dump_json().encode()))


def _take_sound(home: Home, remote: Remote, name: str, tag: str) -> bool:
    """Take a cell over unless something of it is damaged in the store; that is tried again by the next `sync`."""
    try:
        return _take(home, remote, name, tag)
    except DataError as error:
        logger.warning("%s was not taken over from the shared store: %s", name, error)
        return False


def _take(home: Home, remote: Remote, name: str, tag: str) -> bool:
    """Take a cell over unless this machine's own is later, or is being worked on."""
    found = remote.get(_object(name))
    if found is None:
        return False
    own = _own(home, name)
    try:
        theirs = _checked(found, name, remote)
    except DataError:
        # Whoever has the cell puts its own in the place of what nobody can read.
        note_seen(home, _object(name), "")
        raise
    if is_held(home, theirs.key):
        return False
    if own is not None and own.at is not None and (theirs.at is None or own.at > theirs.at):
        note_seen(home, _object(name), "")
        return False
    register = theirs.record("register")
    if register is not None and register.status == "done":
        _take_bundle(home, remote, register)
    work = work_folder(home, theirs.key)
    for stale in work.glob("*.json") if work.is_dir() else ():
        if stale.name not in theirs.texts:
            stale.unlink()
    for file, text in theirs.texts.items():
        write_atomic(work / file, text.encode())
    write_atomic(home.work / "newest" / name, theirs.key.encode())
    note_seen(home, _object(name), tag)
    return True


def _take_bundle(home: Home, remote: Remote, register: StageRecord) -> None:
    folder = home.root / _place(register)
    if not folder.is_dir() and not remote.get_folder(_bundle(register), folder):
        logger.warning("the bundle of %s is not in %s", register.summary.get("name"), remote.url)
        return
    for file in register.files:
        # By this stamp a record knows its files without reading them.
        path = home.root / file.path
        if path.is_file() and path.stat().st_size == file.size:
            os.utime(path, ns=(file.mtime_ns, file.mtime_ns))


def _own(home: Home, name: str) -> SharedCell | None:
    cell = newest(home, name)
    if cell is None:
        return None
    texts = {}
    for path in sorted(work_folder(home, cell.key).glob("*.json")):
        try:
            texts[path.name] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # a stage that is running replaces its record
    return SharedCell(key=cell.key, texts={file: text for file, text in texts.items() if _TEXT.fullmatch(file)})


def _checked(content: bytes, name: str, remote: Remote) -> SharedCell:
    """Read a cell of another machine: what it names lies in this home, and nowhere else.

    Raises:
        DataError: when it is damaged.
    """
    try:
        found = SharedCell.model_validate_json(content)
        cell = Cell.model_validate_json(found.texts["cell.json"])
        sound = cell.name == name and bool(_KEY.fullmatch(found.key)) and all(map(_TEXT.fullmatch, found.texts))
        sound = sound and (found.at is None or found.at.tzinfo is not None)
        register = found.record("register")
        sound = sound and (register is None or _is_sound(register, cell))
    except (ValueError, KeyError, NightshiftError):
        sound = False
    if not sound:
        raise DataError(
            f"{_object(name)} in {remote.url} is damaged.",
            hint="Its machine brings it again when it plans; where that is gone, delete it.",
        )
    return found


def _is_sound(register: StageRecord, cell: Cell) -> bool:
    place = f"models/{cell.family}/{cell.subject}/{cell.target}/v{register.summary.get('version')}"
    return register.status != "done" or (
        register.summary.get("bundle") == place
        and bool(re.fullmatch(r"[0-9a-f]{64}", str(register.summary.get("bundle_sha256"))))
        and re.fullmatch(r"[\w./-]+/v\d+", place) is not None
        and ".." not in place
        and all(_lies_in(file, place) for file in register.files)
    )


def _lies_in(file: FileRecord, place: str) -> bool:
    return str(PurePosixPath(file.path).parent) == place


def _bundle(register: StageRecord) -> str:
    return f"models/{register.summary['bundle_sha256']}"


def _place(register: StageRecord) -> Path:
    return Path(str(register.summary["bundle"]))


def _object(name: str) -> str:
    return f"{_CELLS}/{name}.json"
