"""How near a table of generated units is to real ones: shapes, dependences, and distance to the closest record.

Source:
    Shapes and dependences are sdmetrics' own metrics (DataCebo, MIT): KSComplement, TVComplement,
    CorrelationSimilarity and ContingencySimilarity.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.units import UnitColumn

if TYPE_CHECKING:
    import pandas as pd

#: Two parameters depend on each other from this correlation on: three standard errors over 400 held-out units.
RELATED_CORRELATION = 0.15
#: The same for Cramér's V, whose mean over independent parameters is about 0.1 there.
RELATED_ASSOCIATION = 0.2
#: Into how many equally wide bins a continuous parameter is cut beside a discrete one.
_BINS = 5
#: Units whose distances to all of a table are held at once.
_CHUNK = 256


def column_shapes(real: pd.DataFrame, generated: pd.DataFrame, columns: Sequence[UnitColumn]) -> float:
    """Return the mean over parameters of 1 - KS distance, or 1 - total variation for discrete ones."""
    from sdmetrics.single_column import KSComplement, TVComplement

    scores = [
        (TVComplement if c.discrete else KSComplement).compute(real[c.name], generated[c.name])
        for c in columns
        if _present(real, generated, c.name)
    ]
    return float(np.mean(scores)) if scores else 0.0


def pair_trends(real: pd.DataFrame, generated: pd.DataFrame, columns: Sequence[UnitColumn]) -> float:
    """Return the mean similarity over the pairs of parameters that depend on each other, in either table.

    Most pairs of a machine's parameters are independent, and a table whose columns have been shuffled keeps these: a
    mean over all pairs would hardly fall. A generator that invents a dependence is caught by looking in both tables.

    Returns:
        1 where no pair depends on another.
    """
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity

    continuous = [c.name for c in columns if not c.discrete and _varies(real, c.name) and _varies(generated, c.name)]
    scores = [
        CorrelationSimilarity.compute(real[[a, b]], generated[[a, b]])
        for a, b in _correlated(real[continuous], generated[continuous])
    ]
    for a, b in _associated(real, generated, columns):
        bins = None if b.discrete else [b.name]
        pair = [a.name, b.name]
        scores.append(
            # Copies: it writes its bins into what it is given.
            ContingencySimilarity.compute(
                real[pair].copy(), generated[pair].copy(), continuous_column_names=bins, num_discrete_bins=_BINS
            )
        )
    known = [s for s in scores if not np.isnan(s)]
    return float(np.mean(known)) if known else 1.0


def dcr_protection(
    train: pd.DataFrame, fresh: pd.DataFrame, generated: pd.DataFrame, columns: Sequence[UnitColumn]
) -> float:
    """Return how little the generated units keep to training units rather than to ones that no generator has seen.

    Both enter whole and in equal number: the larger table would be nearer by its size alone, and a copy of a training
    unit that is left out would look new. Parameters enter as their rank among the training units: scaled by the range
    of the table at hand, one long life would bring all of its table nearer.

    Args:
        train: what the generator has learned.
        fresh: as many other draws of the same machine.
        generated: the units to judge.
        columns: of all three.

    Returns:
        Twice the share of generated units that are no nearer to a training unit, at most 1: fresh draws reach about 1,
        copies 0, and half copies half of that.

    Source:
        DCROverfittingProtection of sdmetrics (DataCebo, MIT), with ranks; written anew, because that one takes seconds
        for a thousand units.
    """
    n = min(len(train), len(fresh))
    places = [_places(table, train, columns) for table in (generated, train[:n], fresh[:n])]
    nearer = _closest(places[0], places[1]) < _closest(places[0], places[2])
    return min(1.0, 2 * float(1 - nearer.mean()))


def _places(table: pd.DataFrame, among: pd.DataFrame, columns: Sequence[UnitColumn]) -> list[NDArray[Any]]:
    """Return each column: a continuous one as rank in [0, 1] among another table's, a discrete one as text."""
    found: list[NDArray[Any]] = []
    for column in columns:
        if column.discrete:
            found.append(table[column.name].astype(str).to_numpy())
            continue
        ordered = np.sort(among[column.name].to_numpy(dtype=np.float64))
        values = table[column.name].to_numpy(dtype=np.float64)
        found.append(np.interp(values, ordered, np.linspace(0.0, 1.0, len(ordered))))
    return found


def _closest(units: list[NDArray[Any]], reference: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return each unit's distance to the closest unit of the reference: summed over parameters, mismatch is 1."""
    found = []
    for first in range(0, len(units[0]), _CHUNK):
        distance = np.zeros((len(units[0][first : first + _CHUNK]), len(reference[0])))
        for own, other in zip(units, reference, strict=True):
            block = own[first : first + _CHUNK, None]
            distance += block != other if own.dtype.kind in "OU" else np.abs(block - other)
        found.append(distance.min(axis=1))
    return np.concatenate(found)


def _present(real: pd.DataFrame, generated: pd.DataFrame, name: str) -> bool:
    return bool(real[name].notna().any() and generated[name].notna().any())


def _varies(table: pd.DataFrame, name: str) -> bool:
    return table[name].nunique() > 1


def _correlated(real: pd.DataFrame, generated: pd.DataFrame) -> list[tuple[str, str]]:
    names = list(real.columns)
    strength = np.fmax(*(np.abs(t.corr().to_numpy(dtype=np.float64)) for t in (real, generated)))
    return [
        (names[i], names[j])
        for i, j in itertools.combinations(range(len(names)), 2)
        if strength[i, j] >= RELATED_CORRELATION
    ]


def _associated(
    real: pd.DataFrame, generated: pd.DataFrame, columns: Sequence[UnitColumn]
) -> list[tuple[UnitColumn, UnitColumn]]:
    codes = [{c.name: _codes(table, c) for c in columns} for table in (real, generated)]
    discrete = [c for c in columns if c.discrete]
    pairs = [*itertools.combinations(discrete, 2), *((d, c) for d in discrete for c in columns if not c.discrete)]
    return [(a, b) for a, b in pairs if max(_cramers_v(of[a.name], of[b.name]) for of in codes) >= RELATED_ASSOCIATION]


def _codes(table: pd.DataFrame, column: UnitColumn) -> NDArray[np.int64]:
    if column.discrete:
        # np.unique, not the declared categories: a bad table may hold others.
        return np.unique(table[column.name].astype(str), return_inverse=True)[1].astype(np.int64)
    values = table[column.name].to_numpy(dtype=np.float64)
    edges = np.linspace(np.nanmin(values), np.nanmax(values), _BINS + 1)[1:-1]
    return np.searchsorted(edges, values).astype(np.int64)


def _cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return Cramér's V, 0 for independent and 1 for tied codes (Cramér 1946)."""
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width).reshape(-1, width)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape) < 2:
        return 0.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi2 / counts.sum() / (min(counts.shape) - 1)))
