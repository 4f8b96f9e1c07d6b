"""A result as a run of MLflow: parameters, figures of parts, folds and rounds, findings, pictures, the model."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from mlflow.entities import Run
from sklearn.linear_model import LogisticRegression
from support.homes import a_home

from nightshift.errors import ServiceError
from nightshift.settings import Home
from nightshift.tracking.estimator_runs import log_run
from nightshift.tracking.mlflow_store import Store, open_store
from nightshift.trainer import CVResult, FindingWarning, Track, TrainResult, train_model, train_with_cv


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("runs"), migrated_db) as home:
        yield home


def a_table(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    X[:, 2] = 1.0
    return X, (X[:, 0] + X[:, 1] > 1.9).astype(int)


@pytest.fixture(scope="module")
def folds(place: Home) -> CVResult:
    X, y = a_table()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FindingWarning)
        return train_with_cv(LogisticRegression(C=0.5), X, y, cv=3, progress=False, balance="class_weight")


@pytest.fixture(scope="module")
def logged(place: Home, folds: CVResult) -> tuple[Store, Run]:
    run_id = log_run(folds, Track(experiment="tests"), place, "shop")
    store = open_store(place)
    return store, store.client.get_run(run_id)


def test_a_run_holds_what_was_trained_how_and_what_it_scores(logged: tuple[Store, Run], folds: CVResult) -> None:
    store, run = logged
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "shop"
    assert run.info.experiment_id == store.experiment("tests")
    told = run.data.params
    assert (told["estimator"], told["model.C"], told["balance.method"], told["cv"]) == (
        "LogisticRegression",
        "0.5",
        "class_weight",
        "3",
    )
    for part, scores in folds.scores.items():
        assert run.data.metrics[f"{part}/f1"] == pytest.approx(scores["f1"])
    assert run.data.metrics["spread/f1"] == pytest.approx(folds.spread["f1"])
    assert run.data.metrics["peak_mb"] > 1
    by_fold = store.client.get_metric_history(run.info.run_id, "fold/f1")
    assert {one.step: one.value for one in by_fold} == {fold.number: fold.scores["f1"] for fold in folds.folds}


def test_findings_are_tags_and_the_table_is_an_input(logged: tuple[Store, Run], folds: CVResult) -> None:
    _, run = logged
    assert "T027" in run.data.tags["nightshift.findings"].split()
    assert "x2" in run.data.tags["finding.T027"]
    assert run.data.tags["nightshift.data"] == folds.provenance.data
    assert run.inputs.dataset_inputs[0].dataset.digest == folds.provenance.data[:12]


def test_summary_pictures_and_the_saved_model_are_artifacts(logged: tuple[Store, Run], folds: CVResult) -> None:
    store, run = logged
    listed = {item.path for item in store.client.list_artifacts(run.info.run_id)}
    assert {"summary.txt", "findings.json", "provenance.json", "scores.csv", "pictures", "model"} <= listed
    pictures = {item.path for item in store.client.list_artifacts(run.info.run_id, "pictures")}
    assert len(pictures) == len(folds.figures()) > 0
    found = Path(store.client.download_artifacts(run.info.run_id, "model/manifest.json"))
    assert found.read_bytes() == (folds.saved / "manifest.json").read_bytes()
    made = json.loads(Path(store.client.download_artifacts(run.info.run_id, "provenance.json")).read_text())
    assert (made["data"], made["settings"]["cv"]) == (folds.provenance.data, 3)


def test_rounds_are_steps_and_track_logs_by_itself(place: Home) -> None:
    X, y = a_table()
    result = train_model(
        LGBMClassifier(n_estimators=5), X, y, early_stopping=5, checks="off", progress=False,
        track=Track(experiment="rounds"),
    )  # fmt: skip
    assert isinstance(result, TrainResult)
    store = open_store(place)
    (run,) = store.client.search_runs([store.experiment("rounds")])
    name = f"round/{next(iter(result.history[0].metrics))}"
    steps = [one.step for one in store.client.get_metric_history(run.info.run_id, name)]
    assert steps == [one.number for one in result.history]


def test_a_store_that_is_damaged_costs_no_result(home: Home) -> None:
    home.mlflow_db.parent.mkdir(parents=True, exist_ok=True)
    home.mlflow_db.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    X, y = a_table()
    with pytest.warns(UserWarning, match="the result was not logged: MLflow's database mlflow.db is damaged"):
        result = train_model(LogisticRegression(), X, y, checks="off", progress=False, track=True)
    assert result.scores["test"]["accuracy"] is not None


def test_weights_and_biases_that_is_not_installed_is_one_line(
    place: Home, folds: CVResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ServiceError, match=r"'wandb' is not installed\. pip install 'nightshift\[wandb\]'"):
        log_run(folds, Track(mlflow=False, wandb_project="shop"), place)
