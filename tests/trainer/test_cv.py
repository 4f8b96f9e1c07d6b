"""Folds: every row is answered by a model that has not seen it, and the refit sees all of them and nothing of test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from nightshift.errors import InterruptedTraining, TableError, TrainingError, UsageError
from nightshift.settings import Home
from nightshift.trainer import Checks, EarlyStopping, FindingWarning, load, train_model, train_with_cv
from nightshift.trainer.config import asked_of
from nightshift.trainer.contract import Choice, Done, Table
from nightshift.trainer.cv import judge
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.ready import ready
from nightshift.trainer.shares import share_of

#: Findings that these small tables also bring about.
MUTED = ("T001", "T006", "T021", "T022", "T027", "T028")
QUIET: dict[str, Any] = {"checks": "off", "progress": False, "save_model": False}


def data(rows: int = 240, weights: list[float] | None = None) -> tuple[Any, Any]:
    X, y = make_classification(rows, 6, n_informative=4, class_sep=1.2, weights=weights, random_state=0)
    X[:, 5] = np.arange(rows)  # names the row
    return X, y


def test_the_callers_own_folds_give_what_a_splitter_gives_and_are_gone_on_with(tmp_path: Path) -> None:
    X, y = data()
    given: dict[str, Any] = {**QUIET, "test_size": 0, "run_dir": tmp_path / "run"}
    own = train_with_cv(LogisticRegression(), X, y, cv=KFold(4).split(X), **given)
    theirs = train_with_cv(LogisticRegression(), X, y, cv=KFold(4), **QUIET, test_size=0)
    assert own.scores == theirs.scores
    again = train_with_cv(LogisticRegression(), X, y, cv=list(KFold(4).split(X)), **given, resume=True)
    assert again.scores == own.scores
    with pytest.raises(TrainingError, match="holds another run: pairs"):
        train_with_cv(LogisticRegression(), X, y, cv=KFold(3).split(X), **given, resume=True)


def test_a_fold_without_a_figure_is_told_and_left_out_of_the_mean() -> None:
    X, y = data(120)
    groups = np.where(y == 1, np.arange(120) % 3, 10 + np.arange(120) % 30)  # class 1 lies in three groups
    with pytest.warns(FindingWarning, match=r"T037: roc_auc has no figure on fold .*: y is 0 in all rows there"):
        result = train_with_cv(
            LogisticRegression(), X, y, cv=5, groups=groups, scoring="roc_auc", test_size=0,
            strategy="grouped", stratify=False, progress=False, save_model=False, checks=Checks(mute=MUTED),
        )  # fmt: skip
    figures = [fold.scores["roc_auc"] for fold in result.folds]
    there = [one for one in figures if one is not None]
    assert 0 < len(there) < 5
    assert result.mean["roc_auc"] == pytest.approx(np.mean(there))
    (told,) = [one.what for one in result.findings if one.code == "T037"]
    assert told.endswith(f"The mean is of the other {len(there)} folds.")


def test_a_metric_without_a_figure_is_told_and_is_an_error_where_findings_are() -> None:
    X, y = data(120)
    parts = (np.r_[0:60, np.flatnonzero(y[60:] == 1) + 60], np.flatnonzero(y[60:] == 0) + 60)
    given: dict[str, Any] = {"split": parts, "progress": False, "checks": Checks(mute=MUTED)}
    with pytest.warns(FindingWarning, match=r"T037: roc_auc has no figure on test: y is 0 in all rows there\."):
        train_model(LogisticRegression(), X, y, scoring="roc_auc", **given)
    strict = Checks(action="error", mute=MUTED)
    with pytest.raises(TableError, match=r"T037: neg_log_loss has no figure on train, test: .*probabilities"):
        train_model(LinearSVC(), X, y, scoring="neg_log_loss", **{**given, "checks": strict})
    with pytest.warns(
        FindingWarning, match=r"T037: neg_log_loss has no figure on (fold 1, fold 2, fold 3|test): .*probabilities"
    ):
        train_with_cv(LinearSVC(), X, y, cv=3, scoring="neg_log_loss", **{**QUIET, "checks": Checks(mute=MUTED)})
    alone = train_with_cv(LogisticRegression(), X[:40], y[:40], strategy="leave_one_out", scoring="roc_auc", **QUIET)
    assert alone.mean["roc_auc"] is not None


class Seen(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Remembers which rows it was fitted on, and writes a line for each fit into a file."""

    def __init__(self, log: str = "", fail_at: int = 0) -> None:
        self.log = log
        self.fail_at = fail_at

    def fit(self, X: Any, y: Any) -> Seen:
        self.classes_ = np.unique(y)
        self.rows_ = set(X[:, 5].astype(int).tolist())
        if self.log:
            with Path(self.log).open("a", encoding="utf-8") as file:
                file.write(f"{len(self.rows_)}\n")
            if self.fail_at and len(Path(self.log).read_text(encoding="utf-8").splitlines()) == self.fail_at:
                raise KeyboardInterrupt
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Say 1 of rows that it has seen."""
        return np.array([int(row in self.rows_) for row in X[:, 5].astype(int)])


def test_no_row_is_answered_by_a_model_that_has_seen_it() -> None:
    X, y = data()
    result = train_with_cv(Seen(), X, y, cv=4, **QUIET)
    told = result.predictions
    assert set(told.value.tolist()) == {0}
    assert np.array_equal(np.sort(told.index), np.arange(240))
    assert np.array_equal(np.sort(told.index[told.part == "test"]), np.sort(result.split.test))
    assert result.model.rows_ == set(range(240)) - set(result.split.test.tolist())
    assert sorted(set(told.fold.tolist())) == [0, 1, 2, 3, 4]
    for fold in result.fold_split:
        assert np.array_equal(np.sort(told.index[told.fold == fold.number]), np.sort(fold.held_out))
    assert all(
        fold.train_scores["accuracy"] == np.mean(y[cut.train] == 1)
        for fold, cut in zip(result.folds, result.fold_split, strict=True)
    )


def test_figures_are_the_folds_means_and_spreads_and_test_is_the_refits() -> None:
    X, y = data()
    result = train_with_cv(LogisticRegression(), X, y, cv=4, scoring="f1", **QUIET)
    values = [fold.scores["f1"] for fold in result.folds]
    assert result.about.primary == "f1"
    assert result.mean["f1"] == pytest.approx(np.mean(values))
    assert result.spread["f1"] == pytest.approx(np.std(values, ddof=1))
    assert result.scores["held_out"]["f1"] == result.mean["f1"]
    assert result.scores["test"]["accuracy"] == np.mean(result.predict(X[result.split.test]) == y[result.split.test])
    assert all(fold.rows == {"train": 144, "held_out": 48} for fold in result.folds)


def test_the_refit_is_saved_unless_it_is_not_wanted(home: Home, tmp_path: Path) -> None:
    X, y = data()
    told = {"cv": 3, "checks": "off", "progress": False}
    result = train_with_cv(LogisticRegression(), X, y, **told)
    assert result.saved is not None
    assert result.saved.parent == home.root / "experiments" / "tables"
    assert result.saved.name.startswith("LogisticRegression_2")
    assert np.array_equal(load(result.saved).predict(X), result.predict(X))
    elsewhere = train_model(LogisticRegression(), X, y, save_path=tmp_path / "mine", checks="off", progress=False)
    assert elsewhere.saved is not None
    assert elsewhere.saved.parent == tmp_path / "mine"
    assert train_with_cv(LogisticRegression(), X, y, save_model=False, **told).saved is None


def test_what_cannot_be_saved_costs_no_result(home: Home) -> None:
    X, y = data()
    with pytest.warns(UserWarning, match="the model was not saved: "):
        result = train_with_cv(Seen(), X, y, cv=3, checks="off", progress=False)
    assert result.saved is None
    assert result.mean["accuracy"] is not None


def test_folds_can_be_judged_alone_and_broken_off() -> None:
    X, y = data()
    made = ready(
        asked_of({"cv": 4, "checks": "off", "progress": False}, {}), DummyClassifier(), X, y, None, None, folds=True
    )
    model = LogisticRegression()
    found = judge(replace(made, model=model, kind=kind_of(model)))
    assert found == train_with_cv(model, X, y, cv=4, **QUIET).mean
    heard = []

    def stop(done: Done) -> None:
        heard.append(done.key)
        if len(heard) == 2:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        judge(made, stop)
    assert heard == ["fold-1", "fold-2"]


def test_without_test_rows_all_are_in_the_folds() -> None:
    X, _ = data()
    result = train_with_cv(LinearRegression(), X, X[:, 0] * 2, cv=3, test_size=0, **QUIET)
    assert "test" not in result.scores
    assert len(result.predictions.index) == 240
    assert result.mean["r2"] == pytest.approx(1.0)


def test_one_row_a_fold_is_judged_by_all_answers_together() -> None:
    X, y = data(20)
    model = DecisionTreeClassifier(max_depth=2)
    result = train_with_cv(model, X, y, strategy="leave_one_out", test_size=0, **QUIET)
    told = result.predictions
    assert len(result.folds) == 20
    assert result.mean["accuracy"] == np.mean(told.value == y[told.index])
    assert result.mean["roc_auc"] is not None
    assert result.spread == {}


def test_side_by_side_gives_the_same(tmp_path: Path) -> None:
    X, y = data()
    told: dict[str, Any] = {"cv": 3, "seeds": 2, **QUIET}
    alone = train_with_cv(DecisionTreeClassifier(max_features=2), X, y, **told)
    beside = train_with_cv(DecisionTreeClassifier(max_features=2), X, y, n_jobs=2, run_dir=tmp_path / "run", **told)
    assert alone.scores == beside.scores
    assert alone.by_seed[0].scores == beside.by_seed[0].scores
    assert np.array_equal(alone.predictions.value, beside.predictions.value)
    assert len(alone.by_seed) == 2
    assert alone.seed_spread["f1"] is not None


def test_a_refit_goes_the_median_of_the_rounds_that_folds_were_stopped_at() -> None:
    X, y = data()
    result = train_with_cv(
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.4, max_leaf_nodes=4),
        X,
        y,
        cv=3,
        early_stopping=EarlyStopping(patience=2),
        **QUIET,
    )
    best = [fold.best_round for fold in result.folds]
    assert all(one is not None and one < 60 for one in best)
    assert result.model.n_iter_ == round(float(np.median([one for one in best if one])))
    assert all(fold.rows["validation"] > 0 for fold in result.folds)
    for fold in result.fold_split:
        assert not set(fold.validation.tolist()) & set(fold.held_out.tolist())


def test_the_refits_threshold_is_chosen_on_held_out_rows() -> None:
    X, y = data(400, [0.85, 0.15])
    result = train_with_cv(LogisticRegression(), X, y, cv=3, balance="threshold", **QUIET)
    told = result.predictions
    held = told.part == "held_out"
    assert told.probability is not None
    assert result.fitted.threshold is not None

    def f1(threshold: float) -> float:
        says, is_rare = told.probability[held, 1] >= threshold, y[told.index[held]] == 1  # type: ignore[index]
        return float(2 * (says & is_rare).sum() / (says.sum() + is_rare.sum()))

    assert f1(result.fitted.threshold) >= max(f1(one) for one in np.linspace(0.05, 0.95, 19)) - 1e-9
    probability = result.predict_proba(X)[:, 1]
    assert np.array_equal(result.predict(X), (probability >= result.fitted.threshold).astype(int))


def test_the_learning_curve_rises_to_all_rows() -> None:
    X, y = data()
    result = train_with_cv(LogisticRegression(), X, y, cv=3, learning_curve=True, **QUIET)
    rows = [point.rows for point in result.learning_curve]
    assert rows == sorted(rows)
    assert rows[-1] == 128
    assert rows[0] == pytest.approx(12.8, abs=2)
    assert result.learning_curve[-1].held_out == result.mean["f1"]


def test_a_point_of_the_curve_that_cannot_be_fitted_is_left_out() -> None:
    X, y = data(60)
    rare = (y == 1) & (X[:, 5] < 40)
    result = train_with_cv(
        LogisticRegression(), X, rare, cv=2, learning_curve=True, balance="smote", groups=np.arange(60) // 2, **QUIET
    )
    assert 1 <= len(result.learning_curve) < 5
    assert result.learning_curve[-1].share == 1.0


@pytest.mark.parametrize("strategy", ["stratified", "grouped", "time"])
def test_a_share_of_rows_keeps_what_the_split_keeps(strategy: Any) -> None:
    y, groups, times = np.arange(100) % 2, np.arange(100) // 10, np.arange(100.0)
    table = Table(np.zeros((100, 1)), y, "binary", (0, 1), ("x0",), groups, times)
    small, large = (share_of(table, Choice(strategy, ""), np.arange(80), share, 0) for share in (0.3, 0.6))
    assert set(small.tolist()) <= set(large.tolist())
    assert len(small) == pytest.approx(24, abs=6)
    if strategy == "stratified":
        assert np.mean(y[small]) == 0.5
    elif strategy == "grouped":
        assert all(np.sum(groups[small] == one) == 10 for one in set(groups[small].tolist()))
    else:
        assert small.tolist() == list(range(56, 80))


def test_a_stopped_training_does_only_what_is_left(tmp_path: Path) -> None:
    X, y = data()
    log, place = tmp_path / "fits", tmp_path / "run"
    model = Seen(str(log), fail_at=4)
    with pytest.raises(InterruptedTraining, match="2 of 5 jobs have ended"):
        train_with_cv(model, X, y, cv=4, run_dir=place, **QUIET)
    with pytest.raises(TrainingError, match="holds a run already"):
        train_with_cv(model, X, y, cv=4, run_dir=place, **QUIET)
    with pytest.raises(TrainingError, match="seed"):
        train_with_cv(model, X, y, cv=4, run_dir=place, resume=True, seed=1, **QUIET)
    with pytest.raises(TrainingError, match="data differ"):
        train_with_cv(model, X + 1, y, cv=4, run_dir=place, resume=True, **QUIET)
    fitted = len(log.read_text(encoding="utf-8").splitlines())
    result = train_with_cv(model, X, y, cv=4, run_dir=place, resume=True, **QUIET)
    # The refit, of which no record is kept, and the two folds that were left.
    assert len(log.read_text(encoding="utf-8").splitlines()) == fitted + 3
    straight = train_with_cv(Seen(), X, y, cv=4, **QUIET)
    assert result.scores == straight.scores
    assert np.array_equal(result.predictions.value, straight.predictions.value)


@pytest.mark.parametrize(
    ("keywords", "kind", "says"),
    [
        ({"cv": None}, UsageError, "expected folds"),
        ({"cv": 30}, TableError, "n_splits=30"),
        ({"balance": "threshold", "labels": 3}, UsageError, "two classes"),
        ({"split": "time"}, TableError, "'times' parameter"),
    ],
)
def test_what_cannot_be_folded_is_refused(keywords: dict[str, Any], kind: type[Exception], says: str) -> None:
    X, y = data(100)
    labels = np.arange(100) % keywords.pop("labels") if "labels" in keywords else np.where(y & (X[:, 5] < 60), 1, 0)
    with pytest.raises(kind, match=says):
        train_with_cv(LogisticRegression(), X, labels, **{**QUIET, **keywords})
