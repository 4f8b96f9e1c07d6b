"""How a forecast is judged: errors scaled by the machine's own daily rhythm, and bands that hold what they promise.

The primary metric is MASE: the mean absolute error divided by that of repeating yesterday, measured on the train part.
Sensors of different units are averaged only after this scaling. MAPE is shown, and means nothing near zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.problems.evaluation import UnitStatistics
from nightshift.problems.problem import Samples

Floats = NDArray[np.float64]

#: Level in % -> (lower, upper) band names.
LEVELS = {80: ("lo80", "hi80"), 95: ("lo95", "hi95")}


@dataclass(frozen=True)
class Forecasts:
    """What one method said at a number of origins.

    Attributes:
        yhat: `(origins, steps, sensors)` in the sensors' units; NaN where it said nothing.
        bands: `lo80, hi80, lo95, hi95` of the same shape, or empty for a method without bands.
    """

    yhat: Floats
    bands: Mapping[str, Floats]

    def sensor(self, index: int) -> Forecasts:
        """Return one sensor's forecasts, the last axis kept."""
        return self._map(lambda values: values[:, :, index : index + 1])

    def at(self, origins: NDArray[Any]) -> Forecasts:
        """Return the forecasts of some origins (mask or index)."""
        return self._map(lambda values: values[origins])

    def _map(self, change: Any) -> Forecasts:
        return Forecasts(change(self.yhat), {name: change(values) for name, values in self.bands.items()})


def metrics(truth: Floats, said: Forecasts, scale: Floats) -> dict[str, float | None]:
    """Return all metrics of one method.

    Args:
        truth: `(origins, steps, sensors)`, NaN where nothing was measured.
        said: the method's forecasts.
        scale: `(sensors,)` mean absolute error of repeating yesterday on train; NaN leaves a sensor out.

    Returns:
        `mase` (lower is better), `mape_pct`, `coverage80_pct`, `coverage95_pct`, `winkler80`, `winkler95` (in units of
        `scale`), `trend_r2`; None where undefined.

    Source:
        Hyndman and Koehler (2006) for MASE; Winkler (1972) for the interval score.
    """
    error = np.abs(truth - said.yhat)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(truth != 0, error / np.abs(truth), np.nan)
    found: dict[str, float | None] = {
        "mase": _mean(error / scale),
        "mape_pct": _scaled(100.0, _mean(relative)),
    }
    for level, (low, high) in LEVELS.items():
        found[f"coverage{level}_pct"] = found[f"winkler{level}"] = None
        if said.bands:
            lo, hi = said.bands[low], said.bands[high]
            found[f"coverage{level}_pct"] = _scaled(100.0, _mean(_inside(truth, lo, hi)))
            found[f"winkler{level}"] = _mean(winkler(truth, lo, hi, level) / scale)
    found["trend_r2"] = trend_r2(truth, said.yhat)
    return found


def winkler(truth: Floats, lo: Floats, hi: Floats, level_pct: float) -> Floats:
    """Return the interval score: the width, plus 2/alpha times what lies outside; NaN where unknown."""
    alpha = 1.0 - level_pct / 100.0
    return (hi - lo) + 2.0 / alpha * (np.maximum(lo - truth, 0.0) + np.maximum(truth - hi, 0.0))


def trend_r2(truth: Floats, yhat: Floats) -> float | None:
    """Return R² of the horizon's mean level over origins, averaged over sensors.

    The level of the next day is the part of the forecast that the trend carries; the daily pattern cancels out in it.
    """
    both = np.isfinite(truth) & np.isfinite(yhat)
    count = both.sum(axis=1)
    found = []
    for sensor in range(truth.shape[2]):
        rows = count[:, sensor] >= max(1, truth.shape[1] // 2)
        if rows.sum() < 3:
            continue
        n = count[rows, sensor]
        true = np.where(both, truth, 0.0)[rows, :, sensor].sum(axis=1) / n
        said = np.where(both, yhat, 0.0)[rows, :, sensor].sum(axis=1) / n
        spread = float(((true - true.mean()) ** 2).sum())
        if spread > 0:
            found.append(1.0 - float(((true - said) ** 2).sum()) / spread)
    return float(np.mean(found)) if found else None


def naive_scale(steps: Floats, day_steps: int) -> Floats:
    """Return the mean absolute difference to the same time the day before, `(rows, sensors)` -> `(sensors,)`.

    NaN for a sensor that never changes, or is too short to compare: nothing can be scaled by it.
    """
    difference = np.abs(steps[day_steps:] - steps[:-day_steps])
    means = np.array([_mean(difference[:, i]) or np.nan for i in range(steps.shape[1])])
    return np.where(means > 0, means, np.nan)


def unit_sums(truth: Floats, yhat: Floats, scale: Floats, unit: Sequence[str]) -> UnitStatistics:
    """Return, per unit, the sum of scaled absolute errors and their number.

    Args:
        truth: `(origins, steps, sensors)`; so is `yhat`.
        scale: `(origins, sensors)` or `(sensors,)`.
        unit: the unit (civil day) of each origin.
    """
    error = np.abs(truth - yhat) / (scale[:, None, :] if scale.ndim == 2 else scale)
    known = np.isfinite(error)
    total, count = np.where(known, error, 0.0).sum(axis=(1, 2)), known.sum(axis=(1, 2))
    names = list(dict.fromkeys(unit))
    of = np.asarray(unit)
    values = [[float(total[of == name].sum()), float(count[of == name].sum())] for name in names]
    return UnitStatistics(units=names, values=values, runs=len(names))


class ForecastProblem:
    """See `problems.problem.Problem`."""

    name = "forecast"
    primary = "mase"
    higher_is_better = False
    min_positives = 0

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        """Return per civil day the sum of scaled absolute errors and their number.

        `samples.truth` holds `values` `(n, steps, sensors)` and `scale` `(n, sensors)`.
        """
        yhat = np.asarray(outputs["yhat"], dtype=np.float64)
        return unit_sums(samples.truth["values"], yhat, samples.truth["scale"], samples.unit.tolist())

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return MASE of summed statistics, `(..., 2)` -> `(...)`."""
        count = sums[..., 1]
        return np.asarray(np.divide(sums[..., 0], count, out=np.full(count.shape, np.nan), where=count > 0))


PROBLEM = ForecastProblem()


def _inside(truth: Floats, lo: Floats, hi: Floats) -> Floats:
    inside = ((truth >= lo) & (truth <= hi)).astype(np.float64)
    return np.where(np.isfinite(truth) & np.isfinite(lo) & np.isfinite(hi), inside, np.nan)


def _mean(values: Floats) -> float | None:
    known = np.isfinite(values)
    return float(values[known].mean()) if known.any() else None


def _scaled(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
