"""How a driver is judged: by the mean closed-loop score of the scenarios that it drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import UnitStatistics
from nightshift.problems.problem import Samples

#: Metrics of which less is better; of the others more is.
LOWER_IS_BETTER = ("collision",)


class ControlProblem:
    """The closed-loop score is primary, 0 to 1: it says in one figure whether a drive was safe, lawful and swift.

    A policy cannot be judged by its answers to given observations: where it errs, it sees other ones. So `score` among
    the outputs is that of whole episodes, and a unit is a scenario, whatever traffic it was driven in.
    """

    name = "control"
    primary = "score"
    higher_is_better = True
    min_positives = 0

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Sum the scores of each scenario's episodes, and count them.

        Args:
            outputs: `score` (n,) of episodes.
            samples: whose `unit` is the scenario of each episode.
        """
        return sums_per_unit(np.asarray(outputs["score"], dtype=np.float64), samples.unit)

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean score of summed scores and counts `(..., 2)`; NaN where no episode was driven."""
        total, count = sums[..., 0], sums[..., 1]
        return np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)


def sums_per_unit(score: NDArray[np.float64], unit: NDArray[np.str_]) -> UnitStatistics:
    """Return sum and number of the scores of each unit, units in the order of their names.

    Args:
        score: `(n,)` of episodes.
        unit: `(n,)` scenario of each.
    """
    units, member = np.unique(unit, return_inverse=True)
    cells = [np.bincount(member, weights=score, minlength=len(units)), np.bincount(member, minlength=len(units))]
    return UnitStatistics(
        units=[str(name) for name in units],
        values=np.stack(cells, axis=1).astype(np.float64).tolist(),
        positives=None,
        runs=len(units),
    )


PROBLEM = ControlProblem()
