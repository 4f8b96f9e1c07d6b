"""Results that every test here looks at; none of them changes one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier

from nightshift.trainer import CVResult, TrainResult, train_model, train_with_cv

QUIET: dict[str, Any] = {"progress": False, "save_model": False}


@pytest.fixture(scope="module")
def smote() -> TrainResult:
    """Two classes, 9:1, whose names are HTML."""
    X, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, weights=[0.9], class_sep=2, flip_y=0, random_state=0
    )
    frame = pd.DataFrame(X, columns=["<b>bold</b>", "b", "c", "d", "e"])
    labels = np.where(y == 1, "<i>bad</i>", "good")
    return train_model(
        RandomForestClassifier(5), frame, labels, balance="smote", seeds=2, scoring="f1_macro", checks="off", **QUIET
    )


@pytest.fixture(scope="module")
def folds() -> CVResult:
    """Three folds with a learning curve."""
    X, y = make_classification(240, 5, n_informative=4, n_redundant=0, weights=[0.8], flip_y=0.1, random_state=0)
    with pytest.warns(UserWarning, match="T"):
        return train_with_cv(RandomForestClassifier(5), X, y, cv=3, scoring="f1", learning_curve=True, **QUIET)


@pytest.fixture(scope="module")
def numbers() -> TrainResult:
    """A regression in rounds, with a gap in time between its parts."""
    X, y = make_regression(240, 3, noise=10, random_state=0)
    return train_model(
        HistGradientBoostingRegressor(max_iter=15),
        X,
        y,
        times=np.arange(240.0),
        split={"strategy": "time", "gap": 5.0},
        early_stopping=5,
        checks="off",
        **QUIET,
    )
