"""New rows for a trained model: they are brought into the form of those trained on, or refused in one line.

Each estimator says it in its own words otherwise, over several lines, or answers all the same: text where a number
belongs, a category that comes as a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from nightshift.errors import NightshiftError, TableError, first_line, nearest
from nightshift.trainer.inputs import refuse
from nightshift.trainer.inputs.table import is_frame, is_sparse, two_dimensional
from nightshift.trainer.provenance import name_of
from nightshift.trainer.records import Values

if TYPE_CHECKING:
    import pandas as pd

#: Columns that an error names.
_SHOWN = 5
_NUMBER = re.compile(r"(u?int|float|double|halffloat|decimal|bool)", re.IGNORECASE)
_DATE = re.compile(r"(datetime64|timestamp|date\d)")
_TEXT = re.compile(r"(object|str|large_string|dictionary)")
#: What pandas infers of objects that are numbers.
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "boolean"}
_Sort = Literal["numbers", "dates", "text", "categories", "another type"]
#: Sorts of values that a column takes beside its own: text is read as dates; objects hold dates and flags too.
_ALSO: dict[_Sort, set[_Sort]] = {
    "numbers": set(),
    "dates": {"text"},
    "text": {"categories", "dates"},
    "categories": {"text", "numbers"},
    "another type": set(),
}


class Trained(Protocol):
    """What is known of the rows that a model was trained on: a result's `about`, a saved model's manifest."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names, in order."""

    @property
    def dtypes(self) -> Mapping[str, str]:
        """Their types as they were given, by name."""

    @property
    def frame(self) -> bool:
        """Whether they came as a frame, whose columns are found by name."""


def predicted(model: Any, X: Any, trained: Trained) -> Values:
    """Return a model's answers to new rows, (n,).

    Raises:
        TableError: for rows that do not fit.
    """
    return _asked(model, "predict", rows_like(X, trained))


def probabilities(model: Any, X: Any, trained: Trained) -> Values:
    """Return a model's probabilities for new rows, (n, classes).

    Raises:
        TableError: for rows that do not fit.
        AttributeError: by scikit-learn's custom, when the estimator tells none.
    """
    if not hasattr(model, "predict_proba"):
        raise AttributeError(f"{name_of(model)} tells no probabilities: expected predict_proba, it has predict alone.")
    return _asked(model, "predict_proba", rows_like(X, trained))


def rows_like(X: Any, trained: Trained) -> Any:
    """Return new rows in the form of those that a model was trained on; the caller's own stay as they are.

    Columns of a frame are found by name and may come in any order; arrays, and a model that was trained on one, go by
    their places.

    Args:
        X: (n, columns) frame, array, sparse matrix or list of rows.

    Raises:
        TableError: for other columns, types or shapes, for infinite values, and for no row at all.
    """
    refuse.container(X, "X")
    if hasattr(X, "iloc") and not is_frame(X):
        raise TableError(
            f"Expected a table of rows for X, got a Series of {len(X)} values.",
            hint="One row as a table is frame.iloc[[0]], with two brackets.",
        )
    rows = _table(X) if trained.frame and isinstance(X, list) else two_dimensional(X)
    refuse.dimensions(rows.shape)
    refuse.lengths(X=rows.shape[0])
    if is_frame(rows):
        refuse.names(rows)
        return _by_name(rows, trained) if trained.frame and not _unnamed(rows, trained) else _by_place(rows, trained)
    _wide(rows.shape[1], trained)
    if is_sparse(rows):
        refuse.sparse(rows)
        return rows
    if trained.frame:
        return _by_place(_table(rows), trained)
    refuse.array(rows)
    return rows


