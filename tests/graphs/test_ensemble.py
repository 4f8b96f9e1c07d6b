"""AutoGluon predictors as one graph: answers, labels and refusals, on rows made to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

from nightshift.edge.agree import max_abs_delta
from nightshift.errors import ExportError
from nightshift.graphs.build import Graph
from nightshift.graphs.ensemble import add_predictor
from nightshift.graphs.nets import add_normal_quantile
from nightshift.graphs.parity import adversarial_rows, split_thresholds

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TREES = {
    "GBM": {"num_boost_round": 30},
    "RF": {"n_estimators": 20, "max_leaf_nodes": 40},
    "XGB": {"n_estimators": 20},
    "CAT": {"iterations": 20},
    "XT": {"n_estimators": 20, "max_leaf_nodes": 40},
}
BAGGED: dict[str, Any] = {
    "num_bag_folds": 3,
    "num_bag_sets": 1,
    "num_stack_levels": 0,
    "dynamic_stacking": False,
    "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"},
}
Fit = Callable[..., Any]


def table(kind: str, *, missing: float = 0.05, rows: int = 500) -> pd.DataFrame:
    """Columns that AutoGluon treats on its own: two-valued, constant, duplicate, odd names, exact zeros."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    X[:, 1] *= 1000
    X[:, 2] = np.round(X[:, 2])
    X[:, 5] = np.where(X[:, 5] > 0, 3.5, 7.25)
    signal = X[:, 0] + X[:, 1] / 1000 * X[:, 2] + 0.3 * rng.normal(size=rows)
    X[rng.random(X.shape) < missing] = np.nan
    X[:, 4] = np.where(X[:, 4] > 0, np.nan, 5.0)
    frame = pd.DataFrame(X, columns=["flow rate", "load,max", "gear", "current", "valve", "mode"])
    frame["constant"], frame["duplicate"] = np.float32(1), frame["current"]
    if kind == "binary":
        frame["label"] = np.where(signal > 0, "fault", "ok")
    elif kind == "multiclass":
        frame["label"] = np.array(["low", "middle", "high"])[np.digitize(signal, [-1, 1])]
        frame.loc[:3, "label"] = "rare"  # too few rows: AutoGluon drops the class and answers 0 for it
    else:
        frame["label"] = signal * 40 + 120
    return frame


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    from autogluon.tabular import TabularPredictor

    def train(frame: pd.DataFrame, kind: str, models: dict[str, Any], metric: str | None = None, **options: Any) -> Any:
        bagged = "num_bag_folds" in options
        predictor = TabularPredictor("label", path=str(tmp_path), problem_type=kind, eval_metric=metric, verbosity=0)
        cut = len(frame) if bagged else 350
        return predictor.fit(
            frame[:cut], tuning_data=None if bagged else frame[cut:], hyperparameters=models, num_cpus=1, **options
        )

    return train


def graph_of(predictor: Any, columns: list[str]) -> Any:
    graph = Graph("ensemble")
    features = graph.input("features", "float32", ["batch", len(columns)])
    n_outputs = 1 if predictor.problem_type == "regression" else len(predictor.class_labels)
    graph.output(add_predictor(graph, features, columns, predictor), "answer", "float32", ["batch", n_outputs])
    return graph.build()


def parity(predictor: Any, frame: pd.DataFrame) -> tuple[float, int, np.ndarray]:
    """Largest difference, labels flipped, and the library's answers, on adversarial rows."""
    columns = [name for name in frame.columns if name != "label"][::-1]  # another order than the predictor was given
    model = graph_of(predictor, columns)
    rows = adversarial_rows(frame[columns].to_numpy(np.float32)[:200], split_thresholds(model), per_column=25)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {"features": rows})[0]
    given = pd.DataFrame(rows, columns=columns)
    if predictor.problem_type == "regression":
        want = predictor.predict(given).to_numpy()[:, None]
        return max_abs_delta(want, got), 0, want
    want = predictor.predict_proba(given).to_numpy()
    expected = predictor.predict(given).to_numpy()
    threshold = predictor.decision_threshold
    index = got.argmax(axis=1) if threshold is None else (got[:, 1] > threshold).astype(int)
    return max_abs_delta(want, got), int((expected != np.array(predictor.class_labels)[index]).sum()), want


