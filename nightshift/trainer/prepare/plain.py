"""Columns of text and pandas' nullable columns become what scikit-learn's encoders know, whatever type they come in.

They know no pandas.NA, take None and NaN for two categories, and refuse a column of text that comes as numbers, as one
does that is wholly missing: that of a single new row may be.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from nightshift.trainer.inputs.table import is_frame


class Plain(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Makes floats of nullable numbers, and objects of text, categories and bool, with None for what is missing.

    Args:
        words: whether text and categories are changed; else nullable columns alone are.

    Attributes:
        n_features_in_: number of columns.
        words_: names of the columns that held text, categories or objects.
    """

    def __init__(self, words: bool = True) -> None:
        self.words = words

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember the columns' names.

        Args:
            X: (n, columns) DataFrame.
        """
        self.n_features_in_ = X.shape[1]
        self.words_ = words(X) if self.words else []
        self.feature_names_in_ = np.asarray(X.columns, object)
        return self

    def transform(self, X: Any) -> Any:
        """Return a frame with plain columns; an array passes as it is."""
        if not is_frame(X):
            return X
        changed: dict[Any, Any] = {}
        for name in {*nullable(X), *(name for name in self.words_ if name in X)}:
            column = X[name]
            if name not in self.words_ and _is_number(column.dtype):
                changed[name] = column.to_numpy(np.float64, na_value=np.nan)
                continue
            missing = column.isna().to_numpy()
            is_date, is_object = (
                column.dtype.kind == "M",
                isinstance(column.dtype, np.dtype) and column.dtype.kind == "O",
            )
            if missing.any() or not (is_date or is_object):
                changed[name] = _objects(column, missing) if not is_date or missing.all() else column
        if not changed:
            return X
        made = X.copy(deep=False)
        for name, values in changed.items():
            made[name] = values
        return made

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names of the columns, which are as many as before."""
        return np.asarray(self.feature_names_in_ if input_features is None else input_features, object)


def _objects(column: Any, missing: NDArray[np.bool_]) -> NDArray[np.object_]:
    values: NDArray[np.object_] = column.to_numpy(object, copy=True)
    values[missing] = None
    return values


def nullable(X: Any) -> list[Any]:
    """Return the names of a frame's columns that hold pandas.NA where a value is missing, or are Arrow's."""
    import pandas as pd

    kept = (pd.CategoricalDtype, pd.DatetimeTZDtype)
    return [
        name
        for name, dtype in X.dtypes.items()
        if isinstance(dtype, pd.api.extensions.ExtensionDtype) and not isinstance(dtype, kept)
    ]


def words(X: Any) -> list[Any]:
    """Return the names of a frame's columns of text, categories, objects (which dates may be too) and nullable bool."""
    return [
        name
        for name, dtype in X.dtypes.items()
        if (dtype.kind == "O" and not _is_number(dtype)) or (dtype.kind == "b" and not isinstance(dtype, np.dtype))
    ]


def _is_number(dtype: Any) -> bool:
    """Return whether a type is of numbers; Arrow's decimals are, by another kind. Bool is not."""
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(dtype)) and not pd.api.types.is_bool_dtype(dtype)
