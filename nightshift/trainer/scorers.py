"""Which figures are reckoned: scikit-learn's names and scorers, and the usual ones of each task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from nightshift.errors import UnknownNameError, UsageError
from nightshift.trainer.options import Task

USUAL: dict[Task, tuple[str, ...]] = {
    "binary": ("f1", "accuracy", "balanced_accuracy", "roc_auc", "pr_auc"),
    "multiclass": ("f1_macro", "accuracy", "balanced_accuracy", "roc_auc", "pr_auc"),
    "regression": ("r2", "mae", "rmse"),
}
#: Place of the positive class, which f1, precision, recall, areas and thresholds are about: of two the second in order.
POSITIVE = 1
_COUNTED = ("f1", "precision", "recall")
_AVERAGES = ("macro", "micro", "weighted")
RANKED = {"roc_auc": "roc_auc", "roc_auc_ovr": "roc_auc", "pr_auc": "pr_auc", "average_precision": "pr_auc"}
_OF_CLASSES = {
    *_COUNTED,
    *(f"{name}_{average}" for name in _COUNTED for average in _AVERAGES),
    *RANKED,
    "accuracy",
    "balanced_accuracy",
}
_OF_NUMBERS = {"r2", "mae", "rmse"}
#: How scikit-learn's names of metrics of numbers are told from those of classes.
_ALSO_OF_NUMBERS = {"explained_variance", "d2_absolute_error_score"}
_WORDS_OF_NUMBERS = ("_error", "_deviance")
#: Scikit-learn's metrics that know two classes alone.
_OF_TWO = {*_COUNTED, "jaccard", "positive_likelihood_ratio", "neg_negative_likelihood_ratio"}
#: Errors; scikit-learn's names of them begin with neg_ and are greater where they are better.
_LOWER_IS_BETTER = frozenset({"mae", "rmse"})


@dataclass(frozen=True)
class Scorers:
    """What is reckoned from a prediction.

    Attributes:
        primary: decides what is better.
        names: of all, the primary first.
        given: the caller's own, by name: called as `scorer(estimator, X, y)`.
    """

    primary: str
    names: tuple[str, ...]
    given: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def greater_is_better(self) -> bool:
        """Of the primary metric."""
        return self.primary not in _LOWER_IS_BETTER


def scorers_of(scoring: Any, task: Task) -> Scorers:
    """Return the metrics that are asked for, and the task's usual ones beside them.

    Args:
        scoring: None, the name of a scikit-learn scorer, several, a callable, or a mapping of names to either; the
            first decides.
        task: what y is.

    Raises:
        UnknownNameError: for a name that is not known.
        UsageError: for a metric of another task.
    """
    asked: dict[str, Any] = {}
    for name, scorer in _pairs(scoring):
        if isinstance(scorer, str):
            _known(scorer, task)
        else:
            _a_scorer(scorer)
        asked[name] = scorer
    names = tuple(dict.fromkeys((*asked, *USUAL[task])))
    given = {name: scorer if callable(scorer) else _sklearns(scorer) for name, scorer in asked.items()}
    plain = {name for name, scorer in asked.items() if isinstance(scorer, str) and name == scorer and _ours(name, task)}
    return Scorers(names[0], names, {name: scorer for name, scorer in given.items() if name not in plain})


def _pairs(scoring: Any) -> list[tuple[str, Any]]:
    """Return (name, scorer) of whatever form scoring has."""
    if scoring is None:
        return []
    if isinstance(scoring, Mapping):
        return [(str(name), scorer) for name, scorer in scoring.items()]
    several = sorted(scoring, key=str) if isinstance(scoring, set | frozenset) else scoring  # a set has no first
    several = several if isinstance(several, list | tuple) else [several]
    return [(one if isinstance(one, str) else _name_of(one), one) for one in several]


def _name_of(scorer: Any) -> str:
    inner = getattr(scorer, "_score_func", scorer)
    return str(getattr(inner, "__name__", type(scorer).__name__))


def _a_scorer(scorer: Any) -> None:
    """Refuse what is no scorer, such as one of scikit-learn's metrics: it would be found out after the fit."""
    if not callable(scorer):
        raise UsageError(f"scoring: expected names or callables scorer(estimator, X, y), got {scorer!r}.")
    if inspect.isfunction(scorer) and scorer.__module__.startswith("sklearn.metrics"):
        name = scorer.__name__
        raise UsageError(
            f"scoring: expected scorer(estimator, X, y), got the metric {name}(y_true, y_pred).",
            hint=f"Give its name as a scorer, or sklearn.metrics.make_scorer(sklearn.metrics.{name}).",
        )


def positive_of(classes: tuple[Any, ...]) -> Any:
    """Return the positive one of two classes, in sorted order; None for more, and for numbers."""
    return classes[POSITIVE] if len(classes) == 2 else None


def for_positive(scorer: Any, classes: tuple[Any, ...]) -> Callable[..., Any]:
    """Return one of scikit-learn's scorers so that of two classes it scores the positive one.

    By itself it scores the class 1, which may be the first one, or none. One that was made with `pos_label` keeps it.
    """
    asks = "pos_label" in inspect.signature(scorer._score_func).parameters
    if len(classes) != 2 or not asks or "pos_label" in scorer._kwargs:
        return cast("Callable[..., Any]", scorer)
    told = {**scorer._kwargs, "pos_label": positive_of(classes)}
    return cast("Callable[..., Any]", type(scorer)(scorer._score_func, scorer._sign, told, scorer._response_method))


def _ours(name: str, task: Task) -> bool:
    return name in (_OF_NUMBERS if task == "regression" else _OF_CLASSES)


def _of_numbers(name: str) -> bool:
    return name in _OF_NUMBERS | _ALSO_OF_NUMBERS or any(word in name for word in _WORDS_OF_NUMBERS)


def _known(name: str, task: Task) -> None:
    """Refuse a name that is not known, or of another task."""
    if _ours(name, task) and not (name in _OF_TWO and task == "multiclass"):
        return
    if name not in _OF_CLASSES | _OF_NUMBERS:
        from sklearn.metrics import get_scorer_names

        if name not in get_scorer_names():
            raise UnknownNameError("scoring", name, {*get_scorer_names(), *_OF_CLASSES, *_OF_NUMBERS})
    usual = f"The usual ones here: {', '.join(USUAL[task])}."
    if _of_numbers(name) != (task == "regression"):
        wanted, has = ("numbers", "classes") if _of_numbers(name) else ("classes", "numbers")
        raise UsageError(f"scoring='{name}' is for {wanted}, y holds {has}.", hint=usual)
    if name in _OF_TWO and task == "multiclass":
        averaged = "_likelihood_" not in name
        raise UsageError(
            f"scoring='{name}' is for two classes, y has more.",
            hint=f"Give '{name}_macro' or '{name}_weighted'." if averaged else usual,
        )
    if name.endswith("_samples"):
        raise UsageError(f"scoring='{name}' is for several labels a row, y has one.", hint=usual)


def _sklearns(name: str) -> Callable[..., Any]:
    """Return a scikit-learn scorer by its name; ours under another name have none and are told by their own."""
    from sklearn.metrics import get_scorer

    renamed = {"pr_auc": "average_precision", "mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error"}
    scorer: Callable[..., Any] = get_scorer(renamed.get(name, name))
    return scorer
