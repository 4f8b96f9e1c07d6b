"""The store of datasets: lands whole snapshots, or nothing, and opens them by subject and fingerprint."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from nightshift.data import outbox, shared, views
from nightshift.data.dataset import Dataset, reimport_hint
from nightshift.data.fingerprint import fingerprint as fingerprint_of
from nightshift.data.schema import PARTS, Metadata, check_subject
from nightshift.data.stored_files import check_files, check_parquet_ends, digests, keep, place
from nightshift.errors import DataError, NightshiftError, UnknownNameError, UsageError
from nightshift.files import disk_full, fsync, write_atomic
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

METADATA, SKETCH = "metadata.json", "sketch.json"
_HEX = re.compile(r"[0-9a-f]{12,64}")


def subjects(home: Home) -> tuple[str, ...]:
    """Return the subjects that have a dataset, sorted."""
    folder = home.data / "current"
    return (
        tuple(sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")) if folder.is_dir() else ()
    )


def current(home: Home, subject: str) -> str:
    """Return the fingerprint that a subject's dataset has now. Reads one line.

    Raises:
        UsageError: for an id that is no machine id.
        UnknownNameError: for a subject without a dataset; names the nearest.
        DataError: when the pointer holds something else.
    """
    check_subject(subject)
    path = home.data / "current" / subject
    if not path.is_file():
        shared.take_pointer(home, subject)
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        raise UnknownNameError(
            "machine", subject, subjects(home), hint=f"Land data first, e.g. {_made_by(subject)}."
        ) from None
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise DataError(f"the pointer to the dataset of '{subject}' is damaged.", hint=reimport_hint(subject))
    return text


def open_dataset(home: Home, subject: str, fingerprint: str | None = None) -> Dataset:
    """Open a subject's dataset: the present one, or the one of a fingerprint (12 hex digits or more).

    Cheap: reads metadata and the ends of the parquet files; frames are read at first use. `verify` reads all. What is
    not here is fetched from the store that the machines share, and verified.

    Raises:
        UnknownNameError: for a subject or fingerprint that is not stored.
        DataError: when a file is missing, cut short or damaged.
        ServiceError, TransientError: when the shared store cannot be used.
    """
    asked = fingerprint or current(home, subject)
    folder = folder_of(home, subject, asked)
    if not folder.is_dir() and not shared.fetch(home, subject, asked, folder, lambda place: verify(_read(place))):
        if fingerprint is None:
            raise DataError(f"the dataset of '{subject}' is gone from the store.", hint=reimport_hint(subject))
        raise UnknownNameError(f"dataset of '{subject}'", asked[:12], versions(home, subject))
    try:
        metadata = Metadata.model_validate_json((folder / METADATA).read_bytes())
        full = _recorded_fingerprint(folder)
    except (OSError, ValidationError, ValueError) as error:
        raise DataError(f"the metadata of '{subject}' cannot be read.", hint=reimport_hint(subject)) from error
    if not full.startswith(asked):
        raise DataError(
            f"the dataset of '{subject}' is not the one asked for ({asked[:12]}).", hint=reimport_hint(subject)
        )
    for part in PARTS:
        check_parquet_ends(folder / f"{part}.parquet", subject)
    return Dataset(folder=folder, metadata=metadata, fingerprint=full)


def verify(data: Dataset) -> None:
    """Read everything and compare with the fingerprint.

    Raises:
        DataError: when any value or the metadata is not what was landed.
    """
    check_files(data.folder, data.metadata)
    found = fingerprint_of({part: data.frame(part) for part in PARTS}, data.metadata)
    if found != data.fingerprint:
        raise DataError(
            f"the dataset of '{data.subject}' was altered after landing (fingerprint {found[:12]}, expected "
            f"{data.fingerprint[:12]}).",
            hint=reimport_hint(data.subject),
        )


def folder_of(home: Home, subject: str, fingerprint: str) -> Path:
    """Return where a dataset lies or would lie.

    Raises:
        DataError: for a fingerprint that is not 12 to 64 hex digits.
    """
    if not _HEX.fullmatch(fingerprint):
        raise DataError(f"'{fingerprint[:80]}' is no fingerprint.", hint="Give at least 12 of its hex digits.")
    return home.data / "store" / check_subject(subject) / fingerprint[:12]


def versions(home: Home, subject: str) -> tuple[str, ...]:
    """Return the stored versions' first 12 digits, oldest landing first; none whose landing was cut off."""
    folder = home.data / "store" / check_subject(subject)
    found = [p for p in folder.iterdir() if (p / METADATA).is_file()] if folder.is_dir() else []
    now = _points_to(home, subject)
    found = [p for p in found if now.startswith(p.name) or not _unfinished(home, subject, p.name).exists()]
    return tuple(p.name for p in sorted(found, key=lambda p: ((p / METADATA).stat().st_mtime_ns, p.name)))


