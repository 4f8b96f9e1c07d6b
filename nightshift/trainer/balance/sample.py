"""Train rows drawn again, or made anew, until the classes are as even as asked for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nightshift.errors import TableError, first_line
from nightshift.findings import Finding, finding
from nightshift.trainer.balance.plan import detect, refuse_numbers
from nightshift.trainer.contract import Floats, Ints, Sampled, Values
from nightshift.trainer.options import Balance, Task

#: Branches of `prepare.recipe` whose columns hold categories.
_ENCODED = ("one_hot", "ordinal")


def sample(
    X: Any,
    y: Values,
    task: Task,
    classes: tuple[Any, ...],
    balance: Balance,
    seed: int,
    *,
    category_columns: Sequence[Sequence[int]] = (),
) -> Sampled:
    """Return train rows after balancing; validation and test rows must never come here.

    Rows that are drawn keep their order; rows that SMOTE makes come last.

    Args:
        X: (n, columns) prepared train rows.
        y: (n,) their answers.
        category_columns: positions in X of columns that hold a category: one of a code, or several of one-hot codes.
            SMOTE takes such a category from its neighbours as a whole.

    Raises:
        UsageError: when balancing is asked for in regression.
        TableError: when SMOTE cannot measure distances: gaps, no numbers, or a class of one row.
    """
    if balance.method == "none":
        counts = detect(y, classes).counts if classes else {}
        return Sampled(X, y, counts_before=counts, counts_after=counts)
    refuse_numbers(task)
    before = detect(y, classes).counts
    if balance.method in ("class_weight", "threshold"):
        return Sampled(X, y, class_weight=balance.method == "class_weight", counts_before=before, counts_after=before)
    if balance.method == "smote":
        made = _made(X, y, balance, seed, category_columns)
    else:
        draw = _more if balance.method == "oversample" else _fewer
        index = draw(y, balance.ratio, np.random.default_rng(seed))
        made = Sampled(X.iloc[index] if hasattr(X, "iloc") else X[index], y[index])
    return replace(made, counts_before=before, counts_after=detect(made.y, classes).counts)


def _more(y: Values, ratio: float, rng: np.random.Generator) -> Ints:
    """Return all rows, those of rare classes more than once."""
    codes, counts = _codes(y)
    wanted = np.maximum(counts, np.ceil(ratio * counts.max()).astype(np.int64))
    drawn = [rng.choice(np.flatnonzero(codes == code), wanted[code] - counts[code]) for code in range(len(counts))]
    return np.sort(np.concatenate([np.arange(len(y)), *drawn]), kind="stable")


def _fewer(y: Values, ratio: float, rng: np.random.Generator) -> Ints:
    """Return rows without some of the frequent classes'."""
    codes, counts = _codes(y)
    most = np.minimum(counts, np.floor(counts.min() / ratio).astype(np.int64))
    kept = [rng.choice(np.flatnonzero(codes == code), most[code], replace=False) for code in range(len(counts))]
    return np.sort(np.concatenate(kept))


def _made(X: Any, y: Values, balance: Balance, seed: int, groups: Sequence[Sequence[int]]) -> Sampled:
    """Return the rows, and after them rows between neighbours of the rare classes.

    Source: N. V. Chawla et al., SMOTE: Synthetic Minority Over-sampling Technique, 2002, by imbalanced-learn.
    """
    codes, counts = _codes(y)
    wanted = np.maximum(counts, np.ceil(balance.ratio * counts.max()).astype(np.int64))
    rare = np.flatnonzero(wanted > counts)
    if not len(rare):
        return Sampled(X, y)
    neighbours, findings = _neighbours(np.unique(y), counts, rare, balance.k_neighbors)
    target = {int(code): int(wanted[code]) for code in rare}
    if hasattr(X, "tocsr"):
        rows, made = _resampled(X, codes, target, neighbours, seed, 0)
    else:
        rows, made = _in_columns(X, codes, target, neighbours, seed, groups)
    labels: Values = np.unique(y)[made]
    return Sampled(_joined(X, rows), np.concatenate([y, labels]), findings=findings)


