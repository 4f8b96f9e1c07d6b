"""Row numbers, and the two-way cuts that parts and folds are made of."""

from __future__ import annotations

import numpy as np

from nightshift.errors import TableError
from nightshift.trainer.contract import Choice, Floats, Ints, Table


def kept(rows: Ints) -> Ints:
    """Return row numbers that nobody changes by mistake."""
    found = np.ascontiguousarray(rows, np.int64)
    found.setflags(write=False)
    return found


def in_order(rows: Ints, n_rows: int) -> Ints:
    """Return the same row numbers in the table's order: rows are then taken fastest."""
    mask = np.zeros(n_rows, bool)
    mask[rows] = True
    return kept(np.flatnonzero(mask))


def labels_of(table: Table) -> Ints:
    """Return (n,) class numbers from 0, of classes alone."""
    if table.y.dtype.kind in "biuf":
        return np.searchsorted(np.array(table.classes, table.y.dtype), table.y).astype(np.int64)
    number = {one: at for at, one in enumerate(table.classes)}  # faster than a search among texts
    return np.fromiter((number[one] for one in table.y.tolist()), np.int64, table.n_rows)


def groups_of(table: Table, choice: Choice) -> Ints:
    """Return (n,) the groups that hold rows together.

    Raises:
        TableError: when there are none.
    """
    groups = table.groups if choice.groups is None else choice.groups
    if groups is None:
        raise TableError(
            "The 'groups' parameter should not be None. Expected a group for each row by "
            f"strategy='{choice.strategy}', got none.",
            hint="Give groups= the column that names them.",
        )
    return groups


def times_of(table: Table) -> Floats:
    """Return (n,) the time of each row.

    Raises:
        TableError: when there is none.
    """
    if table.times is None:
        raise TableError(
            "The 'times' parameter should not be None. Expected a time for each row by strategy='time', got none.",
            hint="Give times= the column of dates.",
        )
    return table.times


def two(rows: Ints, size: int, labels: Ints | None, shuffle: bool, seed: int) -> tuple[Ints, Ints]:
    """Return the rows less `size` of them, and those: drawn as scikit-learn's train_test_split draws them.

    Args:
        labels: (rows,) whose shares both sides have; None: any rows.

    Raises:
        TableError: when a class has too few rows for both sides.
    """
    if size == 0:
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split

    try:
        first, second = train_test_split(
            rows, test_size=size, stratify=labels, shuffle=shuffle, random_state=seed % 2**32 if shuffle else None
        )
    except ValueError as error:
        raise TableError(str(error), hint="Get more rows of each class, or give stratify=False.") from None
    return first, second


def place_near(starts: Ints, wanted: float, low: int, high: int) -> int:
    """Return which of `starts` (sorted row places where a new time begins) lies nearest, from `low` up to `high`."""
    return int(low + np.argmin(np.abs(starts[low:high] - wanted)))


def new_times(times: Floats) -> Ints:
    """Return the places where a new time begins, among sorted times; the first is 0."""
    return np.concatenate([[0], np.flatnonzero(np.diff(times)) + 1]).astype(np.int64)
