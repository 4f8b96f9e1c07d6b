"""Chooses a lighter ensemble where the one that weighs best is too large for the target, and says what that cost.

Members are fitted already; only weights are chosen anew, on the same tuning rows that chose the first ones. Of all
member sets that the target has room for, those that no larger such set contains are weighed; the best score ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from nightshift.family import RunContext
from nightshift.findings import finding
from nightshift.trainer.gluon.process import keep_in_memory
from nightshift.trainer.gluon.tabular import TabularModel, TrainingTable, quiet, ranked, tuning_frame
from nightshift.trainer.tree_cost import memory_mb, size_mb

#: Weighing a set takes about a second; with more members than this, the heaviest are dropped one by one.
_MOST_MEMBERS = 6
_STACK = "lighter"


@dataclass(frozen=True)
class _Choice:
    """An ensemble: AutoGluon's name of it, the members it may weigh, its score (larger is better) and its nodes."""

    name: str
    members: frozenset[str]
    score: float
    nodes: int


def lighter(
    model: TabularModel, table: TrainingTable, nodes: Mapping[str, int], room: int, ctx: RunContext
) -> TabularModel:
    """Return the model, with a lighter ensemble where its best one is above the room.

    Args:
        model: as fitted.
        table: what it was fitted on.
        nodes: nodes of each fitted member; members that it lacks (ensembles) cost nothing of their own.
        room: nodes that the target has room for.
        ctx: takes the finding.
    """
    trainer = model.predictor._trainer
    best = trainer.model_best
    whole = _Choice(best, _needed(trainer, best, nodes), _score(trainer, best), _cost(trainer, [best], nodes))
    if whole.nodes <= room:
        return model
    sets = _fitting_sets(trainer, nodes, room)
    with quiet():
        choices = _weighed(model, table, sets, nodes, ctx) if sets else [_lightest(trainer, nodes)]
        chosen = max(choices, key=lambda choice: (choice.score, -choice.nodes))
        for choice in choices:
            if choice != chosen and choice.name not in nodes:
                model.predictor.delete_models(models_to_delete=[choice.name], dry_run=False)
        model.predictor.set_model_best(chosen.name, save_trainer=True)
    said = _said(trainer, whole, chosen, room)
    ctx.note(finding("T015", said))
    notes = model.notes
    members = tuple(ranked(model.predictor))
    with quiet():
        # What does not answer any more need not travel with the bundle.
        model.predictor.delete_models(models_to_keep=[chosen.name], dry_run=False)
        keep_in_memory(model.predictor)
    notes = notes.model_copy(update={"best": chosen.name, "members": members, "remarks": (*notes.remarks, said)})
    return replace(model, notes=notes)


def _needed(trainer: Any, name: str, nodes: Mapping[str, int]) -> frozenset[str]:
    """Return the members that a model needs to answer, itself included."""
    return frozenset(part for part in trainer.get_minimum_model_set(name) if part in nodes)


def _cost(trainer: Any, names: Sequence[str], nodes: Mapping[str, int]) -> int:
    needed = frozenset[str]().union(*(_needed(trainer, name, nodes) for name in names))
    return sum(nodes[part] for part in needed)


def _score(trainer: Any, name: str) -> float:
    return float(trainer.get_model_attribute(name, "val_score"))


def _fitting_sets(trainer: Any, nodes: Mapping[str, int], room: int) -> list[tuple[str, ...]]:
    """Return the member sets within the room that are not part of another one."""
    names = sorted(nodes, key=lambda name: nodes[name])
    if len(names) > _MOST_MEMBERS:
        sets = [tuple(names[:count]) for count in range(len(names), 0, -1)]
    else:
        sets = [chosen for count in range(len(names), 0, -1) for chosen in combinations(names, count)]
    fitting: list[tuple[str, ...]] = []
    for chosen in sets:
        inside = any(set(chosen) <= set(larger) for larger in fitting)
        if not inside and _cost(trainer, chosen, nodes) <= room:
            fitting.append(chosen)
    return fitting


def _weighed(
    model: TabularModel,
    table: TrainingTable,
    sets: Sequence[Sequence[str]],
    nodes: Mapping[str, int],
    ctx: RunContext,
) -> list[_Choice]:
    """Let AutoGluon weigh each set on the tuning rows."""
    import pandas as pd

    trainer, learner = model.predictor._trainer, model.predictor._learner
    features = learner.transform_features(tuning_frame(table))
    target = learner.label_cleaner.transform(pd.Series(table.tuning_target))
    names = sorted({name for chosen in sets for name in chosen})
    told = trainer.get_model_pred_proba_dict(X=features, models=names)
    choices = []
    for number, chosen in enumerate(sets, 1):
        members = list(chosen)
        stacked = trainer.get_inputs_to_stacker(
            X=features, base_models=members, model_pred_proba_dict=told, use_orig_features=False
        )
        made = trainer.generate_weighted_ensemble(
            X=stacked,
            y=target,
            level=1 + max(trainer.get_model_level(name) for name in members),
            base_model_names=members,
            stack_name=_STACK,
            name_suffix=f"_Lighter{number}",
            check_if_best=False,
            total_resources={"num_cpus": ctx.threads, "num_gpus": 0},
        )
        choices += [
            _Choice(name, frozenset(members), _score(trainer, name), _cost(trainer, [name], nodes)) for name in made
        ]
    return choices


def _lightest(trainer: Any, nodes: Mapping[str, int]) -> _Choice:
    name = min(nodes, key=lambda name: _cost(trainer, [name], nodes))
    return _Choice(name, frozenset([name]), _score(trainer, name), _cost(trainer, [name], nodes))


def _said(trainer: Any, whole: _Choice, chosen: _Choice, room: int) -> str:
    """Say what ships, what it weighs, and what it cost on the tuning rows."""
    shipped = _needed(trainer, chosen.name, dict.fromkeys(whole.members | chosen.members, 0))
    without = ", ".join(sorted(whole.members - shipped)) or "no member"
    metric = trainer.eval_metric.name
    text = (
        f"The ensemble that weighs best would be about {size_mb(whole.nodes):.1f} MB and hold "
        f"{memory_mb(whole.nodes):.0f} MB of memory, the target has room for {memory_mb(room):.0f} MB; shipped without "
        f"{without}: about {size_mb(chosen.nodes):.1f} MB, {memory_mb(chosen.nodes):.0f} MB of memory. "
        f"{metric} on the tuning rows: {abs(whole.score):.4g} → {abs(chosen.score):.4g}."
    )
    return text if chosen.nodes <= room else f"{text} No member alone is small enough: this is the lightest."
