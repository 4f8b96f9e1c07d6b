"""Every classifier and regressor of the installed scikit-learn trains on a plain table, or is listed with the reason.

A new one that is neither fails here, and so does one of the list that has learnt to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import all_estimators
from skops.io import dumps

from nightshift.errors import TrainingError
from nightshift.trainer import train_model
from nightshift.trainer.keep import trust

ROWS = 300
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 6))
NOISE = RNG.normal(size=ROWS)
CLASSES = np.where(X[:, 0] + NOISE > 0, "yes", "no")
NUMBERS = 2 * X[:, 0] + NOISE / 2
WITH_GAPS = np.where(np.arange(6 * ROWS).reshape(X.shape) % 17 == 1, np.nan, X)
COUNTS = RNG.integers(0, 5, size=X.shape).astype(float)

#: Why an estimator cannot be trained on a table whose y is one column: words of its error.
CANNOT: dict[str, str] = {
    "ClassifierChain": "tuple index out of range",
    "IsotonicRegression": "should be a 1d array or 2d array with 1 feature",
    "MultiOutputClassifier": "y must have at least two dimensions",
    "MultiOutputRegressor": "y must have at least two dimensions",
    "MultiTaskElasticNet": "For mono-task outputs",
    "MultiTaskElasticNetCV": "For mono-task outputs",
    "MultiTaskLasso": "For mono-task outputs",
    "MultiTaskLassoCV": "For mono-task outputs",
    "RegressorChain": "tuple index out of range",
}
#: Of these the columns must be counts, and of those y must be positive.
COUNTING, POSITIVE = {"CategoricalNB", "ComplementNB", "MultinomialNB"}, {"GammaRegressor", "PoissonRegressor"}
#: It takes text as classes in one dtype alone.
CODED = {"SelfTrainingClassifier"}
#: What they need to be made at all, or to be small, or to have neighbours everywhere.
PARAMS: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "CategoricalNB": {"min_categories": 10},
    "LogisticRegressionCV": {"cv": 2, "Cs": 3},
    "OrthogonalMatchingPursuitCV": {"max_iter": 4},
    "PLSCanonical": {"n_components": 1},
    "RadiusNeighborsClassifier": {"radius": 10.0},
    "RadiusNeighborsRegressor": {"radius": 10.0},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "StackingClassifier": {"estimators": [("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))]},
    "StackingRegressor": {"estimators": [("a", Ridge()), ("b", Ridge(10.0))]},
    "TheilSenRegressor": {"max_subpopulation": 100},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression(), "cv": 2, "thresholds": 10},
    "VotingClassifier": {"estimators": [("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))]},
    "VotingRegressor": {"estimators": [("a", Ridge()), ("b", Ridge(10.0))]},
}
SMALL = {"n_estimators": 8, "max_iter": 40}


@dataclass(frozen=True)
class Case:
    """An estimator of scikit-learn and its table."""

    name: str
    make: Callable[..., Any]
    numbers: bool

    @property
    def X(self) -> Any:
        return COUNTS if self.name in COUNTING else WITH_GAPS

    @property
    def y(self) -> Any:
        if self.name in COUNTING:
            return np.where(COUNTS[:, 0] + NOISE > 2, "yes", "no")
        if self.name in CODED:
            return (CLASSES == "yes").astype(int)
        return np.exp(NUMBERS / 4) if self.name in POSITIVE else NUMBERS if self.numbers else CLASSES

    def model(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated classes say so when they are made
            try:
                made = self.make(**PARAMS.get(self.name, {}))
            except TypeError:
                made = self.make(Ridge() if self.numbers else LogisticRegression())
            known = made.get_params(deep=False)
            small = {
                key: value for key, value in SMALL.items() if key in known and key not in PARAMS.get(self.name, {})
            }
            return made.set_params(**small)


CASES = [
    Case(name, make, kind == "regressor")
    for kind in ("classifier", "regressor")
    for name, make in all_estimators(type_filter=kind)
]


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in CANNOT], ids=lambda case: case.name)
def test_it_trains_on_a_table_answers_and_does_so_again_with_the_same_seed(case: Case) -> None:
    first, again = (train_model(case.model(), case.X, case.y, checks="off", progress=False) for _ in range(2))
    said = first.model.predict(case.X)
    assert said.shape == (ROWS,)
    if case.numbers:
        assert np.isfinite(said).all()
    else:
        assert set(said.tolist()) <= set(case.y)
    assert np.array_equal(said, again.model.predict(case.X))
    kept = trust.read(dumps(first.model), "model.skops")  # what save() writes, of trusted types alone
    assert np.array_equal(said, kept.predict(case.X))


@pytest.mark.parametrize("case", [case for case in CASES if case.name in CANNOT], ids=lambda case: case.name)
def test_what_cannot_says_why(case: Case) -> None:
    with pytest.raises(TrainingError, match=CANNOT[case.name]):
        train_model(case.model(), case.X, case.y, checks="off", progress=False)


def test_what_is_listed_exists() -> None:
    assert set(CANNOT) | COUNTING | POSITIVE | CODED | set(PARAMS) <= {case.name for case in CASES}
    assert len(CASES) > 90
