"""LightGBM, XGBoost and CatBoost: stopped by validation, the same each time, in the caller's labels, and on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightshift.errors import CorruptFileError, InterruptedTraining, TrainingError, UsageError
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import FitJob, FitReport, Kind
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.kinds.named import named
from nightshift.trainer.labelled import Labelled
from nightshift.trainer.options import EarlyStopping, Task

BOOSTERS = ("lightgbm", "xgboost", "catboost")
PATIENCE = 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
NOISE = RNG.normal(size=400)
TWO = np.where(X[:, 0] + NOISE > 0, "yes", "no")
Y: dict[str, Any] = {
    "text": TWO,
    "flag": TWO == "yes",
    "codes": (TWO == "yes").astype(np.int64),
    "three": np.digitize(X[:, 0] + NOISE / 2, [-0.5, 0.5]) + 3,
    "codes of three": np.digitize(X[:, 0] + NOISE / 2, [-0.5, 0.5]),
    "numbers": X[:, 0] * 2 + X[:, 1] ** 2 + NOISE / 2,
}
TASKS: dict[str, Task] = {
    "text": "binary",
    "flag": "binary",
    "codes": "binary",
    "three": "multiclass",
    "codes of three": "multiclass",
    "numbers": "regression",
}
TRAIN, VALIDATION = slice(0, 300), slice(300, 400)
#: Fast enough for a test, and far more rounds than the data bears.
PARAMS: dict[str, dict[str, Any]] = {
    "lightgbm": {"n_estimators": 200, "learning_rate": 0.3, "num_leaves": 8, "subsample": 0.8, "subsample_freq": 1},
    "xgboost": {"n_estimators": 200, "learning_rate": 0.3, "max_depth": 3, "subsample": 0.8},
    "catboost": {"iterations": 200, "depth": 3},
}


def model_of(name: str, y: str = "text", **params: Any) -> Any:
    return named(name, TASKS[y]).set_params(**(PARAMS[name] | params))


def job(y: str = "text", rows: Any = X, **other: Any) -> FitJob:
    """A job on the train rows that validation rows stop."""
    told = {"X_val": rows[VALIDATION], "y_val": Y[y][VALIDATION], "stopping": EarlyStopping(patience=PATIENCE)}
    return FitJob(rows[TRAIN], Y[y][TRAIN], TASKS[y], **(told | other))


def whole(y: str = "text", **other: Any) -> FitJob:
    """A job that nothing stops."""
    return FitJob(X[TRAIN], Y[y][TRAIN], TASKS[y], **other)


def fitted(model: Any, given: FitJob, seed: int = 1) -> FitReport:
    kind = kind_of(model)
    return kind.fit(kind.seeded(model, seed, 1, "cpu"), given)


def answers(model: Any) -> Any:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("y", Y)
def test_validation_stops_and_the_best_round_answers_in_the_callers_labels(
    name: str, y: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[ProgressEvent] = []
    model = model_of(name, y)
    report = fitted(model, job(y, tell=told.append))
    losses = [each.metrics["validation_loss"] for each in report.rounds]
    assert report.best_round == int(np.argmin(losses)) + 1 == len(losses) - PATIENCE
    assert len(told) == len(losses) < 200
    assert [each.code for each in report.findings] == []

    said = report.model.predict(X)
    assert said.shape == (400,)
    if TASKS[y] != "regression":
        assert set(said.tolist()) <= set(Y[y].tolist())
        assert report.model.classes_.tolist() == sorted(set(Y[y].tolist()))
        assert np.mean(said == Y[y]) > 0.6
    assert kind_of(report.model).name == name
    assert np.array_equal(answers(fitted(model, job(y)).model), answers(report.model)), "not the same model twice"
    assert np.array_equal(answers(fitted(model, whole(y, rounds=report.best_round)).model), answers(report.model)), (
        "so many rounds without validation are another model"
    )

    kind_of(model).save_native(report.model, tmp_path)
    read = kind_of(model).load_native(tmp_path)
    assert type(read) is type(report.model)
    assert read.predict(X).tolist() == said.tolist()
    assert np.array_equal(answers(read), answers(report.model))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", BOOSTERS)
def test_it_is_validation_that_stops_and_nothing_else(name: str) -> None:
    turned = fitted(model_of(name), job(y_val=np.where(TWO[VALIDATION] == "yes", "no", "yes")))
    assert turned.best_round is not None
    assert turned.best_round <= 2
    free = fitted(model_of(name), whole())
    assert free.best_round == 200


@pytest.mark.parametrize("name", BOOSTERS)
def test_max_rounds_min_delta_and_a_request_end_a_fit(name: str) -> None:
    assert len(fitted(model_of(name), job(stopping=EarlyStopping(patience=50, max_rounds=3))).rounds) == 3
    demanding = fitted(model_of(name), job(stopping=EarlyStopping(patience=PATIENCE, min_delta=0.3)))
    assert len(demanding.rounds) <= PATIENCE + 2
    calls = iter([False, False, True])
    with pytest.raises(InterruptedTraining, match="resume=True"):
        fitted(model_of(name), job(should_stop=lambda: next(calls, True)))


@pytest.mark.parametrize("name", BOOSTERS)
def test_gaps_frames_and_validation_rows_of_unknown_classes_are_taken(name: str) -> None:
    frame = pd.DataFrame(np.where(RNG.random(X.shape) < 0.1, np.nan, X), columns=["a", "b", "c", "d"])
    strange = np.where(np.arange(100) < 10, "never", TWO[VALIDATION])
    report = fitted(model_of(name), job(rows=frame.to_numpy(), y_val=strange))
    assert set(report.model.classes_) == {"no", "yes"}
    framed = fitted(model_of(name), replace(job(), X=frame[TRAIN], X_val=frame[VALIDATION]))
    assert framed.model.predict(frame).shape == (400,)
    assert framed.findings == ()


@pytest.mark.parametrize("name", BOOSTERS)
def test_classes_weigh_alike_where_that_is_asked_for(name: str) -> None:
    rare = np.where((TWO[TRAIN] == "yes") & (np.arange(300) % 5 > 0), "no", TWO[TRAIN])
    plain, weighed = (
        fitted(model_of(name), FitJob(X[TRAIN], rare, "binary", rounds=15, class_weight=asked))
        for asked in (False, True)
    )
    assert np.sum(weighed.model.predict(X) == "yes") > 1.2 * np.sum(plain.model.predict(X) == "yes")


@pytest.mark.parametrize("name", BOOSTERS)
def test_what_the_caller_set_stays_and_what_was_left_open_is_set(name: str) -> None:
    kind, seed = kind_of(named(name, "binary")), "random_seed" if name == "catboost" else "random_state"
    threads = "thread_count" if name == "catboost" else "n_jobs"
    own = kind.seeded(named(name, "binary").set_params(**{seed: 5, threads: 3}), 1, 2, "cpu").get_params()
    assert (own[seed], own[threads]) == (5, 3)
    left_open = kind.seeded(named(name, "binary"), 1, 2, "cpu").get_params()
    assert (left_open[seed], left_open[threads]) == (1, 2)
    other_seed = fitted(model_of(name, bagging_temperature=3) if name == "catboost" else model_of(name), whole(), 2)
    same = fitted(model_of(name, bagging_temperature=3) if name == "catboost" else model_of(name), whole(), 1)
    assert not np.array_equal(answers(other_seed.model), answers(same.model))


@pytest.mark.parametrize(
    ("name", "own"),
    [("lightgbm", "early_stopping_round"), ("xgboost", "early_stopping_rounds"), ("catboost", "early_stopping_rounds")],
)
def test_early_stopping_set_on_the_estimator_itself_goes_by_our_validation(name: str, own: str) -> None:
    model = model_of(name, **{own: 3})
    report = fitted(model, job(stopping=None))
    assert report.best_round == len(report.rounds) - 3
    assert fitted(model, whole()).best_round == 200, "without validation rows there is nothing to stop by"


def test_callbacks_do_not_stay_in_the_model() -> None:
    report = fitted(model_of("xgboost", "codes"), job("codes"))
    params = report.model.get_params()
    assert (params["callbacks"], params["early_stopping_rounds"]) == (None, None)


@pytest.mark.parametrize("params", [{"booster": "gblinear"}, {}], ids=["linear", "forest"])
def test_xgboost_without_rounds_that_could_be_left_out_is_fitted_whole(params: dict[str, Any]) -> None:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=5, **params) if params else xgboost.XGBRFClassifier(n_estimators=5)
    report = fitted(model, job())
    assert [each.code for each in report.findings] == ["T035"]
    assert set(report.model.predict(X)) == {"no", "yes"}


@pytest.mark.parametrize(
    ("name", "key"), [("lightgbm", "objective"), ("xgboost", "objective"), ("catboost", "loss_function")]
)
def test_errors_of_the_library_become_one_line(name: str, key: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingError, match=r"could not be fitted: .*nonsense") as caught:
        fitted(model_of(name, **{key: "nonsense"}), whole())
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_column_names_that_a_library_does_not_take_are_to_be_renamed(name: str) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "price [EUR]", "d"])
    with pytest.raises(TrainingError, match="Rename the columns"):
        fitted(model_of(name), replace(whole(rounds=1), X=frame[TRAIN]))


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("lightgbm", {"deterministic": False}, "deterministic=False"),
        ("lightgbm", {"device_type": "gpu"}, "device_type='gpu'"),
        ("xgboost", {"device": "cuda"}, "device='cuda'"),
        ("xgboost", {"booster": "gblinear"}, "shotgun"),
        ("catboost", {"task_type": "GPU"}, "task_type='GPU'"),
    ],
)
def test_settings_by_which_fits_differ_are_named(name: str, params: dict[str, Any], words: str) -> None:
    model = named(name, "binary")
    kind = kind_of(model)
    assert kind.nondeterministic(kind.seeded(model, 1, 1, "cpu")) == ""
    assert words in kind.nondeterministic(model.set_params(**params))


def test_a_sum_of_squares_that_ran_away_is_found_out() -> None:
    model = model_of("lightgbm", "numbers")
    report = fitted(model, whole("numbers", rounds=3))
    kind: Kind = kind_of(model)
    assert kind.diverged(model, whole("numbers"), report) == ""
    near = replace(whole("numbers"), y=Y["numbers"][TRAIN] * 1e-9)
    assert "answers up to" in kind.diverged(model, near, report)


def test_what_cannot_be_written_natively_is_refused_and_what_is_damaged_too(tmp_path: Path) -> None:
    import lightgbm

    class Mine(lightgbm.LGBMClassifier):  # type: ignore[misc]
        pass

    report = fitted(Mine(n_estimators=2, num_leaves=4), whole())
    with pytest.raises(UsageError, match=r"Mine has no native format here: expected one of LGBMClassifier"):
        kind_of(report.model).save_native(report.model, tmp_path)
    dates = Labelled(report.model, np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"))
    with pytest.raises(UsageError, match="datetime64"):
        kind_of(named("xgboost", "binary")).save_native(
            Labelled(fitted(model_of("xgboost", "codes"), whole("codes", rounds=1)).model, dates.classes), tmp_path
        )
    for name in BOOSTERS:
        kind, folder = kind_of(named(name, "binary")), tmp_path / name
        folder.mkdir()
        with pytest.raises(CorruptFileError, match="does not describe an estimator"):
            kind.load_native(folder)
        kind.save_native(fitted(model_of(name), whole(rounds=1)).model, folder)
        file = next(path for path in folder.iterdir() if path.stem == "model")
        file.write_bytes(b"nothing")
        with pytest.raises(CorruptFileError, match=f"{file.name} is no model of"):
            kind.load_native(folder)
        told = json.loads((folder / "estimator.json").read_text(encoding="utf-8"))
        (folder / "estimator.json").write_text(json.dumps(told | {"made_by": "Popen"}), encoding="utf-8")
        with pytest.raises(CorruptFileError, match="names Popen"):
            kind.load_native(folder)


def test_labels_come_back_and_it_is_a_classifier_to_scikit_learn() -> None:
    from sklearn.base import clone, is_classifier
    from sklearn.metrics import get_scorer
    from sklearn.utils.validation import check_is_fitted

    model = fitted(model_of("xgboost"), whole(rounds=5)).model
    assert isinstance(model, Labelled)
    assert is_classifier(model)
    check_is_fitted(model)
    assert model.n_features_in_ == 4
    assert get_scorer("roc_auc")(model, X, TWO) > 0.8
    again = clone(model).fit(X, TWO)
    assert set(again.predict(X)) == {"no", "yes"}
