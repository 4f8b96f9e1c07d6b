"""Keeps the window of rows that arrive one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.faces import check_array
from nightshift.edge.manifest import BundleManifest, Column
from nightshift.edge.rows import (
    RUN,
    TIME,
    check_whole,
    clock,
    codes,
    find_columns,
    no_number,
    number,
    slack_s,
    time_goes_back,
    written,
    zone_of,
)
from nightshift.errors import ColumnError, DtypeError

#: A row as it arrives: values by column, or all of them in the bundle's order.
Row = Mapping[str, object] | NDArray[np.float32]


class Stream:
    """The newest rows of one machine, as a bundle takes them.

    inputs = stream.push({"time": "2026-01-31T13:00:00Z", "run": 7, "speed": 1480.0})
    answer = model.run(inputs)

    Args:
        manifest: of the bundle.
    """

    def __init__(self, manifest: BundleManifest) -> None:
        self._face = manifest.interface
        self._calendar = manifest.time_kind == "calendar"
        self._timezone = manifest.timezone
        self._zone: tzinfo | None = None
        self._codes = {column.name: codes(column) for column in self._face.columns if column.categories}
        self._headers: tuple[tuple[str, ...], dict[str, str]] = ((), {})
        self._window = np.full((1, self._face.window_rows, len(self._face.columns)), np.nan, np.float32)
        self._run: object = None
        self._latest: float | None = None
        self._count = 0

    def push(self, row: Row) -> dict[str, NDArray[Any]]:
        """Take the next row and return the inputs that answer it, `window` `(1, window_rows, n_columns)`.

        Of a policy it is `observation` `(1, n_columns)`.

        A row that is refused leaves the window as it was.

        Raises:
            ColumnError: for a column, or a time, that is missing.
            UnitError: for a column in another unit.
            DtypeError: for a value that is no number, or no time.
            ShapeError: for an array of another length.
            OrderError: when time goes back within a run.
        """
        where = f"row {self._count + 1}"
        values = self._values(row, where)
        observed = self._face.takes == "observation"
        if observed:
            check_whole(values[None], self._face.columns, self._count + 1)
        named = row if isinstance(row, Mapping) else {}
        run = written(named.get(RUN))
        new_run = self._count > 0 and run != self._run
        civil_s, instant = self._clock(named, where)
        latest = None if new_run else self._latest
        if instant is not None and latest is not None and instant - latest < -slack_s(self._known_zone()):
            raise time_goes_back(where)
        if self._face.uses_time and civil_s is None:
            raise ColumnError(f"{where} has no time, which this model reads.", hint="Give it a `time`.")
        if new_run:
            self.clear()
        self._window[0, :-1] = self._window[0, 1:]
        self._window[0, -1] = values
        # A row without a time hides no step back: the next one is held against the last time that is known.
        self._run, self._latest, self._count = run, latest if instant is None else instant, self._count + 1
        # A copy: answers may be asked for later, and the window moves on.
        inputs: dict[str, NDArray[Any]] = {
            self._face.takes: self._window[:, -1].copy() if observed else self._window.copy()
        }
        if self._face.uses_time:
            inputs["time_s"] = np.array([civil_s], np.int64)
        return inputs

    def clear(self) -> None:
        """Forget all rows so far, as at a new run."""
        self._window[:] = np.nan
        self._latest = None

    def _values(self, row: Row, where: str) -> NDArray[np.float32]:
        columns = self._face.columns
        if not isinstance(row, Mapping):
            check_array(where, row, np.dtype(np.float32), (len(columns),))
            return row
        names = tuple(row)
        if names != self._headers[0]:
            self._headers = (names, find_columns(names, columns))
        found = self._headers[1]
        values = [self._value(column, row[found[column.name]], where) for column in columns]
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(np.float32)

    def _value(self, column: Column, value: object, where: str) -> float:
        if column.categories:
            return self._codes[column.name].get(written(value), column.unseen_code)
        if value is None:
            return float("nan")
        try:
            return number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise no_number(f"{where}, column '{column.name}'", value) from None

    def _clock(self, named: Mapping[str, object], where: str) -> tuple[int | None, float | None]:
        """Return the row's civil second and instant; None of both where it has no time, or the model no calendar."""
        time = named.get(TIME)
        if time is None or not self._calendar:
            return None, None
        try:
            return clock(written(time), self._known_zone())
        except DtypeError as error:
            raise DtypeError(f"{where}, {error.what}", hint=error.hint) from None

    def _known_zone(self) -> tzinfo:
        if self._zone is None:
            self._zone = zone_of(self._timezone)
        return self._zone
