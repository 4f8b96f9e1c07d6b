"""`classifier` and `regressor`: whatever the columns and the classes are, the graph is the estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support import tables

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.data.tables import land_table
from nightshift.edge.session import open_session
from nightshift.errors import ExportError
from nightshift.families._estimator import model_of
from nightshift.family import Limits, RunContext
from nightshift.graphs.parity import compare
from nightshift.settings import Home
from nightshift.trainer import train_with_cv

CUT = {"train": np.arange(350), "val": np.arange(350, 425), "test": np.arange(425, 500)}
FEW = {"n_estimators": 10}


def context(folder: Path) -> RunContext:
    return RunContext("0" * 64, 42, Limits(), folder, folder, 100.0)


def landed(home: Home, y: Any, **columns: Any) -> Dataset:
    table = tables.made().assign(**columns)
    answer = pd.Series(y, name="answer")
    classes = () if answer.dtype == float else tuple(str(one) for one in np.unique(answer))
    return land_table(home, "table", table.drop(columns=["y", "v"]), answer, CUT, classes=classes)


def fitted_on(data: Dataset, family: str, folder: Path, **config: Any) -> tuple[Any, Any]:
    own = families.get(family)
    return own, own.train(data, own.config(**config), context(folder))


def parity_of(own: Any, fitted: Any, data: Dataset, folder: Path) -> Any:
    graph = own.export(fitted, context(folder)).SerializeToString()
    asked = own.parity_inputs(fitted, data, context(folder))
    return compare(graph, lambda rows: own.predict(fitted, rows), asked, own.tolerances(fitted))


@pytest.mark.parametrize(
    ("family", "model", "params"),
    [
        ("classifier", "random_forest", FEW),
        ("classifier", "logistic", {}),
        ("classifier", "xgboost", FEW),
        ("classifier", "catboost", FEW),
        ("regressor", "random_forest", FEW),
        ("regressor", "ridge", {}),
    ],
)
def test_the_graph_answers_as_the_estimator_does(
    home: Home, tmp_path: Path, family: str, model: str, params: dict[str, Any]
) -> None:
    data = landed(home, tables.made()["y" if family == "classifier" else "v"])
    own, fitted = fitted_on(data, family, tmp_path, model=model, params=params)
    parity = parity_of(own, fitted, data, tmp_path)
    assert parity.ok, parity
    assert {"real", "mixed", "missing", "infinite", "unseen"} == set(parity.cases)


@pytest.mark.parametrize("kind", ["numbers", "flags", "three", "threshold"])
def test_classes_of_any_type_are_told_by_their_names(home: Home, tmp_path: Path, kind: str) -> None:
    table = tables.made()
    y: Any = np.where(table["v"] > 4, 10, np.where(table["v"] > 0, 9, 2))  # as text 10 would come first
    settings = {}
    if kind == "flags":
        y = table["v"].to_numpy() > 0
    elif kind == "three":
        y = np.where(table["v"] > 4, "high", np.where(table["v"] > 0, "some", "low"))
    elif kind == "threshold":
        y, settings = table["y"].to_numpy(), {"balance": "threshold"}
    data = landed(home, y)
    own, fitted = fitted_on(data, "classifier", tmp_path, model="random_forest", params=FEW, settings=settings)
    # In the order that numbers have.
    assert fitted.interface.classes == tuple(str(one) for one in np.unique(y))
    assert (fitted.threshold is not None) == (kind == "threshold")
    parity = parity_of(own, fitted, data, tmp_path)
    assert parity.ok, parity
    said = own.predict(fitted, own.samples(fitted.interface, data, "test").inputs)
    named = np.array(fitted.interface.classes)[said["label"]]
    assert (named == data.frame("test")["answer"].to_numpy()).mean() > 0.6


def test_a_model_that_takes_no_gaps_is_given_the_medians_of_train(home: Home, tmp_path: Path) -> None:
    data = landed(home, tables.made()["v"], b=np.arange(500.0))
    own, fitted = fitted_on(data, "regressor", tmp_path, model="ridge")
    window = own.samples(fitted.interface, data, "test").inputs["window"][:1]
    gap, filled = window.copy(), window.copy()
    gap[0, 0, 1], filled[0, 0, 1] = np.nan, np.float32(174.5)
    session = open_session(own.export(fitted, context(tmp_path)).SerializeToString())
    given = [session.run(None, {"window": rows})[0] for rows in (gap, filled)]
    np.testing.assert_array_equal(*given)
    np.testing.assert_allclose(own.predict(fitted, {"window": gap})["value"], given[0], rtol=1e-5)


def test_flags_are_read_as_people_write_them(home: Home, tmp_path: Path) -> None:
    table = tables.made()
    data = landed(home, np.where(table["open"], 5.0, 1.0) + 0.01 * table["a"])
    own, fitted = fitted_on(data, "regressor", tmp_path, model="lightgbm", params=FEW)
    (column,) = (one for one in fitted.interface.columns if one.name == "open")
    place = fitted.interface.columns.index(column)
    window = np.repeat(own.samples(fitted.interface, data, "test").inputs["window"][:1], 4, axis=0)
    window[:, 0, place] = [column.categories.index(word) for word in ("True", "true", "1", "False")]
    session = open_session(own.export(fitted, context(tmp_path)).SerializeToString())
    values = session.run(None, {"window": window})[0]
    assert values[0] == values[1] == values[2] > values[3] + 1


def test_other_codes_of_words_are_told_apart_by_the_words(home: Home, tmp_path: Path) -> None:
    """As when a champion is asked about newer data, in which a word has come and one has gone."""
    data = landed(home, tables.made()["y"])
    own, fitted = fitted_on(data, "classifier", tmp_path, model="lightgbm", params=FEW)
    colours = tables.made()["colour"].replace({"green": "amber"})
    newer = landed(home, tables.made()["y"], colour=colours)
    window = own.samples(fitted.interface, newer, "test").inputs["window"]
    codes = {"blue": 0.0, "red": 2.0, "amber": -1.0}
    assert window[:, 0, 4].tolist() == [codes[word] for word in colours[425:]]


def test_an_estimator_that_tells_no_probabilities_is_refused(home: Home, tmp_path: Path) -> None:
    from sklearn.svm import LinearSVC

    from nightshift.families._estimator import model_of
    from nightshift.trainer import train_model

    data = landed(home, tables.made()["y"])
    table = tables.made().drop(columns=["y", "v"]).fillna(0)
    result = train_model(LinearSVC(), table, tables.made()["y"], checks="off", progress=False)
    with pytest.raises(ExportError, match="LinearSVC tells no probabilities"):
        model_of(result, data, "class")


def test_a_linear_model_is_not_held_against_itself(home: Home, tmp_path: Path) -> None:
    data = landed(home, tables.made()["v"])
    own, fitted = fitted_on(data, "regressor", tmp_path, model="ridge")
    judged = own.evaluate(fitted, data, own.config(), context(tmp_path))
    assert {row.who for row in judged.rows if row.kind == "baseline"} == {"mean"}
    own, fitted = fitted_on(data, "regressor", tmp_path, model="lightgbm", params=FEW)
    judged = own.evaluate(fitted, data, own.config(), context(tmp_path))
    assert {row.who for row in judged.rows if row.kind == "baseline"} == {"mean", "linear model"}


def test_test_is_not_looked_at_when_training(home: Home, tmp_path: Path) -> None:
    data = landed(home, tables.made()["v"])
    asked: list[str] = []

    class Watched(Dataset):
        def frame(self, part: str, columns: Any = None) -> pd.DataFrame:
            asked.append(part)
            return super().frame(part, columns)

    watched = Watched(folder=data.folder, metadata=data.metadata, fingerprint=data.fingerprint)
    fitted_on(watched, "regressor", tmp_path, model="ridge")
    assert set(asked) == {"train", "val"}


def test_a_class_that_only_test_holds_is_told_of(home: Home, tmp_path: Path) -> None:
    y = tables.made()["y"].to_numpy(object)
    y[430:433] = "maybe"
    data = landed(home, y)
    own, fitted = fitted_on(data, "classifier", tmp_path, model="lightgbm", params=FEW)
    judged = own.evaluate(fitted, data, own.config(), context(tmp_path))
    (told,) = (found.what for found in judged.findings if found.code == "T018")
    assert told.startswith("The model has learnt no row of maybe: 3 rows of test, which accuracy counts as wrong")


def test_the_folds_of_a_cross_validation_are_kept_and_drawn(home: Home, tmp_path: Path) -> None:
    table = tables.made()
    own, data = families.get("regressor"), landed(home, table.v.to_numpy())
    found = train_with_cv("ridge", table.drop(columns=["y", "v"]), table.v.rename("answer"), cv=3, progress=False)
    own.save(model_of(found, data, "value"), tmp_path / "kept")
    loaded = own.load(tmp_path / "kept")
    assert loaded.folds == {"r2": [fold.scores["r2"] for fold in found.folds]}
    (figure,) = [f for f in own.evaluate(loaded, data, own.config(), context(tmp_path)).figures if f.key == "folds"]
    assert figure.title == f"Cross-validation, {np.mean(loaded.folds['r2']):.4g} in the mean"
    assert (figure.series[0].x, figure.series[0].y) == (["fold 1", "fold 2", "fold 3"], loaded.folds["r2"])
    plain = own.train(data, own.config(model="ridge"), context(tmp_path))
    assert not plain.folds
