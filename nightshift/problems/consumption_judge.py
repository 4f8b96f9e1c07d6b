"""Judging what a vehicle uses or emits: windows beside trips, the model beside the mean and what was a moment ago.

"Accuracy" of a number is not a standard term. Here it is `accuracy_pct = 100 (1 - WAPE)`: the share of all that was
used which the answers did not miss. It can be negative. A share of a window's own value (`within_15_pct`) is severe
where next to nothing is used; a trip's error lets a window too high pay for one too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding, finding
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series
from nightshift.problems.pictures import POINTS, error_bars, predicted_true, spread_over
from nightshift.problems.regression import PROBLEM
from nightshift.problems.remarks import remarks

Floats = NDArray[np.float64]

#: Metrics of which more is better.
HIGHER_IS_BETTER = ("accuracy_pct", "r2", "within_15_pct")
_WITHIN = 0.15
_SHOWN_TRIPS = 3


@dataclass(frozen=True)
class Truth:
    """What is true of the windows of a part.

    Attributes:
        value: `(n,)` mean rate over the window that is asked of, in the truth's unit.
        before: `(n,)` mean rate over the window of that length which ended before it began; NaN where the trip has
            none.
        trip: `(n,)`.
        time_s: `(n,)` seconds at which the window ends, on any clock.
    """

    value: Floats
    before: Floats
    trip: NDArray[np.int64]
    time_s: Floats

    def at(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Truth:
        """Return some of the windows."""
        return Truth(self.value[rows], self.before[rows], self.trip[rows], self.time_s[rows])


@dataclass(frozen=True)
class Baselines:
    """What can be said without a model.

    Attributes:
        mean: of the training windows.
    """

    mean: float

    @classmethod
    def fit(cls, train: Truth) -> Baselines:
        """Take them from the training windows."""
        return cls(float(train.value.mean()))

    def rows(self, part: str, truth: Truth) -> list[ScoreRow]:
        """Return their lines of the metrics table.

        Persistence is given the measured rate of the window before, which no model here is; the mean stands in where
        there is none.
        """
        last = np.where(np.isfinite(truth.before), truth.before, self.mean)
        said = [("mean", np.full(len(truth.value), self.mean)), ("persistence", last)]
        return [score_row(who, "baseline", part, truth, values) for who, values in said]


def metrics(truth: Truth, predicted: Floats) -> dict[str, float | None]:
    """Return all metrics of one method on one part; None where undefined.

    Args:
        truth: the windows.
        predicted: `(n,)` in the truth's unit.

    Returns:
        `accuracy_pct`; `rmse`, `mae` and `bias` (predicted minus true) in the unit; `r2`; `within_15_pct`, share of
        windows answered to within 15 % of their own value; `trip_error_pct`, mean over trips of the signed error of
        a trip's sum, and `trip_abs_error_pct`, of its size.
    """
    names = ("accuracy_pct", "rmse", "mae", "bias", "r2", "within_15_pct", "trip_error_pct", "trip_abs_error_pct")
    if not len(truth.value):
        return dict.fromkeys(names)
    error = predicted - truth.value
    total = float(np.abs(truth.value).sum())
    spread = float(((truth.value - truth.value.mean()) ** 2).sum())
    trips = trip_errors(truth, predicted)
    return {
        "accuracy_pct": 100.0 * (1.0 - float(np.abs(error).sum()) / total) if total else None,
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "r2": 1.0 - float((error**2).sum()) / spread if spread else None,
        "within_15_pct": float(100.0 * np.mean(np.abs(error) <= _WITHIN * np.abs(truth.value))),
        "trip_error_pct": float(trips.mean()) if len(trips) else None,
        "trip_abs_error_pct": float(np.abs(trips).mean()) if len(trips) else None,
    }


def trip_errors(truth: Truth, predicted: Floats) -> Floats:
    """Return the signed error of each trip's sum in percent of it, `(trips,)`; trips that used nothing are left out."""
    _, member = np.unique(truth.trip, return_inverse=True)
    true = np.bincount(member, weights=truth.value)
    said = np.bincount(member, weights=predicted)
    used = true > 0
    return np.asarray(100.0 * (said[used] - true[used]) / true[used], np.float64)


def score_row(
    who: str, kind: Literal["model", "baseline", "member"], part: str, truth: Truth, predicted: Floats
) -> ScoreRow:
    """Return one line of the metrics table."""
    return ScoreRow(who=who, kind=kind, part=part, metrics=metrics(truth, predicted))


def evaluation(rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    return Evaluation(
        problem=PROBLEM.name, primary=PROBLEM.primary, higher_is_better=PROBLEM.higher_is_better, rows=rows
    )


def findings(judged: Evaluation, *, max_gap: float, wanted: Mapping[str, float], try_next: str) -> list[Finding]:
    """Return what is remarkable about the figures.

    Args:
        judged: the evaluation so far.
        max_gap: relative gap of the primary metric between train and test that is accepted.
        wanted: metric -> value to reach on test.
        try_next: what to do about a missed target, one sentence.
    """
    found = remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=HIGHER_IS_BETTER)
    return [finding(f.code, f.what, remedy=try_next) if f.code == "T007" else f for f in found]


def figures(truth: Truth, predicted: Floats, what: str, unit: str) -> list[Figure]:
    """Return the pictures of the test part.

    Args:
        truth: its windows.
        predicted: `(n,)` the model's answers.
        what: that is answered, in words.
        unit: of it.
    """
    axis = f"{what} ({unit})"
    title = f"{what[:1].upper()}{what[1:]}: predicted against true"
    return [
        predicted_true("consumption_predicted_true", title, truth.value, predicted, unit),
        _trips(truth, predicted, axis),
        error_bars("consumption_errors", "Error of a window's answer", predicted - truth.value, unit, "windows"),
    ]


def _trips(truth: Truth, predicted: Floats, axis: str) -> Figure:
    """Predicted and true rate along a few trips of different length."""
    trips, size = np.unique(truth.trip, return_counts=True)
    order = trips[np.argsort(size, kind="stable")]
    series = []
    for trip in order[spread_over(len(order), _SHOWN_TRIPS)]:
        rows = np.flatnonzero(truth.trip == trip)
        rows = rows[spread_over(len(rows), POINTS // _SHOWN_TRIPS)]
        minutes = ((truth.time_s[rows] - truth.time_s[rows[0]]) / 60.0).tolist()
        series.append(Series(label=f"trip {trip}: true", x=minutes, y=truth.value[rows].tolist()))
        series.append(Series(label=f"trip {trip}", x=minutes, y=predicted[rows].tolist(), style="points"))
    return Figure(
        key="consumption_trips", title="Along some test trips", x_label="minutes", y_label=axis, series=series
    )
