"""How a classifier is judged: as a decision, as a ranking, and as a probability.

Two classes, one of which is looked for (failing), are judged at a threshold. Many kinds, none of which is the one
looked for, are judged kind by kind, and each counts alike however rare it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
_BINARY_SUMS = 4


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


def kind_metrics(
    kind: NDArray[np.int64], probability: NDArray[np.float64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float | None]:
    """Return all metrics of one teller of kinds on one part.

    Args:
        kind: `(n,)` code of the true kind.
        probability: `(n, k)` of each kind.
        predicted: `(n,)` code of the kind that was said.
        classes: `(k,)` their names.

    Returns:
        `macro_f1`, the mean F1 of the kinds that are there; `accuracy`; `balanced_accuracy`, the mean recall of the
        kinds that are there; `log_loss`; `calibration_error` of the kind that was thought most likely; then F1,
        precision and recall of each kind, None where it is not there (or, for precision, was never said).
    """
    n_classes = len(classes)
    if not len(kind):
        return dict.fromkeys(("macro_f1", "accuracy", "balanced_accuracy", "log_loss", "calibration_error"), None)
    hits, said, there = kind_counts(kind, predicted, n_classes)
    recall = [_ratio(h, t) for h, t in zip(hits, there, strict=True)]
    f1 = [2 * h / (s + t) if t else None for h, s, t in zip(hits, said, there, strict=True)]
    # A kind that training had none of is given no chance.
    given = np.clip(np.where(kind < 0, 0.0, probability[np.arange(len(kind)), kind]), 1e-15, 1.0)
    best = probability.argmax(axis=1)
    found: dict[str, float | None] = {
        "macro_f1": _mean(f1),
        "accuracy": float(hits.sum() / len(kind)),
        "balanced_accuracy": _mean(recall),
        "log_loss": float(-np.log(given).mean()),
        "calibration_error": calibration_error((kind == best).astype(np.int64), probability.max(axis=1)),
    }
    for i, name in enumerate(classes):
        found[f"f1_{name}"], found[f"recall_{name}"] = f1[i], recall[i]
        found[f"precision_{name}"] = _ratio(hits[i], said[i])
    return found


def kind_counts(
    kind: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each kind, rows rightly said to be of it, rows said to be of it and rows of it, `(n_classes,)`."""
    right = np.bincount(kind[kind == predicted], minlength=n_classes)
    said, there = np.bincount(predicted, minlength=n_classes), np.bincount(kind[kind >= 0], minlength=n_classes)
    return right.astype(np.float64), said.astype(np.float64), there.astype(np.float64)


class ClassificationProblem:
    """F1 at the threshold is primary: it is what a user lives with, and it follows from sums, as the gate needs.

    Of many kinds it is the mean of their F1 (macro-F1); samples say so by a truth called `kind` in place of `label`.
    """

    name = "classification"
    primary = "f1"
    higher_is_better = True
    min_positives = 30

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Count true positives, false positives, false negatives and true negatives per unit.

        Of kinds: rightly said, said and there, per unit and kind; a row whose kind the model does not know has code
        -1 and counts against the kind that was said. `positives` is then the number of rows of the rarest kind.
        """
        if "kind" in samples.truth:
            return _kind_statistics(outputs, samples)
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
        """F1 of summed counts `(..., 4)`, macro-F1 of `(..., 3 k)`; NaN where no row is failing, or of any kind."""
        if sums.shape[-1] != _BINARY_SUMS:
            return _macro_f1(sums.reshape(*sums.shape[:-1], -1, 3))
        tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
        defined = tp + fn > 0
        return np.where(defined, 2 * tp / np.where(defined, 2 * tp + fp + fn, 1.0), np.nan)


PROBLEM = ClassificationProblem()


def _kind_statistics(outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
    kind, said = np.asarray(samples.truth["kind"], np.int64), np.asarray(outputs["label"], np.int64)
    n_classes = outputs["probability"].shape[1]
    units, member = np.unique(samples.unit, return_inverse=True)
    cells = np.zeros((len(units), n_classes, 3))
    for place, (code, counted) in enumerate(((said, kind == said), (said, said >= 0), (kind, kind >= 0))):
        np.add.at(cells[:, :, place], (member[counted], code[counted]), 1.0)
    there = cells[:, :, 2].sum(axis=0)
    return UnitStatistics(
        units=[str(unit) for unit in units],
        values=cells.reshape(len(units), -1).tolist(),
        positives=int(there.min()),
        runs=len(units),
    )


def _macro_f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of the kinds that are there, `(..., k, 3)` -> `(...)`."""
    right, said, there = sums[..., 0], sums[..., 1], sums[..., 2]
    present = there > 0
    f1 = np.where(present, 2 * right / np.where(present, said + there, 1.0), 0.0)
    count = present.sum(axis=-1)
    return np.where(count > 0, f1.sum(axis=-1) / np.maximum(count, 1), np.nan)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
