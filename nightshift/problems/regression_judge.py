"""Judging a remaining-life model beside its baselines, in rows, figures and findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series
from nightshift.problems.pictures import POINTS, error_bars, predicted_true, spread_over
from nightshift.problems.regression import HIGHER_IS_BETTER, PROBLEM, metrics
from nightshift.problems.remarks import remarks

Floats = NDArray[np.float64]

_SHOWN_RUNS = 4


@dataclass(frozen=True)
class Truth:
    """What is true of the rows of a part that are judged.

    Attributes:
        capped: `(n,)` remaining life up to the cap.
        stored: `(n,)` remaining life as stored.
        elapsed: `(n,)` time since the row's run began, in the time unit.
        run: `(n,)`.
    """

    capped: Floats
    stored: Floats
    elapsed: Floats
    run: NDArray[np.int64]

    def at(self, rows: NDArray[np.bool_]) -> Truth:
        """Return some of the rows."""
        return Truth(self.capped[rows], self.stored[rows], self.elapsed[rows], self.run[rows])


@dataclass(frozen=True)
class LifeBaselines:
    """What can be said without looking at a sensor.

    Attributes:
        mean: mean remaining life over the training rows, up to the cap.
        lives: `(runs,)` whole lives of the training runs, sorted, in the time unit; empty where they are not known.
        cap: largest remaining life that counts; infinite for none.
    """

    mean: float
    lives: Floats
    cap: float

    @classmethod
    def fit(cls, train: Truth, cap: float, *, whole_runs: bool = True) -> LifeBaselines:
        """Take them from the training rows; where parts cut through runs, no row's true age is known."""
        if not whole_runs:
            return cls(float(train.capped.mean()), np.zeros(0), cap)
        whole = train.elapsed + train.stored
        lives = [float(whole[train.run == run].max()) for run in np.unique(train.run)]
        return cls(float(train.capped.mean()), np.sort(np.array(lives)), cap)

    def rows(self, part: str, truth: Truth) -> list[ScoreRow]:
        """Return the baselines' lines of the metrics table."""
        constant = np.full(len(truth.capped), self.mean)
        said = [("constant", constant)]
        if len(self.lives):
            said.append(("elapsed time", self.by_elapsed(truth.elapsed)))
        return [score_row(who, "baseline", part, truth, values) for who, values in said]

    def by_elapsed(self, elapsed: Floats) -> Floats:
        """Return the mean remaining life of the training runs that lived longer, 0 where none did, `(n,)`."""
        left = np.clip(self.lives[None, :] - elapsed[:, None], 0.0, self.cap)
        alive = self.lives[None, :] > elapsed[:, None]
        count = alive.sum(axis=1)
        return np.where(count > 0, (left * alive).sum(axis=1) / np.maximum(count, 1), 0.0)


def score_row(
    who: str, kind: Literal["model", "baseline", "member"], part: str, truth: Truth, predicted: Floats
) -> ScoreRow:
    """Return one line of the metrics table."""
    return ScoreRow(who=who, kind=kind, part=part, metrics=metrics(truth.capped, truth.stored, predicted))


def evaluation(rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    return Evaluation(
        problem=PROBLEM.name, primary=PROBLEM.primary, higher_is_better=PROBLEM.higher_is_better, rows=rows
    )


def findings(judged: Evaluation, *, max_gap: float, wanted: dict[str, float]) -> Iterator[Finding]:
    """Yield what is remarkable about the figures."""
    return remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=HIGHER_IS_BETTER)


def figures(truth: Truth, predicted: Floats, every: Truth, every_predicted: Floats, unit: str) -> list[Figure]:
    """Return the pictures of the test part.

    Args:
        truth: rows of the headline.
        predicted: `(n,)` the model's answers to them.
        every: all rows of the part, in time order within each run.
        every_predicted: `(m,)`.
        unit: of time.
    """
    title, error = "Error of the predicted remaining life", predicted - truth.capped
    return [
        predicted_true("rul_predicted_true", "Remaining life: predicted against true", truth.capped, predicted, unit),
        _runs(every, every_predicted, unit),
        error_bars("rul_errors", title, error, unit, "rows"),
    ]


def _runs(every: Truth, predicted: Floats, unit: str) -> Figure:
    """Predicted and true life over a few runs of different length."""
    runs, size = np.unique(every.run, return_counts=True)
    order = runs[np.argsort(size, kind="stable")]
    series = []
    for run in order[spread_over(len(order), _SHOWN_RUNS)]:
        rows = np.flatnonzero(every.run == run)
        rows = rows[spread_over(len(rows), POINTS // _SHOWN_RUNS)]
        series.append(Series(label=f"run {run}: true", x=every.elapsed[rows].tolist(), y=every.capped[rows].tolist()))
        series.append(
            Series(label=f"run {run}", x=every.elapsed[rows].tolist(), y=predicted[rows].tolist(), style="points")
        )
    return Figure(
        key="rul_runs",
        title="Remaining life along some test runs",
        x_label=f"time since the run began ({unit})",
        y_label=f"remaining life ({unit})",
        series=series,
    )
