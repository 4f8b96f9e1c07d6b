"""How a remaining-life model is judged: in the machine's time unit, harder on late warnings, and near the end alone.

Any other answer that is a number is held to the same root mean square by the gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import UnitStatistics
from nightshift.problems.problem import Samples

Floats = NDArray[np.float64]

#: Metrics of which more is better.
HIGHER_IS_BETTER = ("r2",)
#: A remaining life below this counts as near the end, in the time unit.
NEAR_END = 30.0
_EARLY, _LATE = 13.0, 10.0


def metrics(truth: Floats, truth_uncapped: Floats, predicted: Floats) -> dict[str, float | None]:
    """Return all metrics of one method on one part, in the time unit unless said otherwise.

    Args:
        truth: `(n,)` remaining life up to the cap.
        truth_uncapped: `(n,)` remaining life as stored.
        predicted: `(n,)`.

    Returns:
        `rmse`, `mae`, `r2`, `bias` (predicted minus true) and `mape_pct` (where life is left) against the capped
        truth; `rmse_uncapped` and `nasa_score` against the stored one; `rmse_below_30` where the stored one is below
        30. None where undefined.
    """
    if not len(truth):
        return dict.fromkeys(
            ("rmse", "rmse_uncapped", "mae", "r2", "mape_pct", "bias", "rmse_below_30", "nasa_score"), None
        )
    error = predicted - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    left, near = truth > 0, truth_uncapped < NEAR_END
    return {
        "rmse": _rms(error),
        "rmse_uncapped": _rms(predicted - truth_uncapped),
        "mae": float(np.abs(error).mean()),
        "r2": 1.0 - float((error**2).sum()) / spread if spread else None,
        "mape_pct": float(100.0 * np.abs(error[left] / truth[left]).mean()) if left.any() else None,
        "bias": float(error.mean()),
        "rmse_below_30": _rms(error[near]) if near.any() else None,
        "nasa_score": nasa_score(predicted - truth_uncapped),
    }


def nasa_score(error: Floats) -> float | None:
    """Return the sum of exponential penalties, late predictions costing more; None when it leaves float64.

    Args:
        error: `(n,)` predicted minus true remaining life, cycles in the source.

    Source:
        Saxena, Goebel, Simon, Eklund, "Damage propagation modeling", PHM 2008, equation 5.
    """
    with np.errstate(over="ignore"):
        total = float(np.where(error < 0, np.expm1(-error / _EARLY), np.expm1(error / _LATE)).sum())
    return total if np.isfinite(total) else None


class RegressionProblem:
    """RMSE against the capped truth is primary, over the rows of the headline."""

    name = "regression"
    primary = "rmse"
    higher_is_better = False
    min_positives = 0

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Sum squared errors and rows per unit; rows that `truth["headline"]` leaves out do not count.

        The truth is called `rul`, or `value` where the answer is no remaining life.
        """
        counted = np.asarray(samples.truth.get("headline", np.ones(len(samples.unit))), dtype=np.bool_)
        units, member = np.unique(samples.unit[counted], return_inverse=True)
        truth = samples.truth["value" if "value" in samples.truth else "rul"]
        error = np.asarray(outputs["value"], np.float64)[counted] - truth[counted]
        squares = np.bincount(member, weights=error**2, minlength=len(units))
        rows = np.bincount(member, minlength=len(units)).astype(np.float64)
        return UnitStatistics(
            units=[str(unit) for unit in units], values=np.stack([squares, rows], axis=1).tolist(), runs=len(units)
        )

    def from_sums(self, sums: Floats) -> Floats:
        """RMSE of summed squares and rows `(..., 2)`; NaN without rows."""
        squares, rows = sums[..., 0], sums[..., 1]
        return np.where(rows > 0, np.sqrt(squares / np.where(rows > 0, rows, 1.0)), np.nan)


PROBLEM = RegressionProblem()


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error**2)))
