"""Training from Parquet files: as any table where they fit into memory, from disk or on a sample where they do not."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import UsageError
from nightshift.settings import home
from nightshift.trainer.config import Asked, asked_of
from nightshift.trainer.contract import Cut, Ints, Kind, Table
from nightshift.trainer.inputs.memory import COPIES, beyond, drawn, left_mb, told_sample
from nightshift.trainer.inputs.parquet import Source, source_of
from nightshift.trainer.inputs.table import codes_of, seconds_of
from nightshift.trainer.inputs.target import target_of
from nightshift.trainer.options import EarlyStopping, Settings
from nightshift.trainer.prepare.disk import Learnt, Pieces, cut_in_file, learn, order_of, write
from nightshift.trainer.results.result import TrainResult

#: Bytes of each value that an estimator keeps of rows that it reads from disk: bins, and what sorting them takes.
_KEPT_BYTES = {"lightgbm": 1.3, "xgboost": 3.0}
#: Rows that LightGBM finds its bins by, in double precision.
_BINNED_BY = 200_000
#: Bytes beside X for each row: answers, groups, row numbers and their places.
_BESIDE_BYTES = 64
#: Times a piece of rows that is held while it is prepared.
_PIECE_COPIES = 8
#: Rows of a piece, and of a sample, at least.
_FEWEST = 100
#: Passes over all rows without a better figure on validation, of estimators with `partial_fit`.
_PATIENCE = 3
_FROM_DISK = "take an estimator that reads rows from disk: LightGBM, XGBoost, or one with partial_fit"
_OBJECTS = ("split", "scoring", "balance", "early_stopping", "encode", "scale", "seed", "checks", "progress", "run_dir",
            "resume", "track", "cv")  # fmt: skip


def train_from_parquet(
    model: Any,
    path: str | Path,
    target: str,
    *,
    groups: str | None = None,
    times: str | None = None,
    columns: Sequence[str] | None = None,
    chunk_rows: int = 50_000,
    scratch: str | Path | None = None,
    limits: Any = None,
    **keywords: Any,
) -> TrainResult:
    """Train on a table in Parquet, within the limits of memory.

    A table that fits into memory is trained on like any other. Of one that does not, LightGBM, XGBoost and estimators
    with `partial_fit` see every row: rows are prepared piece by piece into a file, by what a sample of 100,000 train
    rows teaches, and read from there. Any other estimator is refused with the number of rows that would fit, or
    trained on so many with `Limits(beyond_memory="sample")`. `Limits(beyond_memory="dask")` trains LightGBM and XGBoost
    on Dask.

    Rows should stand in no order of y: estimators with `partial_fit` take them as they come.

    Args:
        model: as in `train_model`.
        path: a Parquet file, or a folder of them.
        target: column of y.
        groups, times: columns; they part the rows, and are no part of X.
        columns: of X; None: all others.
        chunk_rows: rows that are read at once; fewer where memory is short.
        scratch: folder for the prepared rows; None: in the home. They are removed afterwards.
        limits: a `Limits`: memory and threads.
        keywords: those of `train_model`.

    Raises:
        TableError: (a ValueError) for rows that nothing can be trained on, and (T032) for more than fit.
        UnknownNameError: for a column that is not there.
        UsageError: for what needs all rows at once (sampling a class, a splitter), and for chunks of no rows.
    """
    if chunk_rows < 1:
        raise UsageError(f"chunk_rows: expected 1 or more, got {chunk_rows}.")
    source = source_of(path, target, (groups, times), columns)
    told = {key: keywords[key] for key in _OBJECTS if key in keywords}
    plain = {key: value for key, value in keywords.items() if key not in _OBJECTS}
    asked = asked_of({**told, "limits": limits}, plain)
    left, whole = left_mb(asked.settings.limits), source.n_rows * source.row_bytes / 1e6 * (1 + COPIES)
    beside = {"groups": groups, "times": times}
    again = {**keywords, "limits": limits}
    if whole <= left:
        return _in_memory(model, source, target, beside, np.arange(source.n_rows), again, chunk_rows)
    apart = _apart(model, source, target, beside, asked, left, chunk_rows)
    if asked.settings.limits.beyond_memory == "dask":
        from nightshift.trainer.beyond import train_on_dask

        return train_on_dask(apart)
    need = _need_mb(apart)
    if need is not None and need <= left:
        return _from_disk(apart, scratch)
    fitting = int(left / whole * source.n_rows) if left > 0 else 0
    if asked.settings.limits.beyond_memory != "sample" or fitting < _FEWEST:
        other = _FROM_DISK if need is None else "raise limits.memory_mb"
        rows = (source.n_rows, len(source.columns))
        raise beyond(*rows, need or whole, left, fitting, asked.settings.limits, other=other)
    index = drawn(np.arange(source.n_rows), fitting, asked.settings.seed)
    result = _in_memory(model, source, target, beside, index, again, chunk_rows)
    return replace(result, findings=(told_sample(source.n_rows, fitting, need or whole, left), *result.findings))


@dataclass(frozen=True)
class Apart:
    """A training on rows that do not fit into memory.

    Attributes:
        table: y, groups and times of all rows, and nothing of X.
        pieces: rows that are held at once.
    """

    model: Any
    kind: Kind
    source: Source
    target: str
    table: Table
    asked: Asked
    pieces: Pieces


def _apart(
    model: Any,
    source: Source,
    target: str,
    beside: Mapping[str, str | None],
    asked: Asked,
    left: float,
    chunk_rows: int,
) -> Apart:
    """Read what is small: everything but X. Half of what is left is for the rows that are held at once."""
    from nightshift.trainer.kinds.kind import kind_of
    from nightshift.trainer.kinds.named import named

    table = _beside_x(source, target, beside, model)
    made = named(model, table.task) if isinstance(model, str) else model
    piece = max(_FEWEST, int(left * 1e6 / (2 * _PIECE_COPIES * source.row_bytes)) if left > 0 else 0)
    return Apart(made, kind_of(made), source, target, table, asked, Pieces(min(chunk_rows, piece), piece))


def _need_mb(apart: Apart) -> float | None:
    """Return what a fit of rows that are read from disk holds, MB; None where the estimator needs all of them."""
    source, kind = apart.source, apart.kind.name
    if kind not in _KEPT_BYTES and not (kind == "sklearn" and hasattr(apart.model, "partial_fit")):
        return None
    values = source.n_rows * len(source.columns)
    need = values * _KEPT_BYTES.get(kind, 0.0) + source.n_rows * _BESIDE_BYTES
    need += _PIECE_COPIES * min(apart.pieces.sample, source.n_rows) * source.row_bytes
    if kind == "lightgbm":
        need += 8 * min(_BINNED_BY, source.n_rows) * len(source.columns)
    return need / 1e6


def _in_memory(
    model: Any,
    source: Source,
    target: str,
    beside: Mapping[str, str | None],
    index: Any,
    keywords: Mapping[str, Any],
    chunk: int,
) -> TrainResult:
    """Train on some rows, which are read into memory."""
    from nightshift.trainer.api import train_model

    given = {name: source.column(column).iloc[index] for name, column in beside.items() if column is not None}
    return train_model(model, source.rows(index, chunk), source.column(target).iloc[index], **given, **keywords)


def _beside_x(source: Source, target: str, beside: Mapping[str, str | None], model: Any) -> Table:
    """Return a table of everything but X: it is small."""
    y = target_of(source.column(target), model)
    groups, times = beside["groups"], beside["times"]
    return Table(
        X=np.empty((source.n_rows, 0)),
        y=y.values,
        task=y.task,
        classes=y.classes,
        columns=(),
        groups=None if groups is None else codes_of(source.column(groups)),
        times=None if times is None else seconds_of(source.column(times)),
    )


def _from_disk(apart: Apart, scratch: str | Path | None) -> TrainResult:
    from nightshift.trainer.ended import finished
    from nightshift.trainer.one import train
    from nightshift.trainer.ready import ready, shown

    settings = apart.asked.settings
    cut = cut_of(apart)
    if apart.kind.name == "sklearn" and settings.early_stopping is None and len(cut.validation):
        # Passes over the rows go on until validation gets no better: its own way to end looks at all rows at once.
        settings = settings.model_copy(update={"early_stopping": EarlyStopping(patience=_PATIENCE)})
    wants = apart.kind.wants(apart.model, apart.table.task)
    learnt = learn(apart.source, apart.table.y, cut, wants, settings, apart.model, apart.pieces)
    folder = Path(scratch) if scratch is not None else home().tmp
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="rows-") as place:
        disk = write(apart.source, learnt, apart.table, Path(place), apart.pieces.chunk)
        inner = prepared_already(apart.asked, settings, cut_in_file(learnt.cut))
        made = ready(inner, apart.model, disk, None, None, None, folds=False)
        with shown(made):
            result = as_asked(train(made), apart, learnt, order_of(learnt.cut), settings)
            return finished(result, replace(made, asked=apart.asked, settings=settings))


def prepared_already(asked: Asked, settings: Settings, parts: Cut) -> Asked:
    """Return what is asked of a training whose rows are prepared and parted, and whose result is finished outside."""
    # Pages of a file that the system keeps count as this process's memory, and are given back when asked for.
    limits = settings.limits.model_copy(update={"memory_mb": None})
    # Parts of dates and the like are no columns of the caller's.
    checks = settings.checks.model_copy(update={"mute": (*settings.checks.mute, "T027")})
    told = {
        "limits": limits,
        "checks": checks,
        "encode": None,
        "scale": "no",
        "save_model": False,
        "save_path": "",
        "cv": None,
    }
    splitter = (parts.train, parts.validation, parts.test)
    return replace(asked, settings=settings.model_copy(update=told), splitter=splitter, track=None)


def cut_of(apart: Apart) -> Cut:
    """Part the rows by y, groups and times alone.

    Raises:
        UsageError: for what needs all of X.
    """
    from nightshift.trainer.split.choose import choose
    from nightshift.trainer.split.cut import cut

    asked, settings = apart.asked, apart.asked.settings
    method = settings.balance.method
    if method in ("smote", "oversample", "undersample"):
        raise UsageError(
            f"balance='{method}' needs all rows in memory, and they do not fit.",
            hint="Give balance='class_weight' or 'threshold'.",
        )
    if asked.splitter is not None or settings.cv is not None or asked.folds is not None:
        raise UsageError(
            "rows that do not fit into memory are parted by a Split, got a splitter, row numbers or cv=.",
            hint="Give split= a strategy's name or a Split.",
        )
    choice = choose(apart.table, settings.split, ())
    return cut(apart.table, settings.split, choice, settings.seed)


def as_asked(result: TrainResult, apart: Apart, learnt: Learnt, order: Ints, settings: Settings) -> TrainResult:
    """Return the result in terms of the files: a model of raw rows, the columns' names, row numbers.

    Args:
        order: (n,) number in the files of each row that was trained on or judged.
    """
    from sklearn.pipeline import Pipeline

    model = Pipeline([("prepare", learnt.transformer), ("model", result.model)])
    told = result.predictions
    about = replace(
        result.about,
        columns=apart.source.columns,
        dtypes={name: str(kind) for name, kind in learnt.example.dtypes.items()},
        roles=learnt.columns,
        frame=True,
        y_name=apart.target,
        n_rows=apart.source.n_rows,
    )
    return replace(
        result,
        model=model,
        fitted=replace(result.fitted, model=model),
        split=learnt.cut,
        predictions=replace(told, index=order[told.index]),
        settings=settings,
        about=about,
        example=learnt.example,
    )
