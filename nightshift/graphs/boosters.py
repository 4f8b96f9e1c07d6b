"""Reads fitted LightGBM, XGBoost and CatBoost models into plain trees."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.graphs.trees import LEAF, Floats, Ints, Link, Tree, TreeModel, floor_float32, leaf_tree

# LightGBM reads |x| up to this as 0 (`kZeroThreshold` in its meta.h, a float32 literal).
_LIGHTGBM_ZERO = np.float32(1e-35)
_LIGHTGBM_LINKS: dict[str, Link] = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "binary": "sigmoid",
    "multiclass": "softmax",
}
_XGBOOST_LINKS: dict[str, Link] = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "binary:logistic": "sigmoid",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
}
_CATBOOST_LINKS: dict[str, Link] = {
    "RMSE": "identity",
    "MAE": "identity",
    "MAPE": "identity",
    "Quantile": "identity",
    "Huber": "identity",
    "Logloss": "sigmoid",
    "CrossEntropy": "sigmoid",
    "MultiClass": "softmax",
}


def lightgbm_model(booster: Any, columns: Ints) -> TreeModel:
    """Read a LightGBM booster at its best iteration.

    Args:
        booster: a `lightgbm.Booster`.
        columns: `(n_features,)` index of each of its features in the graph's value.

    Raises:
        ExportError: for categorical splits, linear leaves, zero-as-missing or an objective that is not in the table.

    Source:
        LightGBM `src/io/tree.cpp` (`Tree::ToString`, the bits of `decision_type`) and `include/LightGBM/tree.h`
        (`NumericalDecision`).
    """
    head, *blocks = booster.model_to_string(num_iteration=booster.best_iteration or -1).split("\nTree=")
    header = _fields(head)
    name, *options = header["objective"].split()
    link = _known(_LIGHTGBM_LINKS, name, "LightGBM")
    settings = dict(option.split(":", 1) for option in options if ":" in option)
    if "sqrt" in options or float(settings.get("sigmoid", 1)) != 1:
        raise ExportError(f"LightGBM objective '{header['objective']}' has no converter.", hint="Use its default form.")
    per_iteration = int(header["num_tree_per_iteration"])
    trees = [
        _lightgbm_tree(_fields(block.split("\n\n")[0]), columns, index % per_iteration)
        for index, block in enumerate(blocks)
    ]
    if "average_output" in head:
        raise ExportError("LightGBM in random-forest mode has no converter.", hint="Use boosting 'gbdt'.")
    return TreeModel(trees, np.zeros(per_iteration), link)


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _known(links: Mapping[str, Link], objective: str, library: str) -> Link:
    if objective not in links:
        raise ExportError(
            f"{library} objective '{objective}' has no converter.", hint=f"Convertible: {', '.join(sorted(links))}."
        )
    return links[objective]


def _lightgbm_tree(fields: Mapping[str, str], columns: Ints, target: int) -> Tree:
    if fields.get("is_linear") == "1":
        raise ExportError("LightGBM linear trees have no converter.", hint="Set linear_tree to false.")

    def numbers(key: str, dtype: type) -> NDArray[Any]:
        return np.array(fields[key].split(), np.float64).astype(dtype)

    leaf_value = numbers("leaf_value", np.float64)
    if len(leaf_value) == 1:
        return leaf_tree(leaf_value, target)
    decision = numbers("decision_type", np.int64)
    missing = (decision >> 2) & 3  # 0 none, 1 zero, 2 NaN
    if (decision & 1).any():
        raise ExportError("LightGBM categorical splits have no converter.", hint="Give it numeric columns only.")
    if (missing == 1).any():
        raise ExportError("LightGBM zero_as_missing has no converter.", hint="Set zero_as_missing to false.")
    threshold = _lightgbm_threshold(numbers("threshold", np.float64))
    # Where training saw no NaN in a column, LightGBM reads NaN as 0.
    nan_left = np.where(missing == 2, (decision >> 1) & 1, threshold >= 0).astype(np.bool_)
    n_splits, n_leaves = len(threshold), len(leaf_value)

    def child(key: str) -> Ints:
        index = numbers(key, np.int64)
        return np.where(index < 0, n_splits + ~index, index)

    return Tree(
        feature=_padded(columns[numbers("split_feature", np.int64)], n_leaves),
        threshold=np.concatenate([threshold, np.zeros(n_leaves, np.float32)]),
        left=_padded(child("left_child"), n_leaves, LEAF),
        right=_padded(child("right_child"), n_leaves, LEAF),
        nan_left=np.concatenate([nan_left, np.zeros(n_leaves, np.bool_)]),
        value=np.concatenate([np.zeros(n_splits), leaf_value])[:, None],
        target=target,
    )


def _padded(values: Ints, n: int, fill: int = 0) -> Ints:
    return np.concatenate([values, np.full(n, fill, np.int64)])


def _lightgbm_threshold(threshold: Floats) -> NDArray[np.float32]:
    """Floor to float32, and move thresholds inside LightGBM's zero band to where they route the band as 0."""
    below_zero = np.nextafter(-_LIGHTGBM_ZERO, np.float32(-np.inf))
    exact = floor_float32(threshold)
    exact = np.where((threshold >= 0) & (exact < _LIGHTGBM_ZERO), _LIGHTGBM_ZERO, exact)
    return np.where((threshold < 0) & (exact >= -_LIGHTGBM_ZERO), below_zero, exact)


