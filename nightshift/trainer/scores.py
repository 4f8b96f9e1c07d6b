"""All figures of a part from one prediction of it: a scikit-learn scorer for each would predict anew."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import TrainingError, UsageError, first_line
from nightshift.trainer.contract import Floats, Ints, Scored, Table, Values
from nightshift.trainer.scorers import POSITIVE, RANKED, for_positive
from nightshift.trainer.scorers import Scorers as Scorers
from nightshift.trainer.scorers import scorers_of as scorers_of

#: Rows that are predicted at once.
BLOCK_ROWS = 100_000

#: Estimators whose class is the one of the greatest probability, by the start of their module's name.
_BY_PROBABILITY = (
    "sklearn.ensemble._forest",
    "sklearn.ensemble._hist_gradient_boosting",
    "sklearn.tree",
    "sklearn.naive_bayes",
    "lightgbm",
    "xgboost",
)


@dataclass(frozen=True)
class _Answer:
    """What a model says of some rows.

    Attributes:
        prediction: (n,).
        probability: (n, classes); None where it tells none.
        rank: (n, classes) probabilities or distances from the border, to sort by; None where there are neither.
    """

    prediction: Values
    probability: Floats | None
    rank: Floats | None


def score(model: Any, table: Table, index: Ints, scorers: Scorers, threshold: float | None = None) -> Scored:
    """Predict some rows once, and reckon every metric from that.

    Args:
        model: takes raw rows.
        table: that the rows are of.
        index: row numbers.
        scorers: what is reckoned.
        threshold: from which probability on a row is of the second class; None: as the model predicts.
    """
    began = time.perf_counter()
    answer = _answer(model, table, index, threshold)
    y = table.y[index]
    metrics = _reckoned(scorers, answer, y, table)
    with _quiet():
        metrics |= {name: _called(scorer, model, table, index, answer, y) for name, scorer in scorers.given.items()}
    why = _undefined(scorers, answer, y, table) if metrics[scorers.primary] is None else ""
    return Scored(
        {name: metrics[name] for name in scorers.names},
        answer.prediction,
        answer.probability,
        time.perf_counter() - began,
        why,
    )


def score_answers(
    table: Table, index: Ints, prediction: Values, probability: Floats | None, scorers: Scorers
) -> dict[str, float | None]:
    """Return the metrics of answers that are there already; None for those that ask the model itself.

    Args:
        index: (n,) row numbers.
        prediction: (n,).
        probability: (n, classes).
    """
    answer, y = _Answer(prediction, probability, probability), table.y[index]
    metrics = _reckoned(scorers, answer, y, table)
    with _quiet():
        metrics |= {name: _answered(scorer, table, answer, y) for name, scorer in scorers.given.items()}
    return {name: metrics[name] for name in scorers.names}


def _undefined(scorers: Scorers, answer: _Answer, y: Values, table: Table) -> str:
    """Return why the metric that decides has no figure on some rows."""
    if not len(y):
        return "there are no rows"
    if len(np.unique(y)) == 1 and (scorers.primary in RANKED or scorers.primary == "r2"):
        return f"y is {y[0]} in all rows there"
    if (scorer := scorers.given.get(scorers.primary)) is None:
        lacks = answer.rank is None and scorers.primary in RANKED
        return (
            "the estimator tells no probabilities" if lacks else "a class is missing there, or answers are not finite"
        )
    try:
        with _quiet():
            _asked(scorer, table, answer, y)
    except (AttributeError, ValueError) as error:
        return first_line(error)
    return "it is not finite there"


@contextmanager
def _quiet() -> Iterator[None]:
    """What is undefined on some rows becomes None; scikit-learn also warns of it, once for each class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reckoned(scorers: Scorers, answer: _Answer, y: Values, table: Table) -> dict[str, float | None]:
    with _quiet():
        return (_of_classes if table.classes else _of_numbers)(scorers, answer, y, table)


def _answer(model: Any, table: Table, index: Ints, threshold: float | None) -> _Answer:
    """Predict block by block."""
    parts = [
        _answer_block(model, table, index[start : start + BLOCK_ROWS], threshold)
        for start in range(0, max(1, len(index)), BLOCK_ROWS)
    ]
    if len(parts) == 1:
        return parts[0]
    probability = _joined([p.probability for p in parts])
    rank = _joined([p.rank for p in parts])
    return _Answer(np.concatenate([p.prediction for p in parts]), probability, rank)


