"""Figures from one prediction: they are scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.svm import LinearSVC

from nightshift.errors import TrainingError, UnknownNameError, UsageError
from nightshift.trainer import scores
from nightshift.trainer.contract import Table
from nightshift.trainer.scores import score, scorers_of


def table_of(k: int = 2, names: bool = False) -> Table:
    X, y = make_classification(300, 8, n_informative=5, n_classes=max(k, 2), flip_y=0.2, random_state=0)
    if not k:
        return Table(X, X @ np.arange(8.0) + y, "regression", (), tuple(f"x{i}" for i in range(8)))
    labels = np.array(["ape", "bee", "cat"])[y] if names else y
    task = "binary" if k == 2 else "multiclass"
    return Table(X, labels, task, tuple(np.unique(labels).tolist()), tuple(f"x{i}" for i in range(8)))


class Counting(RandomForestClassifier):
    asked = 0

    def predict_proba(self, X: Any) -> Any:
        type(self).asked += 1
        return super().predict_proba(X)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("names", [False, True], ids=["numbers", "text"])
@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=["probabilities", "distances"])
def test_metrics_of_classes_are_scikit_learns(k: int, names: bool, model: Any) -> None:
    table = table_of(k, names)
    model.fit(table.X[:150], table.y[:150])
    rows = np.arange(150, 300)
    asked = ["f1_weighted", "precision_macro", "recall_micro", "f1_macro", "matthews_corrcoef"]
    got = score(model, table, rows, scorers_of(asked, table.task)).metrics
    X, y = table.X[rows], table.y[rows]
    want = {name: get_scorer(name)(model, X, y) for name in [*asked, "accuracy", "balanced_accuracy"]}
    if k == 2:
        want["f1"] = metrics.f1_score(y, model.predict(X), pos_label=table.classes[1])
        want["roc_auc"] = get_scorer("roc_auc")(model, X, y)
        want["pr_auc"] = metrics.average_precision_score(y == table.classes[1], model.decision_function(X))
    elif hasattr(model, "predict_proba"):
        want["roc_auc"] = get_scorer("roc_auc_ovr")(model, X, y)
    assert {name: got[name] for name in want} == pytest.approx(want)


def test_metrics_of_numbers_are_scikit_learns() -> None:
    table = table_of(0)
    model = LinearRegression().fit(table.X[:50, :], table.y[:50])
    rows = np.arange(50, 300)
    got = score(model, table, rows, scorers_of("neg_median_absolute_error", "regression"))
    told, y = model.predict(table.X[rows]), table.y[rows]
    assert got.metrics == pytest.approx(
        {
            "neg_median_absolute_error": -metrics.median_absolute_error(y, told),
            "r2": metrics.r2_score(y, told),
            "mae": metrics.mean_absolute_error(y, told),
            "rmse": metrics.root_mean_squared_error(y, told),
        }
    )
    assert got.probability is None


def test_rows_are_predicted_once_and_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = table_of(), np.arange(300)
    model = Counting(5, random_state=0).fit(table.X, table.y)
    monkeypatch.setattr(Counting, "__module__", "sklearn.ensemble._forest")
    whole = score(model, table, rows, scorers_of(["f1", "neg_log_loss"], "binary"))
    assert Counting.asked == 1
    monkeypatch.setattr(scores, "BLOCK_ROWS", 70)
    blocks = score(model, table, rows, scorers_of(["f1", "neg_log_loss"], "binary"))
    assert Counting.asked == 6
    assert blocks.metrics == whole.metrics
    assert np.array_equal(whole.prediction, model.predict(table.X))


def test_a_threshold_decides_the_class() -> None:
    table, rows = table_of(names=True), np.arange(300)
    model = LogisticRegression().fit(table.X, table.y)
    got = score(model, table, rows, scorers_of("recall", "binary"), threshold=0.05)
    assert (got.prediction == "bee").sum() > (model.predict(table.X) == "bee").sum()
    assert got.metrics["recall"] == pytest.approx(np.mean(got.prediction[table.y == "bee"] == "bee"))


def test_the_callers_scorers_are_asked_and_the_first_decides() -> None:
    table = table_of()
    model = LogisticRegression().fit(table.X, table.y)

    def wide(estimator: Any, X: Any, y: Any) -> float:
        return float(estimator.coef_.shape[1] + len(X) + len(y))

    scorers = scorers_of({"wide": wide, "half": make_scorer(metrics.fbeta_score, beta=0.5), "ap": "pr_auc"}, "binary")
    got = score(model, table, np.arange(100), scorers).metrics
    assert scorers.primary == "wide"
    assert scorers.greater_is_better
    assert not scorers_of("rmse", "regression").greater_is_better
    assert got["wide"] == 208
    assert got["ap"] == pytest.approx(got["pr_auc"])
    assert got["half"] == pytest.approx(metrics.fbeta_score(table.y[:100], model.predict(table.X[:100]), beta=0.5))


def test_a_fold_without_a_class_keeps_every_classs_column_and_undefined_is_none() -> None:
    table = table_of(3)
    two = np.flatnonzero(table.y != 1)
    model = LogisticRegression().fit(table.X[two], table.y[two])
    got = score(model, table, two, scorers_of(None, "multiclass"))
    assert got.probability is not None
    assert got.probability.shape == (len(two), 3)
    assert (got.probability[:, 1] == 0).all()
    assert got.metrics["roc_auc"] is None
    none = score(
        DummyClassifier().fit(table.X, table.y), table, np.empty(0, np.int64) + 0, scorers_of(None, "multiclass")
    )
    assert set(none.metrics.values()) == {None}


def test_scikit_learns_scorers_of_one_class_score_the_second_of_text_labels() -> None:
    table = table_of(names=True)
    model = LogisticRegression().fit(table.X, table.y)
    got = score(model, table, np.arange(300), scorers_of({"mine": "f1", "jaccard": "jaccard"}, "binary")).metrics
    truth, told = table.y == "bee", model.predict(table.X) == "bee"
    assert got["mine"] == got["f1"] == pytest.approx(metrics.f1_score(truth, told))
    assert got["jaccard"] == pytest.approx(metrics.jaccard_score(truth, told))


@pytest.mark.parametrize("labels", [(0, 1), (1, 2), (-1, 1), (False, True), ("no", "yes"), (0.0, 1.0), (1, 7)], ids=str)
def test_the_second_class_in_order_is_the_positive_one_of_every_scorer(labels: tuple[Any, Any]) -> None:
    plain = table_of()
    y = np.array(labels)[plain.y]
    table = Table(plain.X, y, "binary", tuple(np.unique(y).tolist()), plain.columns)
    rows, model = np.arange(300), LogisticRegression()
    names = ["precision", "recall", "f1", "jaccard", "roc_auc", "average_precision", "neg_brier_score", "pr_auc"]
    own = {"two": make_scorer(metrics.fbeta_score, beta=2), "area": "average_precision", "half": "f1"}

    def told(of: Table) -> dict[str, Any]:
        fitted = model.fit(of.X, of.y)
        asked = {**{name: name for name in names}, **own}
        return {**score(fitted, of, rows, scorers_of(asked, "binary")).metrics}

    assert told(table) == pytest.approx(told(plain))
    first = scorers_of({"first": make_scorer(metrics.f1_score, pos_label=labels[0])}, "binary")
    answers = model.fit(table.X, table.y).predict(table.X)
    want = metrics.f1_score(table.y == labels[0], answers == labels[0])
    assert score(model, table, rows, first).metrics["first"] == pytest.approx(want)


class Odd(DummyClassifier):
    def predict(self, X: Any) -> Any:
        return np.full(len(X), 99)

    def predict_proba(self, X: Any) -> Any:
        raise NotImplementedError


def test_a_callers_scorer_that_fails_and_an_answer_that_is_no_class_are_told_in_one_line() -> None:
    table = table_of()
    model = LogisticRegression().fit(table.X, table.y)

    def wrong(truth: Any, told: Any) -> float:
        return 0.0

    with pytest.raises(UsageError, match=r"wrong failed: TypeError.*\(estimator, X, y\)"):
        score(model, table, np.arange(9), scorers_of(wrong, "binary"))
    with pytest.raises(TrainingError, match="answered 99: expected one of the classes of y, such as 0, 1"):
        score(Odd().fit(table.X, table.y), table, np.arange(9), scorers_of(None, "binary"))


@pytest.mark.parametrize(
    ("scoring", "task", "kind", "says"),
    [
        ("f1", "multiclass", UsageError, "f1_macro"),
        ("r2", "binary", UsageError, "holds classes"),
        ("accuracy", "regression", UsageError, "holds numbers"),
        ("neg_mean_squared_error", "binary", UsageError, "for numbers, y holds classes.*f1, accuracy"),
        ("neg_mean_poisson_deviance", "multiclass", UsageError, "for numbers, y holds classes.*f1_macro"),
        ("explained_variance", "binary", UsageError, "holds classes"),
        ("neg_log_loss", "regression", UsageError, "for classes, y holds numbers.*r2, mae, rmse"),
        ("roc_auc_ovo", "regression", UsageError, "holds numbers"),
        ({"mine": "jaccard"}, "regression", UsageError, "holds numbers"),
        ("jaccard", "multiclass", UsageError, "jaccard_macro"),
        ("positive_likelihood_ratio", "multiclass", UsageError, "for two classes"),
        ("f1_samples", "binary", UsageError, "several labels a row"),
        ("acuracy", "binary", UnknownNameError, "Did you mean 'accuracy'"),
        (metrics.f1_score, "binary", UsageError, r"make_scorer\(sklearn.metrics.f1_score\)"),
        (3, "binary", UsageError, "got 3"),
    ],
)
def test_a_metric_that_cannot_be_is_refused(scoring: Any, task: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        scorers_of(scoring, task)
