"""A roll-out as arrays, and what of its course in time is compared: autocorrelation, daily pattern, shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.checks.labels import auc
from nightshift.data.schema import LABEL, RUL, RUN, TIME
from nightshift.simulate.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LAGS_H = (1.0, 6.0, 24.0)
_HOURS_PER_WEEK = 168
#: Rows by which two distributions are compared; neighbours repeat each other.
_SHAPE_ROWS = 6_000


@dataclass(frozen=True)
class Rows:
    """A roll-out's rows, run after run in time order.

    Attributes:
        profile: of the machine.
        values: `(n, sensors)` readings in the profile's order and units, NaN missing.
        run: `(n,)`, ascending.
        first: `(n,)` place of the first row of each row's run.
        hour: `(n,)` local hour of the week, 0 is Monday 00:00.
        label: `(n,)` 1 failing, 0 well, NaN unknown; None without labels.
        rul: `(n,)` hours, NaN censored; None without labels.
    """

    profile: Profile
    values: Floats
    run: Ints
    first: Ints
    hour: Ints
    label: Floats | None
    rul: Floats | None

    @classmethod
    def of(cls, profile: Profile, frame: pd.DataFrame) -> Rows:
        """Read a roll-out's frame."""
        import pandas as pd

        run = frame[RUN].to_numpy(dtype=np.int64)
        starts = np.flatnonzero(np.diff(run, prepend=run[0] - 1))
        sizes = np.diff(np.append(starts, len(run)))
        local = pd.DatetimeIndex(pd.to_datetime(frame[TIME], utc=True)).tz_convert(profile.timezone)
        return cls(
            profile=profile,
            values=frame[[s.name for s in profile.sensors]].to_numpy(dtype=np.float64),
            run=run,
            first=np.repeat(starts, sizes),
            hour=np.asarray(local.dayofweek * 24 + local.hour, dtype=np.int64),
            label=frame[LABEL].to_numpy(dtype=np.float64) if LABEL in frame else None,
            rul=frame[RUL].to_numpy(dtype=np.float64) if RUL in frame else None,
        )

    @property
    def step_h(self) -> float:
        """Hours between two rows."""
        return self.profile.sampling_s / 3600

    def sensors(self, *roles: str) -> list[int]:
        """Return the places of the sensors with these roles."""
        return [i for i, s in enumerate(self.profile.sensors) if s.quantity.role in roles]

    def lag(self, hours: float) -> int:
        """Return a span in rows, at least one."""
        return max(1, round(hours / self.step_h))


def failure_share(rows: Rows) -> float | None:
    """Return the share of failing rows among those that are labelled."""
    if rows.label is None or np.isnan(rows.label).all():
        return None
    return float(np.nanmean(rows.label))


def best_sensor_auc(rows: Rows) -> float | None:
    """Return what the one sensor that tells most of the label reaches, 0.5 to 1; None without labels."""
    if rows.label is None:
        return None
    known = ~np.isnan(rows.label)
    areas = [auc(rows.values[known, i], rows.label[known]) for i in rows.sensors("sensor", "setting")]
    return max(max(a, 1 - a) for a in areas)


def row_shapes(real: Rows, generated: Rows, seed: int) -> float:
    """Return the mean over sensors of 1 - KS distance between two roll-outs' readings."""
    from sdmetrics.single_column import KSComplement

    picks = [thinned(len(r.run), _SHAPE_ROWS, seed) for r in (real, generated)]
    scores = [
        KSComplement.compute(real.values[picks[0], i], generated.values[picks[1], i])
        for i in real.sensors("sensor", "setting")
    ]
    known = [s for s in scores if not np.isnan(s)]
    return float(np.mean(known)) if known else 0.0


def autocorrelation_match(real: Floats, generated: Floats) -> float:
    """Return 1 - mean absolute difference of two `autocorrelation` tables, at least 0."""
    return _match(np.abs(real - generated))


def autocorrelation(rows: Rows) -> Floats:
    """Return the sensors' autocorrelation at 1, 6 and 24 h, `(lags, sensors)`, NaN for one that stands still.

    Each run is centred by itself, so that differences between units count as little as they do within a life. Lags
    that are no shorter than a third of a mean life are left out.
    """
    lags = [rows.lag(h) for h in LAGS_H if h < rows.profile.life.mean_h / 3]
    centred = rows.values[:, rows.sensors("sensor", "setting")] - _run_means(rows)
    known = ~np.isnan(centred)
    filled = np.where(known, centred, 0.0)
    variance = (filled**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found = []
    for lag in dict.fromkeys(lags or [1]):
        together = (rows.run[lag:] == rows.run[:-lag])[:, None] & known[lag:] & known[:-lag]
        product = np.where(together, filled[lag:] * filled[:-lag], 0.0).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(product / np.maximum(together.sum(axis=0), 1) / np.where(variance > 0, variance, np.nan))
    return np.array(found)


def daily_pattern_match(real: Rows, generated: Rows) -> float:
    """Return 1 - mean distance of the sensors' daily patterns in standard deviations of the sensor, at least 0."""
    places = real.sensors("sensor", "setting")
    spread = np.nanstd(real.values[:, places], axis=0)
    difference = np.abs(daily_pattern(real) - daily_pattern(generated))[:, places]
    return _match(difference[:, spread > 0] / spread[spread > 0])


def daily_pattern(rows: Rows) -> Floats:
    """Return each sensor's mean by local hour of a working week's day less its overall mean, `(24, sensors)`."""
    return _by_group(rows, rows.hour % 24, 24)


def weekly_pattern(rows: Rows) -> Floats:
    """Return each sensor's mean by local hour of the week less its overall mean, `(168, sensors)`, 0 where unseen."""
    return np.nan_to_num(_by_group(rows, rows.hour, _HOURS_PER_WEEK))


def thinned(n: int, wanted: int, seed: int) -> Ints:
    """Draw `wanted` of `n` places, ascending; a fixed stride would see some hours of the day only."""
    if n <= wanted:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 17]).choice(n, wanted, replace=False))


def _by_group(rows: Rows, group: Ints, n_groups: int) -> Floats:
    found = np.full((n_groups, rows.values.shape[1]), np.nan)
    for i in range(rows.values.shape[1]):
        known = ~np.isnan(rows.values[:, i])
        counts = np.bincount(group[known], minlength=n_groups)
        sums = np.bincount(group[known], weights=rows.values[known, i], minlength=n_groups)
        if known.any():
            with np.errstate(invalid="ignore"):
                found[:, i] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan) - sums.sum() / counts.sum()
    return found


def _run_means(rows: Rows) -> Floats:
    values = rows.values[:, rows.sensors("sensor", "setting")]
    index = np.unique(rows.run, return_inverse=True)[1]
    known = ~np.isnan(values)
    means = [
        np.bincount(index, weights=np.where(known[:, i], values[:, i], 0.0))
        / np.maximum(np.bincount(index, weights=known[:, i]), 1)
        for i in range(values.shape[1])
    ]
    return np.stack(means, axis=1)[index]


def _match(distance: Floats) -> float:
    if not np.isfinite(distance).any():
        return 0.0
    return max(0.0, 1.0 - float(np.nanmean(distance)))
