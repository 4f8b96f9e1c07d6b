"""Fits a `FeatureSpec` on training rows: operating regimes are found only where the settings really cluster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightshift.graphs.features import DerivedColumn, FeatureSpec, Regimes, Statistic, compute_features

#: Mean silhouette above which settings count as clustered. One Gaussian cloud or a smooth sweep cut into k parts stays
#: below about 0.6; separate operating points (C-MAPSS FD002: six) come close to 1.
MIN_SILHOUETTE = 0.8
MAX_REGIMES = 10
#: A regime's mean and spread are estimated from its rows; fewer would normalise by noise.
MIN_REGIME_ROWS = 50
#: The silhouette compares every pair of rows.
SILHOUETTE_ROWS = 1_000
CLUSTER_ROWS = 5_000


def fit_features(
    values: NDArray[np.float32],
    columns: Sequence[str],
    *,
    window_rows: int,
    statistics: Sequence[Statistic],
    derived: Sequence[DerivedColumn] = (),
    categorical: Sequence[str] = (),
    instant: Sequence[str] = (),
    ignored: Sequence[str] = (),
    settings: Sequence[str] = (),
    seed: int = 0,
) -> FeatureSpec:
    """Return the features of a dataset, fitted on training rows alone.

    Args:
        values: `(n_rows, n_columns)`, training rows; categorical columns hold their index.
        columns: the columns' names in order.
        window_rows: rows of a window; with 1, `statistics` gives way to `last` alone.
        statistics: what is taken over a window.
        derived: columns made of two raw ones.
        categorical: those of `columns` that hold an index.
        instant: columns of which only the newest value counts.
        ignored: columns of which nothing is made.
        settings: columns that tell what the machine was asked to do; empty for no regimes.
        seed: of the clustering.
    """
    plain = FeatureSpec(
        window_rows=window_rows,
        columns=tuple(columns),
        statistics=tuple(statistics) if window_rows > 1 else ("last",),
        derived=tuple(derived),
        categorical=tuple(categorical),
        instant=tuple(instant),
        ignored=tuple(ignored),
    )
    chosen = [name for name in settings if name in plain.numeric_columns]
    regimes = _fit_regimes(values, plain, chosen, seed) if chosen else None
    return plain if regimes is None else FeatureSpec.model_validate(plain.model_dump() | {"regimes": regimes})


def _fit_regimes(values: NDArray[np.float32], spec: FeatureSpec, settings: Sequence[str], seed: int) -> Regimes | None:
    """Return the regimes of the settings, or None where they form no separate groups."""
    moving = [name for name in settings if _moves(values[:, spec.columns.index(name)])]
    sensors = [name for name in spec.numeric_columns if name not in settings]
    if not moving or not sensors:
        return None
    raw = values[:, [spec.columns.index(name) for name in moving]].astype(np.float64)
    complete: NDArray[np.bool_] = np.asarray(np.isfinite(raw).all(axis=1))
    if np.count_nonzero(complete) < 2 * MIN_REGIME_ROWS:
        return None
    offset, scale = raw[complete].mean(axis=0), raw[complete].std(axis=0)
    centres = _cluster((raw[complete] - offset) / scale, seed)
    if centres is None:
        return None
    means, spreads = _regime_moments(values, spec, sensors, complete, _nearest((raw - offset) / scale, centres))
    return Regimes(
        settings=tuple(moving),
        offset=_row(offset),
        scale=_row(scale),
        centres=tuple(_row(centre) for centre in centres),
        sensors=tuple(sensors),
        means=tuple(_row(row) for row in means),
        spreads=tuple(_row(row) for row in spreads),
    )


def _row(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _cluster(points: NDArray[np.float64], seed: int) -> NDArray[np.float64] | None:
    """Return cluster centres `(k, n_settings)` for the k of best silhouette, or None where no k parts the points."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rng = np.random.default_rng(seed)
    sample = points[np.sort(rng.permutation(len(points))[:CLUSTER_ROWS])]
    n_distinct = len(np.unique(np.round(sample, 6), axis=0))
    judged = np.sort(rng.permutation(len(sample))[:SILHOUETTE_ROWS])
    best_score: float = MIN_SILHOUETTE
    best: NDArray[np.float64] | None = None
    for k in range(2, min(MAX_REGIMES, n_distinct) + 1):
        # One thread: its threads wait for each other in a spin, which took 100 times longer beside another process.
        with threadpool_limits(1):
            model = KMeans(n_clusters=k, n_init=5, random_state=seed).fit(sample)
        label = model.labels_[judged]
        if np.bincount(model.labels_).min() * len(points) < MIN_REGIME_ROWS * len(sample) or len(set(label)) < 2:
            continue
        score = float(silhouette_score(sample[judged], label))
        if score > best_score:
            best_score, best = score, np.asarray(model.cluster_centers_, dtype=np.float64)
    return best


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.intp]:
    distance = ((points[:, None, :] - centres[None]) ** 2).sum(axis=2)
    nearest: NDArray[np.intp] = np.argmin(distance, axis=1)
    return nearest


def _moves(column: NDArray[np.float32]) -> bool:
    there = column[np.isfinite(column)]
    return len(there) > 0 and bool(there.min() < there.max())


def _regime_moments(
    values: NDArray[np.float32],
    spec: FeatureSpec,
    sensors: Sequence[str],
    complete: NDArray[np.bool_],
    regime: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and spread of each sensor in each regime, both `(k, n_sensors)`."""
    # Derived columns come from the graph, like everything else that a model sees.
    single = FeatureSpec(window_rows=1, columns=spec.columns, derived=spec.derived)
    slots = [single.feature_names.index(name) for name in sensors]
    table = compute_features(single, np.asarray(values, dtype=np.float32)[:, None, :])[:, slots].astype(np.float64)
    k = int(regime.max()) + 1
    means, spreads = np.zeros((k, len(sensors))), np.ones((k, len(sensors)))
    for index in range(k):
        part = table[complete & (regime == index)]
        there = np.isfinite(part)
        count = np.maximum(there.sum(axis=0), 1)
        means[index] = np.where(there, part, 0).sum(axis=0) / count
        rest = np.where(there, part - means[index], 0)
        spread = np.sqrt((rest**2).sum(axis=0) / count)
        # A sensor that stands still in a regime carries nothing there; rounding alone must not be blown up to 1.
        spreads[index] = np.where(spread > 1e-6 * np.abs(means[index]) + 1e-12, spread, 1.0)
    return means, spreads
