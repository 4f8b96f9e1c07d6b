"""Lands a dataset that was made elsewhere: a folder with `metadata.json` and its rows, judged before it is visible.

The folder holds either `train.parquet`, `val.parquet` and `test.parquet`, or one `data.parquet` or `data.csv`, which is
then split as an import is. Everything is held to what `metadata.json` says; nothing is guessed, nothing is unpickled.
"""

from __future__ import annotations

import codecs
import filecmp
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nightshift.data.dataset import Dataset
from nightshift.data.importers.clock import check_timezone, sampling_of
from nightshift.data.importers.foreign_rows import read_csv_rows, read_parquet_rows
from nightshift.data.importers.landing import Check, default_embargo_h, land_parts, refuse_blockers, split_and_land
from nightshift.data.schema import PARTS, RESERVED, RUN, VEHICLE, LabelSource, Metadata, TimeKind
from nightshift.data.store import current, folder_of
from nightshift.errors import DataError, NightshiftError, nearest
from nightshift.files import read_plain
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

METADATA = "metadata.json"
WHOLE = ("data.parquet", "data.csv")
#: A description longer than this is no description.
MAX_METADATA_BYTES = 1_000_000
MAX_SENSORS = 2_000
#: In the provenance's details: who says so.
CLAIMED = "claimed_by"
_UNITS = {TimeKind.CALENDAR: "hours", TimeKind.CYCLES: "cycles", TimeKind.NONE: "none"}


def land_folder(
    home: Home,
    folder: Path,
    subject: str | None = None,
    *,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land a folder's dataset, or refuse it before anything of it is visible.

    Args:
        home: where to land.
        folder: see the module.
        subject: id to land under; the metadata's by default.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        DataError: when a file is missing, unreadable, too large, or does not fit the metadata. One line each.
        BlockedError: when the checks find a blocker.
        UsageError: for a machine id that is none.
        NightshiftError: when the disk is full.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder.name or folder} is no folder.",
            hint=f"Give the folder that holds {METADATA} and the rows beside it.",
        )
    metadata = read_metadata(folder / METADATA)
    if subject is not None:
        metadata = Metadata.model_validate(metadata.model_dump() | {"subject": subject})
    if not _is_present(home, folder, metadata.subject):
        metadata = _marked_as_claimed(metadata)
    kind = _kind(folder)
    with _hints_for_a_folder():
        if kind in WHOLE:
            frame = _read(folder / kind, metadata)
            described = _completed(metadata, frame)
            return split_and_land(home, frame, described, event=event, check=check)
        return _land_parts(home, folder, metadata, event, check)


def _land_parts(home: Home, folder: Path, metadata: Metadata, event: bool, check: Check | None) -> Dataset:
    frames = {part: _read(folder / f"{part}.parquet", metadata) for part in PARTS}
    _hold_row_counts(frames, metadata)
    if metadata.time_kind is TimeKind.NONE:
        frames = _numbered_apart(frames)
    files = {name: folder / name for name in metadata.files}
    return land_parts(home, frames, _completed(metadata, frames["train"]), files=files, event=event, check=check)


def _is_present(home: Home, folder: Path, subject: str) -> bool:
    """Whether a folder holds, byte for byte, what the subject has now: that is no claim."""
    try:
        stored = folder_of(home, subject, current(home, subject))
        names = (METADATA, *(f"{part}.parquet" for part in PARTS))
        return all(filecmp.cmp(folder / name, stored / name, shallow=False) for name in names)
    except (NightshiftError, OSError):
        return False


def _marked_as_claimed(metadata: Metadata) -> Metadata:
    """Note that kind and source are what the folder's author says; nobody here has seen the data being made."""
    origin = metadata.provenance
    details = {**origin.details, CLAIMED: f"{METADATA} of a folder that was landed"}
    return metadata.model_copy(update={"provenance": origin.model_copy(update={"details": details})})


@contextmanager
def _hints_for_a_folder() -> Iterator[None]:
    """Take advice about an import's mapping off the errors that both ways share: here is none."""
    try:
        yield
    except DataError as error:
        if "mapping" in error.hint:
            raise DataError(error.what, hint="Mend the rows, or what metadata.json says of them.") from error
        raise


def read_metadata(path: Path) -> Metadata:
    """Read a description that somebody else has written.

    Raises:
        DataError: names the key, what was expected and what was found.
        UsageError: for a machine id that is none.
    """
    try:
        content = read_plain(path, MAX_METADATA_BYTES + 1)
        if len(content) > MAX_METADATA_BYTES:
            raise DataError(f"{path.name} is larger than {MAX_METADATA_BYTES:,} bytes.", hint="It only describes.")
        metadata = Metadata.model_validate_json(content.removeprefix(codecs.BOM_UTF8))
    except FileNotFoundError as error:
        raise DataError(
            f"{path.name} is missing in {path.parent.name}.", hint="It says what the columns are."
        ) from error
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.", hint="Check the file.") from error
    except ValidationError as error:
        raise _refused(path.name, error) from None
    _hold_consistent(metadata, path.name)
    return metadata


