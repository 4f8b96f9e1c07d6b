"""What is found in a split: groups in two parts, parts that overlap in time, rows that lie in train and in test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nightshift.findings import Finding, finding
from nightshift.trainer.contract import Cut, Floats, Fold, Ints, Table
from nightshift.trainer.options import Settings
from nightshift.trainer.split.held import codes_of, values_of

#: Share of the judged rows from which duplicates are told; one alone moves no figure.
_DUPLICATES, _FEWEST_TWINS = 0.01, 2
#: Rows that are projected at once.
_BLOCK = 100_000
#: Folds that are looked at: each is cut like the others.
_FOLDS = 10
#: Rows that the number of possible rows is reckoned from, about.
_LOOKED_AT = 2_000


@dataclass(frozen=True)
class _Pair:
    """Rows that are learnt from, and rows that are judged."""

    learnt: Ints
    judged: Ints
    name: str


def of_split(table: Table, cut: Cut, folds: Sequence[Fold], settings: Settings) -> list[Finding]:
    """Return T023, T024 and T025, those that hold; nothing with `checks="off"`.

    Groups and times are compared on all rows, duplicates too: of these at most `checks.sample_rows` are compared value
    by value.

    Args:
        folds: looked at beside the cut, of many the first ten.
    """
    if settings.checks.action == "off":
        return []
    pairs = [_Pair(cut.train, np.concatenate([cut.validation, cut.test]), "validation and test")]
    pairs += [_Pair(cut.validation, cut.test, "test")]
    pairs += [_Pair(f.train, np.concatenate([f.validation, f.held_out]), f"fold {f.number}") for f in folds[:_FOLDS]]
    pairs = [pair for pair in pairs if len(pair.learnt) and len(pair.judged)]
    return [*_groups(table, pairs), *_times(table, pairs), *_duplicates(table, pairs[:1], settings)]


def _groups(table: Table, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    if table.groups is None:
        return
    names, of = np.unique(table.groups, return_inverse=True)
    torn = np.zeros(len(names), bool)
    for pair in pairs:
        torn |= _held(of[pair.learnt], len(names)) & _held(of[pair.judged], len(names))
    if torn.any():
        yield finding("T023", f"{np.count_nonzero(torn)} of {len(names)} groups have rows in two parts.")


def _held(of: Ints, many: int) -> Any:
    return np.bincount(of, minlength=many) > 0


def _times(table: Table, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    if table.times is None:
        return
    for pair in pairs:
        early = table.times[pair.judged].min()
        after = int(np.count_nonzero(table.times[pair.learnt] >= early))
        if after:
            yield finding(
                "T024",
                f"{after} of {len(pair.learnt)} rows that are trained on come at the first time of {pair.name} or "
                "later.",
            )
            return


def _duplicates(table: Table, pairs: Sequence[_Pair], settings: Settings) -> Iterator[Finding]:
    """Yield T025 when rows that are judged have a twin, y included, among those that are learnt from."""
    for pair in pairs:
        twins = _twins(table, pair.learnt, pair.judged, settings.checks.sample_rows)
        if twins >= max(_FEWEST_TWINS, _DUPLICATES * len(pair.judged)):
            yield finding(
                "T025",
                f"{twins} of {len(pair.judged)} rows of {pair.name} have a twin among those that are trained on, y "
                "included.",
            )


def _twins(table: Table, learnt: Ints, judged: Ints, limit: int) -> int:
    """Return how many judged rows are equal to one that is learnt from; with many candidates, of `limit` of them.

    A random projection finds candidates in one pass; those alone are compared value by value, since their rounding
    differs with the place of a row, and large numbers drown small ones.
    """
    keys = _projected(table)
    ordered = np.sort(keys)
    near = 1e-12 * max(abs(float(ordered[0])), abs(float(ordered[-1])), 1e-300)
    if not (np.diff(ordered) <= near).any():
        return 0
    order = np.argsort(keys, kind="stable")
    run = np.empty(len(keys), np.int64)
    run[order] = np.concatenate([[0], np.cumsum(np.diff(keys[order]) > near)])
    both = _held(run[learnt], len(keys)) & _held(run[judged], len(keys))
    rows = np.concatenate([judged, learnt])
    own = np.repeat([True, False], [len(judged), len(learnt)])
    picked = np.flatnonzero(both[run[rows]])
    if len(picked) > limit:  # whole runs, so that twins stay together
        last = np.sort(run[rows[picked]])[limit]
        picked = picked[run[rows[picked]] < last]
    if not len(picked):
        return 0
    rows, own = rows[picked].astype(np.int64), own[picked]
    if _must_repeat(table):
        return 0
    told = _exact(table.rows(rows), len(rows))
    whole = told * (table.n_rows + 1) + codes_of(table.y[rows])
    return int(np.isin(whole[own], whole[~own]).sum())


def _projected(table: Table) -> Floats:
    """Return (n,) one number of each row: equal rows have almost equal ones."""
    X, rng = table.X, np.random.default_rng(0)
    if hasattr(X, "iloc"):
        numeric = [i for i, dtype in enumerate(X.dtypes) if isinstance(dtype, np.dtype) and dtype.kind in "biuf"]
        if not numeric:
            return np.asarray(codes_of(_exact(X, table.n_rows)), np.float64)
        X = X if len(numeric) == X.shape[1] else X.iloc[:, numeric]
    along = rng.normal(size=X.shape[1])
    if hasattr(X, "toarray"):
        return np.asarray(X @ along, np.float64)
    keys = np.empty(table.n_rows)
    for start in range(0, table.n_rows, _BLOCK):
        block = X.iloc[start : start + _BLOCK].to_numpy() if hasattr(X, "iloc") else X[start : start + _BLOCK]
        block = np.asarray(block, np.float64)
        told = block @ along
        if not np.isfinite(told).all():
            told = np.nan_to_num(block, nan=-1.0) @ along
        keys[start : start + _BLOCK] = told
    return keys


def _exact(rows: Any, many: int) -> Ints:
    """Return (many,) a number that equal rows share."""
    if hasattr(rows, "iloc"):
        import pandas as pd

        return codes_of(pd.util.hash_pandas_object(rows, index=False).to_numpy())
    if hasattr(rows, "toarray"):
        rows.sort_indices()
        ends = rows.indptr
        told = [(rows.indices[a:b].tobytes(), rows.data[a:b].tobytes()) for a, b in pairwise(ends)]
        number: dict[tuple[bytes, bytes], int] = {}
        return np.array([number.setdefault(one, len(number)) for one in told], np.int64)
    values = np.ascontiguousarray(rows, np.float64) + 0.0
    whole = values.view(np.dtype((np.void, values.dtype.itemsize * values.shape[1]))).reshape(many)
    return np.unique(whole, return_inverse=True)[1].astype(np.int64)


def _must_repeat(table: Table) -> bool:
    """Return whether columns have so few values that rows repeat each other: flags, answers to questions."""
    if hasattr(table.X, "toarray"):
        return False
    some = slice(None, None, max(1, table.n_rows // _LOOKED_AT))
    rows, possible = len(table.y[some]), 1
    for number in range(table.n_columns):
        possible *= int(codes_of(values_of(table, number, some)).max()) + 1
        if possible > rows / 3:
            return False
    return True
