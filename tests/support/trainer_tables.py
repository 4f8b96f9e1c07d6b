"""Small tables for the trainer's splits and checks, as `table_of` makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.trainer.contract import Table


def a_table(y: Any, X: Any = None, *, groups: Any = None, times: Any = None) -> Table:
    """Return a checked table: of classes unless y is of floats; three columns of noise unless X is given."""
    y = np.asarray(y)
    classes = () if y.dtype.kind == "f" else tuple(np.unique(y).tolist())
    X = np.random.default_rng(0).normal(size=(len(y), 3)) if X is None else X
    return Table(
        X=X,
        y=y,
        task="regression" if not classes else "binary" if len(classes) == 2 else "multiclass",
        classes=classes,
        columns=tuple(map(str, X.columns)) if hasattr(X, "columns") else tuple(f"x{i}" for i in range(X.shape[1])),
        groups=None if groups is None else np.asarray(groups, np.int64),
        times=None if times is None else np.asarray(times, np.float64),
    )
