"""Reads a file's times, and puts rows in order where the mapping asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.mapping import Mapping, TimeColumn
from nightshift.data.schema import RUN, TIME, TimeKind
from nightshift.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

_OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"


def read_times(column: pd.Series[Any], spec: TimeColumn, runs: NDArray[np.int64]) -> Any:
    """Return UTC times (calendar) or numbers (cycles), `(rows,)`.

    A time without an offset is local time in `spec.timezone`. In the hour that daylight saving repeats, rows that
    come twice are told apart by their order; where they do not, the first of the two hours is meant.

    Raises:
        DataError: for a cell that is no time (names the row), or a form that could mean two dates.
        ConfigError: for an unknown time zone.
    """
    import pandas as pd

    if spec.kind is TimeKind.CYCLES:
        return pd.to_numeric(column, errors="coerce")
    check_timezone(spec.timezone)
    if spec.epoch:
        counts = pd.to_numeric(column, errors="coerce")
        return pd.to_datetime(counts, unit=spec.epoch, utc=True)
    stamps = column if pd.api.types.is_datetime64_any_dtype(column) else _parse(column, spec)
    if stamps.dt.tz is not None:
        return stamps.dt.tz_convert("UTC").dt.as_unit("ns")
    return _localised(stamps, spec.timezone, runs).dt.as_unit("ns")


def check_timezone(name: str) -> None:
    """Refuse a zone that the IANA database does not hold.

    Raises:
        ConfigError: names the form expected.
    """
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(
            f"'{name}' is no time zone.", hint="Use an IANA name such as Europe/Berlin or UTC."
        ) from error


def sampling_of(frame: pd.DataFrame, kind: TimeKind) -> float | None:
    """Return the usual step between rows of a run in seconds; None without a calendar."""
    if kind is not TimeKind.CALENDAR:
        return None
    steps = frame.groupby(RUN)[TIME].diff().dt.total_seconds()
    forward = steps[steps > 0]
    return float(forward.median()) if len(forward) else None


def mend_order(frame: pd.DataFrame, mapping: Mapping, details: dict[str, Any]) -> pd.DataFrame:
    """Sort, drop duplicates and cut runs at pauses, as the mapping says; counts go into `details`."""
    out = frame
    # Rows of one run stand together, whatever the file's order of runs.
    if mapping.sort:
        in_order = out.sort_values([RUN, TIME], kind="stable")
        details["rows_moved_into_order"] = int((in_order.index != out.sort_values(RUN, kind="stable").index).sum())
        out = in_order
    else:
        out = out.sort_values(RUN, kind="stable")
    if mapping.duplicates != "keep":
        before = len(out)
        out = _without_duplicates(out, mapping.duplicates)
        details["duplicate_rows_merged"] = before - len(out)
    if mapping.run.gap_s is not None and mapping.time.kind is TimeKind.CALENDAR:
        pause = out.groupby(RUN)[TIME].diff().dt.total_seconds() > mapping.run.gap_s
        new_run = pause.to_numpy() | np.concatenate([[False], np.diff(out[RUN].to_numpy()) != 0])
        out = out.assign(**{RUN: np.cumsum(new_run).astype(np.int64)})
    return out.reset_index(drop=True)


def _without_duplicates(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    keys = [RUN, TIME]
    if how != "mean":
        return frame.drop_duplicates(keys, keep=how)  # type: ignore[call-overload, no-any-return]
    rules = {c: ("mean" if frame[c].dtype.kind == "f" else "first") for c in frame.columns if c not in keys}
    return frame.groupby(keys, sort=False, as_index=False).agg(rules)


def _localised(stamps: pd.Series[Any], zone: str, runs: NDArray[np.int64]) -> pd.Series[Any]:
    never = np.zeros(len(stamps), dtype=bool)
    first = stamps.dt.tz_localize(zone, ambiguous=~never, nonexistent="shift_forward")
    second = stamps.dt.tz_localize(zone, ambiguous=never, nonexistent="shift_forward")
    repeated = (first != second).to_numpy() & stamps.notna().to_numpy()
    later = np.zeros(len(stamps), dtype=bool)
    naive = stamps.to_numpy("datetime64[ns]").astype(np.int64)
    for i in np.flatnonzero(repeated):
        if i and repeated[i - 1] and runs[i] == runs[i - 1]:
            # Once the clock has gone back, the rest of the stretch is the second hour.
            later[i] = later[i - 1] or naive[i] < naive[i - 1]
    chosen: pd.Series[Any] = first.where(~later, second)
    as_utc: pd.Series[Any] = chosen.dt.tz_convert("UTC")
    return as_utc


def _parse(column: pd.Series[Any], spec: TimeColumn) -> pd.Series[Any]:
    import pandas as pd

    text = column.astype(str).str.strip().where(column.notna(), "")
    with_offset = text.str.contains(_OFFSET)[text != ""]
    if not spec.format and with_offset.nunique() > 1:
        raise DataError(
            f"D020: column '{column.name}' mixes times with and without an offset.", hint="Write them all one way."
        )
    aware = "%z" in spec.format if spec.format else bool(with_offset.any())
    read = pd.to_datetime(text, format=spec.format or "ISO8601", utc=aware, errors="coerce")
    bad = (read.isna() & (text != "")).to_numpy()
    if bad.any():
        hint = (
            f"Mend the row, or the `format: {spec.format}` in the mapping."
            if spec.format
            else "Give `time: {column: …, format: '%d.%m.%Y %H:%M'}` in the mapping; only ISO 8601 is read without."
        )
        raise DataError(
            f"D020: column '{column.name}' holds '{text[bad].iloc[0]}' (row {int(np.argmax(bad)) + 1}), which is no "
            f"time of the form {spec.format or 'YYYY-MM-DD hh:mm:ss'}.",
            hint=hint,
        )
    return read
