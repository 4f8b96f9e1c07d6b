"""Turns a table of consecutive rows into the windows that every bundle takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def build_windows(
    values: NDArray[np.float32],
    run: NDArray[np.generic],
    window_rows: int,
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """Return, for each asked row, that row and the ones before it within its run.

    A run is a stretch of neighbouring rows with the same `run` value; a window never reaches into the stretch
    before it, but is padded in front with NaN instead.

    Args:
        values: `(n_rows, n_columns)`, oldest row first.
        run: `(n_rows,)`, an integer or text that names each row's run.
        window_rows: how many rows a window holds, 1 or more.
        rows: indices of the rows at which windows end, `(n,)`; every row when left out.

    Returns:
        `(n, window_rows, n_columns)` float32, oldest first; the asked row is the last one.

    Raises:
        ValueError: when the shapes do not fit together, `window_rows` is below 1, or a row does not exist.
    """
    table = np.asarray(values, dtype=np.float32)
    if table.ndim != 2:
        raise ValueError(f"values must be (rows, columns), got shape {table.shape}")
    if run.shape != (len(table),):
        raise ValueError(f"run must hold one name for each of the {len(table)} rows, got shape {run.shape}")
    if window_rows < 1:
        raise ValueError(f"window_rows must be 1 or more, got {window_rows}")
    ends = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.intp)
    if ends.size and (ends.min() < 0 or ends.max() >= len(table)):
        raise ValueError(f"rows must lie in 0..{len(table) - 1}, got {ends.min()}..{ends.max()}")

    # One NaN row in front of the table is what every padded position points at.
    padded = np.concatenate([np.full((1, table.shape[1]), np.nan, dtype=np.float32), table])
    index = ends[:, None] + np.arange(1 - window_rows, 1)
    first = _run_starts(run)[ends]
    return padded[np.where(index >= first[:, None], index + 1, 0)]


def _run_starts(run: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return the index of the first row of each row's run, `(n_rows,)`."""
    position = np.arange(len(run), dtype=np.intp)
    begins = np.ones(len(run), dtype=np.bool_)
    begins[1:] = run[1:] != run[:-1]
    return np.maximum.accumulate(np.where(begins, position, 0))
