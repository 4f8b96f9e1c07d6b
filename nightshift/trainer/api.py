"""`train_model` and `train_with_cv`: a model and a table, and the infrastructure done right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nightshift.errors import UsageError
from nightshift.trainer.config import PLAIN, asked_of, read_config
from nightshift.trainer.cv import cross_validate
from nightshift.trainer.one import train
from nightshift.trainer.ready import ready, shown
from nightshift.trainer.results.result import CVResult, TrainResult


def train_model(
    model: Any,
    X: Any,
    y: Any,
    *,
    split: Any = "auto",
    groups: Any = None,
    times: Any = None,
    scoring: Any = None,
    balance: Any = None,
    early_stopping: Any = None,
    encode: Any = "auto",
    scale: Any = "auto",
    seed: int = 42,
    checks: Any = "warn",
    progress: Any = "auto",
    run_dir: str | Path | None = None,
    resume: bool = False,
    track: Any = None,
    limits: Any = None,
    **plain: Any,
) -> TrainResult:
    """Part the rows, prepare and balance the train rows, fit a clone of `model`, and score every part.

    Nothing is learnt from validation or test rows: validation stops a fit and chooses a threshold, test is scored once.
    Train is scored on `Checks.sample_rows` of its rows at most.

    Args:
        model: an estimator in scikit-learn's form, a torch module or its class, or a name such as "lightgbm"; it stays
            unfitted.
        X: (n, columns) array, DataFrame or sparse matrix.
        y: (n,) classes or numbers.
        split: "auto", a strategy's name, a `Split`, a splitter of scikit-learn, or (train, validation, test) row
            numbers.
        groups: (n,) rows of one value are kept in one part.
        times: (n,) dates or numbers: what comes later is judged by what came before.
        scoring: as in scikit-learn: a name, several, a callable or a mapping; the first decides.
        balance: "class_weight", "smote", "oversample", "undersample", "threshold", or a `Balance`.
        early_stopping: True, rounds of patience, or an `EarlyStopping`.
        encode: "auto", "none" or an `Encode`.
        scale: "auto", True or False.
        seed: of the split and the fit.
        checks: "warn", "error", "off" or a `Checks`.
        progress: "auto", True, False, or a function of progress events.
        run_dir: folder that keeps what has ended, to go on from.
        resume: whether to go on with what lies in `run_dir`.
        track: True, a `Track`, or a function that is handed the result.
        limits: a `Limits`: memory, threads, device.
        plain: test_size=0.2, validation_size=0.1, stratify, shuffle=True, random_state=42, handle_imbalance (True, or
            a name as in `balance`), cv (folds over train and validation, in `TrainResult.cv`), seeds=1 (fits that
            differ in their seed alone, for a mean and a spread), n_jobs=1, save_model=False, save_path,
            format="skops", verbose=True.

    Returns:
        The fitted model, its scores by part, and how they came to be.

    Raises:
        TableError: (a ValueError) for X, y, groups or times that nothing can be trained on.
        UsageError: for keywords that are not known, contradict each other or are told twice.
        TrainingError: when the estimator cannot be fitted, or diverges with each seed.
        InterruptedTraining: when stopped; the same call with `resume=True` goes on from `run_dir`.
    """
    given = {
        "split": split,
        "scoring": scoring,
        "balance": balance,
        "early_stopping": early_stopping,
        "encode": encode,
        "scale": scale,
        "seed": seed,
        "checks": checks,
        "progress": progress,
        "run_dir": run_dir,
        "resume": resume,
        "track": track,
        "limits": limits,
    }
    plain = _plain(plain, y)
    asked = asked_of({**given, "cv": plain.pop("cv", None)}, plain)
    made = ready(asked, model, X, y, groups, times, folds=False)
    with shown(made):
        return train(made)


def train_with_cv(
    model: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = 5,
    strategy: str = "auto",
    n_jobs: int = 1,
    learning_curve: bool = False,
    split: Any = "auto",
    groups: Any = None,
    times: Any = None,
    scoring: Any = None,
    balance: Any = None,
    early_stopping: Any = None,
    encode: Any = "auto",
    scale: Any = "auto",
    seed: int = 42,
    checks: Any = "warn",
    progress: Any = "auto",
    run_dir: str | Path | None = None,
    resume: bool = False,
    track: Any = None,
    limits: Any = None,
    **plain: Any,
) -> CVResult:
    """Hold test out, fit and score folds of the rest, refit on all of the rest, score test once, and save the refit.

    Preparing and balancing happen within each fold. Keywords that are not listed are those of `train_model`.

    Args:
        model: see `train_model`.
        X: (n, columns).
        y: (n,).
        cv: number of folds, a splitter of scikit-learn, or (train, held out) pairs of X's row numbers.
        strategy: of the folds and the test part; "auto" decides from the data and says why.
        n_jobs: processes; -1 for all cores.
        learning_curve: whether folds are also fitted on parts of their train rows.
        plain: as of `train_model`; `test_size=0` holds no test out, `validation_size` is the share of each fold's train
            rows that stops it or chooses its threshold, `save_model=False` saves nothing.

    Returns:
        Figures of each fold with mean and spread, answers to every row that its model has not seen, and the refit.

    Raises:
        TableError: (a ValueError) for a table that nothing can be trained on, or a class with fewer rows than folds.
        UsageError: for keywords that are not known, contradict each other or are told twice.
        TrainingError: when a fit fails, or diverges with each seed.
        InterruptedTraining: when stopped; the same call with `resume=True` does what is left.
    """
    given = {
        "cv": cv,
        "strategy": strategy,
        "n_jobs": n_jobs,
        "learning_curve": learning_curve,
        "split": split,
        "scoring": scoring,
        "balance": balance,
        "early_stopping": early_stopping,
        "encode": encode,
        "scale": scale,
        "seed": seed,
        "checks": checks,
        "progress": progress,
        "run_dir": run_dir,
        "resume": resume,
        "track": track,
        "limits": limits,
    }
    if cv is None or cv is False:
        raise UsageError(f"cv: expected folds, got {cv}.", hint="Give cv=5, or call train_model.")
    asked = asked_of(given, {"save_model": True, **_plain(plain, y)})
    made = ready(asked, model, X, y, groups, times, folds=True)
    with shown(made):
        return cross_validate(made)


def train_from_config(
    config: str | Path | Mapping[str, Any], X: Any, y: Any, model: Any = None, **over: Any
) -> TrainResult | CVResult:
    """Train as a YAML file or a mapping says: with folds where it has `cross_validation`, else once.

    Args:
        config: keys as of `config.read_config`.
        X: (n, columns).
        y: (n,).
        model: takes the place of the file's `model` and `params`.
        over: keywords of `train_model` or `train_with_cv` that take the place of the file's.

    Raises:
        ConfigError: for a file that cannot be used.
    """
    told = {**read_config(config), **over}
    named, params = told.pop("model", None), told.pop("params", None) or {}
    chosen = model if model is not None else named
    if chosen is None:
        raise UsageError("no model: expected one in the config or as model=.", hint="Add model: random_forest.")
    if params and model is None:
        chosen = with_params(str(named), params, y)
    if told.get("cv") in (None, False):
        told.pop("cv", None)
        strategy = told.pop("strategy", None)
        if strategy is not None:
            told.setdefault("split", strategy)
        return train_model(chosen, X, y, **told)
    return train_with_cv(chosen, X, y, **told)


def _plain(plain: Mapping[str, Any], y: Any) -> dict[str, Any]:
    """Return the plain keywords; `stratify=y`, as scikit-learn has it, is True.

    Raises:
        UsageError: for stratifying by something else than y.
    """
    told = dict(plain)
    stratify = told.get("stratify")
    if stratify is None or isinstance(stratify, bool | np.bool_):
        return told
    if not hasattr(stratify, "__len__") or not np.array_equal(np.asarray(stratify), np.asarray(y)):
        raise UsageError("stratify: expected True, False or y itself, got other values.", hint="Give stratify=True.")
    return {**told, "stratify": True}


def with_params(name: str, params: Mapping[str, Any], y: Any) -> Any:
    """Return an estimator by its name with parameters set.

    Raises:
        UsageError: for a parameter that it has not.
    """
    from nightshift.errors import UnknownNameError
    from nightshift.trainer.inputs.target import target_of
    from nightshift.trainer.kinds.named import named, parameters_of

    made = named(name, target_of(y, None).task)
    known = parameters_of(made)
    for key in params:
        if key not in known:
            raise UnknownNameError(f"parameter of {name}", key, known)
    return made.set_params(**params)


__all__ = ["PLAIN", "train_from_config", "train_model", "train_with_cv"]
