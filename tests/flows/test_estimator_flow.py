"""The flow `train-estimator` on a real server: its score, its bar, its model; and what cannot be, in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboards import ADDRESS

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.errors import InterruptedTraining
from nightshift.progress import ProgressEvent
from nightshift.tracking.mlflow_store import open_store
from tasks.estimator import sink_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def runs(served) -> dict[str, dict[str, Any]]:
    return dict(zip(("first", "unknown"), served.run("estimator"), strict=True))


def test_a_run_ends_with_its_scores_and_a_saved_and_logged_model(served, runs):
    first = runs["first"]
    assert (first["state"], first["exit_code"]) == ("Completed", 0), first
    outcome = first["outcome"]
    assert (outcome["model"], outcome["task"], outcome["metric"]) == ("LogisticRegression", "binary", "f1")
    assert not Path(outcome["saved"]).is_absolute()
    assert 0.5 < outcome["scores"]["held_out"]["f1"] <= 1
    assert (served.home.root / outcome["saved"] / "manifest.json").is_file()
    with served.inside():
        logged = open_store(served.home).client.get_run(outcome["run_id"])
    assert logged.data.metrics["held_out/f1"] == pytest.approx(outcome["scores"]["held_out"]["f1"])
    assert logged.info.run_name == "shop"


def test_the_model_is_registered_like_any(served, runs):
    outcome = runs["first"]["outcome"]
    assert (outcome["registered"], outcome["version"], outcome["reason"]) == ("shop.classifier.server", 1, "")
    assert outcome["gate"]
    bundle = served.home.models / "classifier" / "shop" / "server" / "v1" / "model.onnx"
    assert bundle.is_file()
    with served.inside():
        version = open_store(served.home).client.get_model_version("shop.classifier.server", "1")
    assert version.tags["nightshift.state"] == "ready"


def test_the_ui_shows_a_finished_bar_the_summary_and_the_scores(served, runs):
    shown = served.artifacts(runs["first"]["id"])
    assert shown["shop-table-progress"]["data"] == 100
    assert "3 folds of the train rows" in shown["shop-table-summary"]["data"]
    assert {row["part"] for row in json.loads(shown["shop-table-scores"]["data"])} == {"train", "held_out", "test"}
    assert "fold 3/3: f1 0." in served.log(runs["first"]["id"])


def test_the_dashboard_shows_what_came_of_it(served, runs):
    run_id = runs["first"]["id"]
    with served.inside():
        app = create_app(served.home, load_config(served.home), served.variables["PREFECT_API_URL"])
    with TestClient(app, base_url=ADDRESS) as client:
        status = client.get(f"/api/ml/train/status/{run_id}").json()
        html = client.get(f"/jobs/{run_id}").text
        failed = client.get(f"/jobs/{runs['unknown']['id']}").text
    assert (status["status"], status["name"], status["progress"]) == ("completed", "shop.classifier.server", 100)
    assert status["model_path"] == "models/classifier/shop/server/v1"
    assert status["metrics"]["macro_f1"] > 0.4
    assert status["table"]["scores"]["held_out"]["f1"] > 0.5
    for said in ("Leaderboard", "majority class", "Parity with", "Cross-validation, 0.", "fold 3", "As it was trained"):
        assert said in html, said
    assert "<code>models/classifier/shop/server/v1</code>" in html
    assert 'href="/api/models/shop/classifier/download?version=1&amp;target=server"' in html
    assert "unknown --target column" in failed or "lable" in failed


def test_what_cannot_be_fails_in_one_line(served, runs):
    unknown = runs["unknown"]
    assert (unknown["state"], unknown["error"], unknown["exit_code"]) == ("Failed", "UnknownNameError", 2)
    assert "Did you mean 'label'?" in unknown["message"]
    assert "Traceback" not in served.log(unknown["id"])


def test_a_wish_to_stop_ends_a_training_at_its_next_event():
    heard: list[ProgressEvent] = []
    wished: list[bool] = []
    sink = sink_of(heard.append, lambda: bool(wished))
    sink(ProgressEvent("", "fold 1/3", 1, 10))
    sink(ProgressEvent("", "train", 1, 4))
    assert [(event.stage, event.step, event.total) for event in heard] == [("table", 1, 4)]
    wished.append(True)
    with pytest.raises(InterruptedTraining):
        sink(ProgressEvent("", "fold 2/3", 1, 10))