def _joined(parts: list[Floats | None]) -> Floats | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _answer_block(model: Any, table: Table, index: Ints, threshold: float | None) -> _Answer:
    rows = table.rows(index)
    if hasattr(model, "steps") and [name for name, _ in model.steps] == ["prepare", "model"]:
        # Prepared once for all that is asked.
        rows, model = model.steps[0][1].transform(rows), model.steps[1][1]
    if not table.classes:
        return _Answer(np.asarray(model.predict(rows), np.float64).reshape(len(index)), None, None)
    classes = np.asarray(table.classes)
    known = np.asarray(getattr(model, "classes_", classes))
    probability = _probability(model, rows, known, table.classes)
    if probability is not None and threshold is not None:
        prediction = np.where(probability[:, POSITIVE] >= threshold, classes[POSITIVE], classes[1 - POSITIVE])
    elif probability is not None and _predicts_by_probability(model):
        prediction = classes[np.argmax(probability, axis=1)]
    else:
        prediction = np.asarray(model.predict(rows)).reshape(len(index))
    rank = probability if probability is not None else _distance(model, rows, known, table.classes)
    return _Answer(prediction, probability, rank)


def _probability(model: Any, rows: Any, known: Values, classes: tuple[Any, ...]) -> Floats | None:
    """Return (n, classes) probabilities; None where the estimator tells none, as an SVC that was not asked to."""
    if not hasattr(model, "predict_proba"):
        return None
    try:
        told = np.asarray(model.predict_proba(rows), np.float64)
    except (AttributeError, NotImplementedError):
        return None
    return _spread(told, known, classes, 0.0) if told.ndim == 2 and told.shape[1] == len(known) else None


def _distance(model: Any, rows: Any, known: Values, classes: tuple[Any, ...]) -> Floats | None:
    if not hasattr(model, "decision_function"):
        return None
    told = np.asarray(model.decision_function(rows), np.float64)
    if told.ndim == 1:
        told = np.column_stack([-told, told])
    return _spread(told, known, classes, -np.inf) if told.shape[1] == len(known) else None


def _spread(told: Floats, known: Values, classes: tuple[Any, ...], missing: float) -> Floats:
    """Give each class its column: a fold may not have held all of them."""
    if len(known) == len(classes):
        return told
    wide = np.full((len(told), len(classes)), missing)
    wide[:, _codes(known, classes)] = told
    return wide


def _predicts_by_probability(model: Any) -> bool:
    """Whether `predict` gives the class of the greatest probability, so that it need not be called too."""
    return type(model).__module__.startswith(_BY_PROBABILITY)


def _codes(values: Values, classes: tuple[Any, ...]) -> Ints:
    """Return each value's place among the classes."""
    number = {one: at for at, one in enumerate(classes)}
    if values.dtype == object or values.dtype.kind in "US":
        return np.fromiter((number[one] for one in values.tolist()), np.int64, len(values))
    return np.searchsorted(np.asarray(classes), values).astype(np.int64)


def _told_codes(prediction: Values, classes: tuple[Any, ...]) -> Ints:
    """Return the place of each answer among the classes.

    Raises:
        TrainingError: for an answer that is none of them.
    """
    try:
        codes = _codes(prediction, classes)
        known = bool(np.all(np.asarray(classes)[codes] == prediction))
    except (KeyError, IndexError):
        known = False
    if not known:
        odd = next(one for one in prediction.tolist() if one not in classes)
        shown = ", ".join(repr(one) for one in classes[:5])
        raise TrainingError(f"the estimator answered {odd!r}: expected one of the classes of y, such as {shown}.")
    return codes


def _of_classes(scorers: Scorers, answer: _Answer, y: Values, table: Table) -> dict[str, float | None]:
    """Return the metrics that come from counts and ranks."""
    k = len(table.classes)
    truth = _codes(y, table.classes)
    told = _told_codes(np.asarray(answer.prediction), table.classes)
    counts = np.bincount(truth * k + told, minlength=k * k).reshape(k, k).astype(np.float64)
    found: dict[str, float | None] = {}
    for name in scorers.names:
        if name in scorers.given:
            continue
        if name in RANKED:
            found[name] = _ranked(RANKED[name], truth, answer.rank, k)
        else:
            found[name] = _counted(name, counts)
    return found


def _counted(name: str, counts: Floats) -> float | None:
    """Return a metric of a confusion matrix, truth by rows; None without rows.

    An undefined share of a class is 0, as with scikit-learn's `zero_division=0`.
    """
    hits, truth, told = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    if not counts.sum():
        return None
    if name == "accuracy" or name.endswith("_micro"):
        return float(hits.sum() / counts.sum())
    if name == "balanced_accuracy":
        return float(np.mean(hits[truth > 0] / truth[truth > 0]))
    kind, _, average = name.partition("_")
    below = {"f1": (truth + told) / 2, "precision": told, "recall": truth}[kind]
    shares = np.divide(hits, below, out=np.zeros_like(hits), where=below > 0)
    if not average:
        return float(shares[POSITIVE])
    present = (truth + told) > 0
    weight = truth if average == "weighted" else present
    return float(np.average(shares, weights=weight))


