"""A machine's sensors on one even civil clock: what a forecast is fitted on and judged against.

Steps are counted on the local wall clock, so that a daily pattern follows shifts through daylight saving: the missing
hour of spring is a gap, and of the doubled hour of autumn the first is taken. Runs follow each other on this clock; a
forecast does not know of them, since nobody knows tomorrow's repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.data.dataset import Dataset
from nightshift.data.schema import PARTS
from nightshift.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More cells than this is a clock set wrong or a sampling interval that is not the data's.
_MAX_CELLS = 50_000_000


@dataclass(frozen=True)
class Series:
    """Sensors by step.

    Attributes:
        sensors: their names.
        step_s: length of a step, s; `rows_per_step` rows fall into one.
        end_s: civil time of the last step, s.
        values: `(steps, sensors)` mean of each step's rows, NaN where there are none.
        parts: part -> (first, last) step.
        row_time_s: civil time of every row `(rows,)`, ascending; `rows` holds its values `(rows, sensors)`.
        timezone: IANA zone of the civil clock.
    """

    sensors: tuple[str, ...]
    step_s: int
    rows_per_step: int
    end_s: int
    values: Floats
    parts: dict[str, tuple[int, int]]
    row_time_s: Ints
    rows: NDArray[np.float32]
    timezone: str

    def time_s(self, steps: Ints) -> Ints:
        """Return the civil times of steps, s."""
        return self.end_s - (len(self.values) - 1 - steps) * self.step_s

    def utc_s(self, steps: Ints) -> Floats:
        """Return the seconds since the epoch of steps."""
        import pandas as pd

        civil = pd.DatetimeIndex(pd.to_datetime(self.time_s(steps), unit="s"))
        first = np.ones(len(civil), dtype=bool)
        local = civil.tz_localize(self.timezone, ambiguous=first, nonexistent="shift_forward")
        utc: Floats = local.tz_convert("UTC").to_numpy("datetime64[s]").astype(np.float64)
        return utc

    def days(self, steps: Ints) -> NDArray[np.str_]:
        """Return the civil days of steps as text."""
        return np.datetime_as_string(self.time_s(steps).astype("datetime64[s]"), unit="D")

    def horizon(self, origins: Ints, steps: int) -> Floats:
        """Return what came after the origins, `(origins, steps, sensors)`; NaN beyond the end."""
        padded = np.concatenate([self.values, np.full((steps, len(self.sensors)), np.nan)])
        came: Floats = padded[origins[:, None] + np.arange(1, steps + 1)]
        return came

    def last_known(self, origins: Ints) -> Floats:
        """Return each sensor's newest value at the origins, `(origins, sensors)`; NaN where there was none yet."""
        position = np.arange(len(self.values))[:, None]
        newest = np.maximum.accumulate(np.where(np.isnan(self.values), -1, position), axis=0)[origins]
        found = np.take_along_axis(self.values, np.maximum(newest, 0), axis=0)
        return np.where(newest >= 0, found, np.nan)

    def windows(self, origins: Ints, window_rows: int) -> NDArray[np.float32]:
        """Return the rows up to the origins on the even clock, `(origins, window_rows, sensors)`, NaN = missing."""
        out = np.full((len(origins), window_rows, len(self.sensors)), np.nan, dtype=np.float32)
        row_s = self.step_s / self.rows_per_step
        for i, end in enumerate(self.time_s(origins)):
            first, last = np.searchsorted(
                self.row_time_s, [end - (window_rows - 0.5) * row_s, end + row_s / 2], side="left"
            )
            cell = window_rows - 1 + np.rint((self.row_time_s[first:last] - end) / row_s).astype(np.int64)
            # Written from the last to the first, so that of two rows in one cell the first stays.
            out[i, cell[::-1]] = self.rows[first:last][::-1]
        return out


def even_series(data: Dataset, sensors: Sequence[str], min_step_s: float) -> Series:
    """Put sensors of all parts on one even clock.

    Args:
        data: a dataset with a calendar.
        sensors: columns to take.
        min_step_s: a step is the sampling interval, or the least whole number of them that is not below this.

    Raises:
        DataError: when the sampling interval is unknown or does not fit the clock, or a sensor has no value.
    """
    sampling_s = data.metadata.sampling_s
    if sampling_s is None:
        raise DataError(
            f"'{data.subject}' states no sampling interval; a forecast needs one.",
            hint="Add `sampling_s` to the mapping and import again.",
        )
    rows_per_step = max(1, int(np.ceil(min_step_s / sampling_s - 1e-9)))
    step_s = max(1, round(rows_per_step * sampling_s))
    civil = {part: data.civil_s(part) for part in PARTS}
    time = np.concatenate(list(civil.values()))
    rows = np.concatenate([data.frame(part, list(sensors)).to_numpy(np.float32) for part in PARTS])
    order = np.argsort(time, kind="stable")
    time, rows = time[order], rows[order]
    end_s = int(time[-1])
    n_steps = (end_s - int(time[0])) // step_s + 1
    if n_steps * len(sensors) > _MAX_CELLS:
        raise DataError(
            f"'{data.subject}' spans {n_steps} steps of {step_s} s but has {len(time)} rows.",
            hint="Check the time column and the sampling interval.",
        )
    cell = _cells(time, end_s, step_s, rows_per_step, n_steps)
    values = _means(rows, cell, n_steps, average=rows_per_step > 1)
    silent = [name for name, column in zip(sensors, values.T, strict=True) if not np.isfinite(column).any()]
    if silent:
        raise DataError(
            f"no value of {', '.join(silent)} in '{data.subject}': there is nothing to forecast.",
            hint="Mend the sensor, or name the sensors to forecast in `sensors`.",
        )
    bounds = {part: _cells(t[[0, -1]], end_s, step_s, rows_per_step, n_steps) for part, t in civil.items() if len(t)}
    parts = {part: (int(first), int(last)) for part, (first, last) in bounds.items()}
    return Series(tuple(sensors), step_s, rows_per_step, end_s, values, parts, time, rows, data.metadata.timezone)


def _cells(time: Ints, end_s: int, step_s: int, rows_per_step: int, n_steps: int) -> Ints:
    """Return the step of each row: the nearest one, or of several rows the one that they lead up to."""
    back = (end_s - time) / step_s
    steps = np.rint(back) if rows_per_step == 1 else np.floor(back + 1e-9)
    return np.clip(n_steps - 1 - steps.astype(np.int64), 0, n_steps - 1)


def _means(rows: NDArray[np.float32], cell: Ints, n_steps: int, *, average: bool) -> Floats:
    values = np.full((n_steps, rows.shape[1]), np.nan)
    if not average:
        values[cell[::-1]] = rows[::-1]
        return values
    for i, column in enumerate(rows.T.astype(np.float64)):
        known = np.isfinite(column)
        count = np.bincount(cell[known], minlength=n_steps)
        total = np.bincount(cell[known], weights=column[known], minlength=n_steps)
        np.divide(total, count, out=values[:, i], where=count > 0)
    return values
