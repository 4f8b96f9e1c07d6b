"""How an anomaly detector is judged: row by row, event by event, and by the false alarms that people have to answer.

Scores are never point-adjusted: one vote inside a long event does not turn its other rows into hits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import UnitStatistics
from nightshift.problems.problem import Samples

#: Votes at most this far apart are one alarm: whoever answered the first has seen the second.
ALARM_GAP_S = 3600.0

SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True)
class Timeline:
    """The rows of one part in order, with what is true.

    Attributes:
        label: int64 `(n,)`, 1 = anomalous.
        run: int64 `(n,)`.
        time_s: `(n,)` seconds since the epoch, NaN where there is no clock.
    """

    label: NDArray[np.int64]
    run: NDArray[np.int64]
    time_s: NDArray[np.float64]

    @property
    def days(self) -> float | None:
        """Time that the rows cover: their number times the usual step; None without a clock."""
        step = np.diff(self.time_s)[np.diff(self.run) == 0]
        step = step[np.isfinite(step) & (step > 0)]
        return len(self.label) * float(np.median(step)) / SECONDS_PER_DAY if len(step) else None

    def events(self) -> list[tuple[int, int]]:
        """(first, last + 1) of every stretch of neighbouring anomalous rows of one run."""
        return _stretches(self.label == 1, self.run)

    def alarms(self, vote: NDArray[np.int64]) -> list[tuple[int, int]]:
        """(first, last + 1) of every alarm: votes of one run, no more than `ALARM_GAP_S` apart."""
        merged: list[tuple[int, int]] = []
        for first, end in _stretches(vote == 1, self.run):
            if merged and self._one_alarm(merged[-1][1] - 1, first):
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((first, end))
        return merged

    def _one_alarm(self, last: int, first: int) -> bool:
        near = self.time_s[first] - self.time_s[last] <= ALARM_GAP_S  # False where there is no clock
        return bool(near and self.run[last] == self.run[first])


def metrics(timeline: Timeline, vote: NDArray[np.int64], strength: NDArray[np.float64]) -> dict[str, float | None]:
    """Return all metrics of one detector on one part.

    Args:
        timeline: the rows and their truth.
        vote: int64 `(n,)`, 1 = anomaly.
        strength: `(n,)`, larger = more abnormal; orders rows for PR-AUC.
    """
    tp, fp, fn, tn = (float(v) for v in _confusion(timeline.label, vote))
    events, alarms = timeline.events(), timeline.alarms(vote)
    n_false = sum(not timeline.label[first:end].any() for first, end in alarms)
    days = timeline.days
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
        "fpr": _ratio(fp, fp + tn),
        "pr_auc": pr_auc(timeline.label, strength),
        "event_recall": _ratio(sum(bool(vote[first:end].any()) for first, end in events), len(events)),
        "false_alarms_per_day": n_false / days if days else None,
        "false_alarms_per_1000_rows": 1000.0 * n_false / len(vote) if len(vote) else None,
        "anomaly_share": _ratio(tp + fn, tp + fp + fn + tn),
    }


@dataclass(frozen=True)
class Onsets:
    """What is judged are windows of rows: when in each of them the anomaly begins.

    Attributes:
        end: `(n,)` row at which each ends.
        row: `(n,)` its first anomalous row; that at which it ends where there is none.
        time_s: `(n,)` time of that row.
    """

    end: NDArray[np.intp]
    row: NDArray[np.intp]
    time_s: NDArray[np.float64]


def kind_metrics(
    timeline: Timeline, vote: NDArray[np.int64], kind: NDArray[np.str_], onsets: Onsets | None = None
) -> dict[str, float | None]:
    """Return what is known only where every anomaly has a kind (an attack, a manner of dangerous driving).

    Args:
        timeline: the rows and their truth.
        vote: int64 `(n,)`, 1 = anomaly.
        kind: `(n,)` kind of each anomalous row, "" elsewhere.
        onsets: where windows are judged: delays then count from an event's first row, not from its first window.

    Returns:
        `recall_<kind>`, the share of its rows voted anomalous; `detection_delay_s`, the median over the events that
        were met of the time from an event's first row to the first vote in it, and `detection_delay_rows` of the
        rows between. None where there is no such row, event or clock. Events that were missed have no delay: read
        `event_recall` beside it.
    """
    found: dict[str, float | None] = {}
    for name in sorted(set(kind[timeline.label == 1].tolist()) - {""}):
        own = (kind == name) & (timeline.label == 1)
        found[f"recall_{name}"] = float(vote[own].mean())
    met = [
        (first, first + int(np.argmax(vote[first:end]))) for first, end in timeline.events() if vote[first:end].any()
    ]
    rows = np.arange(len(vote))
    begun = onsets or Onsets(rows, rows, timeline.time_s)
    seconds = np.array([timeline.time_s[hit] - begun.time_s[first] for first, hit in met])
    known = seconds[np.isfinite(seconds)]
    return {
        **found,
        "detection_delay_s": float(np.median(known)) if len(known) else None,
        "detection_delay_rows": float(np.median([begun.end[hit] - begun.row[first] for first, hit in met]))
        if met
        else None,
    }


def pr_auc(label: NDArray[np.int64], strength: NDArray[np.float64]) -> float | None:
    """Average precision: the step sum of precision over recall; None with one class only."""
    n_positive = int(label.sum())
    if n_positive in (0, len(label)):
        return None
    recall, precision = precision_recall(label, strength)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall(
    label: NDArray[np.int64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision at every distinct strength, strongest first, `(k,)` each."""
    order = np.argsort(-strength, kind="stable")
    ranked, hits = strength[order], np.cumsum(label[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    found = hits[last_of_tie].astype(np.float64)
    return found / label.sum(), found / (last_of_tie + 1)


class AnomalyProblem:
    """F1 of the vote is primary: it is what a user lives with, and it follows from sums, as the gate needs.

    PR-AUC, event recall and false alarms a day stand beside it.
    """

    name = "anomaly"
    primary = "f1"
    higher_is_better = True
    min_positives = 30

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Count true positives, false positives, false negatives and true negatives per unit."""
        label, vote = samples.truth["label"], outputs["vote"]
        units, member = np.unique(samples.unit, return_inverse=True)
        cells = [np.bincount(member, weights=w, minlength=len(units)) for w in _cells(label, vote)]
        return UnitStatistics(
            units=[str(u) for u in units],
            values=np.stack(cells, axis=1).tolist(),
            positives=int(label.sum()),
            runs=len(units),
        )

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """F1 of summed counts `(..., 4)`; NaN where no row is anomalous."""
        tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
        defined = tp + fn > 0
        return np.where(defined, 2 * tp / np.where(defined, 2 * tp + fp + fn, 1.0), np.nan)


PROBLEM = AnomalyProblem()


def _cells(label: NDArray[Any], vote: NDArray[Any]) -> list[NDArray[np.float64]]:
    true, fired = label == 1, vote == 1
    masks = (true & fired, ~true & fired, true & ~fired, ~true & ~fired)
    return [np.asarray(mask, dtype=np.float64) for mask in masks]


def _confusion(label: NDArray[np.int64], vote: NDArray[np.int64]) -> list[float]:
    return [float(cell.sum()) for cell in _cells(label, vote)]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _stretches(mask: NDArray[np.bool_], run: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first, last + 1) of neighbouring True rows of one run."""
    if not len(mask):
        return []
    group = np.cumsum(np.append(False, (np.diff(run) != 0) | (np.diff(mask.astype(np.int8)) != 0)))
    edges = np.append(np.flatnonzero(np.diff(group, prepend=-1)), len(mask))
    return [(int(a), int(b)) for a, b in pairwise(edges) if mask[a]]
