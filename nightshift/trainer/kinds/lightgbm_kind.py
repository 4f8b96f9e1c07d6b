"""LightGBM's estimators, stopped by its own early stopping."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

from nightshift.errors import first_line
from nightshift.trainer.contract import FitJob, FitReport, Wants
from nightshift.trainer.kinds import device as devices
from nightshift.trainer.kinds import fits, native
from nightshift.trainer.kinds.booster import Booster
from nightshift.trainer.kinds.sklearn_kind import cloned
from nightshift.trainer.options import Task

_ROUNDS = ("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round", "num_rounds", "nrounds",
           "num_boost_round", "max_iter")  # fmt: skip
_STOPPING = ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change")
_SEEDS = ("seed", "random_seed")
_THREADS = ("num_threads", "num_thread", "nthread", "nthreads")
_DEVICES = ("device_type", "device")
_GPU = {"cuda", "gpu"}


class LightgbmKind(Booster):
    """LGBMClassifier and LGBMRegressor."""

    name, title = "lightgbm", "LightGBM"
    classes = ("LGBMClassifier", "LGBMRegressor")
    file = "model.txt"
    libraries: tuple[str, ...] = ("lightgbm", "scikit-learn")

    def wants(self, model: Any, task: Task) -> Wants:
        """Return that gaps are taken as they are, and that rows in single precision do."""
        return Wants(refuses_nan=False, takes_sparse=True, float32=True)

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> Any:
        """Return an unfitted clone that gives the same trees each time.

        LightGBM chooses between two orders of adding up by timing them, and their sums differ: one is set.

        Raises:
            ConfigError: for a GPU that is not there, or that this build cannot use.
        """
        params = model.get_params()
        told: dict[str, Any] = {}
        if params.get("random_state") is None and not _any(params, _SEEDS):
            told["random_state"] = seed
        if threads is not None and params.get("n_jobs") is None and not _any(params, _THREADS):
            told["n_jobs"] = threads
        if "deterministic" not in params:
            told["deterministic"] = True
            if not _any(params, ("force_col_wise", "force_row_wise")):
                told["force_col_wise"] = True
        if not _any(params, ("verbose", "verbosity")):
            told["verbosity"] = -1
        if device == "cuda":
            devices.require_cuda("LightGBM")
            told["device_type"] = _gpu()
        return cloned(model).set_params(**told)

    def fitted(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; it predicts by its best round."""
        return _fit(model, job)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: a GPU, or `deterministic=False`."""
        params = model.get_params()
        on = next((params[key] for key in _DEVICES if params.get(key) in _GPU), None)
        if on:
            return f"device_type='{on}': sums on a GPU have no fixed order"
        return "deterministic=False" if params.get("deterministic") is False else ""

    def save_native(self, model: Any, folder: Path) -> None:
        """Write LightGBM's text file, up to the best round, and what the estimator was.

        Raises:
            UsageError: for classes that LightGBM's estimators are not.
        """
        more = {
            "objective": model._objective if isinstance(model._objective, str) else "",
            "names": bool(model._fitted_with_feature_names),
        }
        native.describe(folder, model, model, self.classes, more)
        model.booster_.save_model(str(folder / self.file))

    def load_native(self, folder: Path, module: Any = None) -> Any:
        """Read what `save_native` wrote.

        Raises:
            CorruptFileError: when it cannot be read.
        """
        import lightgbm

        told = native.described(folder, self.classes)
        try:
            booster = lightgbm.Booster(model_file=str(folder / self.file))
        except lightgbm.basic.LightGBMError as error:
            raise self.corrupt(folder / self.file, error) from error
        return _put_together(getattr(lightgbm, told.made_by)(**told.params), booster, told)


KIND = LightgbmKind()


def _fit(model: Any, job: FitJob) -> FitReport:
    import lightgbm

    job = _own_stopping(model, job)
    validation = fits.validation_of(job)
    params = model.get_params()
    own = next((params[key] for key in _ROUNDS if params.get(key)), params["n_estimators"])
    rounds = fits.Rounds(job, fits.rounds_of(job, own))
    rounds.stop_when_asked()
    model.set_params(**{key: rounds.total for key in ("n_estimators", *_ROUNDS) if key in params})
    callbacks: list[Any] = [_Tells(rounds)]
    told: dict[str, Any] = {}
    if validation is not None and job.stopping is not None:
        # LightGBM 4.7 warns of it, and does not turn the labels of what it wants instead, eval_y, into codes.
        warnings.filterwarnings("ignore", message="The argument 'eval_set' is deprecated")
        told = {"eval_set": [(validation.X, validation.y)]}
        stopping = job.stopping
        callbacks.append(
            lightgbm.early_stopping(
                stopping.patience, first_metric_only=True, verbose=False, min_delta=stopping.min_delta
            )
        )
    if job.class_weight and params.get("class_weight") is None:
        model.set_params(class_weight="balanced")
    model.fit(job.X, job.y, sample_weight=job.weight, callbacks=callbacks, **told)
    best = int(model.best_iteration_ or 0) or model.booster_.current_iteration()
    return FitReport(model, tuple(rounds.done), best)


def _own_stopping(model: Any, job: FitJob) -> FitJob:
    """Take early stopping that the caller set on the estimator itself for what was asked of the trainer."""
    own = {key: value for key, value in model.get_params().items() if key in _STOPPING and value}
    if not own:
        return job
    model.set_params(**dict.fromkeys(own, 0))
    return fits.with_patience(job, next(iter(own.values())))


class _Tells:
    """LightGBM's callback that takes rounds down."""

    order = 5
    before_iteration = False

    def __init__(self, rounds: fits.Rounds) -> None:
        self.rounds = rounds

    def __call__(self, env: Any) -> None:
        """Take a round down."""
        first = env.evaluation_result_list[:1] if env.evaluation_result_list else []
        metrics = {fits.named_metric(entry[1], lower=not entry[3]): float(entry[2]) for entry in first}
        self.rounds.add(env.iteration + 1, metrics)


def _put_together(model: Any, booster: Any, told: native.Described) -> Any:
    """Return an estimator around a booster: LightGBM has no public way to make one."""
    model._Booster, model.fitted_ = booster, True
    model._n_features = model._n_features_in = booster.num_feature()
    model._best_iteration, model._objective = booster.current_iteration(), told.more.get("objective") or None
    model._fitted_with_feature_names = bool(told.more.get("names"))
    if told.labels is not None:
        from sklearn.preprocessing import LabelEncoder

        model._le = LabelEncoder().fit(told.labels)
        model._classes, model._n_classes = model._le.classes_, len(told.labels)
        model._class_map = dict(zip(model._classes, range(model._n_classes), strict=True))
    return model


@cache
def _gpu() -> str:
    """Return the device type that this build of LightGBM can train on.

    Raises:
        ConfigError: when there is none.
    """
    import lightgbm
    import numpy as np

    X, why = np.arange(40.0).reshape(-1, 1), ""
    for kind in ("cuda", "gpu"):
        params = {"device_type": kind, "verbosity": -1, "min_data_in_leaf": 1, "objective": "regression"}
        try:
            lightgbm.train(params, lightgbm.Dataset(X, X[:, 0]), num_boost_round=1)
        except lightgbm.basic.LightGBMError as error:
            why = why or first_line(error)
        else:
            return kind
    raise devices.cannot("LightGBM", why)


def _any(params: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return any(params.get(key) is not None for key in keys)
