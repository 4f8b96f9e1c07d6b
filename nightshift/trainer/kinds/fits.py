"""What fits of all libraries share: what is told, what is caught, and when a round was the last."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nightshift.errors import InterruptedTraining, NightshiftError, TrainingError, first_line
from nightshift.findings import Finding, Severity, finding
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import FitJob, Floats, Round, Values
from nightshift.trainer.options import EarlyStopping
from nightshift.trainer.retry import DivergedError

#: Rows that tell whether a fit has diverged.
_LOOKED_AT = 200
#: Spreads of y that a prediction of train rows may lie outside of it.
_BOUND = 1e6
#: Words of libraries that gave up because numbers ran away.
_RAN_AWAY = ("under-/overflow", "non-finite")


@dataclass
class Heard:
    """What a library said while it was fitted."""

    name: str
    said: list[warnings.WarningMessage] = field(default_factory=list)

    def findings(self) -> tuple[Finding, ...]:
        """Return one finding with the first thing said of each sort, or none."""
        told = [w for w in self.said if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)]
        lines = list(dict.fromkeys(first_line(w.message) for w in told if isinstance(w.message, Warning)))
        if not lines:
            return ()
        grave = any(w.category.__name__ == "ConvergenceWarning" for w in told)
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        severity = Severity.WARNING if grave else Severity.TIP
        return (finding("T034", f"{self.name}: {lines[0]}{more}.", severity=severity),)


@contextmanager
def hearing(model: Any) -> Iterator[Heard]:
    """Keep what a library warns of, and turn its errors into one readable line.

    Raises:
        DivergedError: when it says that its numbers ran away.
        TrainingError: for any other error of the library.
    """
    heard = Heard(type(model).__name__)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield heard
        except NightshiftError:
            raise
        except MemoryError as error:
            raise TrainingError(
                f"{heard.name} needs more memory than there is.", hint="Take fewer rows, or set limits.memory_mb."
            ) from error
        except Exception as error:  # whatever a library raises, the user gets one line
            raise _refused(heard.name, error) from error
        finally:
            heard.said = list(said)


def _refused(name: str, error: Exception) -> TrainingError:
    line = first_line(error)
    if any(words in line.lower() for words in _RAN_AWAY):
        return DivergedError(f"{name} diverged: {line}.")
    return TrainingError(f"{name} could not be fitted: {line}.", hint=_hint(line))


def _hint(line: str) -> str:
    """Return what to do about the usual refusals."""
    lowered = line.lower()
    if "negative values" in lowered or "must be strictly positive" in lowered or "non-negative" in lowered:
        return "Give it columns without negative values, with scale='no', or take another estimator."
    if "feature_name" in lowered or "feature name" in lowered:
        return "Rename the columns: letters, digits and underscores are taken by every library."
    if "could not convert string" in lowered:
        return "Give encode='auto', or numbers alone."
    return ""


class Rounds:
    """Takes down the rounds of one fit, tells of them, and knows the best one.

    Args:
        job: what is fitted.
        total: rounds at most.
    """

    def __init__(self, job: FitJob, total: int) -> None:
        self.job, self.total = job, total
        self.done: list[Round] = []
        self._at = time.perf_counter()

    def add(self, number: int, metrics: dict[str, float]) -> None:
        """Take down a round, from 1.

        Raises:
            InterruptedTraining: when asked to stop.
        """
        self.stop_when_asked()
        now = time.perf_counter()
        if metrics:
            self.done.append(Round(number, metrics, now - self._at))
        self._at = now
        self.job.tell(ProgressEvent("", self.job.stage, number, self.total, dict(metrics)))

    def stop_when_asked(self) -> None:
        """Leave the fit when somebody asks for it.

        Raises:
            InterruptedTraining: then.
        """
        if self.job.should_stop():
            raise InterruptedTraining(
                "training was stopped.", hint="The same call with resume=True (--resume) goes on."
            )


class Patience:
    """Knows the best round so far, and whether it is long ago. Lower is better."""

    def __init__(self, stopping: EarlyStopping) -> None:
        self.stopping = stopping
        self.best_round, self.lowest = 0, np.inf

    def better(self, number: int, loss: float) -> bool:
        """Take a round's loss; return whether it is the best so far."""
        if self.best_round == 0 or loss < self.lowest - self.stopping.min_delta:
            self.best_round, self.lowest = number, loss
            return True
        return False

    def over(self, number: int) -> bool:
        """Whether no better round came for as long as one waits."""
        return number - self.best_round >= self.stopping.patience


def rounds_of(job: FitJob, own: int) -> int:
    """Return how many rounds a fit goes at most; `own` is what the estimator is set to."""
    if job.rounds is not None:
        return job.rounds
    if stops_early(job) and job.stopping is not None and job.stopping.max_rounds is not None:
        return job.stopping.max_rounds
    return own


