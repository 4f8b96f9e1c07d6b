"""What each column of X is: a number, a flag, a category of few, some or many values, a date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.trainer.contract import Column, Table
from nightshift.trainer.inputs import refuse
from nightshift.trainer.inputs.table import is_frame, is_sparse
from nightshift.trainer.options import Encode

if TYPE_CHECKING:
    import pandas as pd

#: Rows of a column of numbers whose different values are counted.
_LOOKED_AT = 10_000
#: Rows that are summed at once.
_BLOCK_ROWS = 20_000
#: Share of rows with a value of their own from which a column names rows.
_NAMES_ROWS = 0.95
#: Rows below which nothing is said to name them.
_FEWEST = 20


def kinds(table: Table, encode: Encode | None) -> tuple[Column, ...]:
    """Return what is known of each column, in order; nothing of a sparse matrix.

    Whether a value is missing and how many values a category has is counted on all rows; how many a number has, on at
    most 10,000 that are spread evenly.

    Args:
        encode: from how many values on a category is of some or many; None: the defaults.
    """
    if is_sparse(table.X):
        return ()
    given = encode or Encode()
    X, step = table.X, _step(table.n_rows)
    if is_frame(X) and not refuse.rows_together(X):
        return tuple(_of_series(name, X.iloc[:, i], given) for i, name in enumerate(table.columns))
    missing = np.zeros(table.n_columns, bool)
    for start in range(0, table.n_rows, _BLOCK_ROWS):
        missing |= _missing(_values(X, slice(start, start + _BLOCK_ROWS)))
    sample = _values(X, slice(None, None, step))
    return tuple(_number(name, _column(X, i), sample[:, i], bool(missing[i])) for i, name in enumerate(table.columns))


def _values(X: Any, rows: slice) -> NDArray[Any]:
    return np.asarray(X.iloc[rows].to_numpy() if is_frame(X) else X[rows])


def _column(X: Any, i: int) -> NDArray[Any]:
    return np.asarray(X.iloc[:, i].to_numpy() if is_frame(X) else X[:, i])


def _step(rows: int) -> int:
    return max(1, -(-rows // _LOOKED_AT))


def _missing(X: NDArray[Any]) -> NDArray[np.bool_]:
    """Return by column whether a value is NaN: the sum of such a column is, too."""
    if X.dtype.kind != "f":
        return np.zeros(X.shape[1], bool)
    with np.errstate(over="ignore", invalid="ignore"):
        doubtful = ~np.isfinite(np.sum(X, axis=0, dtype=np.float64))
    for i in np.flatnonzero(doubtful):
        doubtful[i] = np.isnan(X[:, i]).any()
    return doubtful


def _of_series(name: str, values: pd.Series[Any], encode: Encode) -> Column:
    import pandas as pd

    dtype = values.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype) or _holds_dates(values):
        seen = values.iloc[:: _step(len(values))].nunique()
        return Column(name, "datetime", seen, bool(values.isna().any()), values.nunique() <= 1, id_like=False)
    plain = isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    if plain or (pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)):
        # A nullable column is looked at as floats: a copy of one column, dropped at once.
        numbers = values.to_numpy() if plain else values.to_numpy(np.float64, na_value=np.nan)
        missing = numbers.dtype.kind == "f" and bool(_missing(numbers[:, None])[0])
        return _number(name, numbers, numbers[:: _step(len(numbers))], missing)
    many = int(values.nunique())
    role: Literal["low", "middle", "high"] = (
        "low" if many <= encode.one_hot_up_to else "middle" if many < encode.target_from else "high"
    )
    id_like = len(values) >= _FEWEST and many >= _NAMES_ROWS * len(values)
    return Column(name, role, many, bool(values.isna().any()), many <= 1, id_like)


def _holds_dates(values: pd.Series[Any]) -> bool:
    import pandas as pd

    if values.dtype != object:
        return False
    found: str = pd.api.types.infer_dtype(values, skipna=True)
    return found in {"date", "datetime", "datetime64"}


def _number(name: str, values: NDArray[Any], sample: NDArray[Any], missing: bool) -> Column:
    """Return what is known of a column of numbers, (n,), by a sample of its rows and, in doubt, by all."""
    present = sample[~np.isnan(sample)] if missing else sample
    seen = np.unique(present)
    constant, flag = False, values.dtype.kind == "b"
    if len(seen) <= 2:
        low, high = _ends(values, missing)
        constant = low == high
        flag = flag or (not constant and {low, high} == {0.0, 1.0} and _only(values, missing))
    whole = not missing and (values.dtype.kind in "iu" or bool((seen == np.floor(seen)).all()))
    id_like = whole and len(seen) >= _NAMES_ROWS * len(sample) and _names_rows(name, values)
    return Column(name, "flag" if flag else "number", len(seen), missing, constant, id_like)


def _ends(values: NDArray[Any], missing: bool) -> tuple[float, float]:
    """Return the least and the largest value; NaN twice is (0, 0): a column of nothing is constant."""
    present = values[~np.isnan(values)] if missing else values
    return (float(present.min()), float(present.max())) if len(present) else (0.0, 0.0)


def _only(values: NDArray[Any], missing: bool) -> bool:
    """Return whether all values are 0 or 1."""
    ones, zeros = int(np.count_nonzero(values == 1)), int(np.count_nonzero(values == 0))
    return ones + zeros + (int(np.count_nonzero(np.isnan(values))) if missing else 0) == len(values)


def _names_rows(name: str, values: NDArray[Any]) -> bool:
    """Return whether whole numbers number the rows: all different, and close together or called an id.

    Numbers that are only all different are measured values, such as prices.
    """
    if len(values) < _FEWEST or values.dtype.kind == "b":
        return False
    low, high = _ends(values, missing=False)
    called = name.lower() in {"id", "uuid", "index", "row", "key"} or name.lower().endswith(("_id", " id"))
    if not called and high - low > 2 * len(values):
        return False
    if values.dtype.kind == "f" and not bool((values == np.floor(values)).all()):
        return False
    return len(np.unique(values)) >= _NAMES_ROWS * len(values)
