"""Holds an ensemble within the target's size and memory before it is fitted: forests grow only as far as there is room.

Nodes are counted at their most: every round taken, every leaf grown that the rows allow. Where that is too much, a few
trees of each forest are grown to see how large they really become: on data that part easily, much smaller. Boosted
members stop early most of the time, so that on paper they may fill no more than half of the room; what turns out too
large after the fit is for `trainer.gluon.lighter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.trainer.tree_cost import WEIGHT_NODES, memory_mb, size_mb

_FORESTS = ("RF", "XT")
#: Trees are given up down to this many before leaves are: the hundredth tree adds less than the hundredth leaf.
_FEWEST_TREES = 50
_FEWEST_LEAVES = 2
_BOOSTED_SHARE = 0.5
_NET_WIDTH, _NET_LAYERS = 128, 4
#: Trees grown to see how many leaves they take, and how many more the largest of a forest may have.
_TRIED_TREES, _LARGEST = 3, 1.2

#: Model type and its settings -> leaves of its trees.
Trial = Callable[[str, Mapping[str, Any]], int]


@dataclass(frozen=True)
class Grown:
    """What bounds the growth of trees.

    Attributes:
        n_rows: of the training table.
        n_features: of the training table.
        copies: models kept of each member: folds, in each layer.
        leaves: leaves that a tree of a forest was seen to take, by model type.
    """

    n_rows: int
    n_features: int
    copies: int = 1
    leaves: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Members as they will be fitted.

    Attributes:
        members: AutoGluon's hyperparameters per model type.
        nodes: most nodes each may have.
        said: what was made smaller, for people; "" where nothing was.
    """

    members: Mapping[str, Mapping[str, Any]]
    nodes: Mapping[str, int]
    said: str = ""

    @property
    def most_nodes(self) -> int:
        """Nodes of the whole ensemble at most."""
        return sum(self.nodes.values())


def planned(members: Mapping[str, Mapping[str, Any]], table: Grown, room: int, trial: Trial) -> Plan:
    """Return the members with forests small enough for the room.

    Args:
        members: AutoGluon's hyperparameters per model type.
        table: what they are fitted on.
        room: nodes that the target has room for.
        trial: tells the leaves of a forest's trees; asked only where the most there can be is too much.
    """
    forests = [kind for kind in members if kind in _FORESTS]
    nodes = {kind: most_nodes(kind, settings, table) for kind, settings in members.items()}
    if _wanted(nodes, forests) > _allowed(nodes, forests, room):
        table = replace(table, leaves={kind: trial(kind, members[kind]) for kind in forests})
        nodes = {kind: most_nodes(kind, settings, table) for kind, settings in members.items()}
    wanted, allowed = _wanted(nodes, forests), _allowed(nodes, forests, room)
    if wanted <= allowed:
        return Plan(members, nodes)
    smaller = {kind: _smaller(kind, members[kind], table, allowed * nodes[kind] // wanted) for kind in forests}
    held = nodes | {kind: most_nodes(kind, settings, table) for kind, settings in smaller.items()}
    changes = ", ".join(f"{kind} {_shape(members[kind])} → {_shape(smaller[kind])}" for kind in forests)
    said = (
        f"Forests were made smaller before the fit, to fit the target: {changes}; the ensemble as configured could "
        f"reach {size_mb(sum(nodes.values())):.1f} MB and hold {memory_mb(sum(nodes.values())):.0f} MB of memory."
    )
    return Plan({**members, **smaller}, held, said)


def _wanted(nodes: Mapping[str, int], forests: Sequence[str]) -> int:
    return sum(nodes[kind] for kind in forests)


def _allowed(nodes: Mapping[str, int], forests: Sequence[str], room: int) -> int:
    others = sum(nodes.values()) - _wanted(nodes, forests)
    return max(room - others, int(room * (1 - _BOOSTED_SHARE)))


def _shape(settings: Mapping[str, Any]) -> str:
    return f"{settings['n_estimators']} trees of {settings['max_leaf_nodes']} leaves"


def _smaller(kind: str, settings: Mapping[str, Any], table: Grown, nodes: int) -> dict[str, Any]:
    """Return a forest of at most so many nodes: fewer trees first, then fewer leaves."""
    trees, leaves = int(settings["n_estimators"]), _forest_leaves(kind, settings, table)
    per_tree = (2 * leaves - 1) * table.copies
    fewer = max(nodes // per_tree, min(trees, _FEWEST_TREES))
    leaves = min(leaves, max(_FEWEST_LEAVES, (nodes // (fewer * table.copies) + 1) // 2))
    return {**settings, "n_estimators": fewer, "max_leaf_nodes": leaves}


def most_nodes(kind: str, settings: Mapping[str, Any], table: Grown) -> int:
    """Return how many nodes a member can have at most, over all its copies; a network's weights count as nodes."""
    if kind in _FORESTS:
        one = int(settings["n_estimators"]) * (2 * _forest_leaves(kind, settings, table) - 1)
    elif kind == "NN_TORCH":
        width = int(settings.get("hidden_size", _NET_WIDTH))
        inner = int(settings.get("num_layers", _NET_LAYERS)) - 1
        one = int(width * (table.n_features + inner * width + 2) * WEIGHT_NODES)
    else:
        one = _boosted(kind, settings, table)
    return one * table.copies


def _forest_leaves(kind: str, settings: Mapping[str, Any], table: Grown) -> int:
    least = float(settings.get("min_samples_leaf", 1))
    least = least if least >= 1 else max(1.0, least * table.n_rows)
    grown = min(table.n_rows // least, table.leaves.get(kind, table.n_rows))
    return max(1, min(int(settings["max_leaf_nodes"]), int(grown)))


def _boosted(kind: str, settings: Mapping[str, Any], table: Grown) -> int:
    if kind == "GBM":
        fewest = max(1, int(settings.get("min_data_in_leaf", 20)))
        leaves = max(1, min(int(settings.get("num_leaves", 31)), table.n_rows // fewest))
        return int(settings.get("num_boost_round", 10_000)) * (2 * leaves - 1)
    depth = int(settings.get("max_depth" if kind == "XGB" else "depth", 6))
    rounds = int(settings.get("n_estimators" if kind == "XGB" else "iterations", 10_000))
    return rounds * ((1 << (depth + 1)) - 1)


def leaves_grown(
    kind: str, settings: Mapping[str, Any], features: NDArray[np.float32], target: NDArray[Any], *, classes: bool
) -> int:
    """Grow a few trees of a forest and return about the most leaves that one of many would have.

    Args:
        kind: `RF` or `XT`.
        settings: scikit-learn's parameters of the forest.
        features: `(n, n_features)`; NaN becomes 0, as AutoGluon fills it for its forests.
        target: `(n,)`.
        classes: whether the target is a class.
    """
    forest = forest_of(kind, {**settings, "n_estimators": _TRIED_TREES}, classes=classes)
    forest.fit(np.nan_to_num(features), target)
    return int(np.ceil(_LARGEST * max(tree.get_n_leaves() for tree in forest.estimators_)))


def forest_of(kind: str, settings: Mapping[str, Any], *, classes: bool) -> Any:
    """Return scikit-learn's forest as AutoGluon would make it, not fitted; AutoGluon's own settings are left out."""
    from sklearn import ensemble

    names = {"RF": "RandomForest", "XT": "ExtraTrees"}
    make = getattr(ensemble, f"{names[kind]}{'Classifier' if classes else 'Regressor'}")
    known = make().get_params()
    return make(**{key: value for key, value in settings.items() if key in known})
