"""What the checks look at: all parts, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import LABEL, PARTS, Metadata, TimeKind

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 8


@dataclass(frozen=True)
class Rows:
    """A dataset's rows.

    Attributes:
        frames: part -> rows as stored.
        metadata: of the dataset.
    """

    frames: dict[str, pd.DataFrame]
    metadata: Metadata

    @property
    def in_time(self) -> bool:
        """Whether rows follow each other."""
        return self.metadata.time_kind is not TimeKind.NONE

    @property
    def total(self) -> int:
        """Rows of all parts."""
        return sum(len(f) for f in self.frames.values())

    def sensors(self, *roles: str) -> list[str]:
        """Return the names of the sensors of some roles."""
        return [s.name for s in self.metadata.sensors if s.role in roles]

    def numbers(self, part: str, name: str) -> NDArray[np.float64]:
        """Return a number column, `(rows,)`."""
        return self.frames[part][name].to_numpy(np.float64)

    def everywhere(self, name: str) -> NDArray[np.float64]:
        """Return a number column of all parts, one after the other."""
        return np.concatenate([self.numbers(part, name) for part in PARTS])

    def labels(self, part: str) -> NDArray[np.float64]:
        """Return the known labels of a part, 0 or 1."""
        values = self.numbers(part, LABEL)
        return values[~np.isnan(values)]


def listed(names: list[str]) -> str:
    """Return names for a message, the first few in full."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
