"""Another threshold: the best one on rows that the model has not seen, around a model that stays as it is."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.utils.validation import check_is_fitted

from nightshift.errors import TableError, UsageError
from nightshift.trainer.balance.threshold import choose_threshold, with_threshold

Metric = Literal["f1", "balanced_accuracy"]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
Y = np.where(X[:, 0] + RNG.normal(size=400) > 1.8, "rare", "common")
CLASSES = ("common", "rare")


def score_of(metric: Metric, y: Any, at_least: Any) -> float:
    found, wrong = float(np.sum(y & at_least)), float(np.sum(~y & at_least))
    if metric == "f1":
        return 2 * found / (found + wrong + float(np.sum(y)))
    return (found / float(np.sum(y)) + 1 - wrong / float(np.sum(~y))) / 2


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30).filter(
        lambda rows: len({truth for truth, _ in rows}) == 2
    ),
    metric=st.sampled_from(["f1", "balanced_accuracy"]),
)
def test_no_threshold_does_better(rows: list[tuple[bool, int]], metric: Metric) -> None:
    y, probability = np.array([truth for truth, _ in rows]), np.array([value / 8 for _, value in rows])
    chosen = choose_threshold(y, probability, (False, True), metric)
    tried = [score_of(metric, y, probability >= cut) for cut in np.linspace(0, 1, 17)]
    assert chosen.score == pytest.approx(max(tried))
    assert chosen.score == pytest.approx(score_of(metric, y, probability >= chosen.value))
    assert chosen.usual_score == pytest.approx(score_of(metric, y, probability >= 0.5))
    if chosen.usual_score == pytest.approx(chosen.score):
        assert chosen.value == pytest.approx(0.5), "the usual one does as well"


def _said(model: Any, threshold: float) -> Any:
    return np.where(model.predict_proba(X[:300])[:, 1] >= threshold, "rare", "common")


def test_a_rare_class_is_found_by_a_lower_threshold() -> None:
    model = LogisticRegression().fit(X[:300], Y[:300])
    chosen = choose_threshold(Y[:300], model.predict_proba(X[:300]), CLASSES)
    assert chosen.value < 0.5
    assert chosen.score > chosen.usual_score
    assert chosen.score == pytest.approx(f1_score(Y[:300], _said(model, chosen.value), pos_label="rare"))
    made = with_threshold(model, chosen.value)
    check_is_fitted(made)
    assert np.array_equal(made.predict(X) == "rare", model.predict_proba(X)[:, 1] >= chosen.value)
    assert np.array_equal(made.predict_proba(X), model.predict_proba(X))
    assert made.classes_.tolist() == ["common", "rare"]
    assert made.n_features_in_ == 3
    assert np.sum(made.predict(X[300:]) == "rare") > np.sum(model.predict(X[300:]) == "rare")


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_boosters_take_a_threshold_too(name: str) -> None:
    from nightshift.trainer.contract import FitJob
    from nightshift.trainer.kinds.kind import kind_of
    from nightshift.trainer.kinds.named import named

    model = named(name, "binary")
    kind = kind_of(model)
    fitted = kind.fit(kind.seeded(model, 1, 1, "cpu"), FitJob(X, Y, "binary", rounds=10)).model
    made = with_threshold(fitted, 0.2)
    assert np.array_equal(made.predict(X) == "rare", fitted.predict_proba(X)[:, 1] >= 0.2)


def test_a_threshold_tells_two_classes_apart_and_needs_rows_of_both() -> None:
    with pytest.raises(UsageError, match="for 3 classes"):
        choose_threshold(np.arange(3), np.eye(3), (0, 1, 2))
    with pytest.raises(TableError, match=r"Found one class in the 4 rows .* Raise validation_size"):
        choose_threshold(np.array(["common"] * 4), np.linspace(0, 1, 4), CLASSES)
