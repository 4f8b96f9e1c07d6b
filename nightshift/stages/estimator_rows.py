"""The rows of a job's file: a CSV file is read whole, Parquet too where its rows fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.errors import UnknownNameError
from nightshift.plan.table import TableJob
from nightshift.trainer.options import Limits

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = (".parquet", ".pq")
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Rows:
    """A table as `train_model` takes it.

    Attributes:
        beside: `groups` and `times`, those that were named.
    """

    X: pd.DataFrame
    y: pd.Series[Any]
    beside: dict[str, pd.Series[Any]]


def is_parquet(file: Path) -> bool:
    """Whether a file, or a folder of files, is read as Parquet."""
    return file.is_dir() or file.suffix.lower() in _PARQUET


def rows_of(file: Path, job: TableJob, limits: Limits) -> Rows:
    """Read a file.

    Raises:
        DataError: when it cannot be read, or its rows do not fit into memory.
        UnknownNameError: for a column that is not there.
    """
    named = {role: name for role in ("groups", "times") if (name := getattr(job, role)) is not None}
    if is_parquet(file):
        return _of_parquet(file, job, named, limits)
    from nightshift.data.importers.typed_text import read_typed

    frame = read_typed(file)
    known = [str(name) for name in frame.columns]
    for role, name in {"target": job.target, **named}.items():
        if name not in known:
            one = "The file was read as one column: separate its cells by comma, semicolon or tab."
            raise UnknownNameError(f"--{role} column", name, known, hint=one if len(known) == 1 else "")
    X = frame.drop(columns=[job.target, *named.values()])
    return Rows(X, frame[job.target], {role: frame[name] for role, name in named.items()})


def _of_parquet(file: Path, job: TableJob, named: dict[str, str], limits: Limits) -> Rows:
    from nightshift.trainer.inputs.memory import COPIES, beyond, left_mb
    from nightshift.trainer.inputs.parquet import source_of

    source = source_of(file, job.target, (job.groups, job.times))
    left, whole = left_mb(limits), source.n_rows * source.row_bytes / 1e6 * (1 + COPIES)
    if whole > left:
        fitting = int(max(0.0, left) / whole * source.n_rows)
        shape = (source.n_rows, len(source.columns))
        raise beyond(*shape, whole, left, fitting, limits, other="train without folds, which reads rows from disk")
    X = source.rows(np.arange(source.n_rows), _ROWS_AT_ONCE)
    return Rows(X, source.column(job.target), {role: source.column(name) for role, name in named.items()})
