"""What is found in a table before anything is fitted: few rows or groups, rare classes, columns that say too much."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nightshift.findings import Finding, finding
from nightshift.trainer.balance.plan import SEVERE
from nightshift.trainer.checks.alone import decides, is_idle, numbers_of
from nightshift.trainer.contract import Column, Ints, Table
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.inputs.table import is_sparse
from nightshift.trainer.options import Settings
from nightshift.trainer.split.choose import TINY
from nightshift.trainer.split.held import codes_of, values_of
from nightshift.trainer.split.rows import labels_of

#: Groups below which figures say little of a new one.
_FEW_GROUPS = 10
#: Cells of a sparse table that are looked at.
_CELLS = 2_000_000
#: Columns that a text names.
_NAMED = 5
#: Share of a column's words that may be something else than the others.
_ODD = 0.1
_DATE = r"\d{1,4}([./-])\d{1,2}\1\d{1,4}([ T].*)?"


@dataclass(frozen=True)
class _Seen:
    """The rows that are looked at.

    Attributes:
        table: those rows.
        whole: (n,) class numbers of the whole table; None for numbers.
    """

    table: Table
    columns: Sequence[Column]
    whole: Ints | None


def before(table: Table, columns: Sequence[Column], settings: Settings) -> list[Finding]:
    """Return T003, T021, T022, T026, T027 and T038, those that hold; nothing with `checks="off"`.

    Columns are looked at on at most `checks.sample_rows` rows, drawn by the seed. Duplicate rows (T025) are told with
    the split, since they matter where they lie in two parts.
    """
    if settings.checks.action == "off":
        return []
    labels = labels_of(table) if table.classes else None
    seen = _Seen(_sample(table, settings), columns, labels)
    if is_sparse(table.X):
        seen = _dense(table, settings, labels)
    found = [*_few_rows(table, settings), *_few_groups(table, labels, settings), *_imbalance(table, labels, settings)]
    return [*found, *_deciding(seen), *_idle(seen), *_misread(seen)]


def _sample(table: Table, settings: Settings) -> Table:
    """Return the table, or some of its rows in their order."""
    rows = settings.checks.sample_rows
    if table.n_rows <= rows:
        return table
    drawn = np.random.default_rng(settings.seed).integers(0, table.n_rows, rows)
    index = np.unique(drawn).astype(np.int64)
    return Table(table.rows(index), table.y[index], table.task, table.classes, table.columns)


def _dense(table: Table, settings: Settings, labels: Ints | None) -> _Seen:
    """Return a small sparse table as a dense one; of a large one, no column: in a sample of it most would be alike."""
    if table.n_rows > settings.checks.sample_rows or table.n_rows * table.n_columns > _CELLS:
        return _Seen(table, (), labels)
    whole = replace(table, X=table.X.toarray())
    return _Seen(whole, kinds(whole, settings.encode), labels)


def _few_rows(table: Table, settings: Settings) -> Iterator[Finding]:
    if table.n_rows < TINY:
        one_by_one = settings.split.strategy == "leave_one_out"
        yield finding(
            "T021",
            f"The table has {table.n_rows} rows.",
            remedy="Get more rows."
            if one_by_one
            else "Use train_with_cv(strategy='leave_one_out', test_size=0), which leaves out each row in turn, or get "
            "more rows.",
        )


def _few_groups(table: Table, labels: Ints | None, settings: Settings) -> Iterator[Finding]:
    if table.groups is None:
        return
    names, of = np.unique(table.groups, return_inverse=True)
    if len(names) < _FEW_GROUPS:
        yield finding("T022", f"The table has rows of {len(names)} groups.")
        return
    if labels is None:
        return
    kinds = len(table.classes)
    held = np.bincount(np.unique(of * kinds + labels) % kinds, minlength=kinds)
    rarest, needed = int(np.argmin(held)), settings.cv or 3
    if held[rarest] < needed:
        yield finding(
            "T022",
            f"Class {table.classes[rarest]!r} lies in {held[rarest]} of {len(names)} groups, fewer than the {needed} "
            f"{'folds' if settings.cv else 'parts'}: some have none of it.",
        )


def _imbalance(table: Table, labels: Ints | None, settings: Settings) -> Iterator[Finding]:
    if labels is None or settings.balance.method != "none":
        return
    counts = np.bincount(labels, minlength=len(table.classes))
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    if counts[most] >= SEVERE * counts[least]:
        yield finding(
            "T003",
            f"Class {table.classes[most]!r} has {counts[most]} rows, class {table.classes[least]!r} {counts[least]}: "
            f"always saying {table.classes[most]!r} is right in {counts[most] / len(labels):.0%}.",
            remedy="Read F1, balanced accuracy and PR-AUC, or give balance='class_weight'.",
        )


def _deciding(seen: _Seen) -> Iterator[Finding]:
    """Yield T026 for columns by which alone y is known."""
    names = [seen.columns[number].name for number in decides(seen.table, seen.columns)]
    if names:
        one = len(names) == 1
        yield finding(
            "T026",
            f"{_named(names)} alone {'decides' if one else 'decide'} {'the class' if seen.table.classes else 'y'}.",
            remedy="Look at where the column comes from: leave it out if it is made from the answer, or is known only "
            "after it; give groups= if its values name what rows belong to.",
            columns=names,
        )


def _idle(seen: _Seen) -> Iterator[Finding]:
    """Yield T027 for columns that are constant, name the rows, or repeat another column."""
    constant = [column.name for column in seen.columns if is_idle(column)]
    named = [column.name for column in seen.columns if column.id_like]
    copies = _copies(seen)
    said = []
    if constant:
        said.append(f"{_named(constant)}: one value in all rows.")
    if named:
        said.append(f"{_named(named)}: a value of its own for each row.")
    if copies:
        shown = ", ".join(f"'{copy}' = '{first}'" for copy, first in copies[:_NAMED])
        said.append(f"{shown}{_more(len(copies))}: the same values.")
    if said:
        yield finding("T027", " ".join(said), columns=[*constant, *named, *(copy for copy, _ in copies)])


def _misread(seen: _Seen) -> Iterator[Finding]:
    """Yield T038 for each column of text most of whose words are numbers or dates."""
    import pandas as pd

    for number, column in enumerate(seen.columns):
        if column.role not in ("middle", "high"):
            continue
        words = pd.Series(pd.unique(values_of(seen.table, number))).dropna().astype(str)
        odd = words[pd.to_numeric(words, errors="coerce").isna()]
        if 0 < len(odd) <= _ODD * len(words):
            shown = ", ".join(repr(word[:30]) for word in odd[:_NAMED])
            what = f"'{column.name}' is text, for among its numbers are {shown}{_more(len(odd))}."
        elif words.str.fullmatch(_DATE).mean() >= 1 - _ODD:
            what = f"'{column.name}' is text, for its dates have a form that is not read, as {words.iloc[0]!r}."
        else:
            continue
        yield finding("T038", what, columns=[column.name])


def _copies(seen: _Seen) -> list[tuple[str, str]]:
    """Return (copy, first) of columns that hold the same in each row; texts may be other texts one by one."""
    first: dict[bytes, str] = {}
    found = []
    for number, column in enumerate(seen.columns):
        if column.id_like or is_idle(column):
            continue
        values = values_of(seen.table, number)
        told = numbers_of(values) if values.dtype.kind in "biufM" else codes_of(values)
        key = hashlib.blake2b(np.ascontiguousarray(told).tobytes(), digest_size=16).digest()
        known = first.setdefault(key, column.name)
        if known != column.name:
            found.append((column.name, known))
    return found


def _named(names: Sequence[str]) -> str:
    return f"{', '.join(repr(name) for name in names[:_NAMED])}{_more(len(names))}"


def _more(many: int) -> str:
    return f" and {many - _NAMED} more" if many > _NAMED else ""
