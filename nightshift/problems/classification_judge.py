"""Judging a classifier beside its baselines, in rows, figures and findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding, finding
from nightshift.problems.anomaly import precision_recall
from nightshift.problems.classification import HIGHER_IS_BETTER, PROBLEM, counts, metrics, reliability
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series
from nightshift.problems.remarks import remarks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CURVE_POINTS = 300
#: Below this share of either class, accuracy says little.
_IMBALANCE = 0.1
#: Label source, as metadata names it -> in words.
SOURCES = {
    "given": "given with the data",
    "from_rul": "made ahead of time from remaining life",
    "thresholds": "made from sensor thresholds",
}


@dataclass(frozen=True)
class Judged:
    """What one classifier says about the rows of a part.

    Attributes:
        who: its name.
        kind: as in `ScoreRow`.
        probability: `(n,)` of failing, or a strength scaled into 0..1.
        predicted: `(n,)`, 1 = said to be failing.
    """

    who: str
    kind: Literal["model", "baseline", "member"]
    probability: Floats
    predicted: Ints

    def row(self, part: str, label: Ints) -> ScoreRow:
        """Return its line of the metrics table."""
        return ScoreRow(
            who=self.who, kind=self.kind, part=part, metrics=metrics(label, self.probability, self.predicted)
        )


@dataclass(frozen=True)
class SensorRule:
    """The rules that need no model: an alarm when one sensor, or any, is beyond a limit.

    Attributes:
        who: name in the table.
        below, above: `(columns,)` limits in the columns' units; infinite where there is none.
    """

    who: str
    below: Floats
    above: Floats

    def answers(self, rows: NDArray[np.float32]) -> Judged:
        """Judge rows `(n, columns)`; a missing value raises no alarm."""
        beyond: NDArray[np.bool_] = np.any((rows < self.below) | (rows > self.above), axis=1, keepdims=False)
        return Judged(self.who, "baseline", np.asarray(beyond, np.float64), np.asarray(beyond, np.int64))


def majority(share: float, n_rows: int) -> Judged:
    """Return the classifier that always says what most training rows are; `share` of them are failing."""
    said = np.full(n_rows, int(share > 0.5), dtype=np.int64)
    return Judged("majority class", "baseline", np.full(n_rows, share), said)


def alarm_rule(limits: Floats) -> SensorRule | None:
    """Return the declared alarm limits as a rule, None when there are none.

    Args:
        limits: `(columns, 2)` below and above, in the columns' units, NaN where there is none.
    """
    if not np.isfinite(limits).any():
        return None
    return SensorRule("alarm limits", np.nan_to_num(limits[:, 0], nan=-np.inf), np.nan_to_num(limits[:, 1], nan=np.inf))


def best_single_threshold(rows: NDArray[np.float32], label: Ints) -> SensorRule:
    """Return the one limit on one column that has the best F1 on training rows.

    Args:
        rows: `(n, columns)` newest values.
        label: `(n,)`, 1 = failing.
    """
    below, above = np.full(rows.shape[1], -np.inf), np.full(rows.shape[1], np.inf)
    best = -1.0
    found: tuple[int, float, bool] | None = None
    for column in range(rows.shape[1]):
        for sign in (1.0, -1.0):
            f1, limit = _best_limit(sign * rows[:, column].astype(np.float64), label)
            if f1 > best:
                best, found = f1, (column, sign * limit, sign > 0)
    if found is not None:
        column, limit, is_above = found
        (above if is_above else below)[column] = limit
    return SensorRule("best single threshold", below, above)


def _best_limit(values: Floats, label: Ints) -> tuple[float, float]:
    """Return the best F1 of "fails when above a limit", and that limit; (-1, inf) where no value is there."""
    there = np.isfinite(values)
    ranked, place = np.unique(values[there], return_inverse=True)
    if not len(ranked):
        return -1.0, np.inf
    failing = np.bincount(place, weights=label[there] == 1)
    total = np.bincount(place)
    tp = np.cumsum(failing[::-1])[::-1]
    f1 = 2 * tp / (np.cumsum(total[::-1])[::-1] + max(float((label == 1).sum()), 1.0))
    index = int(np.argmax(f1))
    # Strictly above: the middle between the chosen value and the one before it.
    limit = ranked[index] - 1.0 if index == 0 else (ranked[index - 1] + ranked[index]) / 2.0
    return float(f1[index]), float(limit)


def evaluation(rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    return Evaluation(
        problem=PROBLEM.name, primary=PROBLEM.primary, higher_is_better=PROBLEM.higher_is_better, rows=rows
    )


def findings(
    judged: Evaluation, *, max_gap: float, wanted: dict[str, float], source: str, threshold: float
) -> Iterator[Finding]:
    """Yield what is remarkable about the figures.

    Args:
        judged: the evaluation so far.
        max_gap: relative gap of F1 between train and test that is accepted.
        wanted: metric -> value to reach on test.
        source: where the labels come from, as in the metadata.
        threshold: probability from which a row is called failing.
    """
    yield from remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=HIGHER_IS_BETTER)
    share, f1 = judged.score("train", "failing_share"), judged.score("test")
    if f1 is not None and f1 < 0.5:
        failing = judged.score("test", "failing_share") or 0.0
        yield finding(
            "T002",
            f"Test F1 is {f1:.3f} at threshold {threshold:.3g}; {failing:.1%} of the test rows are failing; labels are "
            f"{SOURCES.get(source, source)}.",
            remedy="Widen the horizon, set `threshold: best_f1`, raise false_alarm_rate, lengthen window_rows, or land "
            "more runs that end in a failure.",
        )
    if share is not None and min(share, 1.0 - share) < _IMBALANCE:
        yield finding("T003", f"{share:.1%} of the training rows are failing.")
    if source == "thresholds":
        yield finding("T005", "Labels were made from sensor thresholds: the model only learns that rule.")


def figures(label: Ints, answers: Sequence[Judged]) -> list[Figure]:
    """Return the pictures of the test part; the model's answers come first."""
    model = answers[0]
    drawn = [_confusion(label, model.predicted)]
    if 0 < int((label == 1).sum()) < len(label):
        drawn += [_roc(label, answers), _precision_recall(label, answers), _calibration(label, model.probability)]
    return drawn