def xgboost_model(model: Any, columns: Ints, *, zero_is_missing: bool) -> TreeModel:
    """Read an XGBoost scikit-learn model at its best iteration.

    Args:
        model: an `XGBClassifier` or `XGBRegressor`.
        columns: `(n_features,)` index of each of its features in the graph's value.
        zero_is_missing: whether it is fed with sparse rows, where an absent 0 is read as missing.

    Raises:
        ExportError: for another booster than trees, vector leaves, categorical splits or an unknown objective.

    Source:
        XGBoost `doc/model.schema` and `src/common/math.h`.
    """
    learner = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ExportError(f"XGBoost booster '{booster['name']}' has no converter.", hint="Use booster 'gbtree'.")
    link = _known(_XGBOOST_LINKS, learner["objective"]["name"], "XGBoost")
    parameters = learner["learner_model_param"]
    n_targets = max(1, int(parameters["num_class"]))
    base = np.broadcast_to(np.atleast_1d(json.loads(parameters["base_score"])), n_targets).astype(np.float64)
    if link == "sigmoid":
        base = np.log(base / (1 - base))
    forest = booster["model"]
    n_trees = len(forest["trees"])
    best = learner["attributes"].get("best_iteration")
    if best is not None:
        n_trees = min(n_trees, forest["iteration_indptr"][int(best) + 1])
    trees = [
        _xgboost_tree(tree, columns, target)
        for tree, target in zip(forest["trees"][:n_trees], forest["tree_info"][:n_trees], strict=True)
    ]
    return TreeModel(_based(trees, base), np.zeros(n_targets), link, zero_is_missing, sums_in_double=False)


def _based(trees: Sequence[Tree], base: Floats) -> list[Tree]:
    """Start each target's sum at its base, rounded after the first tree as XGBoost rounds it."""
    started: set[int] = set()
    out = []
    for tree in trees:
        if tree.target not in started:
            started.add(tree.target)
            start = tree.value.astype(np.float32) + np.float32(base[tree.target])
            tree = replace(tree, value=np.where(tree.left[:, None] == LEAF, start, 0.0).astype(np.float64))
        out.append(tree)
    return out


def _xgboost_tree(tree: Mapping[str, Any], columns: Ints, target: int) -> Tree:
    if any(tree["split_type"]) or int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise ExportError(
            "XGBoost categorical splits and vector leaves have no converter.", hint="Use numeric columns."
        )
    left = np.array(tree["left_children"], np.int64)
    condition = np.array(tree["split_conditions"], np.float32)
    return Tree(
        feature=columns[np.where(left == LEAF, 0, np.array(tree["split_indices"], np.int64))],
        threshold=np.nextafter(condition, np.float32(-np.inf)),
        left=left,
        right=np.array(tree["right_children"], np.int64),
        nan_left=np.array(tree["default_left"], np.bool_),
        value=condition.astype(np.float64)[:, None],
        target=target,
    )


