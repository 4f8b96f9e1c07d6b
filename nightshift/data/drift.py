"""How far apart two sets of rows lie, from sketches alone.

Source: PSI as in Yurdakul, "Statistical properties of population stability index", 2018 (0.25 = a marked shift);
Kolmogorov-Smirnov on the binned distribution; Benjamini, Hochberg 1995 over the sensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.data.sketch import SensorSketch, Sketch

MARKED_PSI = 0.25
FALSE_DISCOVERY_RATE = 0.01
#: Population stability is judged on about ten groups; the sketch holds about three bins to each.
_PSI_GROUPS = 10
#: Neighbouring rows of a machine tell nearly the same: one row in this many counts as independent.
_ROWS_PER_INDEPENDENT = 10


@dataclass(frozen=True)
class SensorDrift:
    """One sensor.

    Attributes:
        psi: population stability index.
        ks: largest distance between the two cumulative distributions, at the edges known.
        p_value: of that distance, adjusted for the number of sensors.
        missing_change: share of missing values now, less the share before.
        drifted: PSI is marked and the distance is no accident.
    """

    name: str
    psi: float
    ks: float
    p_value: float
    missing_change: float
    drifted: bool


def drift(sketch: Sketch, part: str, against: str = "train") -> tuple[SensorDrift, ...]:
    """Compare one part of a dataset with another, worst sensor first."""
    pairs = [(name, s.total(against), s.total(part)) for name, s in sketch.sensors.items()]
    return _judge(pairs)


def drift_between(old: Sketch, new: Sketch, part: str = "train") -> tuple[SensorDrift, ...]:
    """Compare the same part of two datasets of a subject, for the sensors that both have, worst first."""
    pairs = []
    for name, before in old.sensors.items():
        after = new.sensors.get(name)
        if after is not None and _is_text(before) == _is_text(after):
            pairs.append((name, before.total(part), rebinned(after, part, before.edges)))
    return _judge(pairs)


def rebinned(sketch: SensorSketch, part: str, edges: tuple[float, ...] | tuple[str, ...]) -> NDArray[np.float64]:
    """Return a part's counts in another sketch's bins, `(len(edges) + 2,)`; between known edges it interpolates."""
    counts = sketch.total(part).astype(np.float64)
    if sketch.edges == edges or not edges or not sketch.edges:
        return counts if len(counts) == len(edges) + 2 else np.zeros(len(edges) + 2)
    if isinstance(edges[0], str):
        by_value = dict(zip(sketch.edges, counts, strict=False))
        kept = [float(by_value.pop(e, 0.0)) for e in edges]
        return np.array([*kept, sum(by_value.values()) + counts[-2], counts[-1]])
    known = np.array(sketch.edges, dtype=np.float64)
    below = np.cumsum(counts[:-1])[:-1]
    at = np.interp(np.array(edges, dtype=np.float64), known, below, left=0.0, right=float(counts[:-1].sum()))
    return np.array([*np.diff([0.0, *at, float(counts[:-1].sum())]), counts[-1]])


def _is_text(sketch: SensorSketch) -> bool:
    return bool(sketch.edges) and isinstance(sketch.edges[0], str)


def _judge(pairs: Sequence[tuple[str, NDArray[np.generic], NDArray[np.generic]]]) -> tuple[SensorDrift, ...]:
    from scipy.special import kolmogorov

    rows = []
    for name, before, after in pairs:
        a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
        missing = _share_missing(b) - _share_missing(a)
        if a[:-1].sum() == 0 or b[:-1].sum() == 0:
            rows.append((name, 0.0, 0.0, 1.0, missing))
            continue
        ks = float(np.abs(np.cumsum(_share(a[:-1])) - np.cumsum(_share(b[:-1]))).max())
        n, m = (x[:-1].sum() / _ROWS_PER_INDEPENDENT for x in (a, b))
        rows.append((name, _psi(a[:-1], b[:-1]), ks, float(kolmogorov(ks * np.sqrt(n * m / (n + m)))), missing))
    adjusted = benjamini_hochberg([r[3] for r in rows])
    judged = [
        SensorDrift(name, psi, ks, p, missing, psi > MARKED_PSI and p < FALSE_DISCOVERY_RATE)
        for (name, psi, ks, _, missing), p in zip(rows, adjusted, strict=True)
    ]
    return tuple(sorted(judged, key=lambda d: -d.psi))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate, in the given order."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    rank = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(p[order] * len(p) / rank, 1.0))
    return [float(v) for v in adjusted]


def _psi(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    groups = _groups(before)
    a, b = (_share(np.add.reduceat(x, groups) + 0.5) for x in (before, after))
    return float(np.sum((b - a) * np.log(b / a)))


def _groups(counts: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return where about ten groups begin that hold about as many of `counts` each."""
    reached = np.cumsum(_share(counts))
    group_of = np.minimum((np.concatenate([[0.0], reached[:-1]]) * _PSI_GROUPS + 1e-9).astype(int), _PSI_GROUPS - 1)
    # What lies beyond train's own range is a group of its own: new values are the plainest drift.
    outside = np.zeros(len(counts), dtype=bool)
    outside[[0, -1]] = True
    begins = np.concatenate([[True], (np.diff(group_of) > 0) | (np.diff(outside.astype(int)) != 0)])
    return np.flatnonzero(begins)


def _share(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def _share_missing(counts: NDArray[np.float64]) -> float:
    total = float(counts.sum())
    return float(counts[-1]) / total if total else 0.0
