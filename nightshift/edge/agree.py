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