def stops_early(job: FitJob) -> bool:
    """Whether the fit is to be stopped by validation rows."""
    return job.stopping is not None and job.rounds is None and job.X_val is not None and job.y_val is not None


def with_patience(job: FitJob, patience: int) -> FitJob:
    """Return the job with the early stopping that the caller set on the estimator, unless it was told another."""
    return job if job.stopping is not None else replace(job, stopping=EarlyStopping(patience=patience))


def named_metric(metric: str, *, lower: bool) -> str:
    """Return under what name a library's figure on validation is taken down."""
    return "validation_loss" if lower else f"validation_{metric}"


def goes_whole(model: Any, job: FitJob) -> tuple[Finding, ...]:
    """Return the tip for early stopping that was asked of an estimator without rounds."""
    if job.stopping is None:
        return ()
    return (finding("T035", f"{type(model).__name__} has no rounds that early stopping could end."),)


@dataclass(frozen=True)
class Validation:
    """Rows that stop a fit: those of classes that train rows have too."""

    X: Any
    y: Values


def validation_of(job: FitJob) -> Validation | None:
    """Return the rows that stop a fit; None where nothing is to stop it."""
    if not stops_early(job) or job.y_val is None:
        return None
    if job.task == "regression":
        return Validation(job.X_val, job.y_val)
    known = np.isin(job.y_val, np.unique(job.y))
    if known.all():
        return Validation(job.X_val, job.y_val)
    if not known.any():
        return None
    return Validation(taken(job.X_val, np.flatnonzero(known)), job.y_val[known])


def taken(X: Any, index: Any) -> Any:
    """Return those rows of an array, frame or sparse matrix."""
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


@dataclass(frozen=True)
class Coded:
    """A job whose classes are 0 to k-1.

    Attributes:
        labels: (k,) of the codes, in the caller's own words; None where they are codes already.
    """

    job: FitJob
    labels: Values | None = None


def coded(job: FitJob) -> Coded:
    """Return the job with class codes instead of labels; validation rows of unknown classes are left out."""
    if job.task == "regression":
        return Coded(job)
    labels: Values = np.unique(job.y)
    if codes_already(labels):
        return Coded(job)
    validation = validation_of(job)
    made = replace(job, y=np.searchsorted(labels, job.y), X_val=None, y_val=None)
    if validation is not None:
        made = replace(made, X_val=validation.X, y_val=np.searchsorted(labels, validation.y))
    return Coded(made, labels)


def codes_already(labels: Values) -> bool:
    """Whether sorted labels are the whole numbers 0 to k-1."""
    return bool(np.issubdtype(labels.dtype, np.integer) and np.array_equal(labels, np.arange(len(labels))))


def labelled(model: Any, labels: Values | None) -> Any:
    """Return a fitted estimator of codes as one of labels."""
    if labels is None:
        return model
    from nightshift.trainer.labelled import Labelled

    return Labelled(model, labels)


def unlabelled(model: Any) -> Any:
    """Return the library's own estimator."""
    return model.estimator if type(model).__module__ == "nightshift.trainer.labelled" else model


def balanced_weight(job: FitJob) -> Floats | None:
    """Return the weight of each row, (n,), times that of its class where classes are to weigh alike."""
    if not job.class_weight:
        return job.weight
    _, where, counts = np.unique(job.y, return_inverse=True, return_counts=True)
    weight: Floats = (len(job.y) / (len(counts) * counts))[where]
    return weight if job.weight is None else weight * job.weight


def spread_rows(X: Any, most: int = _LOOKED_AT) -> Any:
    """Return at most so many rows, spread over all."""
    n = X.shape[0]
    return X if n <= most else taken(X, np.linspace(0, n - 1, most).astype(np.int64))


def ran_away(model: Any, job: FitJob, rounds: tuple[Round, ...] = ()) -> str:
    """Return why a fitted model is of no use: losses or answers that are no numbers, or beyond all bounds."""
    if any(not np.isfinite(value) for each in rounds for value in each.metrics.values()):
        return f"the loss of {type(model).__name__} became NaN or infinite"
    answer: Callable[[Any], Any] = model.predict
    if job.task != "regression":
        if not hasattr(model, "predict_proba"):
            return ""
        answer = model.predict_proba
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = np.asarray(answer(spread_rows(job.X)), dtype=np.float64)
        except (ValueError, FloatingPointError) as error:
            return f"{type(model).__name__} cannot answer its own train rows ({first_line(error)})"
    if not np.isfinite(found).all():
        return f"{type(model).__name__} answers NaN or infinity"
    if job.task == "regression" and len(found):
        low, high = float(np.min(job.y)), float(np.max(job.y))
        spread = (high - low) or max(abs(high), 1.0)
        farthest = float(np.max(np.abs(found - (low + high) / 2)))
        if farthest > _BOUND * spread:
            return f"{type(model).__name__} answers up to {farthest:.3g} where y spreads over {spread:.3g}"
    return ""
