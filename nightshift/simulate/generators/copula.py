"""A Gaussian copula: every column's own distribution, tied together by the correlations of their normal scores.

Source: Nelsen, An Introduction to Copulas (2006), 2.3 and 2.9; normal scores by (rank - 0.5) / n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.generators.base import Columns
from nightshift.simulate.generators.limits import within_limits
from nightshift.simulate.units import UnitColumn

if TYPE_CHECKING:
    import pandas as pd

Float64 = NDArray[np.float64]
#: Keeps the correlation matrix positive definite where a column is constant or doubles another.
_RIDGE = 1e-6


@dataclass(frozen=True)
class Copula:
    """A fitted Gaussian copula.

    Attributes:
        columns: in table order.
        sorted_values: per column, the training values in order `(n,)`, or per category the upper end of its stretch
            of [0, 1] `(categories,)`.
        root: lower Cholesky factor of the normal scores' correlations, `(columns, columns)`.
    """

    columns: Columns
    sorted_values: tuple[Float64, ...]
    root: Float64
    name: str = "copula"

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw `n` units.

        Raises:
            UsageError: for less than one unit.
        """
        rng = np.random.default_rng([seed, 2])
        return within_limits(lambda rows: self._drawn(rows, rng), n, self.columns)

    def _drawn(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        import pandas as pd
        from scipy.special import ndtr

        shares = ndtr(rng.standard_normal((n, len(self.columns))) @ self.root.T)
        parts = zip(self.columns, self.sorted_values, shares.T, strict=True)
        return pd.DataFrame({c.name: _values(c, known, share) for c, known, share in parts})


def fit_copula(units: pd.DataFrame, columns: Columns) -> Copula:
    """Fit marginals and correlations; nothing in it is random.

    Args:
        units: `(n, columns)`, checked by `base.check_units`.
        columns: in table order.
    """
    from scipy.special import ndtri

    known, scores = [], []
    for column in columns:
        values = units[column.name]
        if column.discrete:
            codes = np.array([column.categories.index(v) for v in values])
            counts = np.bincount(codes, minlength=len(column.categories)) / len(units)
            ends = np.cumsum(counts)
            known.append(ends)
            # A category stands at the middle of its stretch, so that nothing in the fit is random.
            scores.append(ndtri((ends - counts / 2)[codes]))
        else:
            known.append(np.sort(values.to_numpy(dtype=np.float64)))
            scores.append(ndtri((np.asarray(values.rank(), dtype=np.float64) - 0.5) / len(units)))
    root = np.linalg.cholesky(_correlations(np.column_stack(scores)))
    return Copula(columns, tuple(known), np.asarray(root, dtype=np.float64))


def _correlations(scores: Float64) -> Float64:
    centred = scores - scores.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred / np.where(spread > 0, spread, 1.0)
    matrix = scaled.T @ scaled / len(scores)
    np.fill_diagonal(matrix, 1.0)
    return np.asarray((matrix + _RIDGE * np.eye(len(matrix))) / (1 + _RIDGE), dtype=np.float64)


def _values(column: UnitColumn, known: Float64, shares: Float64) -> NDArray[np.generic]:
    """Return a column's values at cumulative shares `(n,)` of [0, 1]."""
    if column.discrete:
        codes = np.searchsorted(known[:-1], shares, side="right")
        return np.array(column.categories, dtype=object)[codes]
    # The same positions as the scores: (rank - 0.5) / n.
    at = (np.arange(len(known)) + 0.5) / len(known)
    return np.interp(shares, at, known)
