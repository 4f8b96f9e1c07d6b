"""Judging a teller of kinds (of driving) beside its baselines, in rows, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding, finding
from nightshift.problems.classification import PROBLEM, kind_counts, kind_metrics, reliability
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series
from nightshift.problems.remarks import remarks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIMARY = "macro_f1"
#: Beginnings of the metrics of which more is better.
_HIGHER = ("macro_f1", "accuracy", "balanced_accuracy", "f1_", "recall_", "precision_")
#: Below this share of the rows, a kind's figures rest on few cases.
_RARE = 0.1
_BINS = 24
#: Kinds that a picture has room for, a square or a bar each.
_MOST_DRAWN = 20


@dataclass(frozen=True)
class Judged:
    """What one method says about the windows of a part.

    Attributes:
        who: its name.
        kind: as in `ScoreRow`.
        probability: `(n, k)` of each kind.
        predicted: `(n,)` code of the kind that it says.
    """

    who: str
    kind: Literal["model", "baseline", "member"]
    probability: Floats
    predicted: Ints

    def row(self, part: str, truth: Ints, classes: Sequence[str]) -> ScoreRow:
        """Return its line of the metrics table; `truth` is `(n,)` the code of the true kind."""
        figures_of = kind_metrics(truth, self.probability, self.predicted, classes)
        return ScoreRow(who=self.who, kind=self.kind, part=part, metrics=figures_of)


def majority(shares: Floats, n_rows: int) -> Judged:
    """Return what always says the kind that most training windows are of; `shares` `(k,)` are theirs."""
    said = np.full(n_rows, int(shares.argmax()), dtype=np.int64)
    return Judged("majority kind", "baseline", np.tile(shares, (n_rows, 1)), said)


@dataclass(frozen=True)
class OneRule:
    """The rule of one line: cut one feature into bins, and say of each bin the kind that is most at home in it.

    Attributes:
        feature: its place among the features.
        edges: `(bins - 1,)` inner edges, in the feature's unit.
        shares: `(bins + 1, k)` of each kind's training windows, as probabilities; the last is of a missing value.

    Source:
        Holte, "Very simple classification rules perform well on most commonly used datasets", Machine Learning 1993.
    """

    feature: int
    edges: Floats
    shares: Floats

    @classmethod
    def fit(cls, features: NDArray[np.float32], truth: Ints, n_classes: int) -> OneRule:
        """Return the rule of the feature with the best macro-F1 on the training windows.

        Args:
            features: `(n, f)`; NaN = missing.
            truth: `(n,)`.
            n_classes: number of kinds.
        """
        rules = [cls._of(features[:, i], truth, n_classes, i) for i in range(features.shape[1])]
        return max(rules, key=lambda rule: _macro_f1(truth, rule.answers(features).predicted, n_classes))

    @classmethod
    def _of(cls, values: NDArray[np.float32], truth: Ints, n_classes: int, feature: int) -> OneRule:
        there = values[np.isfinite(values)]
        cuts = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.asarray(np.unique(np.quantile(there, cuts)) if len(there) else [], np.float64)
        size = np.zeros((len(edges) + 2, n_classes))
        np.add.at(size, (_bin(values, edges), truth), 1.0)
        # Each kind counts alike: a bin belongs to the kind of which it holds the largest part.
        at_home = (size + 1e-9) / np.maximum(size.sum(axis=0), 1.0)
        return cls(feature, edges, at_home / at_home.sum(axis=1, keepdims=True))

    def answers(self, features: NDArray[np.float32]) -> Judged:
        """Judge windows by their features `(n, f)`."""
        probability = self.shares[_bin(features[:, self.feature], self.edges)]
        return Judged("best single feature", "baseline", probability, probability.argmax(axis=1).astype(np.int64))


def _bin(values: NDArray[np.float32], edges: Floats) -> Ints:
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)


def _macro_f1(truth: Ints, predicted: Ints, n_classes: int) -> float:
    sums = np.stack(kind_counts(truth, predicted, n_classes), axis=1)
    return float(PROBLEM.from_sums(sums.reshape(-1)))


def evaluation(rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    return Evaluation(problem=PROBLEM.name, primary=PRIMARY, higher_is_better=True, rows=rows)


def findings(
    judged: Evaluation,
    *,
    max_gap: float,
    wanted: Mapping[str, float],
    counts: Mapping[str, Ints],
    classes: Sequence[str],
    try_next: str,
) -> list[Finding]:
    """Return what is remarkable about the figures.

    Args:
        judged: the evaluation so far.
        max_gap: relative gap of macro-F1 between train and test that is accepted.
        wanted: metric -> value to reach on test.
        counts: part -> `(k,)` windows of each kind.
        classes: their names.
        try_next: what to do about a missed target, one sentence.
    """
    higher = {m for row in judged.rows for m in row.metrics if m.startswith(_HIGHER)} | {"accuracy", PRIMARY}
    found = [
        finding(f.code, f.what, remedy=try_next) if f.code == "T007" else f
        for f in remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=higher)
    ]
    for part, size in counts.items():
        lacking = [name for name, n in zip(classes, size, strict=True) if not n]
        if lacking:
            instead = part == "val" and any(counts["train"][size == 0])
            so = " Trips of train stopped training early in its place." if instead else ""
            found.append(finding("T018", f"The {part} part has no window of: {', '.join(lacking)}.{so}"))
    score = judged.score("test")
    if score is not None and score < 0.5:
        found.append(finding("T002", f"Test macro-F1 is {score:.3f} over {len(classes)} kinds.", remedy=try_next))
    train = counts["train"]
    rare = [n for n, size in zip(classes, train / max(train.sum(), 1), strict=True) if 0 < size < _RARE]
    if rare:
        found.append(finding("T003", f"Below {_RARE:.0%} of the training windows each: {', '.join(rare)}."))
    return found


def figures(truth: Ints, answers: Sequence[Judged], classes: Sequence[str]) -> list[Figure]:
    """Return the pictures of the test part; the model's answers come first. Of many kinds none are drawn singly."""
    model = answers[0]
    if len(classes) > _MOST_DRAWN:
        return [_calibration(truth, model)]
    cells = [
        [float(((truth == i) & (model.predicted == j)).sum()) for j in range(len(classes))] for i in range(len(classes))
    ]
    confusion = Figure(
        key="confusion",
        title="Kinds on the test part",
        x_label="predicted",
        y_label="true",
        cells=cells,
        ticks=list(classes),
    )
    return [confusion, _per_kind(truth, answers, classes), _calibration(truth, model)]


def _per_kind(truth: Ints, answers: Sequence[Judged], classes: Sequence[str]) -> Figure:
    series = []
    for answer in answers:
        right, said, there = kind_counts(truth, answer.predicted, len(classes))
        f1 = 2 * right / np.maximum(said + there, 1.0)
        series.append(Series(label=answer.who, x=list(classes), y=f1.tolist(), style="bars"))
    return Figure(key="f1_by_kind", title="F1 of each kind", y_label="F1", series=series)


def _calibration(truth: Ints, model: Judged) -> Figure:
    right = (model.probability.argmax(axis=1) == truth).astype(np.int64)
    said, true, _ = reliability(right, model.probability.max(axis=1))
    return Figure(
        key="calibration",
        title="How often the likeliest kind is the true one",
        x_label="stated probability of it",
        y_label="share that was true",
        series=[
            Series(label="perfect", x=[0.0, 1.0], y=[0.0, 1.0]),
            Series(label="model", x=said.tolist(), y=true.tolist(), style="points"),
        ],
    )