def _table(rows: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(rows).infer_objects()


def _unnamed(rows: pd.DataFrame, trained: Trained) -> bool:
    """Return whether a frame has numbers for names, as one made of an array has, and the model's columns have not."""
    return str(0) not in trained.columns and list(map(str, rows.columns)) == list(map(str, range(rows.shape[1])))


def _by_name(rows: pd.DataFrame, trained: Trained) -> Any:
    """Return the columns in the order of those trained on."""
    place = {str(name): at for at, name in enumerate(rows.columns)}
    missing = [name for name in trained.columns if name not in place]
    more = [name for name in place if name not in set(trained.columns)]
    expected = f"Expected {_many(trained)}, got {rows.shape[1]}."
    if missing:
        near = nearest(missing[0], more) if more else "Add it, with gaps (NaN) where it is not known."
        raise TableError(f"X has no {_named(missing)}. {expected}", hint=near)
    if more:
        raise TableError(
            f"X has {_named(more)}, which the model was not trained on. {expected}",
            hint=f"Leave it out: X.drop(columns={more[:_SHOWN]}).",
        )
    order = [place[name] for name in trained.columns]
    return _typed(rows if order == list(range(len(order))) else rows.iloc[:, order], trained)


def _by_place(rows: pd.DataFrame, trained: Trained) -> Any:
    """Return the columns as they stand: under the names trained on, or as an array for a model of one."""
    _wide(rows.shape[1], trained)
    if trained.frame:
        numbered = trained.columns == tuple(str(at) for at in range(rows.shape[1]))
        return _typed(rows if numbered else rows.set_axis(list(trained.columns), axis=1), trained)
    numbers = _typed(rows, None)
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _wide(columns: int, trained: Trained) -> None:
    if columns != len(trained.columns):
        raise TableError(f"X has another number of columns. Expected {_many(trained)}, got {columns}.")


def _many(trained: Trained) -> str:
    return f"{len(trained.columns)} columns, as the model was trained on"


def _named(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def _typed(rows: pd.DataFrame, trained: Trained | None) -> pd.DataFrame:
    """Return the rows with each column's values of the sort trained on; of numbers alone where that is None."""
    told = trained.dtypes if trained is not None else {}
    changed = {}
    for at, name in enumerate(rows.columns):
        column = rows.iloc[:, at]
        fitting = _fitting(column, str(name), told.get(str(name), "float64"))
        if fitting is not column:
            changed[name] = fitting
    if not changed:
        return rows
    made = rows.copy(deep=False)
    for name, column in changed.items():
        made[name] = column
    return made


def _fitting(column: pd.Series[Any], name: str, dtype: str) -> Any:
    """Return a column whose values are of a type's sort: numbers that came as objects become floats.

    Raises:
        TableError: for another sort, and for infinite or mixed values.
    """
    wanted = _sort(dtype)
    if str(column.dtype) == "object":
        column = _of_objects(column, wanted)
    found = _sort(str(column.dtype))
    if found not in {wanted, *_ALSO[wanted]} and not _says_nothing(column, wanted):
        present = column.dropna()
        got = f"{str(present.iloc[0])[:30]!r}" if len(present) else "none"
        hint = f"X[{name!r}] = pandas.to_numeric(X[{name!r}])." if (wanted, found) == ("numbers", "text") else ""
        raise TableError(
            f"X has column {name!r} of dtype {column.dtype}. Expected {wanted} ({dtype}), as the model was trained on, "
            f"got {got}.",
            hint=hint,
        )
    refuse.column(column, name)
    return column


def _sort(dtype: str) -> _Sort:
    """Return what sort of values a type holds, by the name of the type."""
    if dtype == "category":
        return "categories"
    sorts: Iterable[tuple[_Sort, re.Pattern[str]]] = (("dates", _DATE), ("numbers", _NUMBER), ("text", _TEXT))
    return next((sort for sort, pattern in sorts if pattern.match(dtype)), "another type")


def _of_objects(column: pd.Series[Any], wanted: _Sort) -> Any:
    """Return objects that are numbers as floats where numbers belong, and as they are otherwise."""
    import pandas as pd

    if wanted == "numbers" and pd.api.types.infer_dtype(column, skipna=True) in {*_NUMBERS, "empty"}:
        return pd.Series(column.to_numpy(np.float64, na_value=np.nan), index=column.index)
    return column


def _says_nothing(column: pd.Series[Any], wanted: _Sort) -> bool:
    """Return whether a column is wholly missing, as that of a single row may be, or holds flags among objects."""
    flags = wanted == "text" and str(column.dtype).startswith("bool")
    return flags or (wanted != "numbers" and bool(column.isna().all()))


def _asked(model: Any, method: str, rows: Any) -> Values:
    """Ask a model.

    Raises:
        TableError: with the first line of what the estimator says.
    """
    try:
        return np.asarray(getattr(model, method)(rows))
    except (NightshiftError, MemoryError):
        raise
    except Exception as error:  # an estimator may raise anything
        line = first_line(error)
        gap = "Fill the gaps, or train with encode={'always_impute': True}: train rows had none there."
        raise TableError(
            f"{name_of(model)} cannot answer these rows: {line}. Expected rows like those trained on.",
            hint=gap if "NaN" in line else "",
        ) from error
