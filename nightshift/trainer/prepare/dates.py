"""Dates become numbers: their parts, and how long after the first train row they are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from nightshift.trainer.contract import Floats

PARTS = ("year", "month", "day", "weekday", "hour", "seconds")
#: 1970-01-01 was a Thursday; Monday is 0.
_FIRST_WEEKDAY = 3


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Makes six numbers of each date: year, month, day, weekday (Monday is 0), hour, seconds since the first seen.

    Parts are those of the clock where the first column's dates were told: dates of another time zone are moved to it.
    What is missing, or can be read as no date, is NaN in all six.

    Attributes:
        first_: (columns,) seconds since 1970 of the earliest date seen by `fit`.
        zones_: time zone of each column, "" for none.
        n_features_in_: number of columns.
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the earliest date and the time zone of each column.

        Args:
            X: (n, columns) DataFrame or array of dates.
        """
        import pandas as pd

        frame = pd.DataFrame(X)
        self.zones_ = [
            str(tz) if (tz := getattr(_dates(frame.iloc[:, i]).dt, "tz", None)) else "" for i in _each(frame)
        ]
        self.n_features_in_ = frame.shape[1]
        if isinstance(X, pd.DataFrame) and all(isinstance(name, str) for name in X.columns):
            self.feature_names_in_ = np.asarray(X.columns, object)
        seconds = [_seconds(self._stamps(frame.iloc[:, i], i)) for i in _each(frame)]
        self.first_ = np.array([np.nanmin(s) if np.isfinite(s).any() else 0.0 for s in seconds], np.float64)
        return self

    def transform(self, X: Any) -> Floats:
        """Return (n, 6 · columns): the parts of the first column, then those of the next.

        Raises:
            NotFittedError: before `fit`.
        """
        import pandas as pd

        check_is_fitted(self)
        frame = pd.DataFrame(X)
        found = np.empty((len(frame), len(PARTS) * frame.shape[1]), np.float64)
        for i in _each(frame):
            found[:, len(PARTS) * i : len(PARTS) * (i + 1)] = _parts(self._stamps(frame.iloc[:, i], i), self.first_[i])
        return found

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return names such as `opened_month`."""
        check_is_fitted(self)
        told = input_features if input_features is not None else getattr(self, "feature_names_in_", None)
        names = [f"x{i}" for i in range(self.n_features_in_)] if told is None else list(told)
        return np.array([f"{name}_{part}" for name in names for part in PARTS], object)

    def _stamps(self, column: Any, number: int) -> NDArray[np.datetime64]:
        """Return (n,) the clock's time in the column's zone, nanoseconds."""
        dates = _dates(column)
        if dates.dt.tz is not None:
            dates = dates.dt.tz_convert(self.zones_[number] or "UTC").dt.tz_localize(None)
        return np.asarray(dates.to_numpy(), "datetime64[ns]")


def _each(frame: Any) -> range:
    return range(frame.shape[1])


def _dates(column: Any) -> Any:
    import pandas as pd

    if str(column.dtype).startswith("date32"):  # Arrow's days, which have no time zone to ask for
        return column.astype("datetime64[ns]")
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    return pd.to_datetime(column, errors="coerce", format="ISO8601" if column.dtype.kind == "O" else None)


def _seconds(stamps: NDArray[np.datetime64]) -> Floats:
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e9)


def _parts(stamps: NDArray[np.datetime64], first: float) -> Floats:
    """Return (n, 6)."""
    days, months = stamps.astype("datetime64[D]"), stamps.astype("datetime64[M]")
    number = days.astype(np.int64)
    parts = np.column_stack(
        [
            stamps.astype("datetime64[Y]").astype(np.int64) + 1970,
            months.astype(np.int64) % 12 + 1,
            (days - months).astype(np.int64) + 1,
            (number + _FIRST_WEEKDAY) % 7,
            (stamps - days).astype("timedelta64[h]").astype(np.int64),
            stamps.astype(np.int64) / 1e9 - first,
        ]
    )
    parts[np.isnat(stamps)] = np.nan
    return np.asarray(parts, np.float64)
