"""Window features of a roll-out, of which the proxies learn: newest value, means and spread over a day and longer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.quality.rows import Floats, Ints, Rows

#: Windows in hours, and no more than this share of a mean life: an accelerated bench lives for hours only.
_SHORT_H, _SHORT_SHARE = 24.0, 0.05
_LONG_H, _LONG_SHARE = 96.0, 0.15


@dataclass(frozen=True)
class Windows:
    """Statistics of the window that ends at each row and never leaves its run, each `(n, sensors)`, NaN unknown.

    Attributes:
        last: the newest reading.
        short, long: means over a day and over four days, both of them less in a short life.
        spread: standard deviation over the short window.
        rise: long mean less the one a long window earlier.
    """

    last: Floats
    short: Floats
    long: Floats
    spread: Floats
    rise: Floats

    def features(self, rows: Rows, picked: Ints) -> NDArray[np.float32]:
        """Return the picked rows as a table; of an hour meter only the newest value, `(picked, features)`."""
        age, others = rows.sensors("age"), rows.sensors("sensor", "setting")
        blocks = [b[picked][:, others] for b in (self.last, self.short, self.long, self.spread, self.rise)]
        return np.concatenate([*blocks, self.last[picked][:, age]], axis=1).astype(np.float32)


def windows(rows: Rows) -> Windows:
    """Compute the windows of every row, by running sums."""
    mean_h = rows.profile.life.mean_h
    short = rows.lag(min(_SHORT_H, _SHORT_SHARE * mean_h))
    long = rows.lag(min(_LONG_H, _LONG_SHARE * mean_h))
    # Centred first: running sums of squares of large readings would lose the digits that matter.
    known = ~np.isnan(rows.values)
    centre = np.where(known, rows.values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, rows.values - centre, 0.0)
    sums, squares, counts = (_running(b) for b in (centred, centred**2, known.astype(np.float64)))
    at = np.arange(len(rows.run))
    short_mean = _mean(sums, counts, np.maximum(at - short + 1, rows.first), at)
    long_mean = _mean(sums, counts, np.maximum(at - long + 1, rows.first), at)
    square_mean = _mean(squares, counts, np.maximum(at - short + 1, rows.first), at)
    before = np.maximum(at - long, rows.first)
    return Windows(
        last=rows.values,
        short=short_mean + centre,
        long=long_mean + centre,
        spread=np.sqrt(np.maximum(square_mean - short_mean**2, 0.0)),
        rise=long_mean - long_mean[before],
    )


def _running(values: Floats) -> Floats:
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])


def _mean(sums: Floats, counts: Floats, first: Ints, last: Ints) -> Floats:
    """Return the mean over rows `first` to `last`, both included; NaN where none is known."""
    n = counts[last + 1] - counts[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, (sums[last + 1] - sums[first]) / n, np.nan)
