"""A part of a dataset as an anomaly detector is judged on it: with its labels, or with anomalies injected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS, LabelSource, TimeKind
from nightshift.edge.window import build_windows
from nightshift.errors import DataError
from nightshift.problems.anomaly import Timeline
from nightshift.problems.anomaly_judge import ThresholdRule
from nightshift.problems.injection import inject
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset


@dataclass(frozen=True)
class PartView:
    """A part as it is judged: real rows with labels, or rows with anomalies injected.

    Attributes:
        window: float32 `(n, window_rows, columns)`.
        timeline: truth, run and clock of each row.
        unit: `(n,)` independent unit of each row.
        kind: `(n,)` kind of injected anomaly, "" elsewhere.
    """

    window: NDArray[np.float32]
    timeline: Timeline
    unit: NDArray[np.str_]
    kind: NDArray[np.str_]

    def samples(self, order: NDArray[np.intp]) -> Samples:
        """The same as a model takes it whose columns stand at `order` among the data's."""
        truth = {"label": self.timeline.label, "run": self.timeline.run}
        return Samples({"window": self.window[:, :, order]}, truth, self.unit, self.timeline.time_s)


def trusts_labels(data: Dataset) -> bool:
    """Whether labels say more than a rule over the sensors."""
    return data.metadata.label_source in (LabelSource.GIVEN, LabelSource.FROM_RUL)


def has_truth(data: Dataset) -> bool:
    """Whether there are labels to judge by: trusted, and of both kinds in test."""
    test = data.metadata.parts.get("test")
    return trusts_labels(data) and test is not None and 0 < (test.positives or 0) < test.rows


def normal_rows(data: Dataset, part: str) -> NDArray[np.bool_]:
    """Rows known or assumed to be normal.

    Raises:
        DataError: when every row is labelled anomalous.
    """
    labels = data.labels(part)
    normal = ~(labels == 1.0) if trusts_labels(data) else np.ones(len(labels), dtype=np.bool_)
    if not normal.any():
        raise DataError(
            f"no row of '{data.subject}' {part} is labelled normal.", hint="Land data of the machine in good order too."
        )
    return normal


def part_view(data: Dataset, part: str, window_rows: int) -> PartView:
    """Build a part's windows with truth: labels where there are any to trust, else injected anomalies."""
    values, runs = data.matrix(part), data.runs(part)
    clock = data.metadata.time_kind is TimeKind.CALENDAR
    time_s = data.times_s(part) if clock else np.full(len(runs), np.nan)
    if has_truth(data):
        labels = data.labels(part)
        judged, kind = np.isfinite(labels), np.full(len(runs), "")
        label = (labels == 1.0).astype(np.int64)
    else:
        spread = _spread(data)
        plain = [i for i, s in enumerate(data.metadata.sensors) if s.role == "sensor" and spread[i] > 0.0]
        columns = np.array(plain or np.flatnonzero(spread > 0.0), dtype=np.int64)
        seed = PARTS.index(part)
        made = inject(values, runs, columns, spread, window_rows=window_rows, seed=seed)
        values, label, kind, judged = made.values, made.label, made.kind, made.judged
    rows = np.flatnonzero(judged)
    return PartView(
        window=build_windows(values, runs, window_rows, rows),
        timeline=Timeline(label[rows], runs[rows], time_s[rows]),
        unit=data.units(part)[rows],
        kind=kind[rows],
    )


def _spread(data: Dataset) -> NDArray[np.float64]:
    """Standard deviation of each column over train, `(columns,)`; 0 for a column without values."""
    train = data.matrix("train").astype(np.float64)
    present = [column[np.isfinite(column)] for column in train.T]
    return np.array([np.std(column) if len(column) else 0.0 for column in present])


def threshold_rule(data: Dataset, rate: float) -> ThresholdRule:
    """Fit the baseline on normal training rows."""
    sensors = data.metadata.sensors
    alarms = [[np.nan if v is None else v for v in (s.alarm_below, s.alarm_above)] for s in sensors]
    looked_at = np.array([s.role not in ("category", "age") for s in sensors])
    return ThresholdRule.fit(data.matrix("train")[normal_rows(data, "train")], np.array(alarms), looked_at, rate)
