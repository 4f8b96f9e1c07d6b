"""Brings rows to the types that are stored, or says which column cannot be.

Sensors are float32: that is what every bundle takes, so training sees no digit that the device will not. Its 24 bits
are one part in 16 million; a column that counts beyond that (epoch seconds, meter totals) belongs in the mapping as a
difference. `rul` and cycle times keep float64 or int64; categories are text; times are UTC to the nanosecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.data.schema import (
    LABEL,
    PARTS,
    RUL,
    RUN,
    TIME,
    VEHICLE,
    LabelSource,
    Metadata,
    PartSummary,
    Sensor,
    TimeKind,
    TruthColumn,
)
from nightshift.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def normalise(frames: Mapping[str, pd.DataFrame], metadata: Metadata) -> tuple[dict[str, pd.DataFrame], Metadata]:
    """Return the frames as stored (declared columns only, in order) and the metadata with parts and categories.

    Raises:
        DataError: for a missing part or column, text or infinities in a sensor, a label that is not 0 or 1, an empty
            time. Names the column.
    """
    # Each part is asked for once: it may be read only then, so that one alone is in memory twice.
    stored = {part: _part(_filled(frames, part), metadata) for part in PARTS}
    for name in (TIME, LABEL):
        _agree(stored, name)
    sensors = tuple(_with_categories(s, stored["train"]) for s in metadata.sensors)
    described = metadata.model_copy(update={"sensors": sensors, "parts": {p: summary(stored[p]) for p in PARTS}})
    return stored, described


def _filled(frames: Mapping[str, pd.DataFrame], part: str) -> pd.DataFrame:
    frame = frames.get(part)
    if frame is None or not len(frame):
        raise DataError(f"the {part} part is empty.", hint="Land more runs.")
    return frame


def summary(frame: pd.DataFrame) -> PartSummary:
    """Return the figures of one part as stored."""
    first = last = None
    if TIME in frame:
        first, last = (_as_text(t) for t in (frame[TIME].min(), frame[TIME].max()))
    positives = int((frame[LABEL] == 1).sum()) if LABEL in frame else None
    return PartSummary(rows=len(frame), runs=int(frame[RUN].nunique()), first=first, last=last, positives=positives)


def _as_text(time: Any) -> str:
    import pandas as pd

    return time.isoformat().replace("+00:00", "Z") if isinstance(time, pd.Timestamp) else f"{time:g}"


def _part(frame: pd.DataFrame, metadata: Metadata) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    if metadata.time_kind is not TimeKind.NONE:
        columns[TIME] = _time(_column(frame, TIME), metadata.time_kind)
    columns[RUN] = _integers(_column(frame, RUN), RUN)
    if metadata.group == "vehicle":
        columns[VEHICLE] = _integers(_column(frame, VEHICLE), VEHICLE)
    for sensor in metadata.sensors:
        column = _column(frame, sensor.name)
        columns[sensor.name] = _text(column) if sensor.role == "category" else numbers(column, np.float32)
    if metadata.label_source is not LabelSource.ABSENT:
        columns[LABEL] = _label(_column(frame, LABEL))
    if metadata.has_rul:
        columns[RUL] = numbers(_column(frame, RUL), np.float64)
    for truth in metadata.truths:
        columns[truth.name] = _truth(_column(frame, truth.name), truth)
    return pd.DataFrame(columns, copy=False)


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame:
        raise DataError(
            f"D001: column '{name}' not found.", hint="The columns are: " + ", ".join(map(str, frame.columns)) + "."
        )
    return frame[name].reset_index(drop=True)


def numbers(column: pd.Series[Any], dtype: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    """Return a column as floating-point numbers, missing as NaN.

    Raises:
        DataError: for text that is no number, and for infinities (also those that the type cannot hold).
    """
    import pandas as pd

    read = pd.to_numeric(column, errors="coerce")
    bad = read.isna() & column.notna()
    if bad.any():
        raise DataError(
            f"D020: column '{column.name}' holds '{column[bad].iloc[0]}' (row {int(np.argmax(bad)) + 1}), which is no "
            "number.",
            hint="Mend the column; where a mapping is given, its `sentinels` may say that the value means missing.",
        )
    with np.errstate(over="ignore"):
        values = read.to_numpy(np.float64, na_value=np.nan).astype(dtype)
    if np.isinf(values).any():
        raise DataError(
            f"D020: column '{column.name}' holds an infinite value (row {int(np.argmax(np.isinf(values))) + 1}).",
            hint="Mend the column; write missing values as empty cells.",
        )
    return values


def _integers(column: pd.Series[Any], name: str) -> np.ndarray[Any, Any]:
    values = numbers(column, np.float64)
    if np.isnan(values).any() or (values != np.round(values)).any():
        raise DataError(f"D020: column '{name}' must hold whole numbers, without gaps.", hint="Number the runs.")
    return values.astype(np.int64)


def _time(column: pd.Series[Any], kind: TimeKind) -> Any:
    import pandas as pd

    if column.isna().any():
        row = int(np.argmax(column.isna())) + 1
        raise DataError(f"D020: column 'time' is empty in row {row}.", hint="Every row needs its time.")
    if kind is TimeKind.CYCLES:
        values = numbers(column, np.float64)
        return values.astype(np.int64) if (values == np.round(values)).all() else values
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        raise DataError("D020: column 'time' holds no times with a zone.", hint="Give `timezone` in the mapping.")
    return column.dt.tz_convert("UTC").dt.as_unit("ns")


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if pd.api.types.infer_dtype(column) == "string":
        # A few words, many rows: each word is kept once.
        codes, words = pd.factorize(column)
        return pd.Series(np.array([*words, None], dtype=object)[codes], name=column.name)
    text: pd.Series[Any] = column.astype(object).map(str, na_action="ignore")
    return text.mask(column.isna(), None).astype(object)


def _label(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    values = numbers(column, np.float64)
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        raise DataError(
            f"D020: column '{LABEL}' holds {values[wrong][0]:g}; it must hold 0 (well) or 1 (failing).",
            hint="Name the failing values in the mapping (`label: {column: …, positive: […]}`).",
        )
    return values.astype(np.float32) if np.isnan(values).any() else values.astype(np.int8)


def _truth(column: pd.Series[Any], truth: TruthColumn) -> Any:
    """Return a number as float32, a kind as text; missing where it is not known."""
    if not truth.classes:
        return numbers(column, np.float32)
    text = _text(column)
    wrong = text.notna() & ~text.isin(truth.classes)
    if wrong.any():
        raise DataError(
            f"D020: column '{truth.name}' holds '{text[wrong].iloc[0]}' (row {int(np.argmax(wrong)) + 1}), which is "
            f"none of {', '.join(truth.classes)}.",
            hint="Name the kinds in the importer's options, or leave the cell empty where it is not known.",
        )
    return text


def _agree(frames: dict[str, pd.DataFrame], name: str) -> None:
    """Give a column one type in all parts (a label is float32 everywhere once one is unknown)."""
    kinds = {frames[p][name].dtype for p in PARTS if name in frames[p]}
    if len(kinds) > 1:
        wider = np.float32 if name == LABEL else np.float64
        for part in PARTS:
            frames[part][name] = frames[part][name].astype(wider)


def _with_categories(sensor: Sensor, train: pd.DataFrame) -> Sensor:
    if sensor.role != "category" or sensor.categories:
        return sensor
    return sensor.model_copy(update={"categories": tuple(sorted(train[sensor.name].dropna().unique()))})