def _ranked(name: str, truth: Ints, rank: Floats | None, k: int) -> float | None:
    """Return the area under a curve, for more than two classes the mean of each against the rest.

    None where a class is absent, or the estimator only names classes.
    """
    present = np.bincount(truth, minlength=k)
    if rank is None or not np.all(present) or not np.all(np.isfinite(rank)):
        return None
    which = [POSITIVE] if k == 2 else range(k)
    return float(np.mean([_area(name, truth == one, rank[:, one]) for one in which]))


def _area(name: str, truth: NDArray[np.bool_], rank: Floats) -> float:
    """Return the area under the curve of true against false positives, or the average precision.

    As scikit-learn reckons them, whose checks of its arguments take longer than the figures.
    """
    order = np.argsort(-rank, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(rank[order])), len(rank) - 1)
    right = np.cumsum(truth[order])[ends].astype(np.float64)
    wrong = 1 + ends - right
    if name == "roc_auc":
        wide = np.diff(wrong, prepend=0.0)
        high = right - np.diff(right, prepend=0.0) / 2
        return float(np.sum(wide * high) / (right[-1] * wrong[-1]))
    return float(np.sum(np.diff(right, prepend=0.0) * right / (right + wrong)) / right[-1])


def _of_numbers(scorers: Scorers, answer: _Answer, y: Values, _table: Table) -> dict[str, float | None]:
    """Return the metrics of errors; None where they are undefined."""
    error = np.asarray(y, np.float64) - answer.prediction
    spread = float(np.sum((y - np.mean(y)) ** 2)) if len(y) > 1 else 0.0
    finite = len(y) > 0 and bool(np.all(np.isfinite(error)))
    known = {
        "r2": float(1 - np.sum(error**2) / spread) if finite and spread > 0 else None,
        "mae": float(np.mean(np.abs(error))) if finite else None,
        "rmse": float(np.sqrt(np.mean(error**2))) if finite else None,
    }
    return {name: known[name] for name in scorers.names if name not in scorers.given}


def _called(
    scorer: Callable[..., Any], model: Any, table: Table, index: Ints, answer: _Answer, y: Values
) -> float | None:
    """Ask a scorer: scikit-learn's get the answer that is there, others the model itself; None where undefined."""
    from sklearn.metrics._scorer import _BaseScorer

    if isinstance(scorer, _BaseScorer):
        return _answered(scorer, table, answer, y)
    try:
        value = float(scorer(model, table.rows(index), y))
    except Exception as error:  # the caller's own code: anything may come
        name = getattr(scorer, "__name__", type(scorer).__name__)
        raise UsageError(
            f"scoring: {name} failed: {type(error).__name__}: {first_line(error)}. Expected scorer(estimator, X, y).",
            hint="sklearn.metrics.make_scorer makes one of a metric(y_true, y_pred).",
        ) from error
    return value if np.isfinite(value) else None


def _answered(scorer: Callable[..., Any], table: Table, answer: _Answer, y: Values) -> float | None:
    """Ask one of scikit-learn's scorers with an answer; None where it is undefined, or another's scorer."""
    from sklearn.metrics._scorer import _BaseScorer

    if not isinstance(scorer, _BaseScorer):
        return None
    try:
        value = _asked(scorer, table, answer, y)
    except (AttributeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _asked(scorer: Callable[..., Any], table: Table, answer: _Answer, y: Values) -> float:
    """Return what one of scikit-learn's scorers says of an answer.

    Raises:
        AttributeError: when it asks for probabilities that there are none of.
        ValueError: where it is undefined.
    """
    stand_in = _stand_in(bool(table.classes))(answer, table.classes)
    return float(for_positive(scorer, table.classes)(stand_in, np.empty((len(y), 0)), y))


@cache
def _stand_in(classifier: bool) -> Any:
    """Return the class of an estimator that answers what was already predicted."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    class Answered(ClassifierMixin if classifier else RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def __init__(self, answer: _Answer, classes: tuple[Any, ...]) -> None:
            self.answer = answer
            self.classes = classes
            if classes:
                self.classes_ = np.asarray(classes)

        def fit(self, _X: Any, _y: Any = None) -> Any:
            return self

        def predict(self, _X: Any) -> Values:
            return self.answer.prediction

        def _told(self, values: Floats | None) -> Floats:
            if values is None:
                raise AttributeError("the estimator tells no probabilities.")
            return values

        def predict_proba(self, _X: Any) -> Floats:
            return self._told(self.answer.probability)

        def decision_function(self, _X: Any) -> Floats:
            rank = self._told(self.answer.rank)
            return rank[:, POSITIVE] if len(self.classes) == 2 else rank

    return Answered
