"""A graph leaves only when it answers as its model does, in the caller's own labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier, XGBRegressor

from nightshift import trainer
from nightshift.errors import ExportError
from nightshift.trainer.balance.threshold import with_threshold
from nightshift.trainer.keep import onnx_graph, onnx_out

pytestmark = pytest.mark.usefixtures("home")
ROWS = 300
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(ROWS, 4))
GAPS = np.where(RNG.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
TWO = np.where(NUMBERS[:, 0] + RNG.normal(size=ROWS) / 2 > 0.8, "yes", "no")
THREE = np.digitize(NUMBERS[:, 1], [-0.5, 0.5]) * 10
VALUES = 3 * NUMBERS[:, 0] + NUMBERS[:, 1]
#: The last two are one identifier to a converter.
NAMES = ["a", "b", "Air temperature [K]", "Air_temperature__K_"]
FRAME = pd.DataFrame(GAPS, columns=NAMES).assign(
    few=np.where(NUMBERS[:, 2] > 0, "u", "v"),
    middle=[f"m{i % 17}" for i in range(ROWS)],
    whole=pd.array([None if i % 20 == 3 else i for i in range(ROWS)], dtype="Int64"),
)
PLAIN = FRAME.drop(columns=["few", "middle"])


def light(**more: Any) -> LGBMClassifier:
    return LGBMClassifier(n_estimators=8, verbose=-1, **more)


def stacked() -> StackingClassifier:
    return StackingClassifier([(name, RandomForestClassifier(3)) for name in "ab"], LogisticRegression(), cv=2)


CASES: dict[str, tuple[Callable[[], Any], Any, Any, dict[str, Any]]] = {
    "forest": (lambda: RandomForestClassifier(6), NUMBERS, THREE, {}),
    "forest with gaps": (lambda: RandomForestClassifier(6), GAPS, TWO, {}),
    "extra trees with gaps": (lambda: ExtraTreesClassifier(6), GAPS, TWO, {}),
    "bag of trees with gaps": (lambda: BaggingClassifier(n_estimators=3), GAPS, TWO, {}),
    "forest of numbers": (lambda: RandomForestRegressor(6), GAPS, VALUES, {}),
    "logistic": (LogisticRegression, FRAME, TWO, {}),
    "ridge": (Ridge, PLAIN, VALUES, {}),
    "labels alone": (RidgeClassifier, NUMBERS, THREE, {}),
    "labels alone by a vector machine": (LinearSVC, NUMBERS, TWO, {}),
    "lightgbm": (light, GAPS, TWO, {}),
    "lightgbm without gaps": (light, NUMBERS, THREE, {}),
    "lightgbm of columns": (light, FRAME, TWO, {"balance": "threshold"}),
    "lightgbm of numbers": (lambda: LGBMRegressor(n_estimators=8, verbose=-1), GAPS, VALUES, {}),
    "xgboost": (lambda: XGBClassifier(n_estimators=8), GAPS, TWO, {}),
    "xgboost of columns": (lambda: XGBClassifier(n_estimators=8), FRAME, THREE, {"early_stopping": 3}),
    "xgboost of numbers": (lambda: XGBRegressor(n_estimators=8), NUMBERS, VALUES, {}),
    "catboost": (lambda: CatBoostClassifier(iterations=8, verbose=0), GAPS, TWO, {}),
    "catboost of columns": (lambda: CatBoostClassifier(iterations=8, verbose=0), FRAME, THREE, {}),
    "catboost of numbers": (lambda: CatBoostRegressor(iterations=8, verbose=0), GAPS, VALUES, {}),
}


def trained(make: Callable[[], Any], X: Any, y: Any, more: dict[str, Any]) -> Any:
    return trainer.train_model(make(), X, y, checks="off", progress=False, **more)


@pytest.mark.parametrize("name", CASES)
def test_the_graph_answers_as_the_model_does(name: str, tmp_path: Path) -> None:
    make, X, y, more = CASES[name]
    result = trained(make, X, y, more)
    report = result.to_onnx(tmp_path / "model.onnx")
    assert report.largest <= 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = X.head(50) if hasattr(X, "head") else X[:50]
    if {"few"} <= set(getattr(X, "columns", ())):
        given = {
            each: (
                rows[each].to_numpy(object)
                if each in ("few", "middle")
                else rows[each].to_numpy(np.float32, na_value=np.nan)
            ).reshape(-1, 1)
            for each in rows.columns
        }
    else:
        given = {"x": np.asarray(rows if not hasattr(rows, "iloc") else rows.astype("float64"), np.float32)}
    answers = dict(zip([value.name for value in session.get_outputs()], session.run(None, given), strict=True))
    if "value" in answers:
        assert np.allclose(answers["value"].ravel(), result.predict(rows), rtol=1e-4, atol=1e-4)
    else:
        assert (answers["label"].ravel() == result.predict(rows)).mean() > 0.95
        assert set(answers["label"].ravel()) <= set(y)
        assert ("probabilities" in answers) is hasattr(result.model, "predict_proba")


@pytest.mark.parametrize(
    ("make", "X", "y", "words"),
    [
        (lambda: HistGradientBoostingClassifier(max_iter=3), NUMBERS, TWO, "has no ONNX form here"),
        (LinearDiscriminantAnalysis, NUMBERS, TWO, r"300 rows of the table|60 rows of the table"),
        (stacked, NUMBERS, TWO, "rows with gaps"),
        (
            lambda: Ridge(),
            FRAME[["a"]].assign(when=pd.date_range("2024-01-01", periods=ROWS, freq="D")),
            VALUES,
            "'when'",
        ),
        (Ridge, FRAME[["a", "few"]].rename(columns={"a": "value"}), VALUES, "name of the graph's answer"),
    ],
    ids=["no converter", "a converter that is wrong", "one that is wrong for gaps", "dates", "an answer's name"],
)
def test_what_has_no_faithful_graph_is_refused_and_nothing_is_written(
    make: Callable[[], Any], X: Any, y: Any, words: str, tmp_path: Path
) -> None:
    result = trained(make, X, y, {})
    with pytest.raises(ExportError, match=words):
        result.to_onnx(tmp_path / "out" / "model.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_a_threshold_is_in_the_graph(threshold: float) -> None:
    model = with_threshold(RandomForestClassifier(20, max_depth=4, random_state=0).fit(NUMBERS, TWO), threshold)
    report = onnx_out.exported(model, NUMBERS)
    session = onnxruntime.InferenceSession(report.model.SerializeToString())
    label, probability = session.run(["label", "probabilities"], {"x": NUMBERS.astype(np.float32)})
    assert ((probability[:, 1] >= threshold) == (label == "yes")).all()
    assert 0 < np.mean(label == "yes") < 1


def test_a_tie_is_no_fault_of_a_graph() -> None:
    even = np.array([[0.5, 0.5, 0], [0.4, 0.3, 0.3], [0.2, 0.4, 0.4]])
    assert onnx_out.decided(even, None).tolist() == [False, True, False]
    assert onnx_out.decided(np.array([[0.7, 0.3], [0.3, 0.7]]), 0.3).tolist() == [False, True]
    model = RandomForestClassifier(10, random_state=0).fit(NUMBERS, TWO)

    class Rounds(RandomForestClassifier):
        """Answers ties by the last of two classes, as a sum in single precision may."""

        def predict(self, X: Any) -> Any:
            told = model.predict_proba(X)
            tied = np.isclose(told, told.max(axis=1, keepdims=True))
            return model.classes_[np.where(tied, np.arange(told.shape[1]), -1).max(axis=1)]

    other = Rounds().set_params(**model.get_params())
    other.__dict__.update(model.__dict__)
    rows = onnx_graph.mixed(NUMBERS.astype(np.float32), 1_000, 0)
    assert (other.predict(rows) != model.predict(rows)).any()
    graph = onnx_out.exported(model, NUMBERS).model
    assert onnx_out._difference(other, graph, rows, "rows") <= 1e-5


def test_a_model_that_was_read_back_is_checked_on_rows_that_are_given(tmp_path: Path) -> None:
    result = trained(light, GAPS, TWO, {})
    found = trainer.load(result.save(tmp_path / "model"))
    report = found.to_onnx(GAPS, tmp_path / "model.onnx")
    assert report.path == tmp_path / "model.onnx"
    assert (report.rows, report.gaps) == (ROWS + 1_000 + 100, True)


def test_thresholds_are_floored() -> None:
    """A row that lies between a double threshold and the float32 above it goes with the model."""
    result = trained(lambda: light(min_child_samples=2), NUMBERS, TWO, {})
    model = result.model
    thresholds = np.array(
        [
            (node["split_feature"], node["threshold"])
            for node in [tree["tree_structure"] for tree in model.booster_.dump_model()["tree_info"]]
            if "threshold" in node
        ]
    )
    rows = np.tile(NUMBERS[:1], (len(thresholds), 1))
    for row, (column, threshold) in zip(rows, thresholds, strict=True):
        row[int(column)] = np.float32(threshold)
    assert (rows[np.arange(len(rows)), thresholds[:, 0].astype(int)] > thresholds[:, 1]).any()
    assert onnx_out.exported(model, rows).largest <= 1e-5
