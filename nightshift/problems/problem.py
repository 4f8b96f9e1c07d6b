"""What every problem offers: the primary metric, and the sums that the gate's bootstrap needs.

Each problem is one module of this package with one object `PROBLEM`; `get(name)` returns it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import UnknownNameError
from nightshift.problems.evaluation import UnitStatistics

NAMES = ("anomaly", "classification", "control", "forecast", "regression")


@dataclass(frozen=True)
class Samples:
    """Rows of one part, ready to be answered and judged.

    Attributes:
        inputs: bundle inputs, `window` float32 `(n, window_rows, columns)` and the like.
        truth: what is true, by name: `label` (n,), `rul` (n,), `values` (n, steps, sensors).
        unit: `(n,)` text id of the independent unit (run, else day) of each row.
        time: `(n,)` float seconds since the epoch (calendar) or NaN.
    """

    inputs: Mapping[str, NDArray[Any]]
    truth: Mapping[str, NDArray[Any]]
    unit: NDArray[np.str_]
    time: NDArray[np.float64]

    def select(self, rows: NDArray[Any]) -> Samples:
        """Return the chosen rows (mask or index)."""
        return Samples(
            inputs={k: v[rows] for k, v in self.inputs.items()},
            truth={k: v[rows] for k, v in self.truth.items()},
            unit=self.unit[rows],
            time=self.time[rows],
        )


class Problem(Protocol):
    """How a family of this problem is judged.

    Attributes:
        name: the problem's name.
        primary: name of the primary metric.
        higher_is_better: its direction.
        min_positives: fewer positive rows in test than this: no automatic promotion (0: not asked).
    """

    name: str
    primary: str
    higher_is_better: bool
    min_positives: int

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Return the sums per unit from which the primary metric follows."""

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the primary metric of summed statistics, `(..., k)` -> `(...)`; NaN where undefined."""


def get(name: str) -> Problem:
    """Return a problem by name.

    Raises:
        UnknownNameError: for a name that is not one of `NAMES`.
    """
    if name not in NAMES:
        raise UnknownNameError("problem", name, NAMES)
    problem: Problem = importlib.import_module(f"nightshift.problems.{name}").PROBLEM
    return problem
