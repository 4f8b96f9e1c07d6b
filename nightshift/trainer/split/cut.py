"""One split: rows to train on, rows to choose by, rows that are scored once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nightshift.errors import TableError
from nightshift.trainer.contract import Choice, Cut, Floats, Ints, Table
from nightshift.trainer.options import Split
from nightshift.trainer.split.allot import allot, members
from nightshift.trainer.split.rows import groups_of, in_order, kept, labels_of, new_times, place_near, times_of, two

_STRATIFIED = ("stratified", "grouped_stratified")


@dataclass(frozen=True)
class Sizes:
    """Rows of each part that are wanted."""

    train: int
    validation: int
    test: int


def sizes_of(n_rows: int, split: Split) -> Sizes:
    """Return the wanted rows of each part, rounded as scikit-learn rounds them.

    Raises:
        TableError: when nothing is left to train on.
    """
    test = math.ceil(split.test_size * n_rows)
    validation = max(1, round(split.validation_size * n_rows)) if split.validation_size else 0
    if test + validation >= n_rows:
        raise TableError(
            f"With n_samples={n_rows}, test_size={split.test_size:g} and validation_size={split.validation_size:g} the "
            f"resulting train set will be empty. Expected sizes whose sum is below 1, and rows for each part.",
            hint="Lower test_size or validation_size.",
        )
    return Sizes(n_rows - test - validation, validation, test)


def cut(table: Table, split: Split, choice: Choice, seed: int) -> Cut:
    """Part the rows as was chosen: the parts are disjoint and hold all rows but `dropped`.

    Groups stay whole, equal times too. Sizes are shares of all rows. Stratified and random parts are those of
    scikit-learn's train_test_split with that seed: test first, then validation from the rest. Rows stand in the table's
    order, those of a cut by time in that order. `leave_one_out` is about folds: its parts are drawn as "stratified" or
    "random" are, or by groups where there are any.

    Raises:
        TableError: when parts would be empty, a class or a group cannot be parted, or the gap eats a part.
    """
    sizes = sizes_of(table.n_rows, split)
    if choice.strategy == "time":
        return _by_time(table, split, choice, sizes)
    if choice.strategy in ("grouped", "grouped_stratified") or _has_groups_left_out_one_by_one(table, choice):
        return _by_groups(table, choice, sizes, seed)
    stratified = choice.strategy == "stratified" or (
        choice.strategy == "leave_one_out" and bool(table.classes) and not cannot_stratify(table, split)
    )
    labels = labels_of(table) if stratified else None
    shuffle = split.shuffle or stratified
    rows = np.arange(table.n_rows, dtype=np.int64)
    rest, test = two(rows, sizes.test, labels, shuffle, seed)
    train, validation = two(rest, sizes.validation, None if labels is None else labels[rest], shuffle, seed)
    train, validation, test = (in_order(part, table.n_rows) for part in (train, validation, test))
    return Cut(train, validation, test, choice.strategy, choice.why, stratified)


def cannot_stratify(table: Table, split: Split) -> str:
    """Return why parts cannot have the classes' shares, "" when they can."""
    if not table.classes:
        return "y is a number"
    sizes = sizes_of(table.n_rows, split)
    parts = [size for size in (sizes.train, sizes.validation, sizes.test) if size]
    counts = np.bincount(labels_of(table), minlength=len(table.classes))
    rarest = int(np.argmin(counts))
    if min(parts) < len(table.classes):
        return f"a part of {min(parts)} rows cannot hold {len(table.classes)} classes"
    left = counts[rarest] - math.ceil(counts[rarest] * split.test_size)
    if counts[rarest] < 2 or (sizes.validation and left < 2):
        return f"class {table.classes[rarest]!r} has only {counts[rarest]} rows"
    return ""


def _has_groups_left_out_one_by_one(table: Table, choice: Choice) -> bool:
    return choice.strategy == "leave_one_out" and (table.groups is not None or choice.groups is not None)