def catboost_model(model: Any, columns: Ints) -> TreeModel:
    """Read a CatBoost model with float features.

    Args:
        model: a `CatBoostClassifier` or `CatBoostRegressor`.
        columns: `(n_features,)` index of each of its features in the graph's value.

    Raises:
        ExportError: for categorical or text features, or an unknown loss.

    Source:
        CatBoost's JSON model format, https://catboost.ai/docs/en/concepts/json-model-format
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        dump = json.loads(path.read_text(encoding="utf-8"))
    features = dump["features_info"]
    if set(features) - {"float_features"}:
        raise ExportError("CatBoost categorical, text and embedding features have no converter.", hint="Use numbers.")
    loss = dump["model_info"]["params"]["loss_function"]["type"]
    link = _known(_CATBOOST_LINKS, loss, "CatBoost")
    scale, bias = dump["scale_and_bias"]
    reader = _CatBoostReader(features["float_features"], columns, float(scale), len(bias))
    trees = [reader.oblivious(tree) for tree in dump.get("oblivious_trees", [])]
    trees += [reader.nested(tree) for tree in dump.get("trees", [])]
    return TreeModel(trees, np.array(bias, np.float64), link)


class _CatBoostReader:
    """Turns the trees of one JSON dump into arrays."""

    def __init__(
        self, float_features: Sequence[Mapping[str, Any]], columns: Ints, scale: float, n_targets: int
    ) -> None:
        self._column = {f["feature_index"]: int(columns[f["flat_feature_index"]]) for f in float_features}
        # "AsTrue" means that NaN passes `x > border`; "AsIs" (no NaN in training) fails it, as NaN does.
        self._nan_left = {f["feature_index"]: f["nan_value_treatment"] != "AsTrue" for f in float_features}
        self._scale = scale
        self._n_targets = n_targets

    def oblivious(self, tree: Mapping[str, Any]) -> Tree:
        """Unfold a symmetric tree: every level asks one question, and split j sets bit j of the leaf's number."""
        splits = tree["splits"] or []
        leaves = np.array(tree["leaf_values"], np.float64).reshape(-1, self._n_targets) * self._scale
        depth = len(splits)
        n_inner = 2**depth - 1
        level = np.floor(np.log2(np.arange(n_inner) + 1)).astype(np.int64)
        ask = [splits[depth - 1 - k] for k in level]
        inner = np.arange(n_inner, dtype=np.int64)
        n_leaves = len(leaves)
        return Tree(
            feature=_padded(np.array([self._column[s["float_feature_index"]] for s in ask], np.int64), n_leaves),
            threshold=np.array([s["border"] for s in ask] + [0.0] * n_leaves, np.float32),
            left=_padded(2 * inner + 1, n_leaves, LEAF),
            right=_padded(2 * inner + 2, n_leaves, LEAF),
            nan_left=np.array([self._nan_left[s["float_feature_index"]] for s in ask] + [False] * n_leaves),
            value=np.concatenate([np.zeros((n_inner, self._n_targets)), leaves]),
        )

    def nested(self, root: Mapping[str, Any]) -> Tree:
        """Walk a tree of another growing policy, which the dump nests."""
        nodes: list[Mapping[str, Any]] = [root]
        rows: list[tuple[int, float, int, int, bool]] = []
        values: list[Any] = []
        for node in nodes:  # grows while it is read: children are appended behind their parents
            if "split" not in node:
                rows.append((0, 0.0, LEAF, LEAF, False))
                values.append(np.broadcast_to(np.array(node["value"], np.float64) * self._scale, self._n_targets))
                continue
            index = node["split"]["float_feature_index"]
            rows.append(
                (self._column[index], node["split"]["border"], len(nodes), len(nodes) + 1, self._nan_left[index])
            )
            values.append(np.zeros(self._n_targets))
            nodes += [node["left"], node["right"]]
        feature, threshold, left, right, nan_left = (np.array(column) for column in zip(*rows, strict=True))
        return Tree(feature, threshold.astype(np.float32), left, right, nan_left, np.stack(values))
