"""Estimators by name, for the command line, YAML and searches."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any

from nightshift.errors import ConfigError, UnknownNameError, UsageError
from nightshift.trainer.options import Task


@dataclass(frozen=True)
class _Named:
    """An estimator for classes and one for numbers, each as "module:Class"; "" where there is none.

    Attributes:
        told: parameters that differ from the library's defaults.
        seeded: the parameter that takes the seed; "" where nothing is drawn.
        classes_told: parameters of the classifier alone.
    """

    classes: str = ""
    numbers: str = ""
    told: dict[str, Any] = field(default_factory=dict)
    seeded: str = "random_state"
    classes_told: dict[str, Any] = field(default_factory=dict)


_LINEAR, _ENSEMBLE = "sklearn.linear_model", "sklearn.ensemble"
_NAMED: dict[str, _Named] = {
    "lightgbm": _Named("lightgbm:LGBMClassifier", "lightgbm:LGBMRegressor"),
    "xgboost": _Named("xgboost:XGBClassifier", "xgboost:XGBRegressor"),
    "catboost": _Named("catboost:CatBoostClassifier", "catboost:CatBoostRegressor", seeded="random_seed"),
    "random_forest": _Named(f"{_ENSEMBLE}:RandomForestClassifier", f"{_ENSEMBLE}:RandomForestRegressor"),
    "extra_trees": _Named(f"{_ENSEMBLE}:ExtraTreesClassifier", f"{_ENSEMBLE}:ExtraTreesRegressor"),
    "gradient_boosting": _Named(f"{_ENSEMBLE}:GradientBoostingClassifier", f"{_ENSEMBLE}:GradientBoostingRegressor"),
    "hist_gradient_boosting": _Named(
        f"{_ENSEMBLE}:HistGradientBoostingClassifier", f"{_ENSEMBLE}:HistGradientBoostingRegressor"
    ),
    "decision_tree": _Named("sklearn.tree:DecisionTreeClassifier", "sklearn.tree:DecisionTreeRegressor"),
    "logistic": _Named(f"{_LINEAR}:LogisticRegression", told={"max_iter": 1_000}),
    "linear": _Named(
        f"{_LINEAR}:LogisticRegression", f"{_LINEAR}:LinearRegression", seeded="", classes_told={"max_iter": 1_000}
    ),
    "ridge": _Named(f"{_LINEAR}:RidgeClassifier", f"{_LINEAR}:Ridge"),
    "lasso": _Named(numbers=f"{_LINEAR}:Lasso"),
    "elastic_net": _Named(numbers=f"{_LINEAR}:ElasticNet"),
    "sgd": _Named(f"{_LINEAR}:SGDClassifier", f"{_LINEAR}:SGDRegressor", classes_told={"loss": "log_loss"}),
    "svm": _Named("sklearn.svm:SVC", "sklearn.svm:SVR", seeded=""),
    "knn": _Named("sklearn.neighbors:KNeighborsClassifier", "sklearn.neighbors:KNeighborsRegressor", seeded=""),
    "mlp": _Named("sklearn.neural_network:MLPClassifier", "sklearn.neural_network:MLPRegressor"),
    "naive_bayes": _Named("sklearn.naive_bayes:GaussianNB", seeded=""),
    "dummy": _Named("sklearn.dummy:DummyClassifier", "sklearn.dummy:DummyRegressor", seeded=""),
}
NAMES = tuple(sorted(_NAMED))


def named(name: str, task: Task, seed: int | None = None) -> Any:
    """Return an unfitted estimator by its name.

    Args:
        seed: None leaves it open: a training then sets its own, another one for each of `seeds` and each retry.

    Raises:
        UnknownNameError: for a name that is not known.
        UsageError: for a name that has no estimator for the task.
        ConfigError: when its library is not installed.
    """
    key = name.strip().lower().replace("-", "_")
    if key not in _NAMED:
        raise UnknownNameError("model", name, NAMES)
    entry, numbers = _NAMED[key], task == "regression"
    place = entry.numbers if numbers else entry.classes
    if not place:
        raise _wrong_task(key, numbers)
    module, _, made = place.partition(":")
    try:
        kind = getattr(importlib.import_module(module), made)
    except ImportError as error:
        what = f"model '{key}' needs {module.partition('.')[0]}, which is not installed."
        raise ConfigError(what, hint="Install the extra `train`: pip install 'nightshift[train]'") from error
    told = (
        entry.told
        | ({} if numbers else entry.classes_told)
        | ({entry.seeded: seed} if entry.seeded and seed is not None else {})
    )
    return kind(**told)


def parameters_of(model: Any) -> tuple[str, ...]:
    """Return the names of an estimator's parameters: CatBoost's `get_params` tells only those that are set."""
    taken = inspect.signature(type(model).__init__).parameters.values()
    own = {each.name for each in taken if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)} - {"self"}
    return tuple(sorted(own | set(model.get_params())))


def _wrong_task(key: str, numbers: bool) -> UsageError:
    what, other = ("numbers", "linear, ridge") if numbers else ("classes", "logistic, random_forest")
    return UsageError(f"model '{key}' is not made for {what}.", hint=f"Take another, such as {other} or lightgbm.")
