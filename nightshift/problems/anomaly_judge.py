"""Judging anomaly detectors side by side: the vote, its members and the baselines, in rows, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.findings import Finding, finding
from nightshift.problems.anomaly import PROBLEM, Onsets, Timeline, kind_metrics, metrics, precision_recall
from nightshift.problems.evaluation import Evaluation, Figure, ScoreRow, Series
from nightshift.problems.remarks import remarks

#: Points of a curve; a browser and a report need no more.
MAX_POINTS = 2_000

VOTE = "vote"


@dataclass(frozen=True)
class Answers:
    """What one detector said about the rows of a part.

    Attributes:
        who: its name.
        kind: as in `ScoreRow`.
        vote: int64 `(n,)`, 1 = anomaly.
        strength: `(n,)`, larger = more abnormal, in the detector's own unit.
    """

    who: str
    kind: Literal["model", "baseline", "member"]
    vote: NDArray[np.int64]
    strength: NDArray[np.float64]


@dataclass(frozen=True)
class ThresholdRule:
    """The rule that a control room has today: an alarm when any sensor leaves its limits.

    Attributes:
        lower, upper: `(columns,)` limits in the columns' units; infinite where there is none.
        spread: `(columns,)` training standard deviation, the unit of its strength.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(
        cls, rows: NDArray[np.float32], alarms: NDArray[np.float64], judged: NDArray[np.bool_], rate: float
    ) -> ThresholdRule:
        """Take the declared alarm limits, or else train quantiles.

        Args:
            rows: float32 `(n, columns)` normal training rows.
            alarms: `(columns, 2)` declared limits (below, above), NaN where there is none.
            judged: `(columns,)` columns that the rule looks at.
            rate: share of training rows outside all quantile limits together, at most.
        """
        present = np.where(np.isfinite(rows), rows, np.nan).astype(np.float64)
        usable = judged & np.isfinite(present).any(axis=0)
        spread = np.array([np.nanstd(c) if u else 0.0 for c, u in zip(present.T, usable, strict=True)])
        if np.isfinite(alarms).any():
            lower, upper = (np.where(np.isfinite(a), a, np.inf * s) for a, s in zip(alarms.T, (-1.0, 1.0), strict=True))
        else:
            tail = rate / (2.0 * max(int(usable.sum()), 1))
            pairs = [
                np.nanquantile(c, [tail, 1.0 - tail]) if u else np.array([-np.inf, np.inf])
                for c, u in zip(present.T, usable, strict=True)
            ]
            lower, upper = np.stack(pairs, axis=1)
        return cls(lower, upper, np.where(spread > 0.0, spread, 1.0))

    def answers(self, rows: NDArray[np.float32]) -> Answers:
        """Judge rows `(n, columns)`; a missing value raises no alarm."""
        with np.errstate(invalid="ignore"):  # infinity beside an absent limit
            outside = np.maximum(self.lower - rows, rows - self.upper) / self.spread
        strength = np.nan_to_num(outside, nan=-np.inf).max(axis=1)
        return Answers("threshold rule", "baseline", (strength > 0.0).astype(np.int64), strength)


def constant(n_rows: int) -> Answers:
    """Return the detector that never speaks: the majority's answer."""
    return Answers("constant: never", "baseline", np.zeros(n_rows, dtype=np.int64), np.zeros(n_rows))


def score_rows(
    part: str,
    timeline: Timeline,
    answers: list[Answers],
    kind: NDArray[np.str_] | None = None,
    onsets: Onsets | None = None,
) -> list[ScoreRow]:
    """Return one row of the metrics table per detector.

    Args:
        part: `train`, `val` or `test`.
        timeline: the rows and their truth.
        answers: all detectors.
        kind: `(n,)` kind of each anomalous row, for recall by kind and the delay of detection; None where it is not
            asked.
        onsets: as in `kind_metrics`.
    """
    rows = []
    for a in answers:
        more = {} if kind is None else kind_metrics(timeline, a.vote, kind, onsets)
        figures_of = {**metrics(timeline, a.vote, a.strength), **more}
        rows.append(ScoreRow(who=a.who, kind=a.kind, part=part, metrics=figures_of))
    return rows


def figures(
    timeline: Timeline, answers: list[Answers], kind: NDArray[np.str_] | None, *, kinds: str = "Injected anomalies"
) -> list[Figure]:
    """Return the pictures of the test part.

    Args:
        timeline: the rows and their truth.
        answers: all detectors; the vote is the one of kind `model`.
        kind: `(n,)` kind of anomaly per row, or None for labels that know no kinds.
        kinds: what the kinds are of, in words.
    """
    vote = next(a for a in answers if a.kind == "model")
    drawn = [_timeline(timeline, vote), _confusion(timeline, vote)]
    if 0 < timeline.label.sum() < len(timeline.label):
        drawn.append(_curves(timeline, [a for a in answers if a.kind != "baseline"]))
    if kind is not None:
        drawn.append(_recall_by_kind(timeline, vote, kind, kinds))
    return drawn


