"""The same seed gives the same answers, several give a mean and a spread, and noise stays noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from nightshift.trainer import train_model, train_with_cv
from nightshift.trainer.checks.telling import FindingWarning
from nightshift.trainer.kinds.named import named

QUIET: dict[str, Any] = {"checks": "off", "progress": False}
PARAMS: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 8},
    "hist_gradient_boosting": {"max_iter": 8},
    "lightgbm": {"n_estimators": 8, "subsample": 0.7, "subsample_freq": 1},
    "xgboost": {"n_estimators": 8, "subsample": 0.7},
    "catboost": {"iterations": 8, "bootstrap_type": "Bernoulli", "subsample": 0.6},
    "sgd": {},
    "mlp": {"max_iter": 20},
}


def data(rows: int = 240) -> tuple[Any, Any]:
    X, y = make_classification(rows, 6, n_informative=4, flip_y=0.2, random_state=0)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["kind"] = np.array(["p", "q", "r"])[np.arange(rows) % 3]
    return frame, y


@pytest.mark.parametrize("name", PARAMS)
def test_the_same_seed_gives_the_same_answers(name: str) -> None:
    X, y = data()
    model = named(name, "binary").set_params(**PARAMS[name])
    first = train_model(model, X, y, random_state=5, balance="oversample", **QUIET)
    np.random.default_rng().random(3)
    again = train_model(model, X, y, random_state=5, balance="oversample", **QUIET)
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert np.array_equal(first.predictions.index, again.predictions.index)
    assert first.scores == again.scores


def test_several_seeds_give_a_mean_and_a_spread_on_the_same_parts() -> None:
    X, y = data()
    result = train_model(RandomForestClassifier(5), X, y, seeds=3, **QUIET)
    values = [one.scores["test"]["f1"] for one in result.by_seed]
    assert len({one.seed for one in result.by_seed}) == 3
    assert result.by_seed[0].scores == result.scores
    assert result.mean["test"]["f1"] == pytest.approx(np.mean(values))  # type: ignore[arg-type]
    assert result.spread["test"]["f1"] == pytest.approx(np.std(values, ddof=1))  # type: ignore[arg-type]
    assert result.spread["test"]["f1"] != 0
    assert result.provenance.seeds == tuple(one.seed for one in result.by_seed)
    single = train_model(RandomForestClassifier(5), X, y, **QUIET)
    assert np.array_equal(single.predict(X), result.predict(X))
    assert (single.by_seed, single.mean) == ((), {})


@pytest.mark.parametrize("name", ["random_forest", "lightgbm", "xgboost", "catboost"])
def test_several_seeds_differ_although_the_estimator_has_its_own(name: str) -> None:
    X, y = data()
    result = train_model(named(name, "binary", 7).set_params(**PARAMS[name]), X, y, seeds=2, test_size=0.4, **QUIET)
    assert result.by_seed[0].scores != result.by_seed[1].scores
    alone = train_model(named(name, "binary", 7).set_params(**PARAMS[name]), X, y, test_size=0.4, **QUIET)
    assert np.array_equal(alone.predict_proba(X), result.predict_proba(X))


@pytest.mark.parametrize("model", [LogisticRegression(), KNeighborsClassifier(1)], ids=["logistic", "knn"])
def test_noise_with_smote_scores_chance(model: Any) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 10)), (np.arange(600) % 10 == 0).astype(int)
    result = train_with_cv(model, X, y, cv=5, balance="smote", test_size=0, save_model=False, **QUIET)
    assert result.mean["roc_auc"] == pytest.approx(0.5, abs=0.12)
    held = result.predictions
    assert np.mean(y[held.index]) == pytest.approx(0.1)
    assert all(fold.rows["held_out"] == 120 for fold in result.folds)


def test_labels_constant_per_group_are_found_out_by_the_auto_split() -> None:
    rng = np.random.default_rng(1)
    machine = np.repeat(np.arange(60), 8)
    label = rng.integers(0, 2, 60)[machine]
    X = pd.DataFrame(rng.normal(size=(480, 3)), columns=list("abc"))
    X["machine"] = [f"m{one}" for one in machine]
    # What every row of a machine has in common, and says nothing of another machine.
    X["print"] = rng.normal(size=60)[machine] * 10
    torn = train_model(DecisionTreeClassifier(), X, label, split="stratified", **QUIET)
    with pytest.warns(FindingWarning, match=r"T023: the label is the same in all rows of each .* 'machine'"):
        found = train_model(
            DecisionTreeClassifier(), X, label, progress=False, checks={"mute": ("T001", "T006", "T026")}
        )
    assert torn.scores["test"]["accuracy"] > 0.95
    assert found.scores["test"]["accuracy"] < 0.75
    assert found.split.strategy == "grouped_stratified"
    assert "machine" in found.split.why
    assert "T023" in {one.code for one in found.findings}
