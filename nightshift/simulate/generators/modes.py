"""Mode-specific normalisation: a continuous value is a mode of its column's mixture and its place within that mode.

Source: Xu et al., Modeling Tabular Data using Conditional GAN, NeurIPS 2019 (arXiv 1907.00503), 4.2.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.generators.base import Columns
from nightshift.simulate.units import UnitColumn

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Codes = NDArray[np.intp]
#: A mode reaches this many standard deviations from its mean; places go from -1 to 1.
REACH = 4.0
#: Places stop short of what tanh only reaches at infinity.
_EDGE = 0.99
_CONCENTRATION = 1e-3


@dataclass(frozen=True)
class Block:
    """One column as the network sees it: `[place,] one-hot`.

    Attributes:
        column: what it encodes.
        start: its first position in a row.
        means, spreads: of the modes `(modes,)`, in the column's unit; empty for a discrete column.
        weights: shares of the modes, or empty.
    """

    column: UnitColumn
    start: int
    means: Float64
    spreads: Float64
    weights: Float64

    @property
    def place(self) -> int | None:
        """Position of the place within the mode; None for a discrete column."""
        return None if self.column.discrete else self.start

    @property
    def choices(self) -> slice:
        """Positions of the one-hot code of the category or mode."""
        first = self.start + (not self.column.discrete)
        return slice(first, first + (len(self.column.categories) if self.column.discrete else len(self.means)))


@dataclass(frozen=True)
class Modes:
    """A fitted normalisation of all columns, in table order."""

    blocks: tuple[Block, ...]

    @property
    def width(self) -> int:
        """Length of an encoded row."""
        return int(self.blocks[-1].choices.stop)

    def encode(self, units: pd.DataFrame, rng: np.random.Generator) -> Float32:
        """Return the rows as numbers, `(n, width)`; a value's mode is drawn by how likely each is."""
        rows = np.zeros((len(units), self.width), dtype=np.float32)
        for block in self.blocks:
            values = units[block.column.name].to_numpy()
            if block.place is None:
                codes = np.array([block.column.categories.index(v) for v in values], dtype=np.intp)
            else:
                numbers = values.astype(np.float64)
                codes = _drawn_modes(block, numbers, rng)
                places = (numbers - block.means[codes]) / (REACH * block.spreads[codes])
                rows[:, block.place] = np.clip(places, -_EDGE, _EDGE)
            rows[np.arange(len(units)), block.choices.start + codes] = 1.0
        return rows

    @property
    def choices(self) -> Codes:
        """Positions of all one-hot codes, column after column."""
        return np.concatenate([np.arange(b.choices.start, b.choices.stop) for b in self.blocks])

    @property
    def modes(self) -> Codes:
        """Positions of the one-hot codes of modes alone, continuous column after continuous column."""
        return np.concatenate([[], *(np.arange(b.choices.start, b.choices.stop) for b in self._continuous)]).astype(
            np.intp
        )

    @property
    def place_of_mode(self) -> Codes:
        """For every mode the position of its column's place."""
        return np.concatenate([[], *(np.full(len(b.means), b.start) for b in self._continuous)]).astype(np.intp)

    @property
    def padded_choices(self) -> tuple[Codes, NDArray[np.bool_]]:
        """Per column the indices into `choices`, filled up to the longest, and which are real: `(columns, longest)`."""
        counts = np.array([b.choices.stop - b.choices.start for b in self.blocks])
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        steps = np.arange(counts.max())
        is_real = steps < counts[:, None]
        return np.where(is_real, first[:, None] + steps, first[:, None]).astype(np.intp), is_real

    @property
    def _continuous(self) -> list[Block]:
        return [b for b in self.blocks if not b.column.discrete]

    def decode(self, places: Float64, scores: Float64) -> pd.DataFrame:
        """Return units.

        Args:
            places: `(n, modes)`, the place in every mode, in the order of `modes`.
            scores: `(n, choices)`; of each column the highest is chosen.
        """
        import pandas as pd

        table: dict[str, NDArray[np.generic]] = {}
        choice = mode = 0
        for block in self.blocks:
            n_choices = block.choices.stop - block.choices.start
            codes = scores[:, choice : choice + n_choices].argmax(axis=1)
            choice += n_choices
            if block.place is None:
                table[block.column.name] = np.array(block.column.categories, dtype=object)[codes]
            else:
                place = places[np.arange(len(codes)), mode + codes]
                table[block.column.name] = block.means[codes] + REACH * block.spreads[codes] * place
                mode += n_choices
        return pd.DataFrame(table)


def fit_modes(units: pd.DataFrame, columns: Columns, *, max_modes: int, min_weight: float, seed: int) -> Modes:
    """Fit a Bayesian Gaussian mixture to every continuous column.

    Args:
        units: `(n, columns)`, checked by `base.check_units`.
        columns: in table order.
        max_modes: components to begin with; the fit empties those it does not need.
        min_weight: components with less are dropped.
        seed: of the mixtures' first guess.
    """
    blocks, start = [], 0
    nothing = np.empty(0)
    for column in columns:
        mixture = (nothing, nothing, nothing)
        if not column.discrete:
            mixture = _mixture(units[column.name].to_numpy(dtype=np.float64), max_modes, min_weight, seed)
        blocks.append(Block(column, start, *mixture))
        start = blocks[-1].choices.stop
    return Modes(tuple(blocks))


def _mixture(values: Float64, max_modes: int, min_weight: float, seed: int) -> tuple[Float64, Float64, Float64]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    centre, spread = float(values.mean()), float(values.std())
    if spread <= 1e-9 * max(abs(centre), 1.0):
        return np.array([centre]), np.array([max(spread, 1e-9)]), np.ones(1)
    model = BayesianGaussianMixture(
        n_components=min(max_modes, len(np.unique(values))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=_CONCENTRATION,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        # A mixture that is nearly fitted normalises as well as one that is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Scaled, since its prior of the variance does not know the column's unit.
        model.fit(((values - centre) / spread)[:, None])
    kept = model.weights_ > min_weight
    weights = model.weights_[kept] / model.weights_[kept].sum()
    means = centre + spread * model.means_[kept, 0]
    return means, spread * np.sqrt(model.covariances_[kept, 0, 0]), weights


def _drawn_modes(block: Block, values: Float64, rng: np.random.Generator) -> Codes:
    """Draw each value's mode from the mixture's posterior, `(n,)`."""
    distance = (values[:, None] - block.means) / block.spreads
    likely = np.log(block.weights) - np.log(block.spreads) - distance**2 / 2
    # The largest of log-likelihood plus Gumbel noise is a draw from the posterior.
    return np.asarray((likely + rng.gumbel(size=likely.shape)).argmax(axis=1), dtype=np.intp)
