"""X, y, groups and times as they were given become one checked table; X is not copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.errors import TableError
from nightshift.trainer.contract import Floats, Ints, Table
from nightshift.trainer.inputs import refuse
from nightshift.trainer.inputs.target import target_of


def table_of(X: Any, y: Any, model: Any = None, groups: Any = None, times: Any = None) -> Table:
    """Check what is to be learnt from.

    An ndarray, a DataFrame and a scipy CSR matrix stay the caller's own objects. A list, and a table of Polars or
    Arrow, is made one of these.

    Args:
        X: (n, columns).
        y: (n,) classes or numbers.
        model: decides whether integers are classes.
        groups: (n,) any values; rows of one value belong together.
        times: (n,) dates, or numbers that rise with time.

    Raises:
        TableError: for input that nothing can be trained on; says what, what was expected, and what was given.
    """
    refuse.container(X, "X")
    X = two_dimensional(X)
    refuse.dimensions(X.shape)
    refuse.container(y, "y")
    refuse.lengths(X=X.shape[0], y=_length(y, "y"), groups=_length(groups, "groups"), times=_length(times, "times"))
    refuse.orders(X=X, y=y, groups=groups, times=times)
    columns = _checked(X)
    target = target_of(y, model)
    return Table(
        X=X,
        y=target.values,
        task=target.task,
        classes=target.classes,
        columns=columns,
        groups=None if groups is None else codes_of(groups),
        times=None if times is None else seconds_of(times),
    )


def is_frame(X: Any) -> bool:
    """Return whether X is a pandas DataFrame, without importing pandas."""
    return hasattr(X, "iloc") and hasattr(X, "columns")


def is_sparse(X: Any) -> bool:
    """Return whether X is a scipy sparse matrix or array, without importing scipy."""
    return hasattr(X, "tocsr")


def two_dimensional(X: Any) -> Any:
    """Return X as a DataFrame, CSR matrix or ndarray; those pass as they are. What is masked is missing."""
    if is_frame(X):
        return X
    if is_sparse(X):
        return _matrix(X.tocsr())
    if hasattr(X, "to_pandas"):  # Polars, Arrow
        return X.to_pandas()
    if isinstance(X, np.ma.MaskedArray):  # as an array it would lose its mask, and hold what lies under it
        return np.ma.filled(X.astype(np.float64), np.nan)
    try:
        values = np.asarray(X)
    except ValueError:
        raise TableError(
            "X has rows of different length. Expected the same number of values a row, got a ragged list."
        ) from None
    if values.dtype == object and values.ndim == 2:
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError):
            return values
    return values


def _matrix(X: Any) -> Any:
    """Return scipy's sparse arrays as matrices of the same memory: CatBoost knows those alone."""
    from scipy import sparse

    return X if isinstance(X, sparse.spmatrix) else sparse.csr_matrix(X)


def _length(given: Any, name: str) -> int | None:
    if given is None:
        return None
    refuse.container(given, name)
    return int(given.shape[0]) if getattr(given, "shape", None) else len(given)


def _checked(X: Any) -> tuple[str, ...]:
    """Return the columns' names after a look at every value.

    Raises:
        TableError: see `refuse`.
    """
    if not is_frame(X):
        refuse.sparse(X) if is_sparse(X) else refuse.array(X)
        return tuple(f"x{i}" for i in range(X.shape[1]))
    refuse.frame(X)
    return tuple(str(name) for name in X.columns)


def codes_of(groups: Any) -> Ints:
    """Return (n,) the number of each row's group, in the groups' sorted order.

    Raises:
        TableError: for a row without a group.
    """
    import pandas as pd

    values = groups if hasattr(groups, "iloc") else np.asarray(groups)
    if values.ndim == 2 and values.shape[1] == 1:
        values = np.asarray(values)[:, 0]
    if values.ndim != 1:
        raise TableError(f"groups should be a 1d array, got an array of shape {values.shape} instead.")
    missing = np.asarray(pd.isna(values))
    if missing.any():
        raise TableError(
            f"Input groups contains NaN: {int(missing.sum())} of {len(missing)} rows, first row "
            f"{int(np.argmax(missing))}. Expected a group for each row, got none there.",
            hint="Give such rows a group of their own.",
        )
    try:
        codes, _ = pd.factorize(values, sort=True)
    except TypeError:  # text beside numbers has no order
        codes, _ = pd.factorize(values)
    return np.asarray(codes, np.int64)


def seconds_of(times: Any) -> Floats:
    """Return (n,) seconds since 1970 of dates, numbers as they are.

    Raises:
        TableError: for what is neither, and for a row without a time.
    """
    import pandas as pd

    series = times if hasattr(times, "iloc") else pd.Series(np.asarray(times).ravel())
    if series.ndim != 1:
        raise TableError(f"times should be a 1d array, got an array of shape {series.shape} instead.")
    if pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_bool_dtype(series.dtype):
        found = series.to_numpy(np.float64, na_value=np.nan)
    else:
        try:
            dates = pd.to_datetime(series, utc=True, format="ISO8601" if series.dtype.kind == "O" else None)
        except (TypeError, ValueError, OverflowError):
            raise TableError(
                f"times holds no dates. Expected dates or numbers, got {series.iloc[0]!r} (dtype {series.dtype}).",
                hint="Write them as 2024-01-31 12:00; pandas.to_datetime(…, format=…) reads other forms.",
            ) from None
        found = dates.dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64) / 1e9
        found = np.where(dates.isna().to_numpy(), np.nan, found)
    if not np.isfinite(found).all():
        bad = int(np.argmin(np.isfinite(found)))
        raise TableError(
            f"Input times contains NaN or infinity, first in row {bad}. Expected a time for each row, got "
            f"{series.iloc[bad]}.",
            hint="Drop those rows.",
        )
    return np.asarray(found, np.float64)
