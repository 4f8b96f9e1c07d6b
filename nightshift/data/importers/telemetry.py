"""A user's own telemetry of trips, CSV or parquet, with the columns that the simulator writes too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.importers.clock import check_timezone, read_times
from nightshift.data.importers.csv_file import MISSING_WORDS
from nightshift.data.importers.landing import Check, Late, kinds_of_trips, land_parts, refuse_blockers
from nightshift.data.importers.mapping import TimeColumn
from nightshift.data.importers.telemetry_files import Table, open_table, telemetry_files
from nightshift.data.importers.trips import number_stretches, to_one_hertz, with_acceleration, with_columns
from nightshift.data.importers.vehicle_columns import (
    SIGNALS,
    TRUTHS,
    Units,
    conversion,
    is_mangled,
    name_and_unit,
    truth_column,
)
from nightshift.data.normalise import numbers
from nightshift.data.schema import PARTS, RUN, TIME, VEHICLE, LabelSource, Metadata, Provenance, TimeKind
from nightshift.data.splits import split_vehicles
from nightshift.errors import DataError, nearest
from nightshift.settings import Home

if TYPE_CHECKING:
    import pandas as pd

SUBJECT = "carla_synthetic"
#: Seconds without a day count from here.
_NO_DAY = "2000-01-01"
#: Kinds of driving from tame to wild; others follow in the alphabet's order.
_TAME_FIRST = ("calm", "normal", "aggressive", "drowsy")


@dataclass
class _Read:
    """What was met while reading."""

    mended: list[str] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)


def import_telemetry(
    home: Home,
    path: Path | None = None,
    subject: str = SUBJECT,
    *,
    timezone: str = "UTC",
    seed: int = 0,
    event: bool = True,
    check: Check | None = refuse_blockers,
) -> Dataset:
    """Land a folder of telemetry: `train`, `val` and `test` as given, or any files, which are cut by vehicle and trip.

    Columns are `time`, `run` (one trip; without it a file is one), `vehicle`, the signals by name (a unit may stand in
    brackets: `velocity [km/h]`) and what models answer (`fuel_consumption`, `co2`, `behaviour`, `driving`).

    Args:
        home: where to land.
        path: a folder, or one file; `data/carla_synthetic` of the home by default.
        subject: id to land under.
        timezone: of times without an offset.
        seed: of the draw of vehicles.
        event: see `store.land`, as `check`.
        check: may refuse the dataset before it is visible.

    Raises:
        BlockedError: when the checks find a blocker.
        DataError: when a file cannot be read, has an unknown unit, no time or no signal, or a trip lies in two parts.
        ConfigError: for an unknown time zone.
    """
    check_timezone(timezone)
    parts, metadata = _prepared(home.data / SUBJECT if path is None else path, subject, timezone, seed)
    # A part is let go as soon as it has its stored types.
    late = Late({part: partial(parts.pop, part) for part in PARTS})
    return land_parts(home, late, metadata, event=event, check=check)


def _prepared(folder: Path, subject: str, timezone: str, seed: int) -> tuple[dict[str, pd.DataFrame], Metadata]:
    files = telemetry_files(folder)
    read = _Read()
    given = set(files) == set(PARTS)
    frames = _numbered({name: _table(file, timezone, read) for name, file in files.items()})
    held = left_out = 0
    for name in files:
        step = to_one_hertz(frames[name], files[name].name, in_steps=_in_steps())
        frames[name] = with_acceleration(step.frame)
        held, left_out = held + step.held, left_out + step.left_out
    _hold_alike(frames, files)
    details = {
        "seconds_held": held,
        "seconds_left_out": left_out,
        "parts": "as given" if given else "by vehicle and trip",
        "seed": seed,
    }
    metadata = _describe(subject, folder, len(files), frames, read, timezone, details)
    if given:
        _hold_trips_apart(frames, files)
        return number_stretches(frames), metadata
    import pandas as pd

    frame = pd.concat(frames.values(), ignore_index=True)
    return number_stretches(split_vehicles(frame, seed=seed, kind_of=kinds_of_trips(frame, metadata))), metadata


def _in_steps() -> list[str]:
    return [s.name for s in SIGNALS.values() if s.in_steps]


def _table(file: Path, timezone: str, read: _Read) -> pd.DataFrame:
    """Return a file's known columns in their own units; `run` and `vehicle` as they are."""
    import pandas as pd

    source = open_table(file)
    columns: dict[str, Any] = {}
    for header in source.headers:
        name, unit = name_and_unit(header)
        name = name.lower()
        if is_mangled(header) and file.name not in read.mended:
            read.mended.append(file.name)
        if name in columns or name not in (TIME, RUN, VEHICLE, *SIGNALS, *TRUTHS):
            read.unused[header] = None
            continue
        columns[name] = _column(source.take(header), name, unit, file.name)
        read.used[header] = name
    _hold_needed(columns, source, file)
    runs = pd.factorize(columns[RUN])[0].astype(np.int64) if RUN in columns else np.zeros(source.rows, np.int64)
    columns[TIME] = _times(columns[TIME], timezone, runs, file.name)
    return pd.DataFrame(columns, copy=False)


def _hold_needed(columns: dict[str, Any], source: Table, file: Path) -> None:
    if TIME not in columns:
        raise DataError(f"D001: {file.name} has no column 'time'.", hint=nearest(TIME, source.headers))
    if not set(columns) & set(SIGNALS):
        raise DataError(
            f"D001: {file.name} holds none of the signals {', '.join(list(SIGNALS)[:5])}, …",
            hint="Name its columns so; see docs/vehicles.md.",
        )


