"""A GPU is used where it is there and asked for, refused where it is not, and never taken unasked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from nightshift.errors import ConfigError
from nightshift.trainer.contract import FitJob
from nightshift.trainer.kinds import catboost_kind, device, lightgbm_kind, xgboost_kind
from nightshift.trainer.kinds.kind import kind_of
from nightshift.trainer.kinds.named import named

BOOSTERS = ("lightgbm", "xgboost", "catboost")
#: Where each library says where it trains.
PLACE = {"lightgbm": "device_type", "xgboost": "device", "catboost": "task_type"}


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.usefixtures("no_gpu")
def test_cuda_without_a_gpu_is_refused(name: str) -> None:
    model = named(name, "binary")
    with pytest.raises(ConfigError, match=r"limits.device='cuda' was asked for \w+, and this machine has no CUDA"):
        kind_of(model).seeded(model, 1, 1, "cuda")


def test_scikit_learn_has_no_use_for_a_gpu() -> None:
    model = LogisticRegression()
    with pytest.raises(ConfigError, match="LogisticRegression of scikit-learn runs on the CPU alone"):
        kind_of(model).seeded(model, 1, 1, "cuda")


@pytest.mark.parametrize("name", BOOSTERS)
def test_unasked_the_cpu_is_used(name: str) -> None:
    model = named(name, "binary")
    assert kind_of(model).seeded(model, 1, 1, "cpu").get_params().get(PLACE[name]) in {None, "cpu"}


@pytest.mark.parametrize(("name", "value"), [("lightgbm", "cuda"), ("xgboost", "cuda"), ("catboost", "GPU")])
def test_where_there_is_a_gpu_the_library_is_told_to_use_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No GPU here: what is asked of machine and build is answered for them.
    monkeypatch.setattr(lightgbm_kind, "_gpu", lambda: "cuda")
    monkeypatch.setattr(xgboost_kind, "_require_cuda", lambda: None)
    monkeypatch.setattr(catboost_kind, "_require_cuda", lambda: None)
    monkeypatch.setattr(device, "cuda_there", lambda: True)
    model: Any = named(name, "binary")
    assert kind_of(model).seeded(model, 1, 1, "cuda").get_params()[PLACE[name]] == value


def test_a_model_fitted_on_a_gpu_answers_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgboost_kind, "_require_cuda", lambda: None)
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    kind = kind_of(named("xgboost", "binary"))
    # Without a GPU XGBoost goes on on the CPU, and says so.
    made = kind.seeded(named("xgboost", "binary"), 1, 1, "cuda")
    assert kind.nondeterministic(made)
    report = kind.fit(made, FitJob(X, y, "binary", rounds=2))
    assert report.model.get_params()["device"] == "cpu"
    assert report.model.predict(X).shape == (60,)
    own = kind.seeded(named("xgboost", "binary").set_params(device="cuda:0"), 1, 1, "cpu")
    assert own.get_params()["device"] == "cuda:0"


@pytest.mark.skipif(device.cuda_there(), reason="asks a build for CUDA that would find it")
@pytest.mark.parametrize("name", BOOSTERS)
def test_a_build_without_cuda_says_so_before_it_trains(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cuda_there", lambda: True)
    model = named(name, "binary")
    with pytest.raises(ConfigError, match="which cannot use it here: "):
        kind_of(model).seeded(model, 1, 1, "cuda")
