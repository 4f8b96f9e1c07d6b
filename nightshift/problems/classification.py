"""How a failure classifier is judged: as a decision at its threshold, as a ranking, and as a probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError
from nightshift.problems.anomaly import pr_auc
from nightshift.problems.evaluation import UnitStatistics
from nightshift.problems.problem import Samples

ThresholdRule = Literal["best_f1", "false_alarm_budget"]

#: Metrics of which more is better.
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc")
_CALIBRATION_BINS = 10


def metrics(
    label: NDArray[np.int64], probability: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[str, float | None]:
    """Return all metrics of one classifier on one part.

    Args:
        label: `(n,)`, 1 = failing.
        probability: `(n,)` of failing.
        predicted: `(n,)`, 1 = said to be failing.

    Returns:
        Shares between 0 and 1; None where undefined (one class only). `brier` is the mean squared error of the
        probability, `calibration_error` the mean gap between probability and frequency over ten equal bins.
    """
    tp, fp, fn, tn = counts(label, predicted)
    both = bool(tp + fn and fp + tn)
    return {
        "accuracy": _ratio(tp + tn, len(label)),
        "balanced_accuracy": 0.5 * (tp / (tp + fn) + tn / (tn + fp)) if both else None,
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
        "false_alarm_rate": _ratio(fp, fp + tn),
        "roc_auc": roc_auc(label, probability),
        "pr_auc": pr_auc(label, probability),
        "brier": float(np.mean((probability - label) ** 2)) if len(label) else None,
        "calibration_error": calibration_error(label, probability),
        "failing_share": _ratio(tp + fn, len(label)),
    }


def counts(label: NDArray[np.int64], predicted: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Return true positives, false positives, false negatives, true negatives."""
    true, said = label == 1, predicted == 1
    return (
        float((true & said).sum()),
        float((~true & said).sum()),
        float((true & ~said).sum()),
        float((~true & ~said).sum()),
    )


def roc_auc(label: NDArray[np.int64], probability: NDArray[np.float64]) -> float | None:
    """Return the chance that a failing row is ranked above a well one, ties counted half."""
    n_positive, n_negative = int((label == 1).sum()), int((label != 1).sum())
    if not n_positive or not n_negative:
        return None
    _, place, size = np.unique(probability, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(size) - (size - 1) / 2.0
    above = float(middle_rank[place][label == 1].sum()) - n_positive * (n_positive + 1) / 2.0
    return above / (n_positive * n_negative)


def reliability(
    label: NDArray[np.int64], probability: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return mean probability, frequency of failing and rows of each bin that holds any, `(k,)` each."""
    bins = np.minimum((probability * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    size = np.bincount(bins, minlength=_CALIBRATION_BINS)
    held = size > 0
    said = np.bincount(bins, weights=probability, minlength=_CALIBRATION_BINS)[held] / size[held]
    true = np.bincount(bins, weights=label, minlength=_CALIBRATION_BINS)[held] / size[held]
    return said, true, size[held]


def calibration_error(label: NDArray[np.int64], probability: NDArray[np.float64]) -> float | None:
    """Return the expected calibration error.

    Source:
        Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    if not len(label):
        return None
    said, true, size = reliability(label, probability)
    return float((np.abs(said - true) * size).sum() / size.sum())


def choose_threshold(
    label: NDArray[np.int64], probability: NDArray[np.float32], rule: ThresholdRule, false_alarm_rate: float
) -> float:
    """Return the probability from which a row is called failing.

    Candidates lie in the middle between neighbouring probabilities, so that no row of validation stands on one.

    Args:
        label: `(n,)`, 1 = failing, of rows that nothing else was fitted on.
        probability: `(n,)` of failing.
        rule: `best_f1`, or `false_alarm_budget`: the best F1 among thresholds whose false-alarm rate stays within
            the budget, and no alarm at all where none does.
        false_alarm_rate: the budget, share of well rows.

    Raises:
        DataError: when no row is failing.
    """
    n_positive = int((label == 1).sum())
    if not n_positive:
        raise DataError("no failing row to choose a threshold by.", hint="Land more runs that end in a failure.")
    values, place = np.unique(probability.astype(np.float64), return_inverse=True)
    failing = np.bincount(place, weights=label == 1)
    well = np.bincount(place, weights=label != 1)
    # Entry i: everything from values[i] upwards is called failing; one more entry calls nothing failing.
    tp = np.append(np.cumsum(failing[::-1])[::-1], 0.0)
    fp = np.append(np.cumsum(well[::-1])[::-1], 0.0)
    f1 = 2 * tp / (tp + fp + n_positive)
    if rule == "false_alarm_budget":
        f1 = np.where(fp <= false_alarm_rate * max(float(well.sum()), 1.0), f1, -1.0)
    edges = np.concatenate([[0.0], values, [1.0]])
    middles = (edges[:-1] + edges[1:]) / 2.0
    # Of equally good cuts the one in the widest gap is the most likely to hold on other rows.
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(np.float32(middles[best[np.argmax(np.diff(edges)[best])]]))


class ClassificationProblem:
    """F1 at the threshold is primary: it is what a user lives with, and it follows from sums, as the gate needs."""

    name = "classification"
    primary = "f1"
    higher_is_better = True
    min_positives = 30

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Count true positives, false positives, false negatives and true negatives per unit."""
        label, said = samples.truth["label"], outputs["label"]
        units, member = np.unique(samples.unit, return_inverse=True)
        true, fired = label == 1, said == 1
        masks = (true & fired, ~true & fired, true & ~fired, ~true & ~fired)
        cells = [np.bincount(member, weights=mask, minlength=len(units)) for mask in masks]
        return UnitStatistics(
            units=[str(unit) for unit in units],
            values=np.stack(cells, axis=1).tolist(),
            positives=int(true.sum()),
            runs=len(units),
        )

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of summed counts `(..., 4)`; NaN where no row is failing."""
        tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
        defined = tp + fn > 0
        return np.where(defined, 2 * tp / np.where(defined, 2 * tp + fp + fn, 1.0), np.nan)


PROBLEM = ClassificationProblem()


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