def _confusion(label: Ints, predicted: Ints) -> Figure:
    tp, fp, fn, tn = counts(label, predicted)
    return Figure(
        key="confusion",
        title="Classifier on the test part",
        x_label="predicted",
        y_label="true",
        cells=[[tn, fp], [fn, tp]],
        ticks=["well", "failing"],
    )


def _roc(label: Ints, answers: Sequence[Judged]) -> Figure:
    series = []
    for answer in answers:
        order = np.argsort(-answer.probability, kind="stable")
        last = np.append(np.flatnonzero(np.diff(answer.probability[order])), len(order) - 1)
        hits = np.cumsum(label[order] == 1)[last]
        x, y = (last + 1 - hits) / (label != 1).sum(), hits / (label == 1).sum()
        series.append(_curve(answer.who, np.append(0.0, x), np.append(0.0, y)))
    return Figure(
        key="roc", title="Recall over false alarms", x_label="false-alarm rate", y_label="recall", series=series
    )


def _precision_recall(label: Ints, answers: Sequence[Judged]) -> Figure:
    series = [_curve(a.who, *precision_recall((label == 1).astype(np.int64), a.probability)) for a in answers]
    return Figure(
        key="precision_recall", title="Precision over recall", x_label="recall", y_label="precision", series=series
    )


def _calibration(label: Ints, probability: Floats) -> Figure:
    said, true, _ = reliability(label, probability)
    return Figure(
        key="calibration",
        title="How often a stated probability comes true",
        x_label="stated probability of failing",
        y_label="share that was failing",
        series=[
            Series(label="perfect", x=[0.0, 1.0], y=[0.0, 1.0]),
            Series(label="model", x=said.tolist(), y=true.tolist(), style="points"),
        ],
    )


def _curve(label: str, x: Floats, y: Floats) -> Series:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).astype(int))
    return Series(label=label, x=x[keep].tolist(), y=y[keep].tolist())
