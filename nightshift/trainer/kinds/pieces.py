"""`partial_fit` over all rows: at once, or piece by piece where they are read from disk."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.trainer.contract import Values

#: Rows of a piece.
PIECE_ROWS = 50_000


def on_disk(X: Any) -> bool:
    """Whether rows are read from a file when they are looked at."""
    return isinstance(X, np.memmap)


def partial_fit(model: Any, X: Any, y: Values, told: dict[str, Any]) -> None:
    """Go through the rows once.

    Args:
        told: keywords of `partial_fit`: `classes`, and `sample_weight` of all rows.
    """
    if not on_disk(X):
        model.partial_fit(X, y, **told)
        return
    told = dict(told)
    weight = told.pop("sample_weight", None)
    for start in range(0, len(y), PIECE_ROWS):
        rows = slice(start, start + PIECE_ROWS)
        if weight is not None:
            told["sample_weight"] = weight[rows]
        model.partial_fit(X[rows], y[rows], **told)
        told.pop("classes", None)
