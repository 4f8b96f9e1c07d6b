"""Learning curves while they grow: their names and figures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from support.asked_app import asked
from support.driving_runs import leave, levelled, rising, rows

from nightshift.dashboard.live import live_figure, live_names, run_figure
from nightshift.errors import UnknownNameError, UsageError
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.records import work_folder
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home


@pytest.fixture
def api(home: Home) -> Iterator[TestClient]:
    with asked(home) as found:
        yield found


def _cell(home: Home, family: str = "carbon", subject: str = "carla_synthetic") -> Cell:
    cell = Cell(subject=subject, family=family, target="vehicle", dataset="d" * 64, config={}, code="c" * 64)
    write_atomic(work_folder(home, cell.key) / "cell.json", cell.model_dump_json().encode())
    return cell


def _learned(home: Home, epochs: int) -> Cell:
    cell = _cell(home)
    sink = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    for n in range(1, epochs + 1):
        figures = {
            "train_loss": 1 / n,
            "val_loss": 2 / n,
            "accuracy_pct": 50.0 + n,
            "learning_rate": 1e-3,
            "epoch_s": 1,
        }
        sink(ProgressEvent(cell.key, "train", n, epochs, figures, "", epoch=n))
    return cell


def test_a_cell_has_its_losses_in_one_figure_and_each_metric_in_its_own(home: Home) -> None:
    key = _learned(home, 3).key
    assert live_names(home, key) == live_names(home, key[:12]) == ("loss", "accuracy_pct", "learning_rate")
    loss = live_figure(home, key[:12], "loss")
    assert [(s.label, s.x, s.y) for s in loss.series] == [
        ("training", [1, 2, 3], [1, 1 / 2, 1 / 3]),
        ("validation", [1, 2, 3], [2, 1, 2 / 3]),
    ]
    accuracy = live_figure(home, key, "accuracy_pct")
    assert (accuracy.title, accuracy.y_label, accuracy.x_label) == ("Accuracy", "%", "epoch")
    assert accuracy.series[0].y == [51, 52, 53]


def test_a_training_begun_anew_shows_the_later_one(home: Home) -> None:
    _learned(home, 5)
    key = _learned(home, 2).key
    assert live_figure(home, key, "loss").series[0].x == [1, 2]


def test_a_long_training_is_thinned_and_keeps_its_newest(home: Home) -> None:
    curve = live_figure(home, _learned(home, 2_001).key, "loss").series[0]
    assert len(curve.x) <= 800
    assert curve.x[-1] == 2_001
    assert curve.x == sorted(curve.x)


def test_a_driving_cell_shows_its_run(home: Home) -> None:
    cell = _cell(home, "ppo", "adplanning")
    told = rows(20, mean_reward=rising, collision=0.2, progress=0.5, loss=0.1, entropy=levelled, steps_per_s=9.0)
    told += rows(2, every=30_000, score=0.7, val_collision=0.05, val_progress=0.9)
    leave(home, "ppo_v1", told, cell=cell.key)
    names = ("reward", "collision", "progress", "score", "loss", "entropy", "steps_per_s")
    assert live_names(home, cell.key[:12]) == names
    reward = live_figure(home, cell.key, "reward")
    assert reward == run_figure(home, "ppo_v1", "reward")
    assert reward.series[0].x == [1000.0 * i for i in range(1, 21)]
    collision = live_figure(home, cell.key, "collision")
    assert [(s.label, len(s.x)) for s in collision.series] == [("training, with exploration", 20), ("validation", 2)]


def test_what_is_not_there_is_told(home: Home) -> None:
    key = _learned(home, 1).key
    with pytest.raises(UnknownNameError, match="reward"):
        live_figure(home, key, "reward")
    with pytest.raises(UnknownNameError):
        live_names(home, "0" * 12)
    for bad in ("..", "0" * 11, "g" * 12, "0" * 65, "*" * 12):
        with pytest.raises(UsageError, match="no cell's key"):
            live_names(home, bad)


def test_the_api_answers_one_figure(api: TestClient, home: Home) -> None:
    key = _learned(home, 2).key
    leave(home, "ppo_v1")
    assert api.get(f"/api/live/{key[:12]}").json() == ["loss", "accuracy_pct", "learning_rate"]
    assert api.get(f"/api/live/{key[:12]}/loss").json()["series"][0]["y"] == [1.0, 0.5]
    assert api.get("/api/live/runs/ppo_v1").json() == ["reward", "collision", "progress", "loss"]
    assert api.get("/api/live/runs/ppo_v1/reward").json()["x_label"] == "environment step"
    for path, status in (
        ("/api/live/xyz/loss", 422),
        (f"/api/live/{'0' * 12}/loss", 404),
        (f"/api/live/{key}/nothing", 404),
        ("/api/live/runs/ppo_v9/reward", 404),
        ("/api/live/runs/..%2F/reward", 404),
        ("/api/live/runs/-/reward", 422),
    ):
        told = api.get(path)
        assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json"), path
