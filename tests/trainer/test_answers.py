"""New rows are answered, or refused in one line: what, expected, got."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from nightshift import trainer
from nightshift.errors import TableError
from nightshift.trainer import CVResult, TrainResult, train_model, train_with_cv
from nightshift.trainer.keep.load import TrainedModel

N = 120
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = (X[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(
    kind=np.where(Y, "u", "v"), day=pd.date_range("2024-01-01", periods=N), on=X[:, 1] > 0
)
NEW = FRAME.head(3)
QUIET: dict[str, Any] = {"checks": "off", "progress": False}
Answers = TrainResult | CVResult | TrainedModel


@pytest.fixture(scope="module", params=["trained", "folded", "loaded", "boosted"])
def of_frame(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    if request.param == "folded":
        return train_with_cv(LogisticRegression(), FRAME, Y, cv=2, save_model=False, **QUIET)
    if request.param == "boosted":
        return train_model(HistGradientBoostingClassifier(max_iter=3), FRAME, Y, **QUIET)
    result = train_model(LogisticRegression(), FRAME, Y, **QUIET)
    return result if request.param == "trained" else trainer.load(result.save(tmp_path_factory.mktemp("kept") / "one"))


@pytest.fixture(scope="module")
def of_array() -> TrainResult:
    return train_model(LogisticRegression(), X, Y, **QUIET)


FIT: dict[str, Any] = {
    "another order": NEW[NEW.columns[::-1]],
    "integers": NEW.assign(on=NEW["on"].astype(int)),
    "nullable": NEW.convert_dtypes(),
    "arrow": NEW.convert_dtypes(dtype_backend="pyarrow"),
    "objects": NEW.astype(object),
    "text of dates": NEW.assign(day=["2024-01-01", "2024-01-02", "2024-01-03"]),
    "a category": NEW.astype({"kind": "category"}),
    "one row": NEW.iloc[[0]],
    "rows of a file": NEW.assign(day=NEW["day"].astype(str)).to_dict("records"),
    "lists": NEW.to_numpy(object).tolist(),
    "an array of objects": NEW.to_numpy(object),
    "another index": NEW.set_axis(["x", "y", "z"]),
}


@pytest.mark.parametrize("name", FIT)
def test_rows_that_say_the_same_are_answered_alike(name: str, of_frame: Answers) -> None:
    rows, want = FIT[name], of_frame.predict(NEW)
    answers = of_frame.predict(rows)
    assert answers.tolist() == want[: len(answers)].tolist()
    assert of_frame.predict_proba(rows).shape == (len(answers), 2)


UNFIT: dict[str, tuple[Any, str]] = {
    "one missing": (NEW.drop(columns="b"), r"no column 'b'\. Expected 6 columns.*got 5"),
    "renamed": (NEW.rename(columns={"b": "B"}), r"no column 'b'.*Did you mean 'B'\?"),
    "two missing": (NEW[["a", "kind", "day", "on"]], "no columns 'b', 'c'"),
    "one more": (NEW.assign(y=1), r"column 'y', which the model was not trained on.*X\.drop\(columns=\['y'\]\)"),
    "twice": (pd.concat([NEW, NEW[["b"]]], axis=1), "duplicated column names: 'b'"),
    "text": (
        NEW.assign(b=["1", "x", "3"]),
        r"column 'b' of dtype (str|object)\. Expected numbers \(float64\).*got '1'",
    ),
    "text of dtype string": (NEW.assign(b=pd.array(["1", "2", "3"], "string")), "Expected numbers"),
    "dates": (NEW.assign(b=NEW["day"]), r"'b' of dtype datetime64.*Expected numbers"),
    "numbers for text": (NEW.assign(kind=[1, 2, 3]), r"'kind' of dtype int64\. Expected text"),
    "numbers for dates": (NEW.assign(day=[1, 2, 3]), r"'day' of dtype int64\. Expected dates"),
    "complex": (NEW.assign(b=1j), "complex128"),
    "infinite": (NEW.assign(b=[1.0, np.inf, 2.0]), "contains infinity: 1 value in column 'b'"),
    "mixed": (NEW.assign(b=[1.0, "x", None]), "'b'.*Expected numbers"),
    "empty": (NEW.head(0), r"0 sample\(s\) in X\. Expected at least 1 row"),
    "a row": (NEW.iloc[0], r"Expected a table of rows.*got a Series.*iloc\[\[0\]\]"),
    "a mapping": (NEW.iloc[0].to_dict(), "got dict"),
    "narrow": (NEW.to_numpy(object)[:, :4], "Expected 6 columns.*got 4"),
    "one dimension": (np.arange(6.0), "Expected 2D array for X, got 1D"),
    "three dimensions": (np.zeros((1, 2, 3)), "got 3D"),
    "nothing": (None, "got None"),
    "a name": ("rows.csv", "got 'rows.csv'"),
    "a generator": ((row for row in [1, 2]), "generator"),
    "a number": (3, "got int"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_rows_that_do_not_fit_are_refused_in_one_line(name: str, of_frame: Answers) -> None:
    rows, words = UNFIT[name]
    for ask in (of_frame.predict, of_frame.predict_proba):
        with pytest.raises(TableError, match=words) as caught:
            ask(rows)
        assert "\n" not in str(caught.value)
        assert "xpected" in str(caught.value)


@pytest.mark.parametrize("rows", [X[:3], X[:3].tolist(), FRAME[["c", "a", "b"]].head(3), X[:3].astype(object)])
def test_a_model_of_an_array_goes_by_places(rows: Any, of_array: TrainResult) -> None:
    assert of_array.predict(rows).tolist() == of_array.model.predict(np.asarray(rows, float)).tolist()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (X[:3, :2], r"Expected 3 columns.*got 2"),
        (np.hstack([X, X])[:3], "got 6"),
        (X[0], "got 1D"),
        (X[:0], "0 sample"),
        (X[:3].astype(str), "Expected numbers"),
        (X[:3] * 1j, "complex128"),
        (np.full((2, 3), np.inf), "infinity"),
        ([[1, 2], [1, 2, 3]], "different length"),
        (FRAME[["a", "b", "kind"]].head(2), "'kind'.*Expected numbers"),
        (sparse.csr_matrix(X[:3]), "LogisticRegression cannot answer these rows: .*sparse"),
    ],
)
def test_other_rows_are_refused_by_a_model_of_an_array(rows: Any, words: str, of_array: TrainResult) -> None:
    with pytest.raises(TableError, match=words) as caught:
        of_array.predict(rows)
    assert "\n" not in str(caught.value)


def test_a_gap_that_train_rows_had_none_of_is_told_with_what_fills_it(of_array: TrainResult) -> None:
    with pytest.raises(TableError, match=r"cannot answer these rows: Input X contains NaN.*'always_impute': True"):
        of_array.predict(np.full((2, 3), np.nan))
    filled = train_model(LogisticRegression(), X, Y, encode={"always_impute": True}, **QUIET)
    assert filled.predict(np.full((2, 3), np.nan)).shape == (2,)


def test_an_estimator_without_probabilities_says_so(tmp_path: Path) -> None:
    for model, y in ((LinearSVC(), Y), (Ridge(), X[:, 0])):
        result = train_model(model, X, y, **QUIET)
        with pytest.raises(AttributeError, match=rf"{type(model).__name__} tells no probabilities: .*predict"):
            result.predict_proba(X)


def test_sparse_rows_and_numbered_columns_are_answered() -> None:
    rows = sparse.csr_matrix(X)
    result = train_model(LogisticRegression(), rows, Y, **QUIET)
    assert result.predict(rows[:4]).shape == (4,)
    numbered = train_model(LogisticRegression(), pd.DataFrame(X), Y, **QUIET)
    for given in (pd.DataFrame(X[:4]), X[:4], pd.DataFrame(X[:4])[[2, 0, 1]]):
        assert numbered.predict(given).tolist() == numbered.model.predict(pd.DataFrame(X[:4])).tolist()


def test_a_gap_is_answered_by_a_net_whose_train_rows_had_none() -> None:
    import torch

    result = train_model(torch.nn.Linear(3, 2), X, Y, **QUIET)
    assert np.isfinite(result.predict_proba(np.full((2, 3), np.nan))).all()


def test_a_gap_among_objects_is_one() -> None:
    model = train_model(HistGradientBoostingClassifier(max_iter=3), FRAME, Y, **QUIET)
    among, plain = (
        NEW.assign(b=pd.Series([1.0, gap, 2.0], dtype=kind)) for gap, kind in ((pd.NA, object), (None, float))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that train rows had no gap there
        assert model.predict_proba(among).tolist() == model.predict_proba(plain).tolist()
