"""How estimators in scikit-learn's form are fitted: at once, or round by round until validation gets no better."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from nightshift.errors import UsageError
from nightshift.trainer.contract import FitJob, FitReport, Floats
from nightshift.trainer.kinds import fits, pieces

_SMALLEST = 1e-15


def fit(model: Any, job: FitJob) -> FitReport:
    """Fit a seeded clone in the way that its class allows.

    Raises:
        UsageError: when classes are to weigh alike, and the estimator knows no weights.
        InterruptedTraining: when asked to stop.
    """
    if _descends(model, "BaseHistGradientBoosting"):
        return _histogram(model, job)
    if _descends(model, "BaseGradientBoosting"):
        return _staged(model, job)
    if _has_epochs(model) and (job.rounds is not None or fits.validation_of(job) is not None):
        return _by_epochs(model, job)
    if pieces.on_disk(job.X) and hasattr(model, "partial_fit"):
        return _in_pieces(model, job)
    return _at_once(model, job)


def weighs(model: Any) -> bool:
    """Whether an estimator can be told that rows or classes weigh differently."""
    return _class_weight(model) is not None or _weight_key(model) is not None


def _at_once(model: Any, job: FitJob) -> FitReport:
    rounds = fits.Rounds(job, 0)
    rounds.stop_when_asked()
    model.fit(job.X, job.y, **_weights(model, job))
    for number, loss in enumerate(getattr(model, "loss_curve_", ()), start=1):
        rounds.add(number, {"train_loss": float(loss)})
    return FitReport(model, tuple(rounds.done), len(rounds.done) or None, fits.goes_whole(model, job))


def _in_pieces(model: Any, job: FitJob) -> FitReport:
    """Go once through rows that are read from disk."""
    told: dict[str, Any] = {} if job.task == "regression" else {"classes": np.unique(job.y)}
    weight = fits.balanced_weight(job)
    if weight is not None:
        told["sample_weight"] = weight
    fits.Rounds(job, 0).stop_when_asked()
    pieces.partial_fit(model, job.X, job.y, told)
    return FitReport(model, findings=fits.goes_whole(model, job))


def _histogram(model: Any, job: FitJob) -> FitReport:
    """Fit histogram gradient boosting, which takes validation rows itself and keeps rounds beyond the best one."""
    validation = fits.validation_of(job)
    rounds = fits.Rounds(job, fits.rounds_of(job, model.max_iter))
    rounds.stop_when_asked()
    told = _weights(model, job)
    model.set_params(max_iter=rounds.total)
    if validation is None or job.stopping is None:
        if job.rounds is not None:
            model.set_params(early_stopping=False)
        model.fit(job.X, job.y, **told)
        return FitReport(model, best_round=int(model.n_iter_))
    model.set_params(
        early_stopping=True, n_iter_no_change=job.stopping.patience, tol=job.stopping.min_delta, warm_start=False
    )
    model.fit(job.X, job.y, X_val=validation.X, y_val=validation.y, **told)
    by_loss = model.scoring == "loss"
    for number, (train, tuned) in enumerate(zip(model.train_score_, model.validation_score_, strict=False)):
        if number and by_loss:  # the first figure is that of no round at all
            rounds.add(number, {"train_loss": -float(train), "validation_loss": -float(tuned)})
        elif number:
            rounds.add(number, {"train_score": float(train), "validation_score": float(tuned)})
    best = max(1, int(np.argmax(model.validation_score_)))
    model._predictors = model._predictors[:best]
    return FitReport(model, tuple(rounds.done), best)


class _Monitor:
    """Follows gradient boosting on validation rows, adding one tree a round to what was said before.

    Args:
        validation: None only tells of rounds.
    """

    def __init__(self, job: FitJob, rounds: fits.Rounds, validation: fits.Validation | None) -> None:
        self.job, self.rounds, self.validation = job, rounds, validation
        self.patience = fits.Patience(job.stopping) if job.stopping and validation else None
        self.raw: Floats | None = None
        if validation is not None:
            self.X = validation.X if hasattr(validation.X, "tocsr") else np.asarray(validation.X, np.float32)

    def __call__(self, number: int, model: Any, _locals: Any) -> bool:
        """Take a round, counted from 0; return whether it was the last."""
        metrics = {"train_loss": float(model.train_score_[number])}
        if self.validation is not None:
            metrics["validation_loss"] = self._loss(number, model, self.validation)
        self.rounds.add(number + 1, metrics)
        if self.patience is None:
            return False
        self.patience.better(number + 1, metrics["validation_loss"])
        return self.patience.over(number + 1)

    def _loss(self, number: int, model: Any, validation: fits.Validation) -> float:
        if self.raw is None:
            numbers = self.job.task == "regression"
            first = next(model.staged_predict(self.X) if numbers else model.staged_decision_function(self.X))
            self.raw = np.array(first, np.float64).reshape(len(validation.y), -1)
        else:
            for column, tree in enumerate(model.estimators_[number]):
                self.raw[:, column] += model.learning_rate * tree.predict(self.X)
        if self.job.task == "regression":
            return _loss_of_numbers(model, validation.y - self.raw[:, 0])
        return _loss_of_raw(model, self.raw, np.searchsorted(model.classes_, validation.y))


def _staged(model: Any, job: FitJob) -> FitReport:
    """Fit gradient boosting, which asks a monitor after each tree, and keep the trees up to the best round."""
    validation = fits.validation_of(job)
    rounds = fits.Rounds(job, fits.rounds_of(job, model.n_estimators))
    told = _weights(model, job)
    model.set_params(n_estimators=rounds.total)
    if validation is not None or job.rounds is not None:
        model.set_params(n_iter_no_change=None)
    monitor = _Monitor(job, rounds, validation)
    model.fit(job.X, job.y, monitor=monitor, **told)
    best = monitor.patience.best_round if monitor.patience else len(model.estimators_)
    model.estimators_ = model.estimators_[:best]
    model.n_estimators_ = best
    return FitReport(model, tuple(rounds.done), best)


def _by_epochs(model: Any, job: FitJob) -> FitReport:
    """Fit by `partial_fit` over all rows, epoch after epoch; keep the state of the best one."""
    kept = model.get_params(deep=False)
    rounds = fits.Rounds(job, fits.rounds_of(job, kept["max_iter"]))
    validation = fits.validation_of(job)
    patience = fits.Patience(job.stopping) if job.stopping and validation else None
    told = _prepare_epochs(model, job, kept)
    best, number = model, 0
    for number in range(1, rounds.total + 1):
        pieces.partial_fit(model, job.X, job.y, told)
        told.pop("classes", None)
        metrics = {"train_loss": float(model.loss_)} if isinstance(getattr(model, "loss_", None), float) else {}
        if validation is not None:
            metrics["validation_loss"] = _validation_loss(model, validation, job)
        rounds.add(number, metrics)
        if patience is not None:
            if patience.better(number, metrics["validation_loss"]):
                best = deepcopy(model)
            if patience.over(number):
                break
    best.set_params(**kept)
    return FitReport(best, tuple(rounds.done), patience.best_round if patience else number)


def _prepare_epochs(model: Any, job: FitJob, kept: dict[str, Any]) -> dict[str, Any]:
    """Set what `partial_fit` needs; return the keywords of its first call.

    An int as random state would shuffle every epoch alike. Weights of classes are rows' weights here.
    """
    told: dict[str, Any] = {} if job.task == "regression" else {"classes": np.unique(job.y)}
    asked = job.class_weight and kept.get("class_weight") is None
    weight = fits.balanced_weight(job) if asked or kept.get("class_weight") == "balanced" else job.weight
    if weight is not None:
        told["sample_weight"] = weight
    usual = {"early_stopping": False, "warm_start": False, "random_state": np.random.RandomState(kept["random_state"])}
    if kept.get("class_weight") == "balanced":
        usual["class_weight"] = None
    model.set_params(**{key: value for key, value in usual.items() if key in kept})
    return told


def _validation_loss(model: Any, validation: fits.Validation, job: FitJob) -> float:
    """Return the log loss, the hinge loss of what tells no probability, or the mean square error."""
    if job.task == "regression":
        return float(np.mean(np.square(validation.y - model.predict(validation.X))))
    where, rows = np.searchsorted(model.classes_, validation.y), np.arange(len(validation.y))
    if hasattr(model, "predict_proba"):
        return _log_loss(np.asarray(model.predict_proba(validation.X))[rows, where])
    said = np.asarray(model.decision_function(validation.X), np.float64)
    if said.ndim == 1:
        return float(np.mean(np.maximum(0.0, 1.0 - np.where(where == 1, said, -said))))
    right = said[rows, where]
    said[rows, where] = -np.inf
    return float(np.mean(np.maximum(0.0, 1.0 - right + said.max(axis=1))))


def _loss_of_raw(model: Any, raw: Floats, where: Any) -> float:
    """Return the log loss of raw scores, (n, 1) for two classes and (n, k) for more."""
    from scipy.special import expit, softmax

    if raw.shape[1] == 1:
        of_second = expit(raw[:, 0] * (2.0 if model.loss == "exponential" else 1.0))
        return _log_loss(np.where(where == 1, of_second, 1.0 - of_second))
    return _log_loss(softmax(raw, axis=1)[np.arange(len(raw)), where])


def _log_loss(of_true_class: Any) -> float:
    return float(-np.mean(np.log(np.clip(of_true_class, _SMALLEST, 1.0))))


def _loss_of_numbers(model: Any, error: Any) -> float:
    if model.loss == "squared_error":
        return float(np.mean(np.square(error)))
    if model.loss == "quantile":
        return float(np.mean(np.maximum(model.alpha * error, (model.alpha - 1.0) * error)))
    return float(np.mean(np.abs(error)))


def _descends(model: Any, name: str) -> bool:
    return any(base.__name__ == name and base.__module__.startswith("sklearn.") for base in type(model).__mro__)


def _has_epochs(model: Any) -> bool:
    """Whether `partial_fit` over all rows is one of `max_iter` epochs; a naive Bayes takes rows but once."""
    return hasattr(model, "partial_fit") and hasattr(model, "get_params") and "max_iter" in model.get_params(deep=False)


def _class_weight(model: Any) -> str | None:
    """Return the parameter that weighs classes, of the estimator or of a Pipeline's last step."""
    if not hasattr(model, "get_params"):
        return None
    params, last = model.get_params(deep=True), _last_step(model)
    return next((key for key in ("class_weight", f"{last}__class_weight") if key in params), None)


def _weight_key(model: Any) -> str | None:
    """Return the keyword of `fit` that takes a weight for each row."""
    from sklearn.utils.validation import has_fit_parameter

    last = _last_step(model)
    if last:
        return f"{last}__sample_weight" if has_fit_parameter(model[-1], "sample_weight") else None
    return "sample_weight" if has_fit_parameter(model, "sample_weight") else None


def _last_step(model: Any) -> str:
    steps = getattr(model, "steps", None)
    return str(steps[-1][0]) if isinstance(steps, list) and steps and hasattr(model, "named_steps") else ""


def _weights(model: Any, job: FitJob) -> dict[str, Floats]:
    """Tell the estimator of weights; return those that `fit` is called with."""
    weight, key = job.weight, _class_weight(model)
    if job.class_weight and key is not None:
        if model.get_params(deep=True)[key] is None:
            model.set_params(**{key: "balanced"})
    elif job.class_weight:
        weight = fits.balanced_weight(job)
    if weight is None:
        return {}
    keyword = _weight_key(model)
    if keyword is None:
        what = f"{type(model).__name__} knows neither class_weight nor sample_weight, which balancing by weights needs."
        raise UsageError(what, hint="Give balance='oversample' or 'undersample'.")
    return {keyword: weight}
