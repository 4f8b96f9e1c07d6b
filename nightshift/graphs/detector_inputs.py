"""What stands between features and detectors: imputation, scaling, and judging readings by their operating point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError
from nightshift.graphs.build import Graph

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Standardised values are clipped here: beyond it every row is equally absurd, and LOF's distances stay exact.
CLIP_SD = 1e4

#: Ridge per row of the regression on settings, in standardised units: keeps collinear settings harmless.
RIDGE = 1e-3

#: A reading that its settings explain to within this share of its spread is still judged at this share.
RESIDUAL_SD_FLOOR = 1e-3


@dataclass(frozen=True)
class OperatingPoint:
    """A linear account of readings by settings; detectors see what it leaves unexplained.

    A motor under high load is warm and draws current: that is no anomaly. Settings themselves are what the machine was
    asked to do, so they are not judged.

    Attributes:
        settings: int64 `(c,)` positions of the setting features.
        judged: int64 `(k,)` positions of all other features.
        weights: `(c, k)`, standardised readings per standardised setting.
        residual_scale: `(k,)` standard deviation of what is left.
    """

    settings: NDArray[np.int64]
    judged: NDArray[np.int64]
    weights: Float64
    residual_scale: Float64

    @classmethod
    def fit(cls, rows: Float64, settings: NDArray[np.int64]) -> OperatingPoint:
        """Regress on standardised training rows `(n, d)`."""
        judged = np.setdiff1d(np.arange(rows.shape[1]), settings)
        asked, read = rows[:, settings], rows[:, judged]
        normal_matrix = asked.T @ asked + RIDGE * len(rows) * np.eye(len(settings))
        weights: Float64 = np.linalg.solve(normal_matrix, asked.T @ read).astype(np.float64)
        spread = (read - asked @ weights).std(axis=0)
        return cls(settings, judged, weights, np.maximum(spread, RESIDUAL_SD_FLOOR))

    def apply(self, rows: Float64) -> Float64:
        """Return scaled residuals `(n, k)` of standardised rows `(n, d)`."""
        explained = rows[:, self.settings] @ self.weights
        return np.asarray((rows[:, self.judged] - explained) / self.residual_scale)

    def emit(self, graph: Graph, rows: str) -> str:
        """Add the same to a graph."""
        asked = graph.add("Gather", rows, graph.const(self.settings), axis=1)
        read = graph.add("Gather", rows, graph.const(self.judged), axis=1)
        left = graph.add("Sub", read, graph.add("MatMul", asked, graph.const(self.weights)))
        return graph.add("Div", left, graph.const(self.residual_scale))


@dataclass(frozen=True)
class DetectorInputs:
    """From features `(n, d)` to the rows that detectors judge.

    Attributes:
        median: `(d,)` float32, column medians of the training rows, put in place of NaN.
        mean: `(d,)` of the imputed training rows.
        scale: `(d,)` standard deviations, 1 for a constant column.
        point: account of readings by settings, or None where there are no settings.
    """

    median: Float32
    mean: Float64
    scale: Float64
    point: OperatingPoint | None

    @classmethod
    def fit(cls, features: Float32, settings: NDArray[np.int64]) -> DetectorInputs:
        """Fit on training rows.

        Args:
            features: float32 `(n, d)`, NaN = missing.
            settings: positions of features that say what the machine was asked to do; may be empty.

        Raises:
            DataError: when no column varies.
        """
        from sklearn.preprocessing import StandardScaler

        median = _column_medians(features)
        scaler = StandardScaler().fit(np.where(np.isnan(features), median, features).astype(np.float64))
        if not np.any(scaler.var_ > 0.0):
            raise DataError(f"detectors need at least one column that varies; all {features.shape[1]} are constant")
        plain = cls(median, np.asarray(scaler.mean_), np.asarray(scaler.scale_), None)
        if not 0 < len(settings) < features.shape[1]:
            return plain
        point = OperatingPoint.fit(plain.apply(features), settings)
        return cls(plain.median, plain.mean, plain.scale, point)

    @property
    def n_judged(self) -> int:
        """Columns that the detectors see, k."""
        return len(self.mean) if self.point is None else len(self.point.judged)

    def apply(self, features: Float32) -> Float64:
        """Return rows `(n, k)` for the detectors."""
        filled = np.where(np.isnan(features), self.median, features).astype(np.float64)
        rows = np.clip((filled - self.mean) / self.scale, -CLIP_SD, CLIP_SD)
        return rows if self.point is None else np.clip(self.point.apply(rows), -CLIP_SD, CLIP_SD)

    def emit(self, graph: Graph, features: str) -> str:
        """Add the same to a graph: float32 `(batch, d)` in, double `(batch, k)` out."""
        filled = graph.add("Where", graph.add("IsNaN", features), graph.const(self.median), features)
        centred = graph.add("Sub", graph.add("Cast", filled, to=11), graph.const(self.mean))
        rows = _clipped(graph, graph.add("Div", centred, graph.const(self.scale)))
        # Clipped before it is multiplied: an infinite setting times a zero weight would be no number.
        return rows if self.point is None else _clipped(graph, self.point.emit(graph, rows))

    def raw(self, feature: int, value: Float64) -> Float64:
        """Return the feature values, in their own unit, that standardise to `value`; not for judged readings."""
        return np.asarray(value * self.scale[feature] + self.mean[feature])


def _clipped(graph: Graph, value: str) -> str:
    return graph.add("Clip", value, graph.const(-CLIP_SD, "float64"), graph.const(CLIP_SD, "float64"))


def _column_medians(rows: Float32) -> Float32:
    """Medians of the present values; 0 for a column that has none."""
    empty = np.isnan(rows).all(axis=0)
    return np.nanmedian(np.where(empty, np.float32(0), rows), axis=0).astype(np.float32)