def _refused(name: str, error: ValidationError) -> DataError:
    first = error.errors()[0]
    place = " ".join(".".join(str(part) for part in first["loc"]).split())[:120]
    more = error.error_count() - 1
    also = f" ({more} more like this.)" if more else ""
    if first["type"] == "json_invalid":
        return DataError(f"{name} is no valid JSON: {first['ctx']['error']}.", hint="Write it again.")
    if first["type"] == "extra_forbidden":
        known = Metadata.model_fields if len(first["loc"]) == 1 else ()
        hint = nearest(place, known) if known else "Leave it out."
        return DataError(f"{name}: unknown key '{place}'.{also}", hint=hint)
    reason = first["msg"].removeprefix("Value error, ")
    got = f", got {str(first['input'])[:60]!r}" if first["type"] not in ("missing", "value_error") else ""
    return DataError(f"{name}: {place + ': ' if place else ''}{reason}{got}.{also}", hint="Mend the key named.")


def _hold_consistent(metadata: Metadata, name: str) -> None:
    """Refuse what each key alone allows and all together do not."""
    columns = {*metadata.columns, *RESERVED}
    twice = next((d.name for d in metadata.derived if d.name in columns), "")
    endless = next((p for p, v in _leaves(metadata.model_dump()) if isinstance(v, float) and not math.isfinite(v)), "")
    expected = _UNITS[metadata.time_kind]
    wrong = ""
    if endless:
        wrong = f"'{endless}' is no finite number"
    elif not 1 <= len(metadata.sensors) <= MAX_SENSORS:
        wrong = f"'sensors' holds {len(metadata.sensors)}, expected 1 to {MAX_SENSORS:,}"
    elif twice:
        wrong = f"the derived column '{twice}' has the name of another column"
    elif metadata.time_unit != expected:
        wrong = f"'time_unit' is '{metadata.time_unit}', expected '{expected}' with time_kind '{metadata.time_kind}'"
    elif metadata.group == "vehicle" and (metadata.time_kind is not TimeKind.CALENDAR or VEHICLE in columns):
        wrong = f"trips of vehicles need time_kind 'calendar', and no sensor called '{VEHICLE}'"
    elif metadata.group == "driving" and metadata.time_kind is not TimeKind.NONE:
        wrong = "driving scenarios need time_kind 'none'"
    elif metadata.has_rul and metadata.time_kind is TimeKind.NONE:
        wrong = "'has_rul' is true, but rows without time have no remaining life"
    elif metadata.label_source is LabelSource.FROM_RUL and metadata.horizon is None:
        wrong = "'label_source' is 'from_rul', and 'horizon' is missing"
    if wrong:
        raise DataError(f"{name}: {wrong}.", hint="Mend the key named.")
    check_timezone(metadata.timezone)


def _leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{place}.{i}")
    else:
        yield place, value


def _kind(folder: Path) -> str:
    """Return which form the rows have: "parts", or the name of the one file.

    Raises:
        DataError: for none, or more than one.
    """
    parts = [f"{part}.parquet" for part in PARTS if (folder / f"{part}.parquet").exists()]
    whole = [name for name in WHOLE if (folder / name).exists()]
    expected = f"train.parquet, val.parquet and test.parquet, or one of {' and '.join(WHOLE)}"
    if len(parts) == len(PARTS) and not whole:
        return "parts"
    if len(whole) == 1 and not parts:
        return whole[0]
    found = ", ".join([*parts, *whole]) or "none of them"
    raise DataError(f"{folder.name} holds {found}; expected {expected}.", hint="Give the rows in one form.")


def _read(path: Path, metadata: Metadata) -> pd.DataFrame:
    read: Callable[[Path, Metadata], pd.DataFrame] = read_csv_rows if path.suffix == ".csv" else read_parquet_rows
    return read(path, metadata)


def _completed(metadata: Metadata, frame: pd.DataFrame) -> Metadata:
    """Fill in what follows from the rows, where the description leaves it out."""
    if metadata.time_kind is not TimeKind.CALENDAR or metadata.group == "vehicle":
        # A bus's frames have no step, and whole trips need no embargo.
        return metadata
    sampling_s = metadata.sampling_s or sampling_of(frame, metadata.time_kind)
    changes: dict[str, Any] = {"sampling_s": sampling_s}
    if "embargo" not in metadata.model_fields_set:
        changes["embargo"] = default_embargo_h(sampling_s, metadata.horizon)
    return metadata.model_copy(update=changes)


def _hold_row_counts(frames: Mapping[str, pd.DataFrame], metadata: Metadata) -> None:
    for part, told in metadata.parts.items():
        if part not in frames or told.rows != len(frames[part]):
            rows = f"{len(frames[part]):,} rows" if part in frames else "no such part"
            raise DataError(
                f"{METADATA} says that '{part}' holds {told.rows:,} rows; there are {rows}.".replace("are no", "is no"),
                hint="Are the files of one and the same dataset?",
            )


def _numbered_apart(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Give every independent row a run of its own, whichever part it lies in."""
    out, first = {}, 0
    for part, frame in frames.items():
        out[part] = frame.assign(**{RUN: range(first, first + len(frame))})
        first += len(frame)
    return out
