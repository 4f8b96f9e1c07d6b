"""What a forest that was made smaller for the target scores less: both sizes grown once more, outside the ensemble.

The larger forest never ships, so this is a trial: scikit-learn alone, both on the same training rows up to a ceiling,
both judged on the tuning rows that chose the ensemble's weights. Where nothing was made smaller nothing is grown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.trainer.gluon.forest_size import Plan, forest_of
from nightshift.trainer.tree_cost import size_mb

if TYPE_CHECKING:
    from nightshift.trainer.gluon.tabular import TrainingTable

Members = Mapping[str, Mapping[str, Any]]

#: Rows that both sizes are grown on, and judged on, at most.
MOST_ROWS = 10_000
#: Seconds for all of it; what is left of the training's time limit may be less.
MOST_S = 60.0
#: Trees grown between two looks at the clock.
_AT_ONCE = 5
#: As AutoGluon: probabilities keep this far from 0 and 1, or one sure mistake would be all that counts.
_EPSILON = 1e-7


@dataclass(frozen=True)
class _Rows:
    """What both sizes see: `(n, n_features)` without NaN, and `(n,)`."""

    train: NDArray[np.float32]
    target: NDArray[Any]
    tuning: NDArray[np.float32]
    tuning_target: NDArray[Any]
    classes: bool


@dataclass(frozen=True)
class _Grown:
    """A forest of the trial: its trees, as many as were asked for, its most leaves, its nodes, and its loss."""

    trees: int
    wanted: int
    leaves: int
    nodes: int
    loss: float

    def __str__(self) -> str:
        of = f" of {self.wanted}" if self.trees < self.wanted else ""
        shape = f"{self.trees}{of} trees of up to {self.leaves} leaves"
        return f"{self.loss:.4g} ({shape}, {size_mb(self.nodes):.3g} MB)"


def with_cost(
    plan: Plan, configured: Members, table: TrainingTable, ctx: RunContext, *, classes: bool, left_s: float
) -> Plan:
    """Return the plan with a remark that says what it costs, where it made forests smaller.

    Args:
        plan: what was fitted.
        configured: AutoGluon's hyperparameters per model type, before the plan.
        table: what the ensemble was fitted on.
        ctx: seed and threads, takes the finding; a stop ends the trial.
        classes: whether the target is a class.
        left_s: of the training's time limit, s.
    """
    if not plan.said:
        return plan
    steps = len(plan.members) + 1
    ctx.step(steps, steps, "the forests as configured, for comparison")
    rows = _rows(table, ctx.seed, classes=classes)
    said = f"{plan.said} {_cost(configured, plan.members, rows, ctx, min(MOST_S, left_s))}"
    ctx.note(finding("T015", said))
    return replace(plan, said=said)


def _cost(configured: Members, fitted: Members, rows: _Rows, ctx: RunContext, most_s: float) -> str:
    """Say what the configured forests score, and what the smaller ones do."""
    smaller = [kind for kind in configured if fitted[kind] != configured[kind]]
    end, known, unknown = time.monotonic() + most_s, [], []
    for number, kind in enumerate(smaller):
        # What is left is shared, so that the first forest cannot take the second one's time.
        until = time.monotonic() + (end - time.monotonic()) / (len(smaller) - number)
        forest = _forest(kind, fitted[kind], rows, ctx)
        ours = _grown(forest, fitted[kind], rows, ctx, until)
        if _without_trees(fitted[kind]) != _without_trees(configured[kind]):
            forest = _forest(kind, configured[kind], rows, ctx)
        larger = _grown(forest, configured[kind], rows, ctx, until)
        if ours and larger and ours.trees == ours.wanted and larger.nodes > ours.nodes:
            known.append(f"{kind} {larger} → {ours}")
        else:
            unknown.append(kind)
    metric = "log_loss" if rows.classes else "root_mean_squared_error"
    said = [f"{metric} on the tuning rows, each forest alone, grown on {len(rows.train):,} rows: {', '.join(known)}."]
    lost = f"What that costs {' and '.join(unknown)} is not known: there was too little time to grow the larger one."
    return " ".join((said if known else []) + ([lost] if unknown else []))


def _rows(table: TrainingTable, seed: int, *, classes: bool) -> _Rows:
    rng = np.random.default_rng(seed)
    train, tuning = (np.sort(rng.permutation(len(part))[:MOST_ROWS]) for part in (table.train, table.tuning))
    return _Rows(
        np.nan_to_num(table.train[train]),
        table.target[train],
        np.nan_to_num(table.tuning[tuning]),
        table.tuning_target[tuning],
        classes,
    )


def _without_trees(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes one tree: where it is the same, the larger forest begins with the smaller one's trees."""
    return {key: value for key, value in settings.items() if key != "n_estimators"}


def _forest(kind: str, settings: Mapping[str, Any], rows: _Rows, ctx: RunContext) -> Any:
    return forest_of(kind, {**settings, "warm_start": True, "n_jobs": ctx.threads}, classes=rows.classes)


def _grown(forest: Any, settings: Mapping[str, Any], rows: _Rows, ctx: RunContext, until: float) -> _Grown | None:
    """Grow a forest on, as far as the time goes; None where there is no tree."""
    wanted, trees = int(settings["n_estimators"]), len(getattr(forest, "estimators_", ()))
    while trees < wanted and time.monotonic() < until and not ctx.should_stop():
        trees = min(wanted, trees + _AT_ONCE)
        forest.set_params(n_estimators=trees).fit(rows.train, rows.target)
    if not trees:
        return None
    return _Grown(
        trees,
        wanted,
        max(tree.get_n_leaves() for tree in forest.estimators_),
        sum(tree.tree_.node_count for tree in forest.estimators_),
        _loss(forest, rows),
    )


def _loss(forest: Any, rows: _Rows) -> float:
    """Return the loss on the tuning rows, as AutoGluon counts it for its members."""
    if not rows.classes:
        return float(np.sqrt(np.mean((forest.predict(rows.tuning) - rows.tuning_target) ** 2)))
    told = np.zeros((len(rows.tuning), 2))
    # Rows of one class alone make a forest that knows no other.
    told[:, forest.classes_.astype(int)] = forest.predict_proba(rows.tuning)
    right = np.where(rows.tuning_target.astype(int) == 1, told[:, 1], told[:, 0])
    return float(-np.log(np.clip(right, _EPSILON, 1 - _EPSILON)).mean())
