"""How two sets of answers are compared, at export and on the device alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def max_abs_delta(want: NDArray[Any], got: NDArray[Any]) -> float:
    """Return the largest absolute difference, infinite where shapes differ or NaN meets a number."""
    one, other = np.asarray(want, np.float64), np.asarray(got, np.float64)
    if one.shape != other.shape:
        return float("inf")
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        delta = np.where(same, 0.0, np.abs(one - other))
    return float(np.nan_to_num(delta, nan=np.inf, posinf=np.inf).max(initial=0.0))


def any_differs(want: NDArray[Any], got: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows differ anywhere, `(n,)`; all of them where shapes differ."""
    if want.shape != got.shape:
        return np.ones(len(got), np.bool_)
    differs: NDArray[np.bool_] = (want != got).any(axis=tuple(range(1, want.ndim)))
    return differs


def worst_beside(want: NDArray[Any], got: NDArray[Any], tolerance: float, share: float) -> tuple[float, float]:
    """Return the difference that is largest beside what is accepted there, and that; infinite where NaN meets a number.

    Between processors, or batches, a large answer differs by its own rounding, which no tolerance in the output's unit
    can name: accepted is the tolerance and a share of the value itself.
    """
    if want.shape != got.shape or not want.size:
        return (0.0 if want.shape == got.shape else float("inf")), tolerance
    with np.errstate(invalid="ignore"):
        one, other = want.astype(np.float64).ravel(), got.astype(np.float64).ravel()
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        delta = np.nan_to_num(np.where(same, 0.0, np.abs(one - other)), nan=np.inf, posinf=np.inf)
        accepted = tolerance + share * np.nan_to_num(np.abs(one), nan=0.0, posinf=0.0)
    at = int(np.argmax(delta / np.maximum(accepted, np.finfo(np.float64).tiny)))
    return float(delta[at]), float(accepted[at])
