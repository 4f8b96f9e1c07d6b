"""Keras through its own wrapper. All but the first test need the extra `keras`: `make test-keras`."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import recall_score

from nightshift.errors import BundleError, ConfigError, CorruptFileError, InterruptedTraining, TrainingError
from nightshift.trainer.contract import FitJob, FitReport, Values
from nightshift.trainer.kinds.keras_kind import KIND
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.options import EarlyStopping
from nightshift.trainer.retry import DivergedError

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(360, 4))
ODD = np.where(X[:, 0] * X[:, 1] > 0, "odd", "even")


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ConfigError, match=r"not installed: .*pip install 'nightshift\[keras\]'") as caught:
        KIND.load_native(tmp_path)
    assert "\n" not in str(caught.value)


def built(X: Values, y: Values, *, lr: float = 0.02, outputs: int = 0) -> Any:
    import keras

    k = outputs or y.shape[1]
    layers = [keras.layers.Input((X.shape[1],)), keras.layers.Dense(8, "tanh"), keras.layers.Dropout(0.1)]
    last = keras.layers.Dense(k, "softmax" if k > 1 else "linear")
    model = keras.Sequential([*layers, last])
    model.compile(keras.optimizers.Adam(lr), "categorical_crossentropy" if k > 1 else "mse")
    return model


def wrapper(**told: Any) -> Any:
    from keras.wrappers import SKLearnClassifier

    return SKLearnClassifier(built, fit_kwargs={"epochs": 12, "batch_size": 64}, **told)


def job(y: Values = ODD, **told: Any) -> FitJob:
    classes = tuple(np.unique(y)) if y.dtype.kind in "Ui" else ()
    task = "binary" if classes else "regression"
    whole = FitJob(X[:256], y[:256], task, classes, X_val=X[256:], y_val=y[256:])  # type: ignore[arg-type]
    return replace(whole, **told)


def fit(model: Any, given: FitJob, seed: int = 3) -> FitReport:
    return KIND.fit(KIND.seeded(model, seed, 1, "cpu"), given)


@pytest.mark.keras
def test_a_seed_decides_and_the_caller_s_own_stays_as_it_was() -> None:
    model = wrapper()
    before = random.getstate(), np.random.get_state()[1].copy()
    one, same, other = (fit(model, job(rounds=2), seed).model.predict_proba(X) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert not hasattr(model, "model_")
    assert model.fit_kwargs == {"epochs": 12, "batch_size": 64}
    assert KIND.nondeterministic(model) == ""


@pytest.mark.keras
def test_it_is_stopped_by_validation_and_answers_by_its_best_epoch(capfd: pytest.CaptureFixture[str]) -> None:
    shuffled = np.random.default_rng(1).permutation(ODD)
    report = fit(wrapper(), job(shuffled, stopping=EarlyStopping(patience=3, max_rounds=40)))
    losses = [each.metrics["validation_loss"] for each in report.rounds]
    assert report.best_round == int(np.argmin(losses)) + 1
    assert len(losses) == report.best_round + 3
    answered = report.model.predict_proba(X[256:])[np.arange(104), (shuffled[256:] == "odd").astype(int)]
    assert -np.log(answered).mean() == pytest.approx(min(losses), rel=1e-4)
    assert list(report.model.classes_) == ["even", "odd"]
    assert set(report.model.predict(X)) <= {"even", "odd"}
    assert report.model.net.net.fit_kwargs == {"epochs": 12, "batch_size": 64}
    assert capfd.readouterr().out == ""


@pytest.mark.keras
def test_a_compiled_model_learns_numbers_and_a_rare_class_can_weigh_more() -> None:
    numbers = fit(built(X, X, lr=0.05, outputs=1), job(X[:, 0], rounds=60)).model.predict(X)
    assert numbers.shape == (360,)
    assert np.corrcoef(numbers, X[:, 0])[0, 1] > 0.95
    rare = np.where(X[:, 0] + _RNG.normal(size=360) > 1.8, 1, 0)
    plain, weighed = (fit(wrapper(), job(rare, class_weight=w)).model.predict(X) for w in (False, True))
    assert recall_score(rare, weighed) > recall_score(rare, plain) + 0.2


@pytest.mark.keras
def test_what_cannot_be_fitted_is_told() -> None:
    with pytest.raises(DivergedError, match=r"became NaN or infinite in epoch"):
        fit(built(X, X, lr=1e30, outputs=1), job(X[:, 0] * 1e30))
    with pytest.raises(TrainingError, match=r"SKLearnClassifier could not be fitted: .*shape"):
        fit(wrapper(model_kwargs={"outputs": 3}), job())
    with pytest.raises(InterruptedTraining):
        fit(wrapper(), job(should_stop=lambda: True))
    with pytest.raises(ConfigError, match=r"limits\.device='cuda': Keras .* on tensorflow sees no GPU"):
        KIND.seeded(wrapper(), 0, 1, "cuda")


@pytest.mark.keras
@pytest.mark.parametrize("y", [ODD, X[:, 0]], ids=["classes", "numbers"])
def test_it_comes_back_from_its_own_format(y: Values, tmp_path: Path) -> None:
    model = fit(wrapper() if y is ODD else built(X, X, outputs=1), job(y, rounds=2)).model
    assert kind_of(model) is KIND
    KIND.save_native(model, tmp_path)
    back = KIND.load_native(tmp_path)
    assert np.array_equal(back.predict(X), model.predict(X))
    assert back.predict(X).dtype == model.predict(X).dtype
    path = tmp_path / "net.keras"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CorruptFileError, match=r"net\.keras cannot be read as a Keras model"):
        KIND.load_native(tmp_path)
    path.unlink()
    with pytest.raises(BundleError, match="holds no Keras model"):
        KIND.load_native(tmp_path)


@pytest.mark.keras
def test_the_trainer_takes_it_like_any_estimator() -> None:
    from nightshift.trainer.api import train_model

    result = train_model(
        wrapper(), X, ODD, early_stopping=5, seed=1, progress=False, checks="off", handle_imbalance="class_weight"
    )
    assert result.fitted.kind == "keras"
    roc_auc = result.scores["test"]["roc_auc"]
    assert roc_auc is not None
    assert roc_auc > 0.7


@pytest.mark.keras
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("format", ["skops", "native"])
def test_a_trained_model_is_saved_in_keras_own_format_and_read_back(format: Any, tmp_path: Path) -> None:
    from nightshift.trainer import load, train_model

    result = train_model(wrapper(), X, ODD, checks="off", progress=False)
    found = load(result.save(tmp_path / "model", format=format))
    assert (found.manifest.kind, found.manifest.layout) == ("keras", "native")
    assert np.array_equal(found.predict(X), result.predict(X))
    assert np.array_equal(found.predict_proba(X), result.predict_proba(X))
