"""Folds of cross-validation, cut from the rows that are not test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nightshift.errors import TableError, first_line
from nightshift.trainer.contract import Choice, Cut, Fold, Ints, Table
from nightshift.trainer.options import GivenFolds, Split
from nightshift.trainer.split.allot import allot, members
from nightshift.trainer.split.cut import cannot_stratify, cut
from nightshift.trainer.split.rows import groups_of, in_order, kept, labels_of, new_times, place_near, times_of

Pair = tuple[Ints, Ints]


@dataclass(frozen=True)
class _Rest:
    """The rows that folds are cut from.

    Attributes:
        rows: row numbers of the whole table, in order.
        table: those rows' y, groups and times; X stays where it is.
    """

    rows: Ints
    table: Table
    choice: Choice


def folds(
    table: Table, cut: Cut, cv: Any, choice: Choice, split: Split, seed: int, *, inner: float
) -> tuple[Fold, ...]:
    """Cut folds from all rows that are not test: train and validation.

    Each row is held out once. By time, a fold is trained on what lies before (more than the gap) the rows that it is
    scored on, so that the earliest rows are never held out. `leave_one_out` holds out each row, or each group, by
    itself, whatever `cv` is. Rows between train and validation of a cut by time are left out: cut with
    `validation_size=0` for cross-validation.

    Args:
        cv: number of folds, a splitter of scikit-learn, or the caller's own folds.
        inner: share of each fold's training rows that becomes its validation part, parted by the same strategy; 0 for
            none.

    Raises:
        TableError: when a class has fewer rows than there are folds, there are too few groups, times or rows, or rows
            of a fold that was given are test's, empty, or on both of its sides.
    """
    rest = _rest(table, cut, choice)
    if isinstance(cv, GivenFolds):
        pairs = list(_by_caller(rest, cv, table.n_rows))
    else:
        pairs = list(_by_splitter(rest, cv) if hasattr(cv, "split") else _pairs(rest, int(cv), split, seed))
    return tuple(_fold(rest, number, pair, split, seed, inner) for number, pair in enumerate(pairs, 1))


def _rest(table: Table, parts: Cut, choice: Choice) -> _Rest:
    rows = in_order(np.concatenate([parts.train, parts.validation]), table.n_rows)
    return _Rest(rows, _lean(table, rows), _of_rows(choice, rows))


def _lean(table: Table, rows: Ints) -> Table:
    """Return those rows without X, whose columns no split looks at."""
    groups, times = table.groups, table.times
    return Table(
        X=None,
        y=table.y[rows],
        task=table.task,
        classes=table.classes,
        columns=table.columns,
        groups=None if groups is None else groups[rows],
        times=None if times is None else times[rows],
    )


def _of_rows(choice: Choice, rows: Ints) -> Choice:
    return Choice(choice.strategy, choice.why, None if choice.groups is None else choice.groups[rows])


def _by_splitter(rest: _Rest, splitter: Any) -> Iterator[Pair]:
    """Ask a splitter of scikit-learn."""
    name, n_rows = type(splitter).__name__, rest.table.n_rows
    groups = rest.choice.groups if rest.table.groups is None else rest.table.groups
    try:
        told = list(splitter.split(np.empty((n_rows, 0)), rest.table.y, groups))
    except ValueError as error:
        raise TableError(f"{name}: {first_line(error)}.") from None
    for number, pair in enumerate(told, 1):
        train, held_out = (_rows_of(side, n_rows, f"{name}, fold {number}") for side in pair)
        _apart(train, held_out, f"{name}, fold {number}")
        yield train, held_out


def _by_caller(rest: _Rest, given: GivenFolds, n_rows: int) -> Iterator[Pair]:
    """Take the caller's pairs, whose rows are the table's: place them among the rows that are not test."""
    place = np.full(n_rows, -1, np.int64)
    place[rest.rows] = np.arange(len(rest.rows))
    for number, pair in enumerate(given.pairs, 1):
        train, held_out = (_rows_of(side, n_rows, f"cv, fold {number}") for side in pair)
        _apart(train, held_out, f"cv, fold {number}")
        outside = next((int(row) for side in (train, held_out) for row in side[place[side] < 0][:1]), None)
        if outside is not None:
            raise TableError(
                f"cv, fold {number}: expected rows of the {len(rest.rows)} that are not test, got row {outside}, which "
                "is test's.",
                hint="Give test_size=0, or split=(train, validation, test) whose test the folds leave out.",
            )
        yield place[train], place[held_out]


def _rows_of(side: Any, n_rows: int, of: str) -> Ints:
    """Return one side of a fold as row numbers.

    Raises:
        TableError: for anything but row numbers of the table, or a flag for each row.
    """
    rows = np.asarray(side)
    if rows.dtype == bool and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise TableError(f"{of}: expected row numbers, a 1D array of integers, got {rows.dtype} of {rows.ndim}D.")
    if not len(rows):
        raise TableError(f"{of}: expected rows to train on and rows to hold out, got none.")
    if rows.min() < 0 or rows.max() >= n_rows:
        odd = int(rows.min()) if rows.min() < 0 else int(rows.max())
        raise TableError(
            f"{of}: expected row numbers from 0 to {n_rows - 1}, got {odd}.",
            hint="" if of.startswith("cv") else "It is handed the rows that are not test: test_size=0 hands it all.",
        )
    return rows.astype(np.int64)


def _apart(train: Ints, held_out: Ints, of: str) -> None:
    """Refuse a fold whose held-out rows are trained on.

    Raises:
        TableError: then.
    """
    both = np.intersect1d(train, held_out)
    if len(both):
        raise TableError(
            f"{of}: expected other rows to be held out than are trained on, got {len(both)} on both sides, row "
            f"{both[0]} first."
        )


def _pairs(rest: _Rest, cv: int, split: Split, seed: int) -> Iterable[Pair]:
    strategy = rest.choice.strategy
    if strategy == "leave_one_out":
        return _one_by_one(rest)
    if strategy in ("grouped", "grouped_stratified"):
        return _by_groups(rest, cv, seed)
    if strategy == "time":
        return _forward(rest, cv, split.gap)
    return _by_rows(rest, cv, split, seed)


def _by_rows(rest: _Rest, cv: int, split: Split, seed: int) -> Iterator[Pair]:
    from sklearn.model_selection import KFold, StratifiedKFold

    _enough(cv, "samples", rest.table.n_rows)
    stratified = rest.choice.strategy == "stratified"
    if stratified:
        _enough_of_each_class(rest.table, cv)
    shuffle = {"shuffle": True, "random_state": seed % 2**32} if split.shuffle else {}
    splitter = (StratifiedKFold if stratified else KFold)(cv, **shuffle)
    labels = labels_of(rest.table) if stratified else None
    for train, held_out in splitter.split(np.empty((rest.table.n_rows, 0)), labels):
        yield train.astype(np.int64), held_out.astype(np.int64)


def _by_groups(rest: _Rest, cv: int, seed: int) -> Iterator[Pair]:
    stratified = rest.choice.strategy == "grouped_stratified"
    if stratified:
        _enough_of_each_class(rest.table, cv)
    of, counts = members(groups_of(rest.table, rest.choice), labels_of(rest.table) if stratified else None)
    _enough(cv, "groups", len(counts))
    part = allot(counts, np.full(cv, 1.0 / cv), np.random.default_rng(seed))[of]
    return ((np.flatnonzero(part != number), np.flatnonzero(part == number)) for number in range(cv))


def _one_by_one(rest: _Rest) -> Iterator[Pair]:
    groups = rest.table.groups if rest.choice.groups is None else rest.choice.groups
    of = np.arange(rest.table.n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    _enough(2, "samples" if groups is None else "groups", int(of.max()) + 1)
    return ((np.flatnonzero(of != number), np.flatnonzero(of == number)) for number in range(int(of.max()) + 1))


def _forward(rest: _Rest, cv: int, gap: float) -> Iterator[Pair]:
    """Cut the time into cv + 1 blocks: each but the first is held out once, and trained for on what lies before."""
    times = times_of(rest.table)
    order = np.argsort(times, kind="stable").astype(np.int64)
    sorted_times = times[order]
    starts = new_times(sorted_times)
    if len(starts) < cv + 1:
        raise TableError(
            f"Cannot have number of folds={cv + 1} greater than the number of different times: {len(starts)}. Expected "
            "at least one time in each block.",
            hint=f"Use cv={max(len(starts) - 1, 2)} or finer times.",
        )
    places = [0]
    for number in range(1, cv + 1):
        wanted = len(order) * number / (cv + 1)
        places.append(place_near(starts, wanted, places[-1] + 1, len(starts) - (cv - number)))
    bounds = [*starts[places[1:]].tolist(), len(order)]
    for begin, end in pairwise(bounds):
        before = begin if gap == 0 else int(np.searchsorted(sorted_times, sorted_times[begin] - gap, side="left"))
        if before == 0:
            raise TableError(
                f"gap={gap:g} leaves no rows to train on before a fold. Expected less than "
                f"{sorted_times[begin] - sorted_times[0]:g}, the time of its training rows.",
                hint="Lower gap= or cv=.",
            )
        yield order[:before], order[begin:end]


def _fold(rest: _Rest, number: int, pair: Pair, split: Split, seed: int, inner: float) -> Fold:
    train, held_out = pair
    validation = train[:0]
    if inner > 0:
        train, validation = _inner(rest, train, split, _seed_of(seed, number), inner)
    return Fold(number, kept(rest.rows[train]), kept(rest.rows[validation]), kept(rest.rows[held_out]))


def _inner(rest: _Rest, train: Ints, split: Split, seed: int, share: float) -> Pair:
    """Part a fold's training rows as the whole was parted; classes too rare for that are drawn at random."""
    table, choice = _lean(rest.table, train), _of_rows(rest.choice, train)
    asked = split.model_copy(update={"test_size": 0.0, "validation_size": share})
    if choice.strategy == "stratified" and cannot_stratify(table, asked):
        choice = Choice("random", choice.why)
    parts = cut(table, asked, choice, seed)
    return train[parts.train], train[parts.validation]


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _enough(cv: int, of: str, there: int) -> None:
    if cv > there:
        raise TableError(
            f"Cannot have number of splits n_splits={cv} greater than the number of {of}: {there}. Expected at least "
            f"{cv} {of}.",
            hint=f"Use cv={there} or get more." if there > 1 else "Get more.",
        )


def _enough_of_each_class(table: Table, cv: int) -> None:
    counts = np.bincount(labels_of(table), minlength=len(table.classes))
    rarest = int(np.argmin(counts))
    if counts[rarest] < cv:
        few = int(counts[rarest])
        raise TableError(
            f"n_splits={cv} cannot be greater than the number of members in each class: class "
            f"{table.classes[rarest]!r} has {few} rows. Expected at least {cv} of each.",
            hint=f"Use cv={few}, stratify=False, or get more of its rows."
            if few > 1
            else "Get more of its rows, or give stratify=False.",
        )
