"""Whether a fit fits into memory, and what fits where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightshift.errors import TableError
from nightshift.findings import Finding, finding
from nightshift.trainer.contract import Cut, Ints, Table
from nightshift.trainer.inputs.table import is_frame, is_sparse
from nightshift.trainer.options import Limits, Settings
from nightshift.trainer.resources import free_mb

#: Times the train rows that a fit holds beside the table: their copy, the prepared ones, and the estimator's own form.
COPIES = 2.3
#: Share of free memory that a training may have where no limit was given.
_SHARE = 0.8
#: Rows below which a sample is none.
_FEWEST = 100
_MB = 1e6
_OTHER_WAYS = "use float32, or train_from_parquet with LightGBM, XGBoost or an estimator with partial_fit"


@dataclass(frozen=True)
class Fits:
    """What fits into memory.

    Attributes:
        cut: with fewer train rows, where a sample was asked for; the others are among its dropped rows.
        n_jobs: fits at once.
    """

    cut: Cut
    n_jobs: int
    findings: tuple[Finding, ...] = ()


def within(table: Table, cut: Cut, settings: Settings) -> Fits:
    """Return how a training fits into memory: as asked, with fewer fits at once, or on a sample.

    Raises:
        TableError: (T032) where one fit does not, and no sample was asked for; names the sample that would.
    """
    if isinstance(table.X, np.memmap):  # rows are read from disk
        return Fits(cut, settings.n_jobs)
    row_mb = row_bytes(table.X) / _MB * COPIES
    need, left = len(cut.train) * row_mb, left_mb(settings.limits)
    if need * settings.n_jobs <= left:
        return Fits(cut, settings.n_jobs)
    at_once = int(left // need) if need else 1
    if at_once >= 1:
        told = f"{settings.n_jobs} fits at once need about {settings.n_jobs * need:,.0f} MB, {left:,.0f} MB are left"
        advice = f"Give n_jobs={at_once}, or raise limits.memory_mb."
        return Fits(cut, at_once, (finding("T032", f"{told}: {at_once} at once.", remedy=advice),))
    rows = int(left / row_mb) if left > 0 else 0
    if settings.limits.beyond_memory != "sample" or rows < _FEWEST:
        raise beyond(len(cut.train), table.n_columns, need, left, rows, settings.limits)
    return Fits(_sampled(cut, rows, settings.seed), 1, (told_sample(len(cut.train), rows, need, left),))


def left_mb(limits: Limits) -> float:
    """Return the memory that this process may still take, MB."""
    if limits.memory_mb is None:
        return _SHARE * free_mb()
    import psutil

    return limits.memory_mb - float(psutil.Process().memory_info().rss) / _MB


def row_bytes(X: Any) -> float:
    """Return the bytes of a row, as an estimator's numbers where it holds text."""
    if is_frame(X):
        return float(sum(max(8, int(getattr(dtype, "itemsize", 8))) for dtype in X.dtypes))
    if is_sparse(X):
        return float(X.data.nbytes + X.indices.nbytes) / max(1, int(X.shape[0]))
    width: int = X.dtype.itemsize * X.shape[1]
    return float(width)


def beyond(
    rows: int, columns: int, need: float, left: float, fitting: int, limits: Limits, *, other: str = _OTHER_WAYS
) -> TableError:
    """Return the error for rows that do not fit, with the sample that does.

    Args:
        other: what else can be done.
    """
    limit = "80 % of what is free" if limits.memory_mb is None else f"limits.memory_mb={limits.memory_mb:g}"
    sample = f"Limits(beyond_memory='sample') trains on {fitting:,} of them; or {other}."
    return TableError(
        f"T032: a fit of {rows:,} rows x {columns} columns needs about {need:,.0f} MB. Expected at most "
        f"{max(0.0, left):,.0f} MB more ({limit}), got too many rows.",
        hint=sample if fitting >= _FEWEST else "Raise limits.memory_mb: not even a sample of them fits.",
    )


def told_sample(rows: int, fitting: int, need: float, left: float) -> Finding:
    """Return the finding for a training on a sample."""
    return finding(
        "T032",
        f"A fit of {rows:,} train rows needs about {need:,.0f} MB, {left:,.0f} MB are left: a sample of "
        f"{fitting:,} rows is trained on.",
    )


def drawn(index: Ints, many: int, seed: int) -> Ints:
    """Return so many of the row numbers, drawn by seed, in their order."""
    return np.sort(np.random.default_rng(seed).choice(index, many, replace=False))


def _sampled(cut: Cut, rows: int, seed: int) -> Cut:
    train = drawn(cut.train, rows, seed)
    train.flags.writeable = False
    left_out = np.setdiff1d(cut.train, train, assume_unique=True)
    return replace(cut, train=train, dropped=np.concatenate([cut.dropped, left_out]))
