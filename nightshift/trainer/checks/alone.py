"""Whether one column alone tells y: by thresholds, by categories, or by its order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nightshift.trainer.contract import Column, Floats, Ints, Table, Values
from nightshift.trainer.split.held import FEWEST_VALUES, codes_of, values_of
from nightshift.trainer.split.rows import labels_of

#: Rows and rows of the rarest class from which separation is no chance: 2 of C(30, 5) orders do it.
_FEWEST_ROWS, _FEWEST_OF_CLASS = 30, 5
#: Cells that are looked at, rows times columns, between these rows.
_CELLS, _LEAST, _MOST = 1_000_000, 500, 5_000
#: Share of the confusion that a column without any link would leave.
_LEFT = 0.01
#: Correlation of ranks, or share of variance between categories, from which y is told.
_TELLS = 0.999


def decides(table: Table, columns: Sequence[Column]) -> list[int]:
    """Return the numbers of the columns that decide y.

    Numbers decide classes when sorting by them leaves hardly more changes of class than there are classes, and decide
    numbers when ranks agree. Categories, of which names of groups are no part, decide when each holds one class or one
    y.
    """
    rows = int(np.clip(_CELLS // max(1, table.n_columns), _LEAST, _MOST))
    some = slice(None, None, max(1, -(-table.n_rows // rows)))
    labels = labels_of(table)[some] if table.classes else None
    y = np.empty(0) if table.classes else np.asarray(table.y[some], np.float64)
    if len(y if labels is None else labels) < _FEWEST_ROWS:
        return []
    if labels is not None and np.bincount(labels, minlength=len(table.classes)).min() < _FEWEST_OF_CLASS:
        return []
    ranks = np.empty(0) if len(y) == 0 else _ranks(y)
    found = []
    for number, column in enumerate(columns):
        if column.id_like or is_idle(column):
            continue
        values = values_of(table, number, some)
        if _decides_classes(values, labels, len(table.classes)) if labels is not None else _decides(values, y, ranks):
            found.append(number)
    return found


def is_idle(column: Column) -> bool:
    """Return whether a column is alike in all rows; one value and gaps is not: a gap may say something."""
    return column.constant and not (column.missing and column.values)


def numbers_of(values: Values) -> Floats:
    """Return numbers and dates as floats; what is missing is below everything else, and alike."""
    told = values.astype(np.int64).astype(np.float64) if values.dtype.kind == "M" else values.astype(np.float64)
    missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(told)
    return np.where(missing, -np.inf, told) if missing.any() else told


def _decides_classes(values: Values, labels: Ints, classes: int) -> bool:
    ordered = values.dtype.kind in "biufM"
    codes = np.unique(numbers_of(values), return_inverse=True)[1] if ordered else codes_of(values)
    many = int(codes.max()) + 1
    if not ordered and many > max(FEWEST_VALUES - 1, classes):
        return False
    counts = np.bincount(codes * classes + labels, minlength=many * classes).reshape(many, classes)
    wrong = len(labels) - int(counts.max(axis=1).sum())
    if ordered:
        changes = int(np.count_nonzero(np.diff(counts.argmax(axis=1))))
        wrong += max(0, changes - (classes - 1))
    shares = np.bincount(labels) / len(labels)
    return bool(wrong <= _LEFT * len(labels) * (1 - np.sum(shares**2)))


def _decides(values: Values, y: Floats, ranks: Floats) -> bool:
    if values.dtype.kind in "biufM":
        own = _ranks(numbers_of(values))
        spread = own.std() * ranks.std()
        return bool(spread > 0 and abs(np.mean((own - own.mean()) * (ranks - ranks.mean()))) >= _TELLS * spread)
    codes = codes_of(values)
    counts = np.bincount(codes)
    if not 2 <= len(counts) < FEWEST_VALUES or y.var() == 0:
        return False
    means = np.bincount(codes, weights=y) / np.maximum(counts, 1)
    return bool(np.var(means[codes]) >= _TELLS * y.var())


def _ranks(values: Floats) -> Floats:
    """Return (n,) mean ranks."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[codes], np.float64)
