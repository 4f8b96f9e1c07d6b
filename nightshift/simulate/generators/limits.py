"""Units stay within their columns' limits: what lies outside is drawn again, and clipped only after that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import UsageError
from nightshift.simulate.generators.base import Columns

if TYPE_CHECKING:
    import pandas as pd

#: After so many rounds a row that is still outside is clipped.
ROUNDS = 10


def within_limits(draw: Callable[[int], pd.DataFrame], n: int, columns: Columns) -> pd.DataFrame:
    """Draw `n` units, again for every row that has a value outside, and clip what is outside in the end.

    Clipping at once would heap units on the limits; drawing again keeps the shape inside them.

    Args:
        draw: makes that many fresh units.
        n: how many are wanted.
        columns: with the limits.

    Raises:
        UsageError: for less than one unit.
    """
    if n < 1:
        raise UsageError(f"the number of units must be 1 or more, got {n}.")
    table = draw(n)
    for _ in range(ROUNDS):
        outside = rows_outside(table, columns)
        if not outside.any():
            break
        fresh = draw(int(outside.sum()))
        # By column: a block of rows would be an array of objects, and turn numbers into objects.
        table = table.assign(**{c.name: _replaced(table[c.name], outside, fresh[c.name]) for c in columns})
    clipped = {c.name: table[c.name].clip(c.low, c.high) for c in columns if not c.discrete}
    return table.assign(**clipped)


def rows_outside(table: pd.DataFrame, columns: Columns) -> NDArray[np.bool_]:
    """Return which rows have a continuous value outside its limits, `(n,)`."""
    outside = np.zeros(len(table), dtype=np.bool_)
    for column in columns:
        if not column.discrete:
            outside |= ~table[column.name].between(column.low, column.high).to_numpy(dtype=np.bool_)
    return outside


def _replaced(values: pd.Series[Any], at: NDArray[np.bool_], fresh: pd.Series[Any]) -> NDArray[Any]:
    out = values.to_numpy(copy=True)
    out[at] = fresh.to_numpy()
    return out
