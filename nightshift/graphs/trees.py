"""Trees of LightGBM, XGBoost, CatBoost and scikit-learn forests, as ONNX tree nodes.

Each library's own dump is read straight into arrays, because a converter must route every float32 row as the library
does: onnxmltools rounds LightGBM's double thresholds to the nearest float32, which sends rows on a threshold the wrong
way. Every split becomes `x <= threshold` with a float32 threshold:

- LightGBM and scikit-learn compare `x <= t` in double: `t` is floored to float32, which is exact for float32 `x`.
- XGBoost compares `x < t` in float32: `x <= the float32 just below t`.
- CatBoost compares `x > border` in float32: the false side of `x <= border`.

NaN follows `nodes_missing_value_tracks_true`. One `TreeEnsembleRegressor` holds all folds of a bagged model, and its
feature ids point into the caller's columns, so that no Gather is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.graphs.build import ELEMENT_TYPES

if TYPE_CHECKING:
    from nightshift.graphs.build import Graph

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
#: How summed leaves become a prediction: `mean` divides by the number of trees.
Link = Literal["identity", "sigmoid", "softmax", "mean"]

LEAF = -1


@dataclass(frozen=True)
class Tree:
    """One binary tree as parallel arrays over its nodes; node 0 is the root.

    Attributes:
        feature: `(n,)` column index a split reads; unused at a leaf.
        threshold: `(n,)` float32; a row goes left when `x <= threshold`.
        left: `(n,)` node index, -1 at a leaf.
        right: `(n,)` node index, -1 at a leaf.
        nan_left: `(n,)` whether NaN goes left.
        value: `(n, k)` what a leaf adds to the targets `target .. target + k - 1`.
        target: the first target this tree adds to.
    """

    feature: Ints
    threshold: NDArray[np.float32]
    left: Ints
    right: Ints
    nan_left: NDArray[np.bool_]
    value: Floats
    target: int = 0


@dataclass(frozen=True)
class TreeModel:
    """A fitted tree model: trees, offset per target, and how their sum becomes the prediction.

    Attributes:
        trees: never empty of nodes; a tree without a split is one leaf.
        base: `(n_targets,)` added to the summed leaves, before the link.
        link: applied to `base + sum`.
        zero_is_missing: whether the model reads an exact 0 as missing (XGBoost fed with sparse rows).
        sums_in_double: whether the library sums leaves in double; XGBoost sums in float32, tree after tree, as
            onnxruntime does.
    """

    trees: Sequence[Tree]
    base: Floats
    link: Link
    zero_is_missing: bool = False
    sums_in_double: bool = True


def floor_float32(values: Floats) -> NDArray[np.float32]:
    """Return the largest float32 not above each value, so that `x <= t` keeps its truth for every float32 `x`."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > values, below, nearest)


def add_tree_models(graph: Graph, features: str, models: Sequence[TreeModel]) -> str:
    """Add models of one kind (the folds of a bag) as a single tree node, each with its own link.

    Args:
        graph: receives the nodes.
        features: float32 value `(batch, n_columns)` that the trees' feature indices point into.
        models: same link, same number of targets.

    Returns:
        A double value `(batch, len(models) * n_targets)`, fold after fold.
    """
    first = models[0]
    if first.zero_is_missing:
        features = _zero_to_nan(graph, features)
    n_targets = len(first.base)
    if first.link == "identity" and first.sums_in_double:
        models = [_centred(model) for model in models]
    trees = [
        replace(tree, target=tree.target + fold * n_targets)
        for fold, model in enumerate(models)
        for tree in model.trees
    ]
    total = graph.add(
        "TreeEnsembleRegressor",
        features,
        domain="ai.onnx.ml",
        **_attributes(trees, n_targets * len(models)),
    )
    # The links run in double: float32 would add its own rounding to every fold, and the tensors are tiny.
    total = graph.add("Cast", total, to=ELEMENT_TYPES["float64"])
    base = np.concatenate([model.base for model in models])
    if base.any():
        total = graph.add("Add", total, graph.const(base, "float64"))
    return _link(graph, total, first.link, n_targets, [len(model.trees) for model in models])


def _link(graph: Graph, total: str, link: Link, n_targets: int, tree_counts: Sequence[int]) -> str:
    if link == "sigmoid":
        return graph.add("Sigmoid", total)
    if link == "mean":
        # Dividing after the sum keeps votes exact: 25 of 50 trees is 0.5, and a tie stays a tie.
        return graph.add("Div", total, graph.const(np.repeat(tree_counts, n_targets), "float64"))
    if link == "softmax":
        folds = len(tree_counts)
        if folds == 1:
            return graph.add("Softmax", total, axis=-1)
        by_fold = graph.add("Reshape", total, graph.const([-1, folds, n_targets], "int64"))
        flat = graph.const([-1, folds * n_targets], "int64")
        return graph.add("Reshape", graph.add("Softmax", by_fold, axis=-1), flat)
    return total


