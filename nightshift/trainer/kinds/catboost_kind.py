"""CatBoost's estimators, stopped by its own early stopping."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from nightshift.errors import InterruptedTraining
from nightshift.trainer.contract import FitJob, FitReport, Wants
from nightshift.trainer.kinds import device as devices
from nightshift.trainer.kinds import fits
from nightshift.trainer.kinds.booster import OneFile
from nightshift.trainer.options import Task

_ROUNDS = ("iterations", "n_estimators", "num_boost_round", "num_trees")
_SEEDS = ("random_seed", "random_state")
_SPEECH = ("verbose", "silent", "logging_level", "verbose_eval")
_WEIGHTS = ("class_weights", "auto_class_weights", "scale_pos_weight")
_STOPPING = ("early_stopping_rounds", "od_wait")
_ITS_OWN_ROUNDS = 1_000
_PACE = ("learning_rate", "leaf_estimation_iterations")
_ALSO = {"learning_rate": ("eta",)}
#: Metrics of which more is better; all others are losses.
_HIGHER = ("AUC", "Accuracy", "F1", "Precision", "Recall", "R2", "MCC", "BalancedAccuracy", "Kappa", "TotalF1", "NDCG")


class CatboostKind(OneFile):
    """CatBoostClassifier and CatBoostRegressor."""

    name, title = "catboost", "CatBoost"
    classes = ("CatBoostClassifier", "CatBoostRegressor")
    file = "model.cbm"
    libraries: tuple[str, ...] = ("catboost",)

    def wants(self, model: Any, task: Task) -> Wants:
        """Return that gaps are taken as they are; columns named in `cat_features` come as the caller gave them."""
        return Wants(refuses_nan=False, float32=True, raw=bool(model.get_params().get("cat_features")))

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> Any:
        """Return an unfitted copy that writes no files and says nothing, unless the caller wants it to.

        Raises:
            ConfigError: for a GPU that is not there.
        """
        params = model.get_params()
        told: dict[str, Any] = {}
        if not _any(params, _SEEDS):
            told["random_seed"] = seed
        if threads is not None and not _any(params, ("thread_count",)):
            told["thread_count"] = threads
        if not _any(params, _SPEECH):
            told["logging_level"] = "Silent"
        if not _any(params, ("allow_writing_files",)):
            told["allow_writing_files"] = False
        if device == "cuda":
            _require_cuda()
            if not _any(params, ("task_type",)):
                told["task_type"] = "GPU"
        return _anew(model, **told)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: a GPU."""
        if str(model.get_params().get("task_type") or "").upper() == "GPU":
            return "task_type='GPU': sums on a GPU have no fixed order"
        return ""

    def fitted(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; trees after the best round are dropped."""
        return _fit(model, job)

    def refusal(self, library: Any) -> type[Exception]:
        """Return CatBoost's own error, which is no ValueError."""
        error: type[Exception] = library.CatBoostError
        return error


KIND = CatboostKind()


def _fit(model: Any, job: FitJob) -> FitReport:
    params = model.get_params()
    own = next((params[key] for key in _STOPPING if params.get(key)), None)
    job = fits.with_patience(job, int(own)) if own else job
    # With three classes and more its answers have a column too many, (n, 1): codes, and labels put back by us.
    several = job.task == "multiclass"
    labels = np.unique(job.y) if several else None
    job = fits.coded(job).job if several else job
    own_rounds = int(next((params[key] for key in _ROUNDS if params.get(key)), _ITS_OWN_ROUNDS))
    rounds = fits.Rounds(job, fits.rounds_of(job, own_rounds))
    rounds.stop_when_asked()
    validation = fits.validation_of(job)
    pace = _pace_of_stopped(model, job, own_rounds) if job.rounds is not None else {}
    model = _anew(model, without=(*_ROUNDS, *_STOPPING), iterations=rounds.total, **pace)
    tells = _Tells(rounds, fits.Patience(job.stopping) if job.stopping else None)
    told: dict[str, Any] = {} if params.get("task_type") == "GPU" else {"callbacks": [tells]}
    if validation is not None and job.stopping is not None:
        told["eval_set"] = (validation.X, validation.y)
        told |= {"early_stopping_rounds": job.stopping.patience, "use_best_model": True}
    weight = job.weight if _any(params, _WEIGHTS) else fits.balanced_weight(job)
    model.fit(job.X, job.y, sample_weight=weight, **told)
    if tells.interrupted is not None:
        raise tells.interrupted
    return FitReport(fits.labelled(model, labels), tuple(rounds.done), int(model.tree_count_) or None)


def _pace_of_stopped(model: Any, job: FitJob, own_rounds: int) -> dict[str, Any]:
    """Return how fast a fit stopped early learns.

    CatBoost derives that from rows, rounds and whether validation ends the fit: so many rounds without validation would
    each learn at another pace, and be another model than the one that the rounds were counted of.
    """
    params = model.get_params()
    if params.get("task_type") == "GPU":
        return {}
    most = job.stopping.max_rounds if job.stopping and job.stopping.max_rounds else own_rounds
    probe = _anew(model, without=(*_ROUNDS, *_STOPPING), iterations=most)
    few = np.arange(min(2, len(job.y)))
    eval_set = (fits.taken(job.X, few), job.y[few])
    probe.fit(job.X, job.y, eval_set=eval_set, use_best_model=True, callbacks=[_OneRound()])
    derived = probe.get_all_params()
    return {key: derived[key] for key in _PACE if key in derived and not _any(params, (key, *_ALSO.get(key, ())))}


class _OneRound:
    """CatBoost's callback that ends a fit after its first round."""

    def after_iteration(self, info: Any) -> bool:
        """Return that it is over."""
        return False


class _Tells:
    """CatBoost's callback that takes rounds down, and stops where the last better one is long ago.

    CatBoost's own early stopping knows no `min_delta`.
    """

    def __init__(self, rounds: fits.Rounds, patience: fits.Patience | None) -> None:
        self.rounds, self.patience = rounds, patience
        self.interrupted: InterruptedTraining | None = None

    def after_iteration(self, info: Any) -> bool:
        """Take a round down; return whether to go on. An error would have to pass through CatBoost's own code."""
        metrics: dict[str, float] = {}
        for part, name in (("learn", "train"), ("validation", "validation")):
            for metric, values in list(info.metrics.get(part, {}).items())[:1]:
                lower = not metric.startswith(_HIGHER)
                metrics[f"{name}_{'loss' if lower else metric}"] = float(values[-1])
        try:
            self.rounds.add(info.iteration, metrics)
        except InterruptedTraining as error:
            self.interrupted = error
            return False
        if self.patience is None or "validation_loss" not in metrics:
            return True
        self.patience.better(info.iteration, metrics["validation_loss"])
        return not self.patience.over(info.iteration)


def _anew(model: Any, without: tuple[str, ...] = (), **told: Any) -> Any:
    """Return an unfitted estimator of the same parameters; scikit-learn's `clone` refuses some of CatBoost's."""
    params = {key: value for key, value in deepcopy(model.get_params()).items() if key not in without}
    return type(model)(**(params | told))


def _require_cuda() -> None:
    from catboost.utils import get_gpu_device_count

    devices.require_cuda("CatBoost")
    if not get_gpu_device_count():
        raise devices.cannot("CatBoost", "it sees no GPU")


def _any(params: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return any(params.get(key) is not None for key in keys)