def _in_columns(
    X: Any, codes: Ints, target: dict[int, int], neighbours: int, seed: int, groups: Sequence[Sequence[int]]
) -> tuple[Any, Ints]:
    """Return new rows and their codes; distances are measured in columns of equal spread."""
    values = _numbers(X)
    if not np.isfinite(values).all():
        raise TableError(
            "Input X contains NaN. Expected no gaps for balance='smote', which measures distances between rows.",
            hint="Leave encode at 'auto', which fills them, or give balance='oversample'.",
        )
    together = [column for group in groups for column in group]
    numbers = np.setdiff1d(np.arange(values.shape[1]), together)
    if not len(numbers):
        raise TableError(
            "Found no column of numbers. Expected one for balance='smote', which makes rows between others.",
            hint="Give balance='oversample'.",
        )
    middle, spread = values[:, numbers].mean(axis=0), values[:, numbers].std(axis=0)
    spread[spread == 0] = 1.0
    known = [np.unique(values[:, list(group)], axis=0, return_inverse=True) for group in groups]
    table = np.column_stack([(values[:, numbers] - middle) / spread, *(inverse.ravel() for _, inverse in known)])
    rows, made = _resampled(table, codes, target, neighbours, seed, len(groups))
    new = np.empty((len(rows), values.shape[1]))
    new[:, numbers] = rows[:, : len(numbers)] * spread + middle
    for number, (group, (seen, _)) in enumerate(zip(groups, known, strict=True)):
        new[:, list(group)] = seen[rows[:, len(numbers) + number].astype(np.int64)]
    return new, made


def _numbers(X: Any) -> Floats:
    try:
        return np.asarray(X, np.float64)
    except (ValueError, TypeError) as error:
        raise TableError(
            f"{first_line(error)}. Expected numbers for balance='smote', which makes rows between others.",
            hint="Leave encoding to the trainer (no Pipeline around the estimator, no cat_features), or give "
            "balance='oversample'.",
        ) from error


def _resampled(
    table: Any, codes: Ints, target: dict[int, int], neighbours: int, seed: int, n_categories: int
) -> tuple[Any, Ints]:
    """Return the rows alone that SMOTE adds; the last columns hold categories."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    told = {"sampling_strategy": target, "k_neighbors": neighbours, "random_state": seed}
    n = table.shape[1]
    sampler = SMOTENC(list(range(n - n_categories, n)), **told) if n_categories else SMOTE(**told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, made = sampler.fit_resample(table, codes)
    return rows[len(codes) :], np.asarray(made[len(codes) :], np.int64)


def _joined(X: Any, rows: Any) -> Any:
    """Return X with more rows, of X's own type."""
    if hasattr(X, "tocsr"):
        from scipy.sparse import vstack

        return vstack([X, rows], format="csr")
    if hasattr(X, "iloc"):
        import pandas as pd

        return pd.concat([X, pd.DataFrame(rows, columns=X.columns)], ignore_index=True)
    kept = X.dtype if np.issubdtype(X.dtype, np.floating) else np.float64
    return np.concatenate([X.astype(kept, copy=False), rows.astype(kept, copy=False)])


def _neighbours(labels: Values, counts: Ints, rare: Ints, asked: int) -> tuple[int, tuple[Finding, ...]]:
    """Return how many neighbours there are for each rare class, with T033 where they are fewer than asked for.

    Raises:
        TableError: for a class of one row.
    """
    code = int(rare[np.argmin(counts[rare])])
    fewest, label = int(counts[code]), labels[code].item() if hasattr(labels[code], "item") else labels[code]
    if fewest < 2:
        raise TableError(
            f"The least populated class has too few rows: class {label!r} has 1 train row. Expected at least 2 for "
            "balance='smote', which makes rows between two.",
            hint="Get more rows, or give balance='oversample'.",
        )
    if fewest > asked:
        return asked, ()
    what = f"Class {label!r} has {fewest} train rows: SMOTE took {fewest - 1} neighbours instead of {asked}."
    return fewest - 1, (finding("T033", what),)


def _codes(y: Values) -> tuple[Ints, Ints]:
    """Return the number of each row's class, (n,), and the rows of each, (k,)."""
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return codes.astype(np.int64), counts.astype(np.int64)


def categories_of(prepare: Any) -> tuple[tuple[int, ...], ...]:
    """Return which columns of prepared rows hold a category, for `sample`.

    Args:
        prepare: fitted steps of `prepare.recipe`; None where there are none.
    """
    if hasattr(prepare, "transformers_"):
        return tuple(
            group
            for name, steps, _ in prepare.transformers_
            if name in _ENCODED
            for group in _groups(steps.named_steps["encode"], prepare.output_indices_[name].start)
        )
    steps = getattr(prepare, "named_steps", {})
    if "encode" in steps:
        return _groups(steps["encode"], 0)
    return next((found for step in steps.values() if (found := categories_of(step))), ())


def _groups(encoder: Any, start: int) -> tuple[tuple[int, ...], ...]:
    """Return the columns of each category that an encoder writes, from column `start` on."""
    if not hasattr(encoder, "categories_") or hasattr(encoder, "encodings_"):
        return ()  # a target's mean is a number
    one_hot = hasattr(encoder, "drop_idx_")
    ends = np.cumsum([len(values) if one_hot else 1 for values in encoder.categories_]) + start
    return tuple(tuple(range(low, high)) for low, high in zip([start, *ends[:-1]], ends, strict=True))
