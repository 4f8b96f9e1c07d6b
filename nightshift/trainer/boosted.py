"""Boosted trees by LightGBM itself: one model, stopped early, no larger than the target has room for.

AutoGluon's ensembles are for machines; a car's computer gets one booster, whose every number is said in the config.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError, InterruptedTraining
from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.trainer.samples import varies
from nightshift.trainer.tree_cost import room_nodes

if TYPE_CHECKING:
    import lightgbm

Floats = NDArray[np.float32]
Objective = Literal["squared", "absolute", "kinds"]

_MODEL_FILE = "model.txt"
_OBJECTIVES = {"squared": "regression", "absolute": "regression_l1", "kinds": "multiclass"}
_METRICS = {"squared": "l2", "absolute": "l1", "kinds": "multi_logloss"}
_TOLD_EVERY = 25
#: A tree of few windows may have so many leaves at least.
_LEAVES_OF_FEW = 20


@dataclass(frozen=True)
class BoostedSettings:
    """What a booster is told.

    Attributes:
        n_estimators: rounds at most; each adds one tree, or one of each kind.
        tree_depth: of a tree, at most.
        learning_rate: share of a tree that is added.
        max_leaves: of a tree.
        min_leaf_rows: fewest windows in a leaf; fewer where so many would leave hardly a split.
        row_share: share of the windows that a round sees.
        feature_share: share of the features that a tree sees.
        l2: penalty of leaf values.
        patience: rounds without a better figure on the tuning windows after which training ends.
        seed: of the draws.
    """

    n_estimators: int
    tree_depth: int
    learning_rate: float
    max_leaves: int
    min_leaf_rows: int
    row_share: float
    feature_share: float
    l2: float
    patience: int
    seed: int

    def parameters(self, objective: Objective, n_kinds: int, n_windows: int, threads: int) -> dict[str, Any]:
        """Return them under LightGBM's names; results do not depend on the number of threads."""
        least = min(self.min_leaf_rows, max(2, n_windows // _LEAVES_OF_FEW))
        return {
            "objective": _OBJECTIVES[objective],
            "metric": _METRICS[objective],
            "max_depth": self.tree_depth,
            "learning_rate": self.learning_rate,
            "num_leaves": self.max_leaves,
            "min_data_in_leaf": least,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1 if self.row_share < 1.0 else 0,
            "feature_fraction": self.feature_share,
            "lambda_l2": self.l2,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads,
            "verbosity": -1,
            **({"num_class": n_kinds} if objective == "kinds" else {}),
        }


@dataclass(frozen=True)
class BoostedTable:
    """Windows' features and targets.

    Attributes:
        columns: `(f,)` names of the features.
        train: float32 `(n, f)`; NaN = missing.
        target: `(n,)` number, or code of a kind.
        weight: `(n,)` of the training windows, or None for equal ones.
        tuning: `(m, f)`, for early stopping alone.
        tuning_target: `(m,)`.
    """

    columns: tuple[str, ...]
    train: Floats
    target: NDArray[Any]
    weight: NDArray[np.float64] | None
    tuning: Floats
    tuning_target: NDArray[Any]


@dataclass(frozen=True)
class Boosted:
    """A fitted booster, cut to its best round.

    Attributes:
        booster: holds the kept rounds alone.
        rounds: kept.
        rounds_tried: before training ended.
        tuning_loss: on the tuning windows at the kept round; log loss, mean square or mean size of the error.
    """

    booster: lightgbm.Booster
    rounds: int
    rounds_tried: int
    tuning_loss: float

    def answer(self, features: Floats) -> NDArray[np.float64]:
        """Return what it says of windows' features `(n, f)`: `(n,)` numbers, or `(n, k)` probabilities."""
        shape = (0, self.booster.num_model_per_iteration())
        if not len(features):
            return np.zeros(shape if shape[1] > 1 else 0)
        return np.asarray(self.booster.predict(features, num_threads=1), np.float64)

    def importance(self) -> NDArray[np.float64]:
        """Return how much each feature lowered the training loss, as a share of all, `(f,)`."""
        gain = np.asarray(self.booster.feature_importance("gain"), np.float64)
        return gain / max(float(gain.sum()), 1e-12)

    def save(self, folder: Path) -> None:
        """Write LightGBM's own text file."""
        (folder / _MODEL_FILE).write_text(self.booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, rounds_tried: int, tuning_loss: float) -> Boosted:
        """Read what `save` wrote."""
        booster = _from_text((folder / _MODEL_FILE).read_text(encoding="utf-8"))
        return cls(booster, booster.current_iteration(), rounds_tried, tuning_loss)


def fit_boosted(
    table: BoostedTable, settings: BoostedSettings, ctx: RunContext, *, objective: Objective, n_kinds: int = 1
) -> Boosted:
    """Fit until the tuning windows get no better, the rounds are used up, or the time is.

    Args:
        table: what to learn from.
        settings: how.
        ctx: limits, time, threads; takes findings and progress.
        objective: `squared` or `absolute` error of a number, or `kinds`.
        n_kinds: number of kinds.

    Raises:
        DataError: when no feature has two different values.
        InterruptedTraining: when asked to stop.
    """
    if not varies(table.train):
        raise DataError("every input is missing, or stands still, in the train part.", hint="Check the sensors.")
    import lightgbm

    parameters = settings.parameters(objective, n_kinds, len(table.train), ctx.threads)
    train = lightgbm.Dataset(table.train, table.target, weight=table.weight, params=parameters)
    booster = lightgbm.Booster(parameters, train)
    booster.add_valid(lightgbm.Dataset(table.tuning, table.tuning_target, reference=train, params=parameters), "tuning")
    best, loss, tried = _boost(booster, settings, ctx)
    kept = _fitting(booster, best, ctx)
    cut = _from_text(booster.model_to_string(num_iteration=kept))
    return Boosted(cut, kept, tried, loss)


def _boost(booster: lightgbm.Booster, settings: BoostedSettings, ctx: RunContext) -> tuple[int, float, int]:
    """Return the best round, its loss on the tuning windows, and the rounds tried."""
    began, best, lowest, tried = time.monotonic(), 0, np.inf, 0
    while tried < settings.n_estimators and tried - best < settings.patience:
        if ctx.should_stop():
            raise InterruptedTraining("training was stopped.", hint="Boosted trees start anew next time.")
        if tried and time.monotonic() - began > ctx.time_limit_s:
            what = f"The time limit of {ctx.time_limit_s:g} s ended training after {tried} rounds."
            ctx.note(finding("T004", what, remedy="Raise time_limit_s, or learning_rate."))
            break
        nothing_left = booster.update()
        tried += 1
        loss = float(booster.eval_valid()[0][2])
        if loss < lowest:
            best, lowest = tried, loss
        if tried % _TOLD_EVERY == 0 or tried == settings.n_estimators:
            told = f"Round {tried}/{settings.n_estimators} · val {loss:.4f} · best {lowest:.4f} at {best}"
            ctx.step(tried, settings.n_estimators, told, val_loss=loss)
        if nothing_left:
            break
    return max(best, 1), lowest, tried


def _fitting(booster: lightgbm.Booster, rounds: int, ctx: RunContext) -> int:
    """Return how many of the rounds the target has room for."""
    room = room_nodes(ctx.limits.size_mb, ctx.limits.memory_mb)
    per_round = booster.num_model_per_iteration()
    trees = booster.dump_model(num_iteration=rounds)["tree_info"]
    nodes = np.array([2 * tree["num_leaves"] - 1 for tree in trees]).reshape(-1, per_round).sum(axis=1).cumsum()
    kept = max(1, int(np.searchsorted(nodes, room, side="right")))
    if kept < rounds:
        what = f"{kept} of {rounds} rounds are kept: {int(nodes[-1])} nodes, the target has room for {room}."
        ctx.note(finding("T015", what, remedy="Raise learning_rate, lower max_leaves, or raise the target's limits."))
    return min(kept, rounds)


def _from_text(text: str) -> lightgbm.Booster:
    import lightgbm

    return lightgbm.Booster(model_str=text)
