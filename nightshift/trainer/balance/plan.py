"""How uneven classes are, and whether an estimator can be told that they weigh differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nightshift.errors import UsageError
from nightshift.trainer.contract import Values
from nightshift.trainer.options import Task

#: Largest class over smallest from which on accuracy says little.
SEVERE = 4.0


@dataclass(frozen=True)
class Imbalance:
    """How uneven classes are.

    Attributes:
        counts: rows by class, in the classes' order.
        ratio: largest over smallest; infinite where a class has no row.
        severe: whether accuracy says little.
    """

    counts: Mapping[str, int]
    ratio: float
    severe: bool


def detect(y: Values, classes: tuple[Any, ...]) -> Imbalance:
    """Count the rows of each class.

    Args:
        y: (n,) labels.
        classes: in sorted order; a class may have no row here.
    """
    found, counts = np.unique(y, return_counts=True)
    by_label = dict(zip(found.tolist(), counts.tolist(), strict=True))
    told = {str(label): int(by_label.get(_plain(label), 0)) for label in classes}
    least, most = min(told.values(), default=0), max(told.values(), default=0)
    ratio = most / least if least else (float("inf") if most else 1.0)
    return Imbalance(told, ratio, ratio >= SEVERE)


def refuse_numbers(task: Task) -> None:
    """Refuse balancing where there are no classes.

    Raises:
        UsageError: for regression.
    """
    if task == "regression":
        what = "balance= was given for regression: it is about rare classes, and y holds numbers."
        raise UsageError(what, hint="Leave balance out.")


def weighs(model: Any) -> bool:
    """Whether an estimator takes weights of classes or of rows, which balance='class_weight' needs."""
    from nightshift.trainer.kinds.kind import kind_of
    from nightshift.trainer.kinds.sklearn_rounds import weighs as takes_weights

    return kind_of(model).name != "sklearn" or takes_weights(model)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
