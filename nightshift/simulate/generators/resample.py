"""The plainest baseline: seed units drawn again, with replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nightshift.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Resample:
    """Draws rows of its training units; it knows every shape, and invents nothing.

    Attributes:
        units: the training units.
    """

    units: pd.DataFrame
    name: str = "resample"

    def sample(self, n: int, seed: int) -> pd.DataFrame:
        """Draw `n` units with replacement.

        Raises:
            UsageError: for less than one unit.
        """
        if n < 1:
            raise UsageError(f"the number of units must be 1 or more, got {n}.")
        rows = np.random.default_rng([seed, 3]).integers(0, len(self.units), n)
        return self.units.iloc[rows].reset_index(drop=True)