def every_model(predictor: Any) -> list[str]:
    return [predictor.model_best, *(name for name in predictor.model_names() if name != predictor.model_best)]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_every_model_answers_like_autogluon(fit: Fit, kind: str) -> None:
    frame = table(kind)
    predictor = fit(frame, kind, TREES)
    names = every_model(predictor)
    assert len(names) == 6, "five models and their ensemble"
    for name in names:
        predictor.set_model_best(name)
        delta, flips, want = parity(predictor, frame)
        assert delta <= 5e-7 * max(1.0, float(np.abs(want).max())), name
        assert flips == 0, name


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_trees_grown_without_missing_values_route_nan_alike(fit: Fit, kind: str) -> None:
    frame = table(kind, missing=0.0)
    predictor = fit(frame, kind, {"GBM": TREES["GBM"], "CAT": {"iterations": 20, "grow_policy": "Depthwise"}})
    for name in every_model(predictor):
        predictor.set_model_best(name)
        delta, flips, want = parity(predictor, frame)
        assert delta <= 5e-7 * max(1.0, float(np.abs(want).max())), name
        assert flips == 0, name


@pytest.mark.parametrize(("kind", "metric"), [("binary", "log_loss"), ("multiclass", "log_loss"), ("regression", None)])
def test_bags_calibration_and_refits(fit: Fit, kind: str, metric: str | None) -> None:
    frame = table(kind)
    members = {key: TREES[key] for key in ("GBM", "RF", "XGB", "CAT")}
    predictor = fit(frame, kind, members, metric=metric, calibrate=kind != "regression", **BAGGED)
    bagged = predictor.model_best
    predictor.refit_full()
    refitted = predictor.model_best
    assert refitted.endswith("_FULL")
    for name in (bagged, refitted, "RandomForest_BAG_L1", "LightGBM_BAG_L1"):
        predictor.set_model_best(name)
        delta, flips, want = parity(predictor, frame)
        assert delta <= 1e-6 * max(1.0, float(np.abs(want).max())), name
        assert flips == 0, name


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_models_stacked_on_models(fit: Fit, kind: str) -> None:
    frame = table(kind)
    members = {key: TREES[key] for key in ("GBM", "RF", "XGB", "CAT")}
    predictor = fit(frame, kind, members, **{**BAGGED, "num_stack_levels": 1})
    stacked = [name for name in predictor.model_names() if name.endswith("_L2") and "Weighted" not in name]
    assert stacked
    for name in [predictor.model_best, *stacked]:
        predictor.set_model_best(name)
        delta, flips, want = parity(predictor, frame)
        assert delta <= 1e-6 * max(1.0, float(np.abs(want).max())), name
        assert flips == 0, name


@pytest.mark.parametrize(
    ("kind", "net", "options"),
    [
        ("binary", {}, {**BAGGED, "num_stack_levels": 1}),
        ("multiclass", {"use_batchnorm": True, "activation": "elu"}, {"calibrate": True}),
        ("regression", {"activation": "tanh"}, BAGGED),
    ],
)
def test_networks_answer_like_autogluon_alone_weighed_bagged_and_stacked(
    fit: Fit, kind: str, net: dict[str, Any], options: dict[str, Any]
) -> None:
    frame = table(kind)
    frame["load,max"] = np.exp(frame["load,max"] / 500).astype(np.float32)
    # Two values but for one row: the fold that lacks that row sees a category, the library's one-hot columns.
    frame["valve"] = np.where(frame["gear"] > 0, np.float32(2), np.float32(4))
    frame.loc[10, "valve"] = np.float32(3)
    models = {"NN_TORCH": {"num_epochs": 3, **net}, "GBM": {"num_boost_round": 10}}
    predictor = fit(frame, kind, models, metric=None if kind == "regression" else "log_loss", **options)
    names = every_model(predictor)
    assert [name for name in names if name.startswith("NeuralNetTorch")]
    if options is BAGGED:
        bag = predictor._trainer.load_model("NeuralNetTorch_BAG_L1")
        assert [fold for fold in bag.models if bag.load_child(fold)._types_of_features["onehot"]] != []
    for name in names:
        predictor.set_model_best(name)
        delta, flips, want = parity(predictor, frame)
        assert delta <= 2e-6 * max(1.0, float(np.abs(want).max())), name
        assert flips == 0, name


