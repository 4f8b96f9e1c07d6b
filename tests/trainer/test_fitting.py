"""One fit: what it learns it learns from train rows alone, and nothing of its means stays in the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nightshift.errors import TrainingError, UsageError
from nightshift.trainer import EarlyStopping, train_model
from nightshift.trainer.contract import Fitted, Table
from nightshift.trainer.fitting import fit, thresholded
from nightshift.trainer.inputs.table import table_of
from nightshift.trainer.options import Balance, Settings

TRAIN, VALIDATION = np.arange(200), np.arange(200, 300)


def table(poison: bool = False, rare: float = 0.5) -> Table:
    """300 rows with gaps, a category and a date; with `poison` all that is not train is far off."""
    X, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, weights=[1 - rare], class_sep=0.8, flip_y=0, random_state=1
    )
    X[::7, 0] = np.nan
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["kind"] = np.array(["p", "q", "r"])[np.arange(300) % 3]
    frame["at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(300), "h")
    if poison:
        frame.loc[VALIDATION, "a"] = 1e9
        frame.loc[VALIDATION, "kind"] = "never seen"
        frame.loc[VALIDATION, "at"] = pd.NaT
    return table_of(frame, y)


def fitted(model: Any, settings: Settings | None = None, given: Table | None = None, **more: Any) -> Fitted:
    told = given if given is not None else table()
    return fit(told, TRAIN, VALIDATION, model, settings or Settings(), 3, lambda _event: None, **more)


def test_nothing_is_learnt_from_other_rows_and_what_is_unseen_is_answered() -> None:
    clean, poisoned = fitted(LogisticRegression()), fitted(LogisticRegression(), given=table(poison=True))
    rows = table().rows(TRAIN)
    assert np.array_equal(clean.model.predict_proba(rows), poisoned.model.predict_proba(rows))
    assert np.isfinite(poisoned.model.predict_proba(table(poison=True).rows(VALIDATION))).all()


def test_numbers_alone_go_to_a_forest_without_a_step_before_it() -> None:
    X, y = make_classification(300, 5, random_state=0)
    bare = fitted(RandomForestClassifier(5), given=table_of(X, y))
    assert isinstance(bare.model, RandomForestClassifier)
    mixed = fitted(RandomForestClassifier(5))
    assert [name for name, _ in mixed.model.steps] == ["prepare", "model"]


def test_a_pipeline_prepares_its_rows_itself() -> None:
    X, y = make_classification(300, 5, random_state=0)
    made = fitted(make_pipeline(StandardScaler(), LogisticRegression()), given=table_of(X, y))
    assert np.allclose(made.model[0].mean_, X[TRAIN].mean(axis=0))


@pytest.mark.parametrize("method", ["class_weight", "smote", "oversample", "undersample"])
def test_balancing_changes_train_rows_alone_and_leaves_no_sampler(method: Any) -> None:
    given = table(rare=0.15)
    before, y = given.y.copy(), given.y[TRAIN]
    plain = fitted(LogisticRegression(), given=given)
    made = fitted(LogisticRegression(), Settings(balance=Balance(method=method)), given)
    assert np.array_equal(given.y, before)
    assert made.counts_before == {"0": int((y == 0).sum()), "1": int((y == 1).sum())}
    if method != "class_weight":
        assert len(set(made.counts_after.values())) == 1
    rare = made.model.predict(given.rows(VALIDATION)) == 1
    assert rare.mean() > (plain.model.predict(given.rows(VALIDATION)) == 1).mean()
    modules = {type(step).__module__.partition(".")[0] for _, step in made.model.steps}
    assert "imblearn" not in modules


def test_a_threshold_is_chosen_on_validation_rows() -> None:
    given = table(rare=0.15)
    made = fitted(LogisticRegression(), Settings(balance=Balance(method="threshold")), given)
    assert made.threshold is not None
    probability = made.model.predict_proba(given.rows(VALIDATION))[:, 1]
    assert np.array_equal(made.model.predict(given.rows(VALIDATION)), (probability >= made.threshold).astype(int))
    plain = fitted(LogisticRegression(), given=given)
    chosen = thresholded(
        plain, given.y[VALIDATION], plain.model.predict_proba(given.rows(VALIDATION)), (0, 1), Balance()
    )
    assert chosen.threshold == made.threshold
    with pytest.raises(UsageError, match="needs probabilities, which"):
        fitted(RidgeClassifier(), Settings(balance=Balance(method="threshold")), given)


def test_it_stops_by_validation_rows_and_a_refit_goes_the_rounds_it_is_given() -> None:
    settings = Settings(early_stopping=EarlyStopping(patience=3))
    stopped = fitted(HistGradientBoostingClassifier(max_iter=200, learning_rate=0.5), settings)
    assert stopped.best_round is not None
    assert 0 < stopped.best_round < 200
    assert len(stopped.rounds) < 200
    refit = fit(
        table(),
        TRAIN,
        TRAIN[:0],
        HistGradientBoostingClassifier(max_iter=200),
        settings,
        3,
        lambda _event: None,
        rounds=7,
    )
    assert refit.model[-1].n_iter_ == 7


class Shaky(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Answers NaN for every seed but `good`."""

    def __init__(self, good: int | None = None, random_state: int | None = None) -> None:
        self.good = good
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Shaky:
        self.classes_ = np.unique(y)
        self.broken_ = self.random_state == 3 if self.good is None else self.random_state != self.good
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return np.full((len(X), 2), np.nan if self.broken_ else 0.5)

    def predict(self, X: Any) -> NDArray[Any]:
        return np.zeros(len(X), int)


def test_a_fit_that_diverges_is_tried_with_another_seed_which_is_recorded() -> None:
    X, y = make_classification(300, 5, random_state=0)
    made = fitted(Shaky(), given=table_of(X, y))
    assert made.tried == (3,)
    assert made.seed != 3
    assert made.model.random_state == made.seed
    assert "T031" in {one.code for one in made.findings}
    with pytest.raises(TrainingError, match="with the seeds 3, "):
        fitted(Shaky(good=-1), given=table_of(X, y))
    whole = train_model(Shaky(), X, y, seed=3, checks="off", progress=False)
    assert whole.provenance.seeds == (made.seed,)
    assert whole.provenance.seed == 3