def _zero_to_nan(graph: Graph, features: str) -> str:
    is_zero = graph.add("Equal", features, graph.const(0.0, "float32"))
    return graph.add("Where", is_zero, graph.const(np.nan, "float32"), features)


def _centred(model: TreeModel) -> TreeModel:
    """Move each tree's mean leaf into the base, so that float32 sums are of small numbers.

    onnxruntime sums leaves in float32; a target around 10,000 would otherwise lose digits at every tree.
    """
    base = model.base.copy()
    trees = []
    for tree in model.trees:
        is_leaf = tree.left == LEAF
        mean = tree.value[is_leaf].mean(axis=0)
        base[tree.target : tree.target + len(mean)] += mean
        trees.append(replace(tree, value=tree.value - mean))
    return replace(model, trees=trees, base=base)


def _attributes(trees: Sequence[Tree], n_targets: int) -> dict[str, Any]:
    """Lay trees out as the attribute lists of one TreeEnsembleRegressor."""
    sizes = [len(tree.left) for tree in trees]
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    left = np.concatenate([tree.left for tree in trees])
    right = np.concatenate([tree.right for tree in trees])
    is_leaf = left == LEAF

    def over_nodes(read: Callable[[Tree], NDArray[Any]]) -> list[Any]:
        values: list[Any] = np.where(is_leaf, 0, np.concatenate([read(tree) for tree in trees])).tolist()
        return values

    rows, targets, weights = _leaf_weights(trees, sizes)
    return {
        "n_targets": n_targets,
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": over_nodes(lambda tree: tree.feature),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": over_nodes(lambda tree: tree.threshold),
        "nodes_truenodeids": np.where(is_leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(is_leaf, 0, right).tolist(),
        "nodes_missing_value_tracks_true": over_nodes(lambda tree: tree.nan_left.astype(np.int64)),
        "target_treeids": tree_ids[rows].tolist(),
        "target_nodeids": node_ids[rows].tolist(),
        "target_ids": targets.tolist(),
        "target_weights": weights.tolist(),
    }


def _leaf_weights(trees: Sequence[Tree], sizes: Sequence[int]) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """Return node row, target and weight of each leaf entry, leaving out zeros beyond a leaf's first entry."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows, targets, weights = [], [], []
    for tree, start in zip(trees, starts, strict=True):
        keep = (tree.value != 0) & (tree.left == LEAF)[:, None]
        # A leaf must own at least one entry: a missing one is undefined in the operator's text.
        keep[:, 0] |= (tree.left == LEAF) & ~keep.any(axis=1)
        node, output = np.nonzero(keep)
        rows.append(node + start)
        targets.append(output + tree.target)
        weights.append(tree.value[node, output].astype(np.float32))
    return np.concatenate(rows), np.concatenate(targets), np.concatenate(weights)


def leaf_tree(value: Floats, target: int = 0) -> Tree:
    """Return a tree that is a single leaf with `value` `(k,)`."""
    one = np.zeros(1, np.int64)
    none = np.full(1, LEAF, np.int64)
    return Tree(one, np.zeros(1, np.float32), none, none, np.zeros(1, np.bool_), value.reshape(1, -1), target)


def forest_model(forest: Any, columns: Ints, n_classes: int) -> TreeModel:
    """Read a scikit-learn RandomForest or ExtraTrees.

    AutoGluon fills NaN with 0 before its forests, so NaN goes where 0 goes.

    Args:
        forest: the fitted estimator.
        columns: `(n_features,)` index of each of its features in the graph's value.
        n_classes: 0 for regression; 2 keeps the positive class alone.

    Raises:
        ExportError: when the forest did not see every class.
    """
    if n_classes and not np.array_equal(forest.classes_, np.arange(n_classes)):
        raise ExportError(f"{type(forest).__name__} saw classes {list(forest.classes_)}, expected 0 to {n_classes - 1}")
    trees = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        value = np.asarray(tree.value[:, 0, :], np.float64)
        threshold = floor_float32(np.asarray(tree.threshold, np.float64))
        left = np.asarray(tree.children_left, np.int64)
        trees.append(
            Tree(
                feature=columns[np.maximum(tree.feature, 0)],
                threshold=threshold,
                left=left,
                right=np.asarray(tree.children_right, np.int64),
                nan_left=threshold >= 0,
                value=value[:, 1:] if n_classes == 2 else value,
            )
        )
    if not n_classes:
        trees = [replace(tree, value=tree.value / len(trees)) for tree in trees]
        return TreeModel(trees, np.zeros(1), "identity")
    return TreeModel(trees, np.zeros(1 if n_classes == 2 else n_classes), "mean")
