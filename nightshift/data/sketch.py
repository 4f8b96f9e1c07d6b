"""A small picture of a dataset's values, from which drift is computed without opening its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nightshift.data.schema import PARTS, TIME, Metadata, Sensor, TimeKind

if TYPE_CHECKING:
    import pandas as pd

EDGES = 32
#: The only "day" of data without a calendar.
ALL = "all"


class SensorSketch(BaseModel):
    """One column.

    Attributes:
        edges: up to 32 quantiles of train, ascending, each once; values of train for a category.
        counts: part -> day (civil, ISO) -> rows per bin. A number falls into bin i when i edges are at or below it
            (`len(edges) + 1` bins); a category has one bin per value and one for unseen. The last bin counts missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: tuple[float, ...] | tuple[str, ...]
    counts: dict[str, dict[str, tuple[int, ...]]]

    def total(self, part: str, days: frozenset[str] | None = None) -> NDArray[np.int64]:
        """Return a part's rows per bin, missing last; of some days only when given."""
        width = len(self.edges) + 2
        chosen = [c for d, c in self.counts[part].items() if days is None or d in days]
        summed: NDArray[np.int64] = np.array(chosen, dtype=np.int64).reshape(-1, width).sum(axis=0)
        return summed


class Sketch(BaseModel):
    """The content of `sketch.json`.

    Attributes:
        fingerprint: of the dataset that it describes.
        rows: part -> rows.
        sensors: column -> its picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    rows: dict[str, int]
    sensors: dict[str, SensorSketch]


def make_sketch(frames: Mapping[str, pd.DataFrame], metadata: Metadata, fingerprint: str) -> Sketch:
    """Return the picture of a dataset as stored."""
    days = {part: _days(frames[part], metadata) for part in PARTS}
    sensors = {s.name: _sketch_column(s, frames, days) for s in metadata.sensors}
    return Sketch(fingerprint=fingerprint, rows={part: len(frames[part]) for part in PARTS}, sensors=sensors)


class _Days(NamedTuple):
    """The days of a part, in order, and which of them each row lies in."""

    names: tuple[str, ...]
    of_row: NDArray[np.intp]


def _days(frame: pd.DataFrame, metadata: Metadata) -> _Days:
    if metadata.time_kind is not TimeKind.CALENDAR:
        return _Days((ALL,), np.zeros(len(frame), np.intp))
    local = frame[TIME].dt.tz_convert(metadata.timezone).dt.tz_localize(None)
    day = np.asarray(local, dtype="datetime64[D]").astype(np.int64)
    # Rows come in long stretches of one day: only where the day changes is there something to sort.
    begins = np.flatnonzero(np.append(True, day[1:] != day[:-1])) if len(day) else np.zeros(0, np.intp)
    present, place = np.unique(day[begins], return_inverse=True)
    of_row = np.repeat(place, np.diff(np.append(begins, len(day)))).astype(np.intp)
    return _Days(tuple(present.astype("datetime64[D]").astype(np.str_).tolist()), of_row)


def _sketch_column(sensor: Sensor, frames: Mapping[str, pd.DataFrame], days: Mapping[str, _Days]) -> SensorSketch:
    edges: tuple[Any, ...] = (
        sensor.categories if sensor.role == "category" else _quantiles(frames["train"][sensor.name])
    )
    counts = {p: _counts(_bins(frames[p][sensor.name], edges), days[p], len(edges) + 2) for p in PARTS}
    return SensorSketch(edges=edges, counts=counts)


def _quantiles(column: pd.Series[Any]) -> tuple[float, ...]:
    values = column.dropna().to_numpy(np.float64)
    if not len(values):
        return ()
    return tuple(float(v) for v in np.unique(np.quantile(values, np.linspace(0, 1, EDGES))))


def _bins(column: pd.Series[Any], edges: tuple[Any, ...]) -> NDArray[np.intp]:
    """Return each row's bin; the last, `len(edges) + 1`, is missing."""
    if edges and isinstance(edges[0], str):
        code = {value: i for i, value in enumerate(edges)}
        bins = column.map(code).fillna(len(edges)).to_numpy(np.intp)
    else:
        values = column.to_numpy(np.float64) if column.dtype != object else np.zeros(len(column))
        bins = np.searchsorted(np.array(edges, dtype=np.float64), values, side="right").astype(np.intp)
    return np.where(column.isna().to_numpy(), len(edges) + 1, bins)


def _counts(bins: NDArray[np.intp], days: _Days, width: int) -> dict[str, tuple[int, ...]]:
    cells = np.bincount(days.of_row * width + bins, minlength=len(days.names) * width)
    table = cells.reshape(len(days.names), width)
    return {day: tuple(row) for day, row in zip(days.names, table.tolist(), strict=True)}
