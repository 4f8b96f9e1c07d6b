"""`train_model`, `train_with_cv` and `train_from_config` as the caller sees them."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

from nightshift import trainer
from nightshift.errors import TableError, TrainingError, UnknownNameError, UsageError
from nightshift.trainer import CVResult, Split, TrainResult, train_from_config, train_model, train_with_cv

#: The issue's own text.
ONE = """model, X, y, *, split="auto", groups=None, times=None, scoring=None, balance=None, early_stopping=None,
encode="auto", scale="auto", seed=42, checks="warn", progress="auto", run_dir=None, resume=False, track=None,
limits=None"""
FOLDS = """model, X, y, *, cv=5, strategy="auto", n_jobs=1, learning_curve=False"""
QUIET: dict[str, Any] = {"checks": "off", "progress": False}


def table(rows: int = 200, weights: list[float] | None = None) -> tuple[Any, Any]:
    X, y = make_classification(rows, 6, n_informative=4, class_sep=1.5, weights=weights, flip_y=0.02, random_state=0)
    return X, y


def of_text(text: str) -> dict[str, Any]:
    """Return the defaults of the keywords, by name."""
    function = ast.parse(f"def reference({text}): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    told = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {one.arg: ast.literal_eval(default) for one, default in told if default is not None}


@pytest.mark.parametrize(("function", "text"), [(train_model, ONE), (train_with_cv, FOLDS)])
def test_the_signature_is_the_issues(function: Any, text: str) -> None:
    told = inspect.signature(function).parameters
    wanted = of_text(text)
    assert {name: told[name].default for name in wanted} == wanted
    positional = [p.name for p in told.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["model", "X", "y"]
    assert set(of_text(ONE)) <= set(inspect.signature(train_with_cv).parameters)


def test_parts_hold_the_default_shares_and_the_model_answers() -> None:
    X, y = table()
    result = train_model(LogisticRegression(), X, y, **QUIET)
    assert isinstance(result, TrainResult)
    assert {part: len(rows) for part, rows in result.split.parts().items()} == {
        "train": 140,
        "validation": 20,
        "test": 40,
    }
    test = result.split.test
    assert result.scores["test"]["f1"] == pytest.approx(f1_score(y[test], result.predict(X[test])))
    told = result.predictions
    assert np.array_equal(np.sort(told.index), np.sort(np.concatenate([result.split.validation, test])))
    assert np.array_equal(told.value, result.model.predict(X[told.index]))
    assert result.predict_proba(X).shape == (200, 2)
    assert result.saved is None


def test_results_are_frozen() -> None:
    X, y = table()
    result = train_model("decision_tree", X, y, **QUIET)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.model = None  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        result.split.test[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        result.predictions.value[0] = 1


def test_the_callers_estimator_and_table_stay_as_they_are() -> None:
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    frame["kind"] = np.where(y, "x", "y")
    before, model = frame.copy(), LogisticRegression()
    for result in (
        train_model(model, frame, y, **QUIET),
        train_with_cv(model, frame, y, cv=3, save_model=False, **QUIET),
    ):
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        assert model.get_params() == LogisticRegression().get_params()
        assert result.model is not model
    pd.testing.assert_frame_equal(frame, before)


def test_plain_keywords_and_objects_mean_the_same() -> None:
    X, y = table()
    plain = train_model(DecisionTreeClassifier(), X, y, test_size=0.3, validation_size=0, random_state=5, **QUIET)
    objects = train_model(
        DecisionTreeClassifier(), X, y, split=Split(test_size=0.3, validation_size=0), seed=5, **QUIET
    )
    assert np.array_equal(plain.split.test, objects.split.test)
    assert plain.scores == objects.scores
    assert plain.provenance.config == objects.provenance.config
    with pytest.raises(UsageError, match="both split= and test_size="):
        train_model(DecisionTreeClassifier(), X, y, split=Split(), test_size=0.3, **QUIET)
    with pytest.raises(UnknownNameError, match="Did you mean 'test_size'"):
        train_model(DecisionTreeClassifier(), X, y, test_sise=0.3, **QUIET)


def test_stratify_may_be_y_itself() -> None:
    X, y = table(weights=[0.8, 0.2])
    shares = train_model("decision_tree", X, y, stratify=y, **QUIET).split
    assert shares.stratified
    with pytest.raises(UsageError, match="True, False or y itself"):
        train_model("decision_tree", X, y, stratify=y[::-1], **QUIET)


def test_the_caller_may_part_the_rows() -> None:
    X, y = table()
    rows = np.arange(200)
    by_rows = train_model("decision_tree", X, y, split=(rows[:100], rows[100:150], rows[150:]), **QUIET)
    assert np.array_equal(by_rows.split.test, rows[150:])
    splitter = ShuffleSplit(1, test_size=60, random_state=3)
    drawn = train_model("decision_tree", X, y, split=splitter, **QUIET)
    assert np.array_equal(drawn.split.test, next(splitter.split(X))[1])
    assert len(drawn.split.validation) == 20
    folds = train_with_cv("decision_tree", X, y, cv=GroupKFold(4), groups=rows // 10, save_model=False, **QUIET)
    assert len(folds.folds) == 4
    for fold in folds.fold_split:
        assert not set(fold.train // 10) & set(fold.held_out // 10)


def test_handle_imbalance_draws_rows_again_where_no_weights_are_taken() -> None:
    X, y = table(300, [0.9, 0.1])
    weighed = train_model(LogisticRegression(), X, y, handle_imbalance=True, **QUIET)
    drawn = train_model(KNeighborsClassifier(), X, y, handle_imbalance=True, **QUIET)
    assert weighed.settings.balance.method == "class_weight"
    assert drawn.settings.balance.method == "oversample"
    assert len(set(drawn.fitted.counts_after.values())) == 1
    with pytest.raises(UsageError, match="it is about rare classes"):
        train_model(Ridge(), X, X[:, 0], handle_imbalance=True, **QUIET)


def test_a_file_says_the_same_as_keywords(tmp_path: Path) -> None:
    X, y = table()
    path = tmp_path / "train.yaml"
    path.write_text(
        "model: random_forest\nparams: {n_estimators: 5}\ncross_validation: 3\nrandom_state: 1\nsave_model: false\n"
        "verbose: false\nchecks: 'off'\n",
        encoding="utf-8",
    )
    read = train_from_config(path, X, y)
    asked = train_with_cv(
        RandomForestClassifier(5), X, y, cv=3, random_state=1, save_model=False, verbose=False, checks="off"
    )
    assert isinstance(read, CVResult)
    assert read.mean == asked.mean
    once = train_from_config(path, X, y, DecisionTreeClassifier(), cv=None)
    assert isinstance(once, TrainResult)
    drawn = train_from_config(
        {"model": "decision_tree", "strategy": "random", "save_model": False, "checks": "off"}, X, y
    )
    assert drawn.split.strategy == "random"
    with pytest.raises(UnknownNameError, match="Did you mean 'n_estimators'"):
        train_from_config({"model": "random_forest", "params": {"n_estimator": 3}}, X, y)
    with pytest.raises(UsageError, match="no model"):
        train_from_config({}, X, y)


def test_train_model_with_cv_judges_the_same_rows_by_folds_too() -> None:
    X, y = table()
    result = train_model("decision_tree", X, y, cv=4, **QUIET)
    assert result.cv is not None
    held = np.concatenate([fold.held_out for fold in result.cv.fold_split])
    assert np.array_equal(np.sort(held), np.sort(np.concatenate([result.split.train, result.split.validation])))
    assert result.cv.model is result.model


def test_the_provenance_tells_data_settings_versions_and_cost() -> None:
    X, y = table()
    first = train_model(DecisionTreeClassifier(), X, y, **QUIET).provenance
    again = train_model(clone(DecisionTreeClassifier()), X.copy(), y, **QUIET).provenance
    other = train_model(DecisionTreeClassifier(max_depth=3), X + (np.arange(200) == 7)[:, None], y, **QUIET).provenance
    assert (first.data, first.config) == (again.data, again.config)
    assert first.data != other.data
    assert first.config != other.config
    assert {"python", "numpy", "scikit-learn"} <= set(first.versions)
    assert first.wall_s > 0
    assert first.peak_mb > 10
    assert first.gpu_mb is None
    assert first.estimator == "DecisionTreeClassifier"


def test_a_result_is_handed_to_the_callers_tracker_and_events_to_its_sink() -> None:
    X, y = table()
    results, events = [], []
    result = train_with_cv(
        "decision_tree", X, y, cv=3, save_model=False, checks="off", track=results.append, progress=events.append
    )
    assert results == [result]
    counted = [(event.step, event.total) for event in events if event.stage == "train" and event.total]
    assert counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert any(event.message.startswith("fold 2/3: f1 0.") for event in events)


def test_the_mappings_of_a_result_do_not_change_and_can_be_sent() -> None:
    X, y = table()
    result = train_with_cv("decision_tree", X, y, cv=3, save_model=False, checks="off", progress=False)
    held: list[Any] = [result.scores, result.scores["test"], result.mean, result.provenance.versions]
    held += [result.folds[0].scores, result.about.dtypes, result.fitted.counts_before]
    for one in held:
        with pytest.raises(TypeError, match="does not change"):
            one["f1"] = 2.0
        with pytest.raises(TypeError, match="does not change"):
            one.update(f1=2.0)
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one == dict(one)


def test_early_stopping_without_validation_rows_is_told() -> None:
    X, y = table()
    with pytest.warns(UserWarning, match="T035: There are no validation rows"):
        result = train_model("gradient_boosting", X, y, early_stopping=5, validation_size=0, progress=False)
    assert "T035" in [one.code for one in result.findings]


def test_a_tracker_that_fails_costs_no_result() -> None:
    X, y = table()
    with pytest.warns(UserWarning, match="the result was not logged: RuntimeError: no store"):
        result = train_model("decision_tree", X, y, checks="off", progress=False, track=_fails)
    assert result.scores["test"]


def _fails(_: Any) -> None:
    raise RuntimeError("no store")


class Mute(DecisionTreeClassifier):
    def predict_proba(self, X: Any) -> Any:
        raise RuntimeError("no answer\nin two lines")


def test_an_estimator_that_cannot_answer_is_told_in_one_line() -> None:
    X, y = table()
    with pytest.raises(TrainingError, match=r"^Mute was fitted, but cannot answer: RuntimeError: no answer\. Try"):
        train_model(Mute(), X, y, checks="off", progress=False)


@pytest.mark.parametrize("bad", ["lengths", "nan", "one_class"])
def test_a_bad_table_is_one_value_error(bad: str) -> None:
    X, y = table()
    target: Any = {"lengths": y[:-1], "nan": np.where(y, np.nan, 0.0), "one_class": np.zeros(200, int)}[bad]
    with pytest.raises(TableError) as caught:
        train_model("decision_tree", X, target, **QUIET)
    assert isinstance(caught.value, ValueError)


def test_an_unsaved_training_loads_nothing_that_it_does_not_need() -> None:
    code = """
