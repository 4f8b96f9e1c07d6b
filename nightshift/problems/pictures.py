"""Pictures that judges of numbers share: predicted against true, and how answers err."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import Figure, Series

Floats = NDArray[np.float64]

#: Points of a picture, at most: more cannot be told apart.
POINTS = 1_500
_ERROR_BINS = 31


def spread_over(n: int, wanted: int) -> NDArray[np.intp]:
    """Return up to `wanted` of `n` places, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).astype(np.intp)) if n else np.zeros(0, dtype=np.intp)


def predicted_true(key: str, title: str, true: Floats, predicted: Floats, unit: str) -> Figure:
    """Return answers against the truth, beside the line of perfect ones.

    Args:
        key: of the figure.
        title: of the figure.
        true: `(n,)`.
        predicted: `(n,)`.
        unit: of both.
    """
    keep = spread_over(len(predicted), POINTS)
    top = float(max(true.max(initial=0.0), predicted.max(initial=0.0)))
    return Figure(
        key=key,
        title=title,
        x_label=f"true ({unit})",
        y_label=f"predicted ({unit})",
        series=[
            Series(label="perfect", x=[0.0, top], y=[0.0, top]),
            Series(label="test", x=true[keep].tolist(), y=predicted[keep].tolist(), style="points"),
        ],
    )


def error_bars(key: str, title: str, error: Floats, unit: str, counted: str) -> Figure:
    """Return how often answers err by how much.

    Args:
        key: of the figure.
        title: of the figure.
        error: `(n,)` predicted minus true.
        unit: of it.
        counted: what an answer is of, in words.
    """
    size, edges = np.histogram(error, bins=_ERROR_BINS)
    middles = (edges[:-1] + edges[1:]) / 2.0
    bars = Series(label=counted, x=middles.tolist(), y=[float(n) for n in size], style="bars")
    return Figure(key=key, title=title, x_label=f"predicted minus true ({unit})", y_label=counted, series=[bars])
