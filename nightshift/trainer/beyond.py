"""LightGBM and XGBoost on Dask: rows in Parquet files that its workers read, prepare and keep among themselves."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from nightshift.errors import UsageError
from nightshift.findings import finding
from nightshift.trainer.batches import Apart, as_asked, cut_of, prepared_already
from nightshift.trainer.contract import Ints, Values
from nightshift.trainer.inputs.parquet import Source
from nightshift.trainer.prepare.disk import learn
from nightshift.trainer.results.result import TrainResult

_KINDS = ("lightgbm", "xgboost")
#: Workers that are started where no address is given.
_WORKERS = 2


def train_on_dask(apart: Apart) -> TrainResult:
    """Train on rows that only several workers can hold.

    Steps before the estimator are fitted here, on a sample. Nothing stops early: LightGBM on Dask cannot.

    Raises:
        UsageError: for an estimator that has no form for Dask.
        ConfigError: when Dask is not installed.
        ServiceError: when the scheduler cannot be reached.
    """
    from nightshift.trainer.ended import finished
    from nightshift.trainer.one import train
    from nightshift.trainer.ready import ready, shown

    name = type(apart.model).__name__
    if apart.kind.name not in _KINDS:
        raise UsageError(
            f"limits.beyond_memory='dask': {name} does not run on Dask. Expected LightGBM or XGBoost, got {name}.",
            hint="Take one of these, or beyond_memory='sample'.",
        )
    settings, table = apart.asked.settings, apart.table
    wants = apart.kind.wants(apart.model, table.task)
    learnt = learn(apart.source, table.y, cut_of(apart), wants, settings, apart.model, apart.pieces)
    rows = Rows(apart.source, learnt.transformer, apart.pieces.chunk)
    model = OnDask(_open_seed(apart), rows, settings.limits.address)
    inner = prepared_already(apart.asked, settings, learnt.cut)
    numbers = replace(table, X=np.arange(table.n_rows)[:, None], columns=("row",))
    made = ready(inner, model, numbers, None, None, None, folds=False)
    with shown(made):
        result = train(made)
    result = as_asked(
        replace(
            result,
            model=result.model.local(),
            about=replace(result.about, name=name, kind=apart.kind.name),
            provenance=replace(result.provenance, estimator=name),
            fitted=replace(result.fitted, kind=apart.kind.name),
            findings=(*result.findings, finding("T029", f"{name} on Dask: which worker holds which rows may differ.")),
        ),
        apart,
        learnt,
        np.arange(table.n_rows),
        settings,
    )
    return finished(result, replace(made, asked=apart.asked, settings=settings))


def _open_seed(apart: Apart) -> Any:
    """Return the estimator as its kind sets it, with its seed left open where the caller left it so."""
    made = apart.kind.seeded(apart.model, apart.asked.settings.seed, 1, apart.asked.settings.limits.device)
    if apart.model.get_params().get("random_state") is None:
        made.set_params(random_state=None)
    return made


@dataclass(frozen=True)
class Rows:
    """Rows in files, and what prepares them; goes to the workers.

    Attributes:
        chunk: rows that are read at once.
    """

    source: Source
    transformer: Any
    chunk: int

    def prepared(self, index: Ints) -> NDArray[np.float32]:
        """Return some rows as the estimator takes them.

        Args:
            index: rising row numbers.
        """
        return np.asarray(self.transformer.transform(self.source.rows(index, self.chunk)), np.float32)


class OnDask(BaseEstimator):  # type: ignore[misc]
    """Fits an estimator on Dask; X is a column of row numbers, by which workers read the rows.

    Args:
        estimator: of LightGBM or XGBoost, in its local form.
        rows: what is read.
        address: of a scheduler that runs already; "" starts workers on this machine.

    Attributes:
        estimator_: fitted, in its local form; answers with the numbers of classes.
        classes_: (k,) sorted labels; numbers have none.
    """

    def __init__(self, estimator: Any, rows: Rows, address: str = "") -> None:
        self.estimator = estimator
        self.rows = rows
        self.address = address

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on the rows of those numbers, (n, 1)."""
        from sklearn.base import is_classifier

        from nightshift.trainer.parallel import dask_client

        index, y = np.asarray(X, np.int64)[:, 0], np.asarray(y)
        order = np.argsort(index)
        if is_classifier(self.estimator):
            self.classes_, y = np.unique(y, return_inverse=True)
        ends = np.linspace(0, len(index), max(2 * _WORKERS, len(index) // self.rows.chunk) + 1).astype(np.int64)
        parts = [order[a:b] for a, b in pairwise(ends)]
        with dask_client(self.address, _WORKERS) as client:
            told = {"sample_weight": _answers(np.asarray(sample_weight), parts)} if sample_weight is not None else {}
            made = _on_dask(self.estimator, client)
            made.fit(self._read(index, parts), _answers(y, parts), **told)
            self.estimator_ = _local(made, self.estimator)
        return self

    def _read(self, index: Ints, parts: list[Ints]) -> Any:
        """Return the prepared rows as an array whose parts are read by the workers."""
        dask, da = importlib.import_module("dask"), importlib.import_module("dask.array")
        width = len(self.rows.transformer.get_feature_names_out())
        read = dask.delayed(self.rows.prepared)
        pieces = [da.from_delayed(read(index[part]), (len(part), width), np.float32) for part in parts]
        return da.concatenate(pieces)

    def predict(self, X: Any) -> Values:
        """Return labels or numbers of the rows of those numbers."""
        said = np.asarray(self._asked("predict", X))
        return self.classes_[said.astype(np.int64)] if hasattr(self, "classes_") else said

    def predict_proba(self, X: Any) -> Values:
        """Return (n, classes)."""
        return np.asarray(self._asked("predict_proba", X))

    def local(self) -> Any:
        """Return what was fitted, as an estimator of prepared rows that answers with labels."""
        from nightshift.trainer.kinds import fits

        labels = getattr(self, "classes_", None)
        return fits.labelled(self.estimator_, None if labels is None or fits.codes_already(labels) else labels)

    def _asked(self, method: str, X: Any) -> Values:
        index = np.asarray(X, np.int64)[:, 0]
        order = np.argsort(index)
        told = np.asarray(getattr(self.estimator_, method)(self.rows.prepared(index[order])))
        found = np.empty_like(told)
        found[order] = told
        return found


def _answers(values: Values, parts: list[Ints]) -> Any:
    da = importlib.import_module("dask.array")
    return da.concatenate([da.from_array(values[part], chunks=-1) for part in parts])


def _on_dask(estimator: Any, client: Any) -> Any:
    """Return the estimator's form for Dask, unfitted."""
    name = type(estimator).__name__
    if name.startswith("LGBM"):
        return getattr(importlib.import_module("lightgbm"), f"Dask{name}")(client=client, **estimator.get_params())
    made = getattr(importlib.import_module("xgboost.dask"), f"Dask{name}")(**estimator.get_params())
    made.client = client
    return made


def _local(fitted: Any, estimator: Any) -> Any:
    """Return a fitted estimator of Dask in its local form."""
    if hasattr(fitted, "to_local"):
        return fitted.to_local()
    made = type(estimator)(**estimator.get_params())
    made.load_model(fitted.get_booster().save_raw("ubj"))
    return made
