"""y: what is to be answered, and whether it is classes or numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import TableError
from nightshift.trainer.inputs import refuse
from nightshift.trainer.options import Task

#: Integers of at most so many values, and of at most this share of the rows, are classes.
_MOST_CLASSES, _SHARE_OF_ROWS = 20, 0.05


@dataclass(frozen=True)
class Target:
    """A checked y.

    Attributes:
        values: (n,) classes as given, or float64.
        classes: in sorted order; empty for regression.
    """

    values: NDArray[Any]
    task: Task
    classes: tuple[Any, ...]


def target_of(y: Any, model: Any = None) -> Target:
    """Check y and tell the task: the model's own type decides where both would do, else the values.

    Text, bool, integers of few values and floats of two whole ones, as 0.0 and 1.0, are classes; other floats numbers.

    Raises:
        TableError: for a y that is missing values, of one class, of several columns, or of another kind than the model.
    """
    refuse.container(y, "y")
    values = _array(y)
    asked = asked_of(model)
    name = type(model).__name__
    if values.dtype.kind in "OUSb":
        if asked == "values" and values.dtype.kind != "b":
            raise TableError(
                f"could not convert string to float: {name} expects numbers in y, got {str(values[0])!r}.",
                hint="Use a classifier, or encode y as numbers.",
            )
        return _classes(values) if asked != "values" else Target(values.astype(np.float64), "regression", ())
    if asked == "classes":
        if values.dtype.kind == "f" and not bool((values == np.floor(values)).all()):
            odd = values[values != np.floor(values)][0]
            raise TableError(
                f"Unknown label type: continuous. {name} expects classes in y, got numbers such as {odd}.",
                hint="Use a regressor, or make classes of y, for instance by pandas.cut.",
            )
        return _classes(values)
    if asked is None and (_few(values) if values.dtype.kind in "iu" else _two_whole(values)):
        return _classes(values)
    return Target(np.asarray(values, np.float64), "regression", ())


def asked_of(model: Any) -> Literal["classes", "values"] | None:
    """Return what a model expects in y, None where it does not say: a name, a net, another library's object."""
    if model is None or isinstance(model, str | type):
        return None
    from sklearn.base import is_classifier, is_regressor

    try:
        return "classes" if is_classifier(model) else "values" if is_regressor(model) else None
    except (AttributeError, TypeError):
        return None


def _array(y: Any) -> NDArray[Any]:
    """Return y as (n,) bool, int, float, text or objects that are all text.

    Raises:
        TableError: for other shapes and types, and for missing values.
    """
    if hasattr(y, "to_pandas"):  # a Polars or Arrow column
        y = y.to_pandas()
    values = _of_pandas(y) if hasattr(y, "iloc") else _of_sequence(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise TableError(
            f"y should be a 1d array, got an array of shape {values.shape} instead.",
            hint="One model answers one column; train one for each.",
        )
    if values.dtype == object:
        values = _objects(values)
    if values.dtype.kind not in "biufUSO":
        raise TableError(
            f"y has dtype {values.dtype}. Expected numbers, text or bool, got {values.dtype.name}.",
            hint="Make numbers of it, such as seconds since a day.",
        )
    if values.dtype.kind == "f":
        _finite(values)
    return values


def _of_sequence(y: Any) -> NDArray[Any]:
    if isinstance(y, np.ma.MaskedArray):
        _present(np.asarray(np.ma.getmaskarray(y).reshape(len(y), -1).any(axis=1)))
    try:
        values = np.asarray(y)
        # An array of texts is what numpy makes of numbers among texts, too.
        texts = isinstance(y, list | tuple) and values.dtype.kind in "US" and not all(isinstance(one, str) for one in y)
        return np.array(y, object) if texts and values.ndim == 1 else values
    except ValueError:
        raise TableError("y has rows of different length. Expected one value a row, got a ragged list.") from None


def _of_pandas(y: Any) -> NDArray[Any]:
    import pandas as pd

    if y.ndim == 2:
        if y.shape[1] != 1:
            return np.asarray(y.to_numpy())
        y = y.iloc[:, 0]
    _present(y.isna().to_numpy())
    if isinstance(y.dtype, pd.CategoricalDtype):
        return np.asarray(y)
    if isinstance(y.dtype, pd.api.extensions.ExtensionDtype) and y.dtype.kind in "biuf":
        return np.asarray(y.to_numpy(dtype={"b": bool, "i": np.int64, "u": np.uint64, "f": np.float64}[y.dtype.kind]))
    return np.asarray(y.to_numpy())


def _objects(values: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are all text as they are, numbers and bools as an array of such."""
    import pandas as pd

    _present(pd.isna(values))
    found = pd.api.types.infer_dtype(values, skipna=False)
    if found == "string":
        return values
    if found in {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}:
        kind = {"boolean": bool, "integer": np.int64}.get(found, np.float64)
        return np.asarray(values.tolist(), kind)
    examples: dict[str, Any] = {}
    for value in values.tolist():
        examples.setdefault(type(value).__name__, value)
    shown = " and ".join(f"{str(value)[:30]!r} ({kind})" for kind, value in list(examples.items())[:2])
    raise TableError(f"y has mixed types. Expected all numbers or all text, got {shown}.", hint="Use y.astype(str).")


def _finite(values: NDArray[Any]) -> None:
    if bool(np.isfinite(values).all()):
        return
    _present(np.isnan(values))
    rows = np.flatnonzero(np.isinf(values))
    raise TableError(
        f"Input y contains infinity: {len(rows)} of {len(values)} rows, first row {rows[0]}. "
        f"Expected finite numbers, got {values[rows[0]]}.",
        hint="Drop those rows.",
    )


def _present(missing: NDArray[np.bool_]) -> None:
    if missing.any():
        rows = np.flatnonzero(missing)
        raise TableError(
            f"Input y contains NaN: {len(rows)} of {len(missing)} rows, first row {rows[0]}. "
            "Expected a value in each row, got none there.",
            hint="Drop those rows of X and y: nothing can be learnt from them.",
        )


def _few(values: NDArray[Any]) -> bool:
    """Return whether integers are rather names of classes than counts."""
    low, high = int(values.min()), int(values.max())
    if high - low < 1 << 16:  # counted by place: no sorting of a million rows
        many = int(np.count_nonzero(np.bincount(values.astype(np.int64) - low)))
    else:
        many = len(np.unique(values))
    return many <= max(2, min(_MOST_CLASSES, int(_SHARE_OF_ROWS * len(values))))


def _two_whole(values: NDArray[Any]) -> bool:
    """Return whether floats are two whole numbers: flags that a gap, or another table, made floats of."""
    low, high = values.min(), values.max()
    return bool(low < high and low == np.floor(low) and high == np.floor(high) and np.isin(values, (low, high)).all())


def _classes(values: NDArray[Any]) -> Target:
    if values.dtype == object:
        import pandas as pd

        found = sorted(pd.unique(values).tolist())
    else:
        found = np.unique(values).tolist()
    if len(found) < 2:
        raise TableError(
            f"The number of classes has to be greater than one; got 1 class: {found[0]!r} in all {len(values)} rows.",
            hint="Get rows of another class, or use a regressor.",
        )
    if values.dtype.kind in "OUS" and len(found) > max(_MOST_CLASSES, len(values) / 2):
        raise TableError(
            f"y has {len(found)} different texts in {len(values)} rows. Expected classes of several rows each, or "
            f"numbers, got {str(values[0])[:30]!r}.",
            hint="Where it holds numbers, leave out units and thousands' separators.",
        )
    return Target(values, "binary" if len(found) == 2 else "multiclass", tuple(found))
