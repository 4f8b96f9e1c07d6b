"""What nothing can be trained on: one error each, that says what, what was expected and what was given.

Each of these would otherwise be found out late, in the words of whichever library meets it first, or not at all:
histogram gradient boosting, LightGBM and CatBoost take infinite values without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

#: Values of an array that are summed at once.
_BLOCK = 1 << 20
#: Types of a column of objects, as pandas infers them, that can be encoded.
_WORDS = {"string", "boolean", "empty", "date", "datetime", "datetime64", "categorical"}


def container(given: Any, name: str) -> None:
    """Refuse what holds no table: a generator, a path, a mapping, nothing.

    Raises:
        TableError: says what was given.
    """
    kind = type(given).__name__
    if given is None:
        raise TableError(f"Input {name} is missing. Expected an array or DataFrame, got None.")
    if isinstance(given, str | bytes) or hasattr(given, "__fspath__"):
        raise TableError(
            f"Input {name} is text. Expected an array or DataFrame, got {str(given)[:60]!r}.",
            hint="Read the file first, or use train_from_parquet."
            if name == "X"
            else f"Give the values themselves, such as {name}=frame['{name}'].",
        )
    if hasattr(given, "compute") and hasattr(given, "dask"):
        raise TableError(
            f"Input {name} is a Dask collection. Expected an array or DataFrame in memory, got {kind}.",
            hint="Pass its .compute(), or write it with .to_parquet and use train_from_parquet.",
        )
    if isinstance(given, dict | set | frozenset):
        raise TableError(
            f"Input {name} has no order of rows. Expected an array or DataFrame, got {kind}.",
            hint="Pass pandas.DataFrame(…) of it.",
        )
    if isinstance(given, Iterator) or not (hasattr(given, "__len__") or hasattr(given, "shape")):
        raise TableError(
            f"Input {name} can be read only once or has no length. Expected an array or DataFrame, got {kind}.",
            hint="Pass list(…) or numpy.array(list(…)) of it.",
        )


def lengths(**named: int | None) -> None:
    """Refuse inputs of different length; None stands for one that was not given.

    Raises:
        TableError: names each with its length.
    """
    told = {name: rows for name, rows in named.items() if rows is not None}
    if len(set(told.values())) > 1:
        each = ", ".join(f"{name} {rows}" for name, rows in told.items())
        raise TableError(
            f"Found input variables with inconsistent numbers of samples: {each}. "
            f"Expected {told['X']} each, as X has rows."
        )
    if not told["X"]:
        raise TableError("Found array with 0 sample(s) in X. Expected at least 1 row, got none.")


def orders(**named: Any) -> None:
    """Refuse frames and series whose indexes hold the same labels in another order: rows go together by their place.

    Other labels say nothing: one of the two was numbered anew.

    Raises:
        TableError: names both, with the first row that differs.
    """
    told = {name: given.index for name, given in named.items() if hasattr(given, "iloc")}
    if len(told) < 2:
        return
    first, index = next(iter(told.items()))
    for name, other in told.items():
        if len(other) != len(index) or index.equals(other) or not _same_labels(index, other):
            continue
        row = int(np.argmax(np.asarray(index != other)))
        raise TableError(
            f"{first} and {name} have the same index in another order. Expected rows that go together by their place, "
            f"got index {index[row]!r} and {other[row]!r} in row {row}.",
            hint=f"Give {name}.loc[{first}.index], or {name}.to_numpy() where the places are right.",
        )


def _same_labels(index: Any, other: Any) -> bool:
    try:
        return bool(np.array_equal(index.sort_values(), other.sort_values()))
    except TypeError:  # text beside numbers has no order
        return False


def dimensions(shape: tuple[int, ...]) -> None:
    """Refuse what is no table of rows and columns.

    Raises:
        TableError: says the shape.
    """
    if len(shape) != 2:
        raise TableError(
            f"Expected 2D array for X, got {len(shape)}D array instead: shape {tuple(shape)}.",
            hint="X.reshape(-1, 1) makes one column, X.reshape(1, -1) one row." if len(shape) == 1 else "",
        )
    if not shape[1]:
        raise TableError(f"Found array with 0 feature(s) in X. Expected at least 1 column, got shape {tuple(shape)}.")


def array(X: NDArray[Any]) -> None:
    """Refuse an array of something else than finite numbers; NaN is a missing value.

    Raises:
        TableError: names the column and the row.
    """
    if X.dtype.kind not in "biuf":
        raise TableError(
            f"X has dtype {X.dtype}. Expected numbers in an array, got {X.dtype.name}.",
            hint="Pass a pandas DataFrame, whose columns have a type each: pandas.DataFrame(X).infer_objects().",
        )
    if X.dtype.kind != "f":
        return
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        if not _may_be_infinite(X[start : start + step]):
            continue
        rows, columns = np.nonzero(np.isinf(X[start : start + step]))
        if len(rows):
            column = int(columns[0])
            values = X[:, column]
            raise _infinite(f"x{column}", int(np.isinf(values).sum()), start + int(rows[0]), X[start + rows[0], column])


def sparse(X: Any) -> None:
    """Refuse infinite values of a scipy CSR matrix.

    Raises:
        TableError: names the column and the row.
    """
    if X.dtype.kind not in "biuf":
        raise TableError(f"X has dtype {X.dtype}. Expected numbers in a sparse matrix, got {X.dtype.name}.")
    if X.dtype.kind == "f" and _may_be_infinite(X.data):
        where = np.flatnonzero(np.isinf(X.data))
        if len(where):
            row = int(np.searchsorted(X.indptr, where[0], side="right")) - 1
            raise _infinite(f"x{int(X.indices[where[0]])}", len(where), row, X.data[where[0]])


def frame(X: pd.DataFrame) -> None:
    """Refuse what `names` and `column` refuse.

    Raises:
        TableError: names the column.
    """
    names(X)
    if rows_together(X):
        step = max(1, _BLOCK // X.shape[1])
        if not any(_may_be_infinite(X.iloc[i : i + step].to_numpy()) for i in range(0, len(X), step)):
            return
    for position, name in enumerate(X.columns):
        column(X.iloc[:, position], str(name))


def rows_together(X: pd.DataFrame) -> bool:
    """Return whether a large frame of floats lies in memory row by row, as one made of an array does.

    Column by column each of its lines of memory would be read once for every column.
    """
    dtypes = set(X.dtypes)
    if len(dtypes) > 1 or len(X) < _BLOCK // 8:
        return False
    dtype = dtypes.pop()
    return isinstance(dtype, np.dtype) and dtype.kind == "f" and X.iloc[:, 0].to_numpy().strides[0] > dtype.itemsize


def names(frame: pd.DataFrame) -> None:
    """Refuse column names that say no column: two alike, several levels, text beside numbers.

    Raises:
        TableError: names them.
    """
    if frame.columns.nlevels > 1:
        raise TableError(
            f"X has column names of {frame.columns.nlevels} levels. Expected one, got {frame.columns[0]!r}.",
            hint="Join them: X.columns = ['_'.join(map(str, c)) for c in X.columns].",
        )
    if not frame.columns.is_unique:
        twice = [str(name) for name in dict.fromkeys(frame.columns[frame.columns.duplicated()])]
        shown = ", ".join(repr(name) for name in twice[:5])
        raise TableError(
            f"X has duplicated column names: {shown}. Expected a name of its own for each of {frame.shape[1]} "
            f"columns, got {frame.columns.nunique()}.",
            hint="Keep the first of each: X.loc[:, ~X.columns.duplicated()].",
        )
    kinds = sorted({type(name).__name__ for name in frame.columns})
    if len(kinds) > 1 and "str" in kinds:
        raise TableError(
            f"Feature names are only supported if all input features have string names. Expected str, got {kinds}.",
            hint="Make all text: X.columns = X.columns.astype(str).",
        )


def column(values: pd.Series[Any], name: str) -> None:
    """Refuse a column of infinite numbers, of mixed types, or of a type that is no number, category or date.

    Raises:
        TableError: names the column, with examples.
    """
    import pandas as pd

    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_datetime64_any_dtype(dtype):
        return
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        _objects(values, name)
        return
    if pd.api.types.is_string_dtype(dtype) or pd.api.types.is_bool_dtype(dtype) or is_dictionary(dtype):
        return
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
        raise TableError(
            f"X has column {name!r} of dtype {dtype}. Expected numbers, text, categories or dates, got {dtype}.",
            hint="Durations: .dt.total_seconds(); periods: .dt.to_timestamp().",
        )
    if isinstance(dtype, pd.SparseDtype):
        raise TableError(
            f"X has the sparse column {name!r}. Expected dense columns or a scipy matrix, got {dtype}.",
            hint="Pass X.sparse.to_coo().tocsr().",
        )
    if pd.api.types.is_float_dtype(dtype):
        numbers = values.to_numpy() if isinstance(dtype, np.dtype) else values.to_numpy(np.float64, na_value=np.nan)
        if _may_be_infinite(numbers):
            rows = np.flatnonzero(np.isinf(numbers))
            if len(rows):
                raise _infinite(name, len(rows), int(rows[0]), numbers[rows[0]])


def is_dictionary(dtype: Any) -> bool:
    """Return whether it is Arrow's type of categories, for which pandas has no question of its own."""
    return str(dtype).startswith("dictionary<values=string")


