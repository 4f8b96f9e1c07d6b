"""Rows of a dataset as a model takes them, with what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import TimeKind
from nightshift.edge.window import build_windows
from nightshift.errors import DataError
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.edge.manifest import Interface


def window_samples(
    data: Dataset, part: str, interface: Interface, rows: NDArray[np.integer], truth: Mapping[str, NDArray[Any]]
) -> Samples:
    """Build the windows that end at the given rows of a part.

    Args:
        data: the dataset; it may hold more columns than the model takes, in another order.
        part: `train`, `val` or `test`.
        interface: of the model that will answer.
        rows: `(n,)` indices of rows of the part.
        truth: name -> `(n, ...)`, already restricted to `rows`.

    Raises:
        DataError: when the data lacks a column that the model takes.
    """
    order = column_order(data, interface)
    values, run = data.matrix(part)[:, order], data.runs(part)
    times_s = data.times_s(part) if data.metadata.time_kind is TimeKind.CALENDAR else np.full(len(run), np.nan)
    return Samples(
        inputs={"window": build_windows(values, run, interface.window_rows, rows)},
        truth=truth,
        unit=data.units(part)[rows],
        time=times_s[rows],
    )


def column_order(data: Dataset, interface: Interface) -> NDArray[np.intp]:
    """Return where each column of the model stands in the data, `(n_columns,)`.

    Raises:
        DataError: when the data lacks one.
    """
    known = {name: i for i, name in enumerate(data.metadata.columns)}
    lacking = [c.name for c in interface.columns if c.name not in known]
    if lacking:
        raise DataError(
            f"'{data.subject}' has no column '{lacking[0]}', which the model takes.",
            hint="Land data with the columns that it was trained on.",
        )
    return np.array([known[c.name] for c in interface.columns], dtype=np.intp)


def varies(features: NDArray[np.float32]) -> bool:
    """Return whether any column of `(n, columns)` has two finite values."""
    there = np.isfinite(features)
    low = np.where(there, features, np.inf).min(axis=0, initial=np.inf)
    high = np.where(there, features, -np.inf).max(axis=0, initial=-np.inf)
    return bool((low < high).any())