def reference(subject: str, fingerprint: str) -> str:
    """Return the store key that tasks pass to each other instead of a path."""
    return f"datasets/{check_subject(subject)}/{fingerprint}"


def open_reference(home: Home, key: str) -> Dataset:
    """Open what `reference` names.

    Raises:
        UsageError: for text that is no reference.
        UnknownNameError, DataError: as `open_dataset`.
    """
    pieces = key.split("/")
    if len(pieces) != 3 or pieces[0] != "datasets":
        raise UsageError(f"'{key[:80]}' is no dataset reference.", hint="It reads datasets/<subject>/<fingerprint>.")
    return open_dataset(home, pieces[1], pieces[2])


def land(
    home: Home,
    frames: Mapping[str, pd.DataFrame],
    metadata: Metadata,
    *,
    files: Mapping[str, Path] | None = None,
    event: bool = True,
    check: Callable[[Dataset], object] | None = None,
) -> Dataset:
    """Store a dataset and make it its subject's present one. All of it, or nothing.

    Values are checked and brought to the stored types (see `normalise`), `metadata.parts` and categories are filled
    in. Landing the same content again changes nothing on disk; the dataset's `new` tells whether its subject had
    other data before.

    Args:
        home: where to land.
        frames: part -> rows.
        metadata: what the columns mean.
        files: stored beside the rows, name -> where it lies; the metadata list them then.
        event: leave a note in the outbox when the subject's data are other ones now.
        check: sees the dataset as it would be stored before anything of it is visible; what it raises refuses it.

    Raises:
        DataError: for values that cannot be stored (infinities, text in a sensor, a missing column).
        NightshiftError: when the disk is full or cannot be written; whatever `check` raises.
        ServiceError, TransientError: when the store that the machines share cannot take it.
    """
    from nightshift.data.normalise import normalise
    from nightshift.data.sketch import make_sketch

    stored, described = normalise(frames, metadata)
    described = described.model_copy(update={"files": digests(files or {}, metadata)})
    digest = fingerprint_of(stored, described)
    described = described.model_copy(update={"created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})
    folder = folder_of(home, described.subject, digest)
    with _clear_disk_errors(home.data):
        made = not _is_intact(home, described.subject, digest)
        if made:
            sketch = make_sketch(stored, described, digest).model_dump_json().encode()
            texts = {METADATA: described.model_dump_json(indent=1).encode(), SKETCH: sketch}
            staged = Dataset(folder=folder, metadata=described, fingerprint=digest)
            _write_folder(home, staged, stored, texts, files or {}, check)
        elif check is not None:
            check(open_dataset(home, described.subject, digest))
        new = _points_to(home, described.subject) != digest
        try:
            if new:
                _set_pointer(home, described, digest, event)
            else:
                shared.share(home, described.subject, digest, folder)
        except BaseException:
            if made and _points_to(home, described.subject) != digest:
                shutil.rmtree(folder, ignore_errors=True)
                _unfinished(home, described.subject, digest).unlink(missing_ok=True)
                _drop_empty(folder.parent)
            raise
    views.refresh(home, folder, described, METADATA)
    return replace(open_dataset(home, described.subject, digest), new=new)


def _made_by(subject: str) -> str:
    """Return the command that makes a subject's data."""
    simulated = {"carla_synthetic": "vehicle", "can_synthetic": "can", "adplanning": "driving"}.get(subject)
    if simulated:
        return f"`nightshift simulate {simulated}`"
    # Vehicles' importers name what they land so.
    kind = subject.split("_")[0]
    if kind in ("can", "obd"):
        return f"`nightshift import {kind} PATH --subject {subject}`"
    return (
        "`nightshift import csv FILE --mapping M` for a machine, `nightshift import telemetry PATH` (or `obd`, `can`) "
        "for a vehicle"
    )


def _points_to(home: Home, subject: str) -> str:
    """Return what a subject's pointer says, "" where there is none."""
    with suppress(OSError):
        return (home.data / "current" / subject).read_text(encoding="ascii", errors="replace").strip()
    return ""


def _unfinished(home: Home, subject: str, digest: str) -> Path:
    """Return the file that says that a stored version was not pointed to yet: a landing killed there leaves it."""
    return home.data / "store" / ".unfinished" / f"{subject}.{digest[:12]}"


def _set_pointer(home: Home, metadata: Metadata, digest: str, event: bool) -> None:
    """Make a stored dataset the present one: the moment from which it is visible, and its note counts."""
    before = _points_to(home, metadata.subject)
    if _HEX.fullmatch(before):
        # Its landing may have been killed right after the pointer: it was visible, and stays a version.
        _unfinished(home, metadata.subject, before).unlink(missing_ok=True)
    if event:
        outbox.write(home, metadata.subject, digest, sum(part.rows for part in metadata.parts.values()))
    else:
        outbox.withdraw(home, metadata.subject, digest)
    try:
        # First for the others: a dataset that they cannot have is not landed here either.
        shared.share(home, metadata.subject, digest, folder_of(home, metadata.subject, digest))
        write_atomic(home.data / "current" / metadata.subject, f"{digest}\n".encode())
    except (OSError, NightshiftError):
        outbox.withdraw(home, metadata.subject, digest)
        raise
    _unfinished(home, metadata.subject, digest).unlink(missing_ok=True)


def install(home: Home, folder: Path) -> Dataset:
    """Bring a dataset's folder from elsewhere (a DVC checkout, say) into the store, checked; makes it the present one.

    No event: who brings old data back knows what has been made of them.

    Raises:
        DataError: when the folder is incomplete or its content does not match its fingerprint.
        NightshiftError: when the disk is full or cannot be written.
    """
    data = _read(folder)
    verify(data)
    files = {name: folder / name for name in data.metadata.files}
    return land(home, {part: data.frame(part) for part in PARTS}, data.metadata, files=files, event=False)


def _read(folder: Path) -> Dataset:
    """Return the dataset of a folder that lies elsewhere than in the store, not verified."""
    try:
        metadata = Metadata.model_validate_json((folder / METADATA).read_bytes())
        return Dataset(folder=folder, metadata=metadata, fingerprint=_recorded_fingerprint(folder))
    except (OSError, ValidationError, ValueError) as error:
        raise DataError("the folder holds no dataset that can be read.", hint="Check it out again.") from error


def _recorded_fingerprint(folder: Path) -> str:
    from nightshift.data.sketch import Sketch

    return Sketch.model_validate_json((folder / SKETCH).read_bytes()).fingerprint


def _is_intact(home: Home, subject: str, digest: str) -> bool:
    try:
        verify(open_dataset(home, subject, digest))
    except NightshiftError:
        return False
    return True


def _write_folder(
    home: Home,
    data: Dataset,
    frames: dict[str, pd.DataFrame],
    texts: Mapping[str, bytes],
    files: Mapping[str, Path],
    check: Callable[[Dataset], object] | None,
) -> None:
    """Write a dataset's files aside, have them checked, and rename them to `data.folder`.

    The frames are taken out as they are written: the check reads them back, and once in memory is enough.
    """
    folder = data.folder
    incoming = home.data / "store" / ".incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(incoming)
    temporary = incoming / f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        for part in list(frames):
            file = temporary / f"{part}.parquet"
            frames.pop(part).to_parquet(file, engine="pyarrow", index=False, compression="zstd")
        for name, content in texts.items():
            (temporary / name).write_bytes(content)
        place(files, temporary)
        if check is not None:
            check(replace(data, folder=temporary))
        keep(temporary)
        _expect(home, data)
        damaged = temporary.with_name(f"{temporary.name}-damaged")
        if folder.is_dir():  # found damaged by the caller
            folder.rename(damaged)
        try:
            temporary.rename(folder)
        except OSError as error:
            # Another process has just landed the same content; anything else goes up.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        fsync(folder.parent)
    finally:
        for leftover in (temporary, temporary.with_name(f"{temporary.name}-damaged")):
            shutil.rmtree(leftover, ignore_errors=True)
        _drop_empty(folder.parent)


def _expect(home: Home, data: Dataset) -> None:
    """Note that a version is about to appear that its subject does not point to."""
    data.folder.parent.mkdir(parents=True, exist_ok=True)
    if not data.folder.is_dir() and _points_to(home, data.subject) != data.fingerprint:
        note = _unfinished(home, data.subject, data.fingerprint)
        note.parent.mkdir(exist_ok=True)
        note.touch()
        fsync(note.parent)


def _drop_empty(folder: Path) -> None:
    """Remove a subject's folder that a failed landing leaves empty."""
    with suppress(OSError):
        folder.rmdir()


def _remove_leftovers(incoming: Path) -> None:
    """Delete what a killed landing left; folders begin with the process's number."""
    for path in incoming.iterdir():
        pid = path.name.partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def _clear_disk_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = disk_full(error) or error.strerror or str(error)
        raise NightshiftError(
            f"the dataset could not be written under {place.name}/: {why}.",
            hint="Nothing was changed. Free some space (or mend the permissions) and land it again.",
        ) from error