def _by_groups(table: Table, choice: Choice, sizes: Sizes, seed: int) -> Cut:
    labels = labels_of(table) if choice.strategy in _STRATIFIED else None
    of, counts = members(groups_of(table, choice), labels)
    wanted = np.array([sizes.train, sizes.validation, sizes.test], np.float64)
    used = np.flatnonzero(wanted)
    if len(counts) < len(used):
        raise TableError(
            f"Cannot have number of parts={len(used)} greater than the number of groups: {len(counts)}. Expected a "
            "group for each of train, validation and test.",
            hint="Set validation_size=0 or test_size=0, or get rows of more groups.",
        )
    part = used[allot(counts, wanted[used] / table.n_rows, np.random.default_rng(seed))][of]
    train, validation, test = (kept(np.flatnonzero(part == number)) for number in range(3))
    return Cut(train, validation, test, choice.strategy, choice.why, labels is not None)


def _by_time(table: Table, split: Split, choice: Choice, sizes: Sizes) -> Cut:
    """The latest rows are test, those before validation; the gap is taken from the end of the part before."""
    times = times_of(table)
    order = np.argsort(times, kind="stable").astype(np.int64)
    end, dropped, later = table.n_rows, [], []
    for name, size, parts in (("test", sizes.test, 1 + bool(sizes.validation)), ("validation", sizes.validation, 1)):
        begin, before = (end, end) if size == 0 else _last(times[order[:end]], size, split.gap, name, parts)
        later.append(order[begin:end])
        dropped.append(order[before:begin])
        end = before
    return Cut(
        train=kept(order[:end]),
        validation=kept(later[1]),
        test=kept(later[0]),
        strategy="time",
        why=choice.why,
        dropped=in_order(np.concatenate(dropped), table.n_rows),
    )


def _last(times: Floats, size: int, gap: float, name: str, parts: int) -> tuple[int, int]:
    """Return where the last `size` rows begin, about, and where what lies more than `gap` before them ends.

    Args:
        parts: that follow before; each has a time at least.
    """
    starts = new_times(times)
    if len(starts) <= parts:
        raise TableError(
            f"Found {len(starts)} different time in {len(times)} rows. Expected at least {parts + 1}, since rows of one"
            f" time are not torn apart between {name} and what comes before.",
            hint="Give finer times, another strategy, or fewer parts.",
        )
    begin = int(starts[place_near(starts, len(times) - size, parts, len(starts))])
    before = begin if gap == 0 else int(np.searchsorted(times, times[begin] - gap, side="left"))
    if before == 0:
        raise TableError(
            f"gap={gap:g} leaves no rows before {name}. Expected less than {times[begin] - times[0]:g}, the time from "
            "the first row to there.",
            hint="Lower gap=.",
        )
    return begin, before


def given(table: Table, train: Ints, validation: Ints, test: Ints) -> Cut:
    """Take the caller's own parts.

    Raises:
        TableError: when a row number is none of the table's, or a row lies in two parts.
    """
    parts = [np.asarray(part) for part in (train, validation, test)]
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if part.ndim != 1 or (len(part) and part.dtype.kind not in "iu"):
            raise TableError(
                f"Expected row numbers in {name}: a 1D array of integers, got {part.dtype} of {part.ndim}D."
            )
        if len(part) and (part.min() < 0 or part.max() >= table.n_rows):
            raise TableError(
                f"Expected row numbers from 0 to {table.n_rows - 1} in {name}, got {part.min()} to {part.max()}."
            )
    used = np.bincount(np.concatenate(parts).astype(np.int64), minlength=table.n_rows)
    if used.max() > 1:
        row = int(np.argmax(used > 1))
        raise TableError(f"Expected each row in one part, got {int((used > 1).sum())} in several, row {row} first.")
    if not len(parts[0]):
        raise TableError("Found array with 0 sample(s) in train while a minimum of 1 is required.")
    train, validation, test = (kept(part.astype(np.int64)) for part in parts)
    left = kept(np.flatnonzero(used == 0))
    return Cut(train, validation, test, "random", "the parts that were given", dropped=left)