def _column(column: pd.Series[Any], name: str, unit: str | None, source: str) -> Any:
    if name in (TIME, RUN, VEHICLE):
        return column
    units: Units | None = SIGNALS[name].units if name in SIGNALS else TRUTHS[name][1]
    if units is None:
        return _words(column)
    factor, offset = conversion(units, unit, next(iter(units)), str(column.name), source)
    if column.dtype == object:
        column = column.mask(column.astype(str).str.strip().str.lower().isin(MISSING_WORDS), None)
    # As it is stored: half the memory of a fleet's rows.
    return (numbers(column, np.float64) * factor + offset).astype(np.float32)


def _words(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return text without spaces around it, None where it says that nothing is known."""
    import pandas as pd

    codes, found = pd.factorize(column.astype(object))
    words = [str(word).strip() for word in found]
    kept = np.array([*(w if w.lower() not in MISSING_WORDS else None for w in words), None], dtype=object)
    return pd.Series(kept[codes], name=column.name)


def _times(column: pd.Series[Any], timezone: str, runs: NDArray[np.int64], source: str) -> Any:
    """Return UTC times; numbers are seconds, of a trip or of a whole drive."""
    import pandas as pd

    if column.isna().any():
        row = int(np.argmax(column.isna())) + 1
        raise DataError(f"D020: 'time' of {source} is empty in row {row}.", hint="Every row needs its time.")
    if pd.api.types.is_numeric_dtype(column.dtype):
        epoch = bool((column > 1e8).all())
        start = pd.Timestamp("1970-01-01" if epoch else _NO_DAY, tz="UTC")
        nanoseconds = np.round(column.to_numpy(np.float64) * 1e6).astype(np.int64) * 1000
        return start + pd.to_timedelta(nanoseconds, unit="ns")
    return read_times(column, TimeColumn(column=TIME, timezone=timezone), runs)


def _numbered(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Number trips and vehicles over all files; a file without `run` is one trip, without `vehicle` one car's."""
    runs = _codes([t.get(RUN, f"file {name}") for name, t in tables.items()], tables)
    cars = _codes([t.get(VEHICLE, "0") for t in tables.values()], tables)
    out, first = {}, 0
    for name, table in tables.items():
        here = slice(first, first + len(table))
        made = with_columns(table, **{RUN: runs[here], VEHICLE: cars[here]})
        if (np.diff(runs[here]) < 0).any():
            # Rows of one trip stand together, whatever the file's order.
            made = made.iloc[np.argsort(runs[here], kind="stable")].reset_index(drop=True)
        out[name] = made
        first += len(table)
    return out


def _codes(names: list[Any], tables: dict[str, pd.DataFrame]) -> NDArray[np.int64]:
    """Return a number for each name, over the rows of all tables; a text stands for all rows of its table."""
    import pandas as pd

    columns = [n if isinstance(n, pd.Series) else None for n in names]
    if all(c is not None and c.dtype.kind in "iu" for c in columns):
        whole = np.concatenate([np.asarray(n, dtype=np.int64) for n in names])
    else:
        pairs = zip(names, tables.values(), strict=True)
        whole = np.concatenate([np.broadcast_to(np.asarray(n, dtype=object), len(t)) for n, t in pairs]).astype(str)
    return pd.factorize(whole)[0].astype(np.int64)


def _hold_alike(frames: dict[str, pd.DataFrame], files: dict[str, Path]) -> None:
    """Hold all files to the same columns.

    Raises:
        DataError: names the file and the column that it lacks.
    """
    known = dict.fromkeys(c for frame in frames.values() for c in frame.columns)
    for name, frame in frames.items():
        lacking = [c for c in known if c not in frame]
        if lacking:
            raise DataError(
                f"D001: {files[name].name} lacks the column '{lacking[0]}' that other files have.",
                hint="Write the same columns into every file.",
            )


def _hold_trips_apart(frames: dict[str, pd.DataFrame], files: dict[str, Path]) -> None:
    seen: dict[int, str] = {}
    for name, frame in frames.items():
        for run in frame[RUN].unique().tolist():
            if run in seen:
                raise DataError(
                    f"D013: a trip of {files[seen[run]].name} has the number of one of {files[name].name}.",
                    hint="Give each trip a `run` of its own, over all files; a trip lies in one part only.",
                )
            seen[run] = name


def _kinds(name: str, frames: Iterable[pd.DataFrame]) -> tuple[str, ...]:
    """Return the kinds that a column holds, () for a number; an all-normal column has its one."""
    if TRUTHS[name][1] is not None:
        return ()
    there = {str(kind) for frame in frames for kind in frame[name].dropna().unique()}
    return (*(k for k in _TAME_FIRST if k in there), *sorted(there - set(_TAME_FIRST)))


def _describe(
    subject: str,
    folder: Path,
    files: int,
    frames: dict[str, pd.DataFrame],
    read: _Read,
    timezone: str,
    details: dict[str, Any],
) -> Metadata:
    there = next(iter(frames.values())).columns
    truths = [truth_column(name, _kinds(name, frames.values())) for name in TRUTHS if name in there]
    return Metadata(
        subject=subject,
        group="vehicle",
        title="telemetry of trips",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=1.0,
        timezone=timezone,
        sensors=tuple(s.sensor() for s in SIGNALS.values() if s.name in there),
        truths=tuple(truths),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(
            kind="import",
            source=f"{folder.name} ({files} file{'s' * (files != 1)})",
            mapping=read.used,
            details={
                "importer": "telemetry",
                **details,
                "mended_headers": read.mended,
                "unused_columns": list(read.unused),
            },
        ),
    )
