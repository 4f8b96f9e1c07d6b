"""One immutable, fingerprinted snapshot, opened for reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import LABEL, PARTS, RUN, TIME, VEHICLE, Metadata, TimeKind, TruthColumn, TruthRole
from nightshift.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

#: A part with fewer runs than this is resampled by days: five draws of a bootstrap say nothing.
_MIN_RUNS_AS_UNITS = 5


@dataclass(frozen=True)
class Dataset:
    """A stored dataset. Frames and arrays are read once and shared: callers never change them.

    Attributes:
        folder: where its files lie; only `nightshift.data` uses it.
        metadata: what the columns mean.
        fingerprint: 64 hex digits.
        new: whether the landing that returned it gave its subject other data than before; False when it was opened.
    """

    folder: Path
    metadata: Metadata
    fingerprint: str
    new: bool = field(default=False, repr=False, compare=False, kw_only=True)
    _cache: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def subject(self) -> str:
        """The machine or vehicle it is about."""
        return self.metadata.subject

    @property
    def parts(self) -> tuple[str, ...]:
        """`train`, `val`, `test`."""
        return PARTS

    def frame(self, part: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a part's rows, in time order within each run.

        Raises:
            UnknownNameError: for a part or column that does not exist.
            DataError: when the file is missing, cut short or not what was landed.
        """
        whole: pd.DataFrame = self._cached("frame", part, self._read)
        if columns is None:
            return whole
        for name in columns:
            if name not in whole.columns:
                raise UnknownNameError("column", name, [str(c) for c in whole.columns])
        return whole[list(columns)]

    def matrix(self, part: str) -> NDArray[np.float32]:
        """Return the input columns, `(rows, n_columns)` in `metadata.columns` order; NaN = missing.

        A category is its index in `metadata.sensors[i].categories`; an unseen or missing one is -1.
        """
        value: NDArray[np.float32] = self._cached("matrix", part, self._matrix)
        return value

    def runs(self, part: str) -> NDArray[np.int64]:
        """Return each row's run, `(rows,)`."""
        return self.frame(part)[RUN].to_numpy(np.int64)

    def labels(self, part: str) -> NDArray[np.float64]:
        """Return `failure_status` as 0, 1 or NaN (unknown), `(rows,)`; all NaN when there is none."""
        frame = self.frame(part)
        return frame[LABEL].to_numpy(np.float64) if LABEL in frame else np.full(len(frame), np.nan)

    def truth(self, part: str, role: TruthRole) -> NDArray[np.float64]:
        """Return a truth, `(rows,)`: a number in its unit, or the code of its class; NaN where it is not known.

        Raises:
            UnknownNameError: for a role that the dataset has no column of.
        """
        column = self.metadata.truth(role)
        if column is None:
            raise UnknownNameError("truth", role, [t.role for t in self.metadata.truths])
        value: NDArray[np.float64] = self._cached(f"truth {role}", part, lambda name: self._truth(name, column))
        return value

    def vehicles(self, part: str) -> NDArray[np.int64]:
        """Return the number of each row's vehicle, `(rows,)`; 0 for data of another group."""
        frame = self.frame(part)
        return frame[VEHICLE].to_numpy(np.int64) if VEHICLE in frame else np.zeros(len(frame), np.int64)

    def times_s(self, part: str) -> NDArray[np.float64]:
        """Return `(rows,)` epoch seconds UTC (calendar), the cycle number (cycles), or NaN (no time)."""
        frame = self.frame(part)
        if self.metadata.time_kind is TimeKind.NONE:
            return np.full(len(frame), np.nan)
        if self.metadata.time_kind is TimeKind.CYCLES:
            return frame[TIME].to_numpy(np.float64)
        return _epoch_ns(frame[TIME]) / 1e9

    def civil_s(self, part: str) -> NDArray[np.int64]:
        """Return `(rows,)` the machine's wall clock in seconds, counted as if it were UTC; 0 without a clock."""
        frame = self.frame(part)
        if self.metadata.time_kind is not TimeKind.CALENDAR:
            return np.zeros(len(frame), dtype=np.int64)
        local = frame[TIME].dt.tz_convert(self.metadata.timezone).dt.tz_localize(None)
        return np.asarray(local, dtype="datetime64[s]").astype(np.int64)

    def units(self, part: str) -> NDArray[np.str_]:
        """Return `(rows,)` the id of each row's independent unit: its run, or a machine's day when runs are few."""
        runs = self.runs(part)
        few = len(np.unique(runs)) < _MIN_RUNS_AS_UNITS and self.metadata.group == "machine"
        if self.metadata.time_kind is TimeKind.CALENDAR and few:
            return self.civil_s(part).astype("datetime64[s]").astype("datetime64[D]").astype(str)
        return runs.astype(str)

    def validation_halves(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return two masks over val: one half for early stopping and weights, one for calibration and thresholds.

        Halves hold whole runs, taken in turn; a single run is cut in the middle of its rows; independent rows are
        drawn by seed within each class.
        """
        runs = self.runs("val")
        if self.metadata.time_kind is TimeKind.NONE:
            first = _stratified_half(self.labels("val"))
        else:
            order = list(dict.fromkeys(runs.tolist()))
            first = np.isin(runs, order[::2]) if len(order) > 1 else np.arange(len(runs)) < len(runs) // 2
        return first, ~first

    def _cached(self, kind: str, part: str, make: Any) -> Any:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
        if (kind, part) not in self._cache:
            self._cache[kind, part] = make(part)
        return self._cache[kind, part]

    def _read(self, part: str) -> pd.DataFrame:
        frame = read_part(self.folder, part, self.subject)
        expected = self.metadata.parts.get(part)
        if expected is not None and expected.rows != len(frame):
            raise DataError(
                f"{part}.parquet of '{self.subject}' holds {len(frame)} rows, its metadata says {expected.rows}.",
                hint=reimport_hint(self.subject),
            )
        return frame

    def _truth(self, part: str, column: TruthColumn) -> NDArray[np.float64]:
        values = self.frame(part)[column.name]
        if not column.classes:
            return values.to_numpy(np.float64)
        code = {name: float(i) for i, name in enumerate(column.classes)}
        return np.asarray(values.map(code), dtype=np.float64)

    def _matrix(self, part: str) -> NDArray[np.float32]:
        import pandas as pd

        frame = self.frame(part, self.metadata.columns)
        out = np.empty((len(frame), len(self.metadata.sensors)), dtype=np.float32)
        for i, sensor in enumerate(self.metadata.sensors):
            if sensor.role == "category":
                out[:, i] = pd.Categorical(frame[sensor.name], categories=list(sensor.categories)).codes
            else:
                out[:, i] = frame[sensor.name].to_numpy(np.float32)
        return out


def read_part(folder: Path, part: str, subject: str) -> pd.DataFrame:
    """Read one part's parquet.

    Raises:
        DataError: when it is missing or cannot be read.
    """
    import pandas as pd
    import pyarrow as pa

    path = folder / f"{part}.parquet"
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except FileNotFoundError as error:
        raise DataError(f"{part}.parquet of '{subject}' is missing.", hint=reimport_hint(subject)) from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{part}.parquet of '{subject}' cannot be read: it is cut short or damaged.", hint=reimport_hint(subject)
        ) from error


def reimport_hint(subject: str) -> str:
    """Say how to get a damaged dataset back."""
    return f"Land '{subject}' again (`nightshift import …`; the demo machine: `nightshift demo --data-only`)."


def _epoch_ns(time: pd.Series[Any]) -> NDArray[np.int64]:
    return np.asarray(time.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]").astype(np.int64)


def _stratified_half(labels: NDArray[np.float64]) -> NDArray[np.bool_]:
    rng = np.random.default_rng(0)
    first = np.zeros(len(labels), dtype=bool)
    for value in (0.0, 1.0, np.nan):
        rows = np.flatnonzero(np.isnan(labels) if np.isnan(value) else labels == value)
        first[rng.permutation(rows)[: len(rows) // 2]] = True
    return first