import sys
from nightshift.trainer import *
heavy = {"sklearn", "pandas", "scipy", "joblib", *sys.argv[1:]}
print(sorted({name.partition('.')[0] for name in sys.modules} & heavy))
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
X, y = make_classification(200, 5, random_state=0)
train_model(LogisticRegression(), X, y)
print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))
"""
    heavy = ["skops", "mlflow", "torch", "matplotlib", "imblearn", "lightgbm", "prefect", "optuna", "onnx"]
    told = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["[]", "[]"]


def test_a_result_is_one_line_in_a_list_and_none_is_the_usual_seed(tmp_path: Path) -> None:
    X, y = table()
    result = train_model(LogisticRegression(), X, y, seed=None, **QUIET)  # type: ignore[arg-type]
    assert result.settings.seed == 42
    told = f"f1 {result.scores['test']['f1']:.4g} on test"
    assert repr(result) == f"<TrainResult LogisticRegression: 200 rows × 6 columns, {told}>"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"no model can be saved in '.*file'"):
        result.save(tmp_path / "file" / "model")


def test_the_three_usual_trainings() -> None:
    X, y = table(300)
    forest = train_model(RandomForestClassifier(20), X, y, test_size=0.2, random_state=42, **QUIET)
    assert forest.scores["test"]["accuracy"] > 0.8
    folds = train_with_cv(RandomForestClassifier(20), X, y, cv=5, scoring="f1", save_model=False, **QUIET)
    assert (len(folds.folds), folds.about.primary) == (5, "f1")
    assert folds.mean["f1"] > 0.8  # type: ignore[operator]
    X, y = table(400, [0.9, 0.1])
    smote = train_model(LogisticRegression(), X, y, balance="smote", **QUIET)
    assert len(set(smote.fitted.counts_after.values())) == 1
    assert max(smote.fitted.counts_before.values()) > 7 * min(smote.fitted.counts_before.values())
    test = smote.split.test
    assert np.mean(y[test]) == pytest.approx(np.mean(y), abs=0.02)


def test_every_public_name_is_there() -> None:
    assert trainer.__all__ == sorted(trainer._MODULE_OF)
    lacking = {
        module for module in trainer._PLACES if find_spec(f"nightshift.trainer.{module.partition('.')[0]}") is None
    }
    for module, names in trainer._PLACES.items():
        for name in names if module not in lacking else ():
            assert getattr(trainer, name) is not None
            assert name in dir(trainer)
    with pytest.raises(AttributeError, match="no attribute 'trian_model'"):
        _ = trainer.trian_model
