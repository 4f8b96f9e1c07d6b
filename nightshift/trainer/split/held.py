"""Columns whose rows belong together: subjects, machines, sessions that were recorded several times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nightshift.trainer.contract import Column, Floats, Ints, Table, Values
from nightshift.trainer.split.rows import labels_of

#: Values from which a column that decides the label is taken for a name of groups, not for a feature that decides it.
FEWEST_VALUES = 10
#: One that is named for what is recorded again and again has more values than a trial has arms.
_FEWEST_NAMED = 5
#: Rows looked at first; only a column that passes there is looked at whole.
_LOOKED_AT = 20_000
#: How probable it may be that labels are constant per value by chance.
_CHANCE = 1e-6
#: A number whose labels hardly change from one value to the next is a feature, not a name.
_NOMINAL = 0.5
_NAMED = re.compile(
    r"(group|subject|patient|participant|person|user|customer|client|household|session|animal)s?"
    r"([ _.-]?(id|no|nr|num|number|code|name|key))?",
    re.IGNORECASE,
)
_ID = re.compile(r"(.*[ _.-])?id|(?-i:.*[a-z]Id)", re.IGNORECASE)


@dataclass(frozen=True)
class Held:
    """A column whose values hold rows together.

    Attributes:
        groups: (n,) number of each row's value.
        decides: whether each value has one label; else only the name speaks for it.
    """

    name: str
    groups: Ints
    values: int
    decides: bool


def held_together(table: Table, columns: Sequence[Column], *, by_name: bool = True) -> Held | None:
    """Find the column by which rows belong together; None where there is none.

    It has a name such as `subject` or `machine_id`, or the label is the same in all rows of each of its values, which
    chance would not bring about. Of several the coarsest is taken, those with a name first.
    """
    found = [held for held in _candidates(table, columns) if held.decides or by_name]
    named = [held for held in found if _fewest_of(held.name)]
    return min(named or found, key=lambda held: held.values, default=None)


def values_of(table: Table, number: int, rows: slice | Ints = slice(None)) -> Values:
    """Return the values of one column; of a sparse matrix as a dense one."""
    if hasattr(table.X, "iloc"):
        column = table.X.iloc[rows, number]
        if isinstance(column.dtype, np.dtype):
            return np.asarray(column)
        if column.dtype.kind == "M":
            return np.asarray(column.to_numpy("datetime64[ns]"))
        nullable = column.dtype.kind in "biuf" and hasattr(column.dtype, "na_value")
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan) if nullable else column)
    picked = table.X[rows, number]
    return np.asarray(picked.toarray()).ravel() if hasattr(picked, "toarray") else np.asarray(picked)


def codes_of(values: Values) -> Ints:
    """Return (n,) the number of each value from 0; missing ones are one value of their own."""
    if values.dtype.kind in "biuf":
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    import pandas as pd

    codes = np.asarray(pd.factorize(values)[0], np.int64)
    return np.where(codes < 0, codes.max(initial=-1) + 1, codes)


def label_codes(table: Table) -> Ints:
    """Return (n,) the number of each row's class, or of each different y."""
    return labels_of(table) if table.classes else np.unique(table.y, return_inverse=True)[1].astype(np.int64)


def _candidates(table: Table, columns: Sequence[Column]) -> Iterator[Held]:
    some = slice(None, None, max(1, -(-table.n_rows // _LOOKED_AT)))
    some_labels = codes_of(table.y[some])
    labels: Ints | None = None
    for number, column in enumerate(columns):
        named = _fewest_of(column.name)
        if column.constant or column.id_like or column.role in ("flag", "datetime") or not _whole(table, number, some):
            continue
        if not named and _torn(codes_of(values_of(table, number, some)), some_labels):
            continue
        labels = label_codes(table) if labels is None else labels
        held = _held(column, values_of(table, number), table, labels, named)
        if held is not None:
            yield held


def _fewest_of(name: str) -> int:
    """Return how many values a column of that name has at least where it names groups, 0 for other names."""
    if _NAMED.fullmatch(name.strip()):
        return _FEWEST_NAMED
    return FEWEST_VALUES if _ID.fullmatch(name.strip()) else 0


def _whole(table: Table, number: int, rows: slice) -> bool:
    values = values_of(table, number, rows)
    if values.dtype.kind != "f":
        return values.dtype.kind != "c"
    with np.errstate(invalid="ignore"):
        return bool((values[:1000] == np.floor(values[:1000])).all() and (values == np.floor(values)).all())


def _held(column: Column, values: Values, table: Table, labels: Ints, named: int) -> Held | None:
    """Return the column as groups, None when its values are too few, too many, or say nothing of the label."""
    groups = codes_of(values)
    many = int(groups.max()) + 1
    if named and named <= many <= table.n_rows / 2:
        return Held(column.name, groups, many, decides=not _torn(groups, labels))
    if not max(FEWEST_VALUES, len(table.classes) + 1) <= many < table.n_rows / 3 or _torn(groups, labels):
        return None
    if _log_chance(groups, labels) > math.log(_CHANCE):
        return None
    if values.dtype.kind in "biuf" and not _nominal(groups, labels if table.classes else np.asarray(table.y)):
        return None
    return Held(column.name, groups, many, decides=True)


def _torn(groups: Ints, labels: Ints) -> bool:
    """Return whether rows of one group have different labels."""
    of = np.full(int(groups.max()) + 1, -1, np.int64)
    of[groups] = labels
    return bool((of[groups] != labels).any())


def _log_chance(groups: Ints, labels: Ints) -> float:
    """Return the logarithm of the probability of one label in each group, were labels dealt out at random."""
    shares = np.bincount(labels) / len(labels)
    sizes, times = np.unique(np.bincount(groups), return_counts=True)
    one_label = np.array([np.log(np.sum(shares[shares > 0] ** size)) for size in sizes[sizes > 1]])
    return float(np.sum(one_label * times[sizes > 1]))


def _nominal(groups: Ints, labels: Ints | Floats) -> bool:
    """Return whether a value, as a number, says nothing of the label of the next value.

    Counted: steps from one value to the next at which a class changes, or the mean step of y's rank, against what a
    random order would give.
    """
    of = np.empty(int(groups.max()) + 1, labels.dtype)
    of[groups] = labels
    many = len(of)
    if labels.dtype.kind == "f":
        ranks = np.argsort(np.argsort(of, kind="stable"), kind="stable")
        return bool(np.abs(np.diff(ranks)).mean() > _NOMINAL * (many + 1) / 3)
    shares = np.bincount(of) / many
    return bool((np.diff(of) != 0).mean() > _NOMINAL * (1 - np.sum(shares**2)))
