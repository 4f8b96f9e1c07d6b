"""From which probability on a row is of the rare class: chosen on rows that the model has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nightshift.errors import TableError, UsageError
from nightshift.trainer.contract import Floats, Values
from nightshift.trainer.scorers import POSITIVE, positive_of

_USUAL = 0.5
_ALIKE = 1e-12


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it gains on the rows that it was chosen by.

    Attributes:
        value: rows of at least this probability are of the positive class.
        score: by the metric.
        usual_score: of the usual threshold, 0.5.
    """

    value: float
    score: float
    usual_score: float


def choose_threshold(
    y: Values, probability: Floats, classes: tuple[Any, ...], metric: Literal["f1", "balanced_accuracy"] = "f1"
) -> Threshold:
    """Return the threshold that is best on some rows; of equal ones the nearest to 0.5.

    Args:
        y: (n,) labels.
        probability: (n, 2), or (n,) of the positive class.
        classes: both, in sorted order; see `scorers.POSITIVE`.

    Raises:
        UsageError: for other than two classes.
        TableError: for rows of one class.
    """
    if len(classes) != 2:
        what = f"balance='threshold' was given for {len(classes)} classes: a threshold tells two apart."
        raise UsageError(what, hint="Give balance='class_weight' or 'oversample'.")
    told = np.asarray(probability, np.float64)
    told = told[:, POSITIVE] if told.ndim == 2 else told
    positive = np.asarray(y == positive_of(classes))
    if positive.all() or not positive.any():
        raise TableError(
            f"Found one class in the {len(positive)} rows that the threshold is chosen by. Expected both.",
            hint="Raise validation_size.",
        )
    cuts = _between(told)
    scores = _scores(positive, told, cuts, metric)
    usual = float(_scores(positive, told, np.array([_USUAL]), metric)[0])
    best = np.flatnonzero(scores >= scores.max() - _ALIKE)
    nearest = cuts[best[np.argmin(np.abs(cuts[best] - _USUAL))]]
    value = _USUAL if usual >= scores.max() - _ALIKE else float(nearest)
    return Threshold(value, max(usual, float(scores.max())), usual)


def with_threshold(model: Any, threshold: float) -> Any:
    """Return a fitted classifier that answers by another threshold; the model in it stays as it is.

    Args:
        model: fitted, of two classes.
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    made = FixedThresholdClassifier(FrozenEstimator(model), threshold=threshold)
    # What its `fit` would set: that wants rows, and learns nothing from them.
    made.estimator_ = made.estimator
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model, name):
            setattr(made, name, getattr(model, name))
    return made


def _between(probability: Floats) -> Floats:
    """Return what lies between the different values, and the smallest value itself."""
    seen = np.unique(probability)
    return np.concatenate([seen[:1], (seen[1:] + seen[:-1]) / 2])


def _scores(positive: Values, probability: Floats, cuts: Floats, metric: str) -> Floats:
    """Return the metric at each cut, (k,)."""
    found, missed = np.sort(probability[positive]), np.sort(probability[~positive])
    true = len(found) - np.searchsorted(found, cuts, side="left")
    false = len(missed) - np.searchsorted(missed, cuts, side="left")
    if metric == "f1":
        scores: Floats = 2 * true / (true + false + len(found))
        return scores
    return (true / len(found) + 1 - false / len(missed)) / 2