def _timeline(timeline: Timeline, vote: Answers) -> Figure:
    """Strength of the vote over time; the strongest row of each stretch is kept, so that no peak is lost.

    Over the rows where there is no clock, or runs lie beside each other in time. The line ends with its run.
    """
    n, run = len(vote.vote), timeline.run
    n_runs = 1 + int((np.diff(run) != 0).sum())
    has_clock = n > 0 and bool(np.isfinite(timeline.time_s).all()) and bool((np.diff(timeline.time_s) >= 0).all())
    # With a gap behind every other point there would be no line.
    has_clock &= n_runs <= MAX_POINTS // 4
    x = timeline.time_s if has_clock else np.arange(n, dtype=np.float64)
    points = MAX_POINTS - (n_runs - 1 if has_clock else 0)
    chunks = np.array_split(np.arange(n), min(points, max(n, 1)))
    peaks = np.array([c[np.argmax(vote.strength[c])] for c in chunks if len(c)], dtype=np.int64)
    fired = peaks[vote.vote[peaks] == 1]
    events = timeline.events()[:MAX_POINTS]
    spans = Series(
        label="anomalous",
        x=[float(x[a]) for a, _ in events],
        y=[float(x[b - 1]) for _, b in events],
        style="spans",
    )
    line_x, line_y = x[peaks].tolist(), vote.strength[peaks].tolist()
    for cut in reversed(np.flatnonzero(np.diff(run[peaks]) != 0).tolist() if has_clock else []):
        line_x.insert(cut + 1, line_x[cut])
        line_y.insert(cut + 1, None)
    line = Series(label="vote strength", x=line_x, y=line_y)
    voted = Series(label="voted anomalous", x=x[fired].tolist(), y=vote.strength[fired].tolist(), style="points")
    return Figure(
        key="anomaly_timeline",
        title="Anomaly vote over the test part",
        x_label="time (UTC)" if has_clock else "row" + ", run after run" * (n_runs > 1),
        y_label="vote strength (tails above threshold)",
        series=[spans, line, voted],
        x_is_time=has_clock,
    )


def _confusion(timeline: Timeline, vote: Answers) -> Figure:
    cells = [[float(((timeline.label == true) & (vote.vote == said)).sum()) for said in (0, 1)] for true in (0, 1)]
    return Figure(
        key="confusion",
        title="Vote on the test part",
        x_label="voted",
        y_label="true",
        cells=cells,
        ticks=["normal", "anomaly"],
    )


def _curves(timeline: Timeline, answers: list[Answers]) -> Figure:
    series = []
    for answer in answers:
        recall, precision = precision_recall(timeline.label, answer.strength)
        keep = np.unique(np.linspace(0, len(recall) - 1, min(len(recall), 200)).astype(int))
        series.append(Series(label=answer.who, x=recall[keep].tolist(), y=precision[keep].tolist()))
    return Figure(
        key="precision_recall", title="Precision over recall", x_label="recall", y_label="precision", series=series
    )


def _recall_by_kind(timeline: Timeline, vote: Answers, kind: NDArray[np.str_], kinds: str) -> Figure:
    found: dict[str, list[bool]] = {}
    for first, end in timeline.events():
        found.setdefault(str(kind[first]), []).append(bool(vote.vote[first:end].any()))
    names = sorted(found)
    bars = Series(label="event recall", x=list(names), y=[float(np.mean(found[n])) for n in names], style="bars")
    return Figure(key="recall_by_kind", title=f"{kinds} found, by kind", y_label="event recall", series=[bars])


#: Metrics of which more is better; of the others (rates of false alarms) less is.
_HIGHER = ("precision", "recall", "f1", "pr_auc", "event_recall")


_TRY_NEXT = "Try another contamination, final_rate, votes or window_rows; read PR-AUC and event recall."


def findings(
    judged: Evaluation,
    max_gap: float,
    wanted: Mapping[str, float],
    label_source: str,
    kind: NDArray[np.str_] | None,
    *,
    injected: bool = True,
    try_next: str = _TRY_NEXT,
) -> list[Finding]:
    """Return what is remarkable about the figures.

    Args:
        judged: the evaluation so far.
        max_gap: relative gap of F1 between train and test that is accepted.
        wanted: metric -> value to reach on test.
        label_source: where the truth comes from, in words.
        kind: as for `figures`.
        injected: whether anomalies with a kind were put in for want of labels.
        try_next: what to do about a low F1.
    """
    higher = (*_HIGHER, *(name for row in judged.rows for name in row.metrics if name.startswith("recall_")))
    found = list(remarks(judged, max_gap=max_gap, wanted=wanted, higher_is_better=higher))
    test, share = judged.score("test"), judged.score("test", "anomaly_share") or 0.0
    if test is not None and test < 0.5:
        what = f"Test F1 of the vote is {test:.3f}; {share:.1%} of the test rows are anomalous ({label_source})."
        found.append(finding("T002", what, remedy=try_next))
    if not share:
        found.append(finding("T017", f"No row of the test part is anomalous ({label_source}): F1 is undefined."))
    if kind is not None and injected:
        kinds = ", ".join(sorted(set(kind.tolist()) - {""}))
        found.append(finding("T010", f"No labels to judge by: anomalies were injected ({kinds})."))
    return found


def evaluation(rows: list[ScoreRow]) -> Evaluation:
    """Return an evaluation that holds these rows and nothing else yet."""
    return Evaluation(
        problem=PROBLEM.name, primary=PROBLEM.primary, higher_is_better=PROBLEM.higher_is_better, rows=rows
    )
