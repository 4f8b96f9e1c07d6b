"""One fit, step by step: prepared on train rows alone, balanced, fitted, and put together to a model of raw rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nightshift.errors import NightshiftError, TrainingError, UsageError, first_line
from nightshift.trainer.contract import (
    Column,
    FitJob,
    FitReport,
    Fitted,
    Floats,
    Ints,
    Kind,
    Sampled,
    Table,
    Teller,
    Values,
    Wants,
)
from nightshift.trainer.options import Balance, Settings
from nightshift.trainer.provenance import name_of
from nightshift.trainer.scores import Scorers, score

_SMOTE = "smote"
#: Parameters that take a seed, by the names of several libraries.
_SEEDS = {"random_state", "random_seed", "seed"}


def fit(
    table: Table,
    train: Ints,
    validation: Ints,
    model: Any,
    settings: Settings,
    seed: int,
    tell: Teller,
    *,
    job_key: str = "",
    checkpoint: Path | None = None,
    fingerprint: str = "",
    should_stop: Callable[[], bool] = lambda: False,
    rounds: int | None = None,
    stage: str = "fit",
    columns: tuple[Column, ...] | None = None,
) -> Fitted:
    """Fit a clone of `model` on the train rows, stopped and given its threshold by the validation rows.

    Args:
        job_key: names the fit in its checkpoint.
        checkpoint: file for the state after each epoch.
        fingerprint: of settings and data, that the checkpoint must have.
        rounds: a fixed number of them, nothing stops early.
        stage: of progress events.
        columns: what is known of the columns; None looks.

    Raises:
        TableError: for rows that cannot be prepared or balanced.
        TrainingError: when the estimator refuses, or diverges with each seed.
        InterruptedTraining: when asked to stop.
    """
    from nightshift.trainer.kinds.kind import kind_of

    began = time.perf_counter()
    kind = kind_of(model)
    stops = settings.early_stopping is not None and rounds is None and len(validation) > 0
    rows = _Rows(table, train, validation if stops else validation[:0], columns)
    plan = FitJob(
        X=None,
        y=table.y[:0],
        task=table.task,
        classes=table.classes,
        stopping=settings.early_stopping,
        rounds=rounds,
        tell=tell,
        should_stop=should_stop,
        checkpoint=checkpoint,
        fingerprint=f"{fingerprint} {job_key}".strip(),
        stage=stage,
    )
    # The train rows are gone when it returns, before the validation rows are predicted.
    fitted = _fitted(kind, model, rows, settings, seed, plan)
    fitted = _with_threshold(fitted, table, validation, settings)
    return replace(fitted, seconds=time.perf_counter() - began)


@dataclass(frozen=True)
class _Rows:
    """Rows of one fit.

    Attributes:
        validation: that it is stopped by; empty where nothing stops it.
        columns: None: not looked at yet.
    """

    table: Table
    train: Ints
    validation: Ints
    columns: tuple[Column, ...] | None

    def y(self) -> Values:
        """Of the train rows."""
        train: Values = self.table.y[self.train]
        return train


def _fitted(kind: Kind, model: Any, rows: _Rows, settings: Settings, seed: int, plan: FitJob) -> Fitted:
    from nightshift.trainer.retry import with_new_seeds

    prepare, sampled = _balanced(kind.wants(model, plan.task), rows, settings, seed)
    stops = len(rows.validation) > 0
    job = replace(
        plan,
        X=sampled.X,
        y=sampled.y,
        weight=sampled.weight,
        class_weight=sampled.class_weight,
        X_val=_prepared(rows.table, rows.validation, prepare) if stops else None,
        y_val=rows.table.y[rows.validation] if stops else None,
    )
    retried = with_new_seeds(
        lambda number: _one(kind, model, job, settings, number), seed, settings.limits.retries, plan.tell, plan.stage
    )
    report = retried.outcome
    return Fitted(
        model=_assembled(prepare, report.model),
        kind=kind.name,
        seed=retried.seed,
        seconds=0.0,
        rounds=report.rounds,
        best_round=report.best_round,
        tried=retried.tried,
        counts_before=sampled.counts_before,
        counts_after=sampled.counts_after,
        findings=(*sampled.findings, *retried.findings, *report.findings),
    )


def _balanced(wants: Wants, rows: _Rows, settings: Settings, seed: int) -> tuple[Any, Sampled]:
    """Return the fitted steps before the estimator, and the train rows prepared and balanced."""
    from nightshift.trainer.balance.sample import categories_of, sample

    prepare, X_train = _prepare(wants, rows, settings, seed)
    table = rows.table
    groups = categories_of(prepare) if settings.balance.method == _SMOTE else ()
    return prepare, sample(
        X_train, rows.y(), table.task, table.classes, settings.balance, seed, category_columns=groups
    )


def _prepare(wants: Wants, rows: _Rows, settings: Settings, seed: int) -> tuple[Any, Any]:
    """Return the fitted steps before the estimator, None where there are none, and the prepared train rows."""
    if wants.raw:
        return None, rows.table.rows(rows.train)
    from nightshift.trainer.inputs.columns import kinds
    from nightshift.trainer.prepare.prepared import fit_prepare
    from nightshift.trainer.prepare.recipe import recipe

    if settings.balance.method == _SMOTE:
        # It measures distances between rows, and so refuses gaps.
        wants = replace(wants, refuses_nan=True)
    known = kinds(rows.table, settings.encode) if rows.columns is None else rows.columns
    steps = recipe(known, wants, settings, rows.table.task, seed)
    prepared: tuple[Any, Any] = fit_prepare(steps, rows.table, rows.train, rows.y())
    return prepared


def _prepared(table: Table, index: Ints, prepare: Any) -> Any:
    """Return those rows as the estimator takes them."""
    rows = table.rows(index)
    return rows if prepare is None else prepare.transform(rows)


def _one(kind: Kind, model: Any, job: FitJob, settings: Settings, seed: int) -> FitReport:
    """Fit once.

    Raises:
        DivergedError: when the fit is of no use.
    """
    from nightshift.trainer.resources import threads_for
    from nightshift.trainer.retry import DivergedError

    threads = threads_for(settings.n_jobs, settings.limits)
    own = kind.seeded(model, seed, threads, settings.limits.device)
    if seed != settings.seed:
        _reseed(own, seed)
    report = kind.fit(own, replace(job, fingerprint=f"{job.fingerprint} {seed}"))
    with answering(own):
        why = kind.diverged(own, job, report)
    if why:
        raise DivergedError(f"{why}.")
    return report


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """Tell in one line what goes wrong when a fitted estimator is asked.

    Raises:
        TrainingError: with the first line of its error.
    """
    try:
        yield
    except (NightshiftError, MemoryError):
        raise
    except Exception as error:  # an estimator may raise anything
        what = f"{name_of(model)} was fitted, but cannot answer: {type(error).__name__}: {first_line(error)}."
        raise TrainingError(what, hint="Try its predict on some rows.") from error


def _reseed(model: Any, seed: int) -> None:
    """Give a clone another seed than the one that the caller set: each of `seeds`, and each retry, is another draw."""
    params = model.get_params() if hasattr(model, "get_params") else {}
    fixed = {key for key, value in params.items() if key.rpartition("__")[2] in _SEEDS and isinstance(value, int)}
    if fixed:
        model.set_params(**dict.fromkeys(fixed, seed))


def _assembled(prepare: Any, estimator: Any) -> Any:
    """Return a model of raw rows; nothing is fitted again."""
    if prepare is None:
        return estimator
    from sklearn.pipeline import Pipeline

    return Pipeline([("prepare", prepare), ("model", estimator)])


def _with_threshold(fitted: Fitted, table: Table, validation: Ints, settings: Settings) -> Fitted:
    """Give the model its threshold, where one is asked for and there are rows to choose it on."""
    if settings.balance.method != "threshold" or not len(validation):
        return fitted
    told = score(fitted.model, table, validation, Scorers("accuracy", ("accuracy",))).probability
    return thresholded(fitted, table.y[validation], told, table.classes, settings.balance)


def thresholded(
    fitted: Fitted, y: Values, probability: Floats | None, classes: tuple[Any, ...], balance: Balance
) -> Fitted:
    """Return a fit that answers by the threshold that is best on rows that it has not seen.

    Args:
        y: (n,) of these rows.
        probability: (n, 2); None where the estimator tells none.

    Raises:
        UsageError: for an estimator that tells none.
    """
    from nightshift.trainer.balance.threshold import choose_threshold, with_threshold

    if probability is None:
        raise UsageError(
            f"balance='threshold' needs probabilities, which {name_of(fitted.model)} does not tell.",
            hint="Give balance='class_weight', or an estimator with predict_proba.",
        )
    chosen = choose_threshold(y, probability, classes, balance.metric).value
    return replace(fitted, model=with_threshold(fitted.model, chosen), threshold=chosen)
