"""XGBoost's estimators, stopped by its own early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.trainer.contract import FitJob, FitReport, Wants
from nightshift.trainer.kinds import device as devices
from nightshift.trainer.kinds import fits
from nightshift.trainer.kinds.booster import OneFile
from nightshift.trainer.kinds.sklearn_kind import cloned
from nightshift.trainer.options import Task

#: Metrics of which more is better; all others are losses.
_HIGHER = ("auc", "aucpr", "pre", "map", "ndcg")


class Chosen(str):
    """A device that was asked of the trainer: it ends with the fit, so that the model answers on any machine."""

    __slots__ = ()


class XgboostKind(OneFile):
    """XGBClassifier, XGBRegressor and their forests."""

    name, title = "xgboost", "XGBoost"
    classes = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
    file = "model.ubj"
    libraries: tuple[str, ...] = ("xgboost", "scikit-learn")

    def wants(self, model: Any, task: Task) -> Wants:
        """Return that gaps are taken as they are; what is not stored in sparse rows would be a gap too."""
        return Wants(
            scaled=_is_linear(model), refuses_nan=_is_linear(model), float32=True, coded_labels=task != "regression"
        )

    def seeded(self, model: Any, seed: int, threads: int | None, device: str) -> Any:
        """Return an unfitted clone with seed, threads and device where they were left open.

        Raises:
            ConfigError: for a GPU that is not there, or that this build cannot use.
        """
        params = model.get_params()
        told: dict[str, Any] = {}
        if params.get("random_state") is None and params.get("seed") is None:
            told["random_state"] = seed
        if threads is not None and params.get("n_jobs") is None and params.get("nthread") is None:
            told["n_jobs"] = threads
        if device == "cuda":
            _require_cuda()
            if params.get("device") is None:
                told["device"] = Chosen("cuda")
        return cloned(model).set_params(**told)

    def nondeterministic(self, model: Any) -> str:
        """Return the setting by which two fits may differ: a GPU, or a linear booster that threads update at once."""
        params = model.get_params()
        if str(params.get("device") or "").startswith(("cuda", "gpu")):
            return f"device='{params['device']}': sums on a GPU have no fixed order"
        if params.get("booster") == "gblinear" and params.get("updater") in {None, "shotgun"}:
            return "booster='gblinear' with updater='shotgun': threads update weights at once"
        return ""

    def fitted(self, model: Any, job: FitJob) -> FitReport:
        """Fit a seeded clone; a device that was asked of the trainer ends with the fit."""
        report = _fit(model, job)
        if isinstance(model.get_params().get("device"), Chosen):
            model.set_params(device="cpu")
        return report

    def refusal(self, library: Any) -> type[Exception]:
        """Return XGBoost's own error."""
        error: type[Exception] = library.core.XGBoostError
        return error


KIND = XgboostKind()


def _fit(model: Any, job: FitJob) -> FitReport:
    import xgboost

    kept = model.get_params()
    own = kept.get("early_stopping_rounds")
    job = fits.with_patience(job, own) if own else job
    coded = fits.coded(job)
    job = coded.job
    if _is_forest(model) or _is_linear(model):  # neither can leave out rounds when it predicts
        return _at_once(model, job, coded)
    rounds = fits.Rounds(job, fits.rounds_of(job, model.get_num_boosting_rounds()))
    validation = fits.validation_of(job)
    callbacks, told = [*(kept.get("callbacks") or ()), _tells(rounds)], {}
    if validation is not None and job.stopping is not None:
        told = {"eval_set": [(validation.X, validation.y)]}
        patience, least = job.stopping.patience, job.stopping.min_delta
        callbacks.append(xgboost.callback.EarlyStopping(rounds=patience, min_delta=least))
    model.set_params(n_estimators=rounds.total, early_stopping_rounds=None, callbacks=callbacks)
    try:
        model.fit(job.X, job.y, sample_weight=_weight(model, job), verbose=False, **told)
    finally:
        # What stays in the model would be saved with it, and a callback cannot be.
        model.set_params(early_stopping_rounds=own, callbacks=kept.get("callbacks"))
    best = model.best_iteration + 1 if told else int(model.get_booster().num_boosted_rounds())
    return FitReport(fits.labelled(model, coded.labels), tuple(rounds.done), best)


def _at_once(model: Any, job: FitJob, coded: fits.Coded) -> FitReport:
    fits.Rounds(job, 0).stop_when_asked()
    kept = model.get_params()
    if job.rounds is not None and not _is_forest(model):
        model.set_params(n_estimators=job.rounds)
    if kept.get("early_stopping_rounds"):
        model.set_params(early_stopping_rounds=None)
    model.fit(job.X, job.y, sample_weight=_weight(model, job), verbose=False)
    return FitReport(fits.labelled(model, coded.labels), findings=fits.goes_whole(model, job))


def _weight(model: Any, job: FitJob) -> Any:
    """Return rows' weights: XGBoost knows no weights of classes but the one of two classes."""
    return job.weight if model.get_params().get("scale_pos_weight") is not None else fits.balanced_weight(job)


def _tells(rounds: fits.Rounds) -> Any:
    """Return XGBoost's callback that takes rounds down."""
    import xgboost

    class Tells(xgboost.callback.TrainingCallback):  # type: ignore[misc] # XGBoost is not typed here
        """Takes rounds down by the last metric of the last set, which is what early stopping goes by."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            """Take a round down; never stop."""
            metrics = {}
            if evals_log:
                name, values = list(list(evals_log.values())[-1].items())[-1]
                metrics[fits.named_metric(name, lower=not name.startswith(_HIGHER))] = float(np.ravel(values[-1])[0])
            rounds.add(epoch + 1, metrics)
            return False

    return Tells()


def _is_linear(model: Any) -> bool:
    return bool(model.get_params().get("booster") == "gblinear")


def _is_forest(model: Any) -> bool:
    return any(base.__name__.startswith("XGBRF") for base in type(model).__mro__)


def _require_cuda() -> None:
    import xgboost

    devices.require_cuda("XGBoost")
    if not xgboost.build_info().get("USE_CUDA"):
        raise devices.cannot("XGBoost", "it was built without CUDA")
