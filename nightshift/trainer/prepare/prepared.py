"""The steps before an estimator are fitted on train rows alone, and give these rows prepared."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nightshift.trainer.contract import Ints, Table
from nightshift.trainer.inputs.table import is_frame
from nightshift.trainer.prepare.recipe import TARGET_FOLDS

#: Train rows above which medians are those of a sample: a median sorts, and takes 40 times as long as a mean.
LARGE = 100_000
_SAMPLE_SEED = 0


class Prepared(NamedTuple):
    """Fitted steps, and the train rows as they leave them.

    Attributes:
        transformer: fitted; None where there is nothing to do.
        X: (rows, …) prepared.
    """

    transformer: Any
    X: Any


@dataclass(frozen=True)
class _Median:
    """Medians that were learnt from a sample.

    Attributes:
        branch: name among the steps; "" for steps that stand alone.
        imputer: fitted.
    """

    branch: str
    imputer: Any


def fit_prepare(transformer: Any, table: Table, index: Ints, y: NDArray[Any]) -> Prepared:
    """Fit the steps on some rows and prepare them, in one go.

    In one go because the target's means must not hold a row's own answer, which `fit` and `transform` apart would give
    it. Numbers are filled and scaled in place: in the copy of the rows that is ours, not in the caller's table.

    Args:
        transformer: of `recipe`; None: rows pass as they are.
        index: rows to fit on.
        y: (len(index),) their answers.
    """
    X = table.rows(index)
    first = _plain(X, transformer) if is_frame(X) else None
    if first is not None:
        X = first.transform(X)
    if transformer is None:
        return Prepared(first, X)
    _set_folds(transformer, y)
    medians = _medians_of_a_sample(transformer, X) if len(index) > LARGE else []
    with warnings.catch_warnings():
        # A class of fewer rows than parts: its rows are in some of them.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        _in_place(transformer, allowed=True)
        X = transformer.fit_transform(X, y)
    _put_back(transformer, medians)
    _in_place(transformer, allowed=False)
    if first is None:
        return Prepared(transformer, X)
    from sklearn.pipeline import Pipeline

    return Prepared(Pipeline([("plain", first), ("columns", transformer)]), X)


def _plain(X: Any, transformer: Any) -> Any:
    """Return the step that makes a frame's columns plain, None where they are."""
    from nightshift.trainer.prepare.plain import Plain, nullable, words

    encodes = transformer is not None and any("encode" in dict(steps.steps) for _, steps, _ in _pipelines(transformer))
    needed = (encodes and words(X)) or nullable(X)
    return Plain(encodes).fit(X) if needed else None


def _pipelines(transformer: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, pipeline, positions) of each branch that has steps, fitted ones where there are any."""
    if not hasattr(transformer, "transformers"):
        yield "", transformer, slice(None)
        return
    for name, steps, positions in getattr(transformer, "transformers_", transformer.transformers):
        if hasattr(steps, "steps"):
            yield name, steps, positions


def _medians_of_a_sample(transformer: Any, X: Any) -> list[_Median]:
    """Learn medians from a sample, and put them where they would be learnt from all rows."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.impute import SimpleImputer

    rows = np.sort(np.random.default_rng(_SAMPLE_SEED).choice(X.shape[0], LARGE, replace=False))
    found = []
    for name, pipeline, positions in _pipelines(transformer):
        step, imputer = pipeline.steps[0]
        if isinstance(imputer, SimpleImputer):
            imputer.fit(X.iloc[rows, positions] if is_frame(X) else X[rows][:, positions])
            pipeline.steps[0] = (step, FrozenEstimator(imputer))
            found.append(_Median(name, imputer))
    return found


def _put_back(transformer: Any, medians: list[_Median]) -> None:
    """Put the imputers themselves into the fitted steps, and unfitted ones into what these were cloned from."""
    from sklearn.base import clone

    for median in medians:
        for name, pipeline, _ in _pipelines(transformer):
            if name == median.branch:
                pipeline.steps[0] = (pipeline.steps[0][0], median.imputer)
        for name, steps, _ in getattr(transformer, "transformers", ()):
            if name == median.branch:
                steps.steps[0] = (steps.steps[0][0], clone(median.imputer))


def _in_place(transformer: Any, *, allowed: bool) -> None:
    """Say whether fillers and scalers may write into what they are given; a fitted model never may."""
    named = [steps for _, steps, _ in getattr(transformer, "transformers", ()) if hasattr(steps, "steps")]
    for pipeline in [*named, *(pipeline for _, pipeline, _ in _pipelines(transformer))]:
        for _, step in pipeline.steps:
            if type(step).__name__ in ("SimpleImputer", "StandardScaler"):
                step.copy = not allowed


def _set_folds(transformer: Any, y: NDArray[Any]) -> None:
    """Lower the parts that the target's means are made on where a class has fewer rows."""
    for _, pipeline, _ in _pipelines(transformer):
        for _, step in pipeline.steps:
            if type(step).__name__ != "TargetEncoder":
                continue
            smallest = len(y) if step.target_type == "continuous" else int(np.unique(y, return_counts=True)[1].min())
            step.cv.n_splits = max(2, min(TARGET_FOLDS, smallest))
