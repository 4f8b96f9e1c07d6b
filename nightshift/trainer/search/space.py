"""What a search may choose: a range or a list for each setting, and what is usual for an estimator."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator

from nightshift.errors import ConfigError, nearest
from nightshift.validation import validated

if TYPE_CHECKING:
    import optuna

_RATE = {"low": 0.01, "high": 0.3, "log": True}
_SHARE = {"low": 0.5, "high": 1.0}
_PENALTY = {"low": 1e-4, "high": 10.0, "log": True}
_FOREST = {"max_features": ["sqrt", 0.3, 0.6, 1.0], "min_samples_leaf": {"low": 1, "high": 20, "log": True}}
_ALPHA = {"alpha": {"low": 1e-4, "high": 100.0, "log": True}}
#: Begin of a class's name -> parameter -> what it may be. The longest begin that fits is taken.
USUAL: dict[str, dict[str, Any]] = {
    "LGBM": {
        "learning_rate": _RATE,
        "num_leaves": {"low": 7, "high": 127, "log": True},
        "min_child_samples": {"low": 5, "high": 100, "log": True},
        "colsample_bytree": _SHARE,
        "reg_lambda": _PENALTY,
    },
    "XGB": {
        "learning_rate": _RATE,
        "max_depth": {"low": 3, "high": 10},
        "min_child_weight": {"low": 0.5, "high": 20.0, "log": True},
        "colsample_bytree": _SHARE,
        "reg_lambda": _PENALTY,
    },
    "CatBoost": {"learning_rate": _RATE, "depth": {"low": 4, "high": 9}, "l2_leaf_reg": _PENALTY},
    "RandomForest": _FOREST,
    "ExtraTrees": _FOREST,
    "HistGradientBoosting": {
        "learning_rate": _RATE,
        "max_leaf_nodes": {"low": 7, "high": 127, "log": True},
        "min_samples_leaf": {"low": 5, "high": 100, "log": True},
        "l2_regularization": _PENALTY,
    },
    "GradientBoosting": {"learning_rate": _RATE, "max_depth": {"low": 2, "high": 6}, "subsample": _SHARE},
    "DecisionTree": {"max_depth": {"low": 2, "high": 20}, "min_samples_leaf": {"low": 1, "high": 50, "log": True}},
    "LogisticRegression": {"C": {"low": 1e-3, "high": 100.0, "log": True}},
    "Ridge": _ALPHA,
    "Lasso": _ALPHA,
    "ElasticNet": {**_ALPHA, "l1_ratio": {"low": 0.05, "high": 0.95}},
    "SGD": {"alpha": {"low": 1e-6, "high": 1e-1, "log": True}},
    "SVC": {"C": {"low": 1e-2, "high": 100.0, "log": True}, "gamma": {"low": 1e-4, "high": 1.0, "log": True}},
    "SVR": {"C": {"low": 1e-2, "high": 100.0, "log": True}, "gamma": {"low": 1e-4, "high": 1.0, "log": True}},
    "KNeighbors": {"n_neighbors": {"low": 1, "high": 50, "log": True}, "weights": ["uniform", "distance"]},
    "MLP": {
        "alpha": {"low": 1e-6, "high": 1e-1, "log": True},
        "learning_rate_init": {"low": 1e-4, "high": 1e-2, "log": True},
    },
}


class Range(BaseModel):
    """What one setting may be: numbers between two, or one of a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[bool | int | float | str | None, ...] = ()

    @model_validator(mode="after")
    def _says_one_thing(self) -> Range:
        bounded = self.low is not None and self.high is not None and self.low < self.high
        if bool(self.choices) == bounded or (self.log and not (self.low or 0) > 0) or (self.log and self.step):
            raise ValueError("expected low < high (low > 0 with log, no step with log), or a list of choices")
        return self

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Draw a value for a trial."""
        if self.choices:
            return trial.suggest_categorical(name, list(self.choices))
        low, high = float(self.low or 0.0), float(self.high or 0.0)
        if low.is_integer() and high.is_integer() and not isinstance(self.low, bool) and (self.step or 1) >= 1:
            return trial.suggest_int(name, int(low), int(high), log=self.log, step=int(self.step or 1))
        return trial.suggest_float(name, low, high, log=self.log, step=self.step)


def ranges(space: Mapping[str, Any], known: Collection[str], owner: str, *, held: str = "") -> dict[str, Range]:
    """Check what is searched over.

    Args:
        space: setting -> `{low, high, log, step}`, a list of values, or a `Range`.
        known: settings that there are.
        owner: of them, for an error.
        held: how a setting is held at one value, with `{name}` and `{value}`.

    Raises:
        ConfigError: for a setting that there is not, or a range that is none.
    """
    for name in space:
        if name not in known:
            raise ConfigError(f"space: {owner} has no setting '{name}'.", hint=nearest(name, known))
    return {name: _range(name, span, held) for name, span in space.items()}


def _range(name: str, span: Any, held: str) -> Range:
    if isinstance(span, Range):
        return span
    if not isinstance(span, Mapping | list | tuple):
        hint = held.format(name=name, value=span)
        raise ConfigError(f"space: {name}: expected {{low, high}} or a list of values, got {span!r}.", hint=hint)
    told: Mapping[str, Any] = span if isinstance(span, Mapping) else {"choices": span}
    return validated(Range, told, f"space: {name}")


def usual_space(name: str) -> dict[str, Any]:
    """Return what is usual for an estimator, by its class's name; empty where nothing is known of it."""
    fitting = [begin for begin in USUAL if name.startswith(begin)]
    return dict(USUAL[max(fitting, key=len)]) if fitting else {}
