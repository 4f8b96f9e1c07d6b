"""Rows of Parquet files are prepared piece by piece into a file of float32, which a fit then reads from disk.

Train rows lie together in it, so that they are handed to an estimator without a copy: the system keeps of the file what
there is memory for.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import TableError, UsageError
from nightshift.trainer.contract import Column, Cut, Ints, Table, Values, Wants
from nightshift.trainer.inputs.columns import kinds
from nightshift.trainer.inputs.memory import drawn
from nightshift.trainer.inputs.parquet import Source
from nightshift.trainer.inputs.refuse import frame as refuse_frame
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Encode, Settings
from nightshift.trainer.prepare.prepared import LARGE, fit_prepare
from nightshift.trainer.prepare.recipe import recipe

_FILE = "rows.float32"


class DiskTable(Table):
    """A table whose X lies in a file: rows that follow each other are no copy."""

    def rows(self, index: Ints) -> Any:
        """Return those rows, read-only where they follow each other."""
        if len(index) and index[-1] - index[0] == len(index) - 1 and bool((np.diff(index) == 1).all()):
            return self.X[index[0] : index[-1] + 1]
        return np.asarray(self.X[index])


@dataclass(frozen=True)
class Pieces:
    """Rows that are held at once.

    Attributes:
        chunk: of the files.
        sample: that the steps are fitted on.
    """

    chunk: int
    sample: int


@dataclass(frozen=True)
class Learnt:
    """Steps that were fitted on a sample of train rows.

    Attributes:
        transformer: fitted; takes frames, gives arrays.
        columns: what was seen of X.
        cut: without the train rows whose answers the target's means were made of: of these a model would learn to
            trust the means too much.
        example: some rows of X, as they are.
    """

    transformer: Any
    columns: tuple[Column, ...]
    cut: Cut
    example: Any


def learn(source: Source, y: Values, cut: Cut, wants: Wants, settings: Settings, model: Any, pieces: Pieces) -> Learnt:
    """Fit the steps before an estimator on a sample of at most 100,000 train rows.

    A gap that is in none of them may be in another row, so that all gaps are filled where the estimator refuses any.

    Raises:
        TableError: for columns that nothing can be learnt from.
    """
    sample = drawn(cut.train, min(LARGE, pieces.sample, len(cut.train)), settings.seed)
    frame = source.rows(sample, pieces.chunk)
    columns = kinds(table_of(frame, y[sample], model), settings.encode)
    if settings.encode is not None and any(column.role == "high" for column in columns):
        kept = drawn(np.arange(len(sample)), min(len(sample), len(cut.train) // 4), settings.seed)
        sample, frame = sample[kept], frame.iloc[kept]
        train = np.setdiff1d(cut.train, sample, assume_unique=True)
        cut = replace(cut, train=train, dropped=np.concatenate([cut.dropped, sample]))
    encode = None if settings.encode is None else settings.encode.model_copy(update={"always_impute": True})
    told = settings.model_copy(update={"encode": encode or Encode(always_impute=True)})
    table = table_of(frame, y[sample], model)
    steps = recipe(columns, replace(wants, takes_sparse=False), told, table.task, settings.seed)
    if steps is None:
        from sklearn.compose import ColumnTransformer

        steps = ColumnTransformer([("numbers", "passthrough", list(range(len(columns))))])
    transformer = fit_prepare(steps, table, np.arange(len(sample)), table.y).transformer
    return Learnt(transformer, columns, cut, frame.head(1_000))


def write(source: Source, learnt: Learnt, table: Table, folder: Path, chunk: int) -> DiskTable:
    """Prepare all rows into a file, train rows first, then validation, then test.

    Args:
        table: y, groups and times of all rows; its X is not looked at.
        folder: gets the file.
        chunk: rows that are prepared at once.

    Raises:
        TableError: for infinite values and the like; names the rows that were read.
        UsageError: when the disk has no room.
    """
    order = order_of(learnt.cut)
    names = tuple(str(name) for name in learnt.transformer.get_feature_names_out())
    size = len(order) * len(names) * 4
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UsageError(
            f"{folder} has {free / 1e6:,.0f} MB free. Expected {size / 1e6:,.0f} MB for the prepared rows.",
            hint="Give scratch= a folder on a larger disk.",
        )
    place = np.full(source.n_rows, -1, np.int64)
    place[order] = np.arange(len(order))
    out = np.memmap(folder / _FILE, np.float32, "w+", shape=(len(order), len(names)))
    for start, frame in source.pieces(chunk):
        try:
            refuse_frame(frame)
        except TableError as error:
            raise TableError(f"Rows from {start:,} on: {error.what}", hint=error.hint) from None
        to = place[start : start + len(frame)]
        wanted = np.flatnonzero(to >= 0)
        out[to[wanted]] = np.asarray(learnt.transformer.transform(frame.iloc[wanted]), np.float32)
    out.flush()
    return DiskTable(
        X=np.memmap(folder / _FILE, np.float32, "r", shape=out.shape),
        y=table.y[order],
        task=table.task,
        classes=table.classes,
        columns=names,
        groups=None if table.groups is None else table.groups[order],
        times=None if table.times is None else table.times[order],
    )


def order_of(cut: Cut) -> Ints:
    """Return the row numbers in the order in which they lie in the file."""
    return np.concatenate([np.sort(cut.train), np.sort(cut.validation), np.sort(cut.test)])


def cut_in_file(cut: Cut) -> Cut:
    """Return the same parts by their places in the file."""
    ends = np.cumsum([0, len(cut.train), len(cut.validation), len(cut.test)])
    train, validation, test = (np.arange(a, b) for a, b in pairwise(ends))
    return replace(cut, train=train, validation=validation, test=test, dropped=np.empty(0, np.int64))