def test_a_network_sees_skewed_columns_by_their_quantiles(fit: Fit) -> None:
    frame = table("binary", rows=1400)
    frame["load,max"] = np.exp(frame["load,max"] / 400).astype(np.float32)
    frame["current"] = np.round(np.exp(frame["current"])).astype(np.float32)  # repeated quantiles
    predictor = fit(frame, "binary", {"NN_TORCH": {"num_epochs": 1}})
    predictor.set_model_best("NeuralNetTorch")
    model = predictor._trainer.load_model("NeuralNetTorch")
    assert {"load,max", "current"} <= set(model._types_of_features["skewed"])
    columns = [name for name in frame.columns if name != "label"]
    quantiles = model.processor.named_transformers_["skewed"].named_steps["quantile"].quantiles_
    rows = frame[columns].to_numpy(np.float32)
    made = np.repeat(rows[:1], 3 * len(quantiles), axis=0)
    place = columns.index(model.processor.transformers_[1][2][0])
    at = quantiles[:, 0].astype(np.float32)
    made[:, place] = np.concatenate([at, np.nextafter(at, np.float32(np.inf)), np.nextafter(at, np.float32(-np.inf))])
    given = np.concatenate([rows, made])
    session = ort.InferenceSession(graph_of(predictor, columns).SerializeToString())
    got = session.run(None, {"features": given})[0]
    want = predictor.predict_proba(pd.DataFrame(given, columns=columns)).to_numpy()
    assert max_abs_delta(want, got) <= 5e-7
    assert session.run(None, {"features": given[:0]})[0].shape == (0, 2)


def test_the_normal_quantile_is_that_of_scipy() -> None:
    from scipy.stats import norm

    graph = Graph("quantile")
    graph.output(add_normal_quantile(graph, graph.input("p", "float64", ["n"])), "z", "float64", ["n"])
    tail = np.geomspace(2e-7, 0.1, 500)
    share = np.concatenate([[0.0], tail, np.linspace(0.1, 0.9, 999), 1 - tail, [1.0]])
    got = ort.InferenceSession(graph.build().SerializeToString()).run(None, {"p": share})[0]
    np.testing.assert_allclose(got[1:-1], norm.ppf(share[1:-1]), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got[[0, -1]], [-5.199337582290661, 5.199337582290661], rtol=1e-6)


def test_trees_grown_after_the_best_round_are_left_out(fit: Fit) -> None:
    frame = table("binary")
    frame["label"] = np.random.default_rng(2).permutation(frame["label"].to_numpy())
    patience = {"ag.early_stop": 5}
    predictor = fit(frame, "binary", {"XGB": {"n_estimators": 60, **patience}, "GBM": {**TREES["GBM"], **patience}})
    booster = predictor._trainer.load_model("XGBoost").model.get_booster()
    assert int(booster.attr("best_iteration")) + 1 < booster.num_boosted_rounds()
    for name in ("XGBoost", "LightGBM"):
        predictor.set_model_best(name)
        delta, flips, _ = parity(predictor, frame)
        assert delta <= 5e-7, name
        assert flips == 0, name


def test_one_tree_node_per_model_and_no_gather(fit: Fit) -> None:
    frame = table("binary")
    predictor = fit(frame, "binary", {"GBM": TREES["GBM"], "RF": TREES["RF"]}, **BAGGED)
    predictor.set_model_best("LightGBM_BAG_L1")
    ops = [node.op_type for node in graph_of(predictor, [c for c in frame if c != "label"]).graph.node]
    assert ops.count("TreeEnsembleRegressor") == 1
    assert "Gather" not in ops


def test_a_model_without_converter_is_named(fit: Fit) -> None:
    frame = table("binary")
    predictor = fit(frame, "binary", {"KNN": {}})
    predictor.set_model_best("KNeighbors")
    with pytest.raises(ExportError, match=r"'KNeighbors' is a KNNModel.*GBM"):
        graph_of(predictor, [c for c in frame if c != "label"])


def test_a_column_that_the_graph_lacks_is_named(fit: Fit) -> None:
    frame = table("binary")
    predictor = fit(frame, "binary", {"GBM": TREES["GBM"]})
    with pytest.raises(ExportError, match="'load,max'"):
        graph_of(predictor, ["flow rate", "gear", "current", "valve", "mode"])


def test_columns_that_are_not_float_are_refused(fit: Fit) -> None:
    frame = table("binary")
    frame["gear"] = frame["gear"].fillna(0).astype(np.int64)
    predictor = fit(frame, "binary", {"GBM": TREES["GBM"]})
    with pytest.raises(ExportError, match="'gear' reached AutoGluon as int"):
        graph_of(predictor, [c for c in frame if c != "label"])
