"""Windows of which is known whether a row is odd, the threshold of a score, and a score without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import TimeKind
from nightshift.errors import DataError
from nightshift.families._vehicle import VehicleConfig, window_ends
from nightshift.problems.anomaly import Onsets, Timeline

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset

Floats = NDArray[np.float64]

_HOUR_S = 3600.0


@dataclass(frozen=True)
class OddWindows:
    """Windows of a part, in order.

    Attributes:
        ends: `(n,)` the row at which each ends.
        timeline: whether a row of it is odd, its trip, the time of its newest row.
        kind: `(n,)` the kind of its newest odd row, "" of a normal window.
        onsets: where in each its oldest odd row is.
    """

    ends: NDArray[np.intp]
    timeline: Timeline
    kind: NDArray[np.str_]
    onsets: Onsets

    def at(self, rows: NDArray[np.bool_]) -> OddWindows:
        """Return some of the windows."""
        line, begun = self.timeline, self.onsets
        return OddWindows(
            self.ends[rows],
            Timeline(line.label[rows], line.run[rows], line.time_s[rows]),
            self.kind[rows],
            Onsets(begun.end[rows], begun.row[rows], begun.time_s[rows]),
        )

    @property
    def hours(self) -> float | None:
        """Time that they cover: of each trip, from its first window to its last and one step more."""
        time_s, run = self.timeline.time_s, self.timeline.run
        step = np.diff(time_s)[np.diff(run) == 0]
        step = step[np.isfinite(step)]
        return len(self.ends) * float(np.median(step)) / _HOUR_S if len(step) and np.median(step) > 0 else None


def odd_windows(data: Dataset, part: str, config: VehicleConfig) -> OddWindows:
    """Return the windows of a part of whose rows is known whether they are odd.

    Raises:
        DataError: when no trip is long enough, or of no window all is known.
    """
    ends = window_ends(data, part, window_rows=config.window_rows, stride_rows=config.stride_rows)
    code = data.truth(part, "odd")
    unknown = _count(~np.isfinite(code), ends, config.window_rows)
    ends = ends[unknown == 0]
    if not len(ends):
        raise DataError(
            f"of no window of the {part} part of '{data.subject}' is known whether it is odd.",
            hint="Label the trips, normal ones too, or train other families.",
        )
    odd = code > 0
    label = (_count(odd, ends, config.window_rows) > 0).astype(np.int64)
    row = np.arange(len(code))
    newest = np.maximum.accumulate(np.where(odd, row, 0))[ends]
    following = np.minimum.accumulate(np.where(odd, row, len(code))[::-1])[::-1]
    oldest = np.minimum(following[ends + 1 - config.window_rows], ends)
    column = data.metadata.truth("odd")
    names = np.array(["", *(column.classes[1:] if column else ())])
    kind = np.where(label == 1, names[code[newest].astype(np.intp)], "")
    clock = data.metadata.time_kind is TimeKind.CALENDAR
    time_s = data.times_s(part) if clock else np.full(len(code), np.nan)
    begun = Onsets(ends, oldest, time_s[oldest])
    return OddWindows(ends, Timeline(label, data.runs(part)[ends], time_s[ends]), kind, begun)


def normal_ones(found: OddWindows, data: Dataset, part: str) -> OddWindows:
    """Return those that are normal throughout.

    Raises:
        DataError: when there are none.
    """
    normal = found.at(found.timeline.label == 0)
    if not len(normal.ends):
        raise DataError(
            f"no window of the {part} part of '{data.subject}' is normal throughout.",
            hint="Land normal trips too, or lower window_rows: what is odd is learned from what is normal.",
        )
    return normal


def normal_threshold(scores: Floats, normal: OddWindows, percentile: float, budget: float | None) -> float:
    """Return a threshold for scores of normal windows, between two of them.

    Args:
        scores: `(n,)`.
        normal: the windows.
        percentile: share of them that stays below, in percent.
        budget: windows an hour that may lie above; takes the percentile's place.

    Raises:
        DataError: for a budget of windows without a clock.
    """
    above = len(scores) * (1.0 - percentile / 100.0)
    if budget is not None:
        hours = normal.hours
        if hours is None:
            raise DataError(
                "false_alarm_budget counts by the hour, and the windows have no clock.",
                hint="Set threshold_percentile instead.",
            )
        above = budget * hours
    ranked = np.sort(np.asarray(scores, np.float64))
    last_below = ranked[max(0, len(ranked) - 1 - int(above + 1e-6))]
    higher = ranked[ranked > last_below]
    # Between two scores, not on one: what a device computes is the same to six digits, and never on the edge.
    return float(np.float32((last_below + higher[0]) / 2.0 if len(higher) else last_below * 1.001 + 1e-6))


def distance_from_mean(table: NDArray[np.float32], ends: NDArray[np.intp], window_rows: int, span_rows: int) -> Floats:
    """Score windows as the network does, with the train mean in place of what it draws, `(n,)`.

    Args:
        table: `(rows, width)` scaled.
        ends: `(n,)`.
        window_rows: of each.
        span_rows: rows of the stretch that counts.
    """
    sums = np.concatenate([[0.0], np.cumsum((table.astype(np.float64) ** 2).mean(axis=1))])
    stretch = (sums[span_rows:] - sums[:-span_rows]) / span_rows  # of the rows from i to i + span_rows - 1
    first = ends - window_rows + 1
    reach = np.arange(window_rows - span_rows + 1)
    worst = [stretch[first[i : i + 10_000, None] + reach].max(axis=1) for i in range(0, len(first), 10_000)]
    return np.asarray(np.sqrt(np.concatenate(worst)), np.float64)


def _count(mask: NDArray[np.bool_], ends: NDArray[np.intp], window_rows: int) -> NDArray[np.int64]:
    """Return how many rows of each window are marked, `(n,)`."""
    sums = np.concatenate([[0], np.cumsum(mask)])
    return np.asarray(sums[ends + 1] - sums[ends + 1 - window_rows], np.int64)
