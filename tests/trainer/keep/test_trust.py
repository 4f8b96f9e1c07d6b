"""Numbers that compiled code would follow out of an array are seen before it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from skops.io import dumps

from nightshift.errors import CorruptFileError
from nightshift.trainer.keep import trust

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = (X[:, 0] + RNG.normal(size=120) / 3 > 0).astype(int)


def tree_with(field: str, value: int, model: Any, tree: Any) -> Any:
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    return model


def decision(field: str, value: int) -> Any:
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    return tree_with(field, value, model, model.tree_)


def forest(value: int) -> Any:
    model = RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, Y)
    wide = DecisionTreeClassifier(max_depth=3, random_state=0).fit(np.tile(X, 9), Y)
    model.estimators_[2] = tree_with("feature", value, wide, wide.tree_)
    return model


def boosting() -> Any:
    model = GradientBoostingRegressor(n_estimators=3, random_state=0).fit(X, Y)
    return tree_with("left_child", 10_000, model, model.estimators_[1, 0].tree_)


def histograms(field: str, value: int) -> Any:
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, Y)
    model._predictors[1][0].nodes[field][0] = value
    return model


def neighbours(field: str) -> Any:
    model = KNeighborsClassifier(algorithm="kd_tree", leaf_size=10).fit(X, Y)
    state = list(model._tree.__getstate__())
    if field == "order":
        state[1] = state[1].copy()
        state[1][3] = 10**9
    else:
        state[2] = state[2].copy()
        state[2]["idx_end"][2] = 10**9
    model._tree.__setstate__(tuple(state))
    return model


WRONG = {
    "a child beyond the nodes": lambda: decision("right_child", 10_000),
    "a child before its parent": lambda: decision("left_child", 0),
    "a negative child": lambda: decision("right_child", -7),
    "a column beyond the rows": lambda: decision("feature", 3),
    "a tree in a forest for wider rows": lambda: forest(20),
    "a tree of boosting": boosting,
    "a column of histograms": lambda: histograms("feature_idx", 9),
    "a child in histograms": lambda: histograms("left", 4_000_000),
    "rows of neighbours": lambda: neighbours("order"),
    "bounds of neighbours": lambda: neighbours("bounds"),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_tree_that_leads_out_of_its_arrays_is_refused(make: Any) -> None:
    with pytest.raises(CorruptFileError, match="lead out of it"):
        trust.read(dumps(make()), "model.skops")


def test_whole_models_pass() -> None:
    stacked = StackingClassifier(
        [(str(i), LogisticRegression(C=i + 1)) for i in range(4)],
        DecisionTreeClassifier(max_depth=3),
        passthrough=True,
    ).fit(X, Y)
    found = trust.read(dumps(stacked), "model.skops")
    assert np.array_equal(found.predict(X), stacked.predict(X))
    neighbours = KNeighborsClassifier(algorithm="ball_tree", metric="manhattan").fit(X, Y)
    assert np.array_equal(trust.read(dumps(neighbours), "model.skops").predict(X), neighbours.predict(X))


def test_what_is_no_file_of_skops_says_so() -> None:
    with pytest.raises(CorruptFileError, match="cannot be read"):
        trust.read(b"PK no zip", "model.skops")