def _objects(values: pd.Series[Any], name: str) -> None:
    import pandas as pd

    found = pd.api.types.infer_dtype(values, skipna=True)
    if found in _WORDS:
        return
    if found in {"integer", "floating", "mixed-integer-float", "decimal"}:
        raise TableError(
            f"X has column {name!r} of dtype object that holds numbers. Expected a dtype of numbers, got object.",
            hint=f"X[{name!r}] = pandas.to_numeric(X[{name!r}]).",
        )
    present = values.dropna()
    examples: dict[str, Any] = {}
    for value in present.head(10_000).tolist() + present.tail(1).tolist():
        examples.setdefault(type(value).__name__, value)
    shown = " and ".join(f"{str(value)[:30]!r} ({kind})" for kind, value in list(examples.items())[:2])
    raise TableError(
        f"X has column {name!r} of mixed types. Expected all numbers, all text or all dates, got {shown}.",
        hint=f"X[{name!r}] = X[{name!r}].astype(str) makes it text, pandas.to_numeric(…, errors='coerce') numbers.",
    )


def _may_be_infinite(values: NDArray[Any]) -> bool:
    """Return whether a sum is not finite: of one infinite value, a missing one, or an overflow."""
    with np.errstate(invalid="ignore", over="ignore"):
        return not bool(np.isfinite(np.sum(values, dtype=np.float64)))


def _infinite(name: str, many: int, row: int, value: Any) -> TableError:
    return TableError(
        f"Input X contains infinity: {many} value{'s' if many > 1 else ''} in column {name!r}, first in row {row}. "
        f"Expected finite numbers or NaN, got {value}.",
        hint="Make them missing: X.replace([numpy.inf, -numpy.inf], numpy.nan).",
    )
