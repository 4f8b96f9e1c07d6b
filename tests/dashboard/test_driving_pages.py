"""`/driving`, a run's page, and the page of a cell that learns by epochs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
from fastapi.testclient import TestClient
from support.asked_app import asked
from support.driving_runs import leave, rising, rows

from nightshift.files import write_atomic
from nightshift.plan import lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import work_folder
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home
from nightshift.tracking.driving_runs import log_of, read_run, view


@pytest.fixture
def pages(home: Home) -> Iterator[TestClient]:
    with asked(home) as found:
        yield found


def test_without_runs_it_says_what_to_do(pages: TestClient) -> None:
    text = pages.get("/driving").text
    assert "No run is at work." in text
    assert "nightshift train ppo --run-id ppo_v1" in text
    assert "hx-trigger" not in text
    assert "None yet." in text


def test_runs_at_work_are_shown_with_their_figures_and_asked_for_again(pages: TestClient, home: Home) -> None:
    leave(home, "ppo_v1", rows(6, mean_reward=rising, collision=0.2, progress=0.5, loss=0.1, score=0.6), best_score=0.6)
    leave(home, "sac_v1", algorithm="sac", state="completed")
    text = pages.get("/driving").text
    for told in ("6,000 of 10,000", "20.0 %", "0.6", 'hx-trigger="every 2s"', "cores", "sac_v1", "500", "8.0 s"):
        assert told in text, told


def test_advice_is_given_with_what_to_do(pages: TestClient, home: Home) -> None:
    leave(home, "ppo_v1", rows(24, mean_reward=rising, collision=0.3, progress=0.5), step=24_000, total_steps=100_000)
    for path in ("/driving", "/driving/ppo_v1"):
        assert "collision rate stays at 30.0%" in pages.get(path).text


def test_advice_on_another_workers_run_is_no_link(
    pages: TestClient, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = rows(24, mean_reward=rising, collision=0.3, progress=0.5)
    leave(home, "ppo_v1", told, step=24_000, total_steps=100_000)
    far = view(read_run(home, "ppo_v1")).model_copy(
        update={"run_id": "far_v1", "source": "mlflow", "mlflow_run": "m1", "host": "gpu_2"}
    )
    monkeypatch.setattr("nightshift.dashboard.pages.driving._others.of", lambda *_: ((far,), {"m1": tuple(told)}, ()))
    text = pages.get("/driving").text
    assert '<li><a href="/driving/ppo_v1">ppo_v1</a>:' in text
    assert "<li>far_v1:" in text
    assert "/driving/far_v1" not in text


def test_a_run_has_its_curves_checkpoints_and_log(pages: TestClient, home: Home) -> None:
    folder = leave(home, "ppo_v1", best_score=0.61, best_step=4_000)
    (folder.checkpoints / "best.pt").write_bytes(b"x" * 2_000)
    log_of(home, "ppo_v1").write_text("".join(f"line {i} <b>\n" for i in range(2_000)))
    text = pages.get("/driving/ppo_v1").text
    assert 'data-source="/api/live/runs/ppo_v1/reward" data-every="5"' in text
    assert "<figcaption>Mean reward</figcaption>" in text
    assert "score 0.610 on validation" in text
    assert "line 1999 &lt;b&gt;" in text
    assert "line 1000 " not in text
    assert "nightshift driving stop ppo_v1" in text


@pytest.mark.parametrize("state", ["stopped", "failed", "completed"])
def test_a_run_that_has_ended_is_asked_for_no_more(pages: TestClient, home: Home, state: str) -> None:
    leave(home, "ppo_v1", state=state, error="the disk is full" if state == "failed" else "")
    text = pages.get("/driving/ppo_v1").text
    assert "every 2s" not in text
    assert "data-every" not in text
    assert ("nightshift driving resume ppo_v1" in text) == (state != "completed")
    assert ("the disk is full" in text) == (state == "failed")


def test_a_run_that_has_told_nothing_yet(pages: TestClient, home: Home) -> None:
    leave(home, "ppo_v1", [])
    text = pages.get("/driving/ppo_v1").text
    assert "It has told no figures yet." in text
    assert "It has written no line yet." in text


@pytest.mark.parametrize(("run", "status"), [("ppo_v9", 404), ("-x", 422), ("..%2F..%2Fetc", 404)])
def test_a_run_that_is_not_there_is_told(pages: TestClient, home: Home, run: str, status: int) -> None:
    leave(home, "ppo_v1")
    told = pages.get(f"/driving/{run}")
    assert told.status_code == status
    if run == "ppo_v9":
        assert "ppo_v1" in told.text


def _cell(home: Home, family: str = "carbon") -> Cell:
    cell = Cell(subject="carla_synthetic", family=family, target="vehicle", dataset="d" * 64, config={}, code="c" * 64)
    write_atomic(work_folder(home, cell.key) / "cell.json", cell.model_dump_json().encode())
    return cell


def test_a_vehicles_cell_has_curves_and_a_row_per_epoch(pages: TestClient, home: Home) -> None:
    cell = _cell(home)
    sink = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    for n in range(1, 4):
        sink(ProgressEvent(cell.key, "train", n, 3, {"train_loss": 1 / n, "val_loss": 0.125}, "", epoch=n))
    text = pages.get(f"/runs/{cell.key[:12]}").text
    assert f'data-source="/api/live/{cell.key[:12]}/loss"' in text
    assert "0.3333" in text
    assert "0.125" in text
    assert "/models/carla_synthetic/carbon?target=vehicle" in text


def test_curves_come_while_a_run_goes_on_and_are_asked_for_no_more_at_its_end(pages: TestClient, home: Home) -> None:
    leave(home, "ppo_v1", [])
    none_yet = _asked_again(pages.get("/driving/ppo_v1").text)
    assert pages.get(none_yet).status_code == 204
    leave(home, "ppo_v1")
    some = pages.get(none_yet).text
    assert 'data-every="5"' in some
    assert pages.get(_asked_again(some)).status_code == 204
    leave(home, "ppo_v1", state="completed")
    ended = pages.get(_asked_again(some)).text
    assert '<section id="curves">' in ended
    assert "data-every" not in ended


def test_curves_and_epochs_of_a_cell_come_while_it_trains(pages: TestClient, home: Home) -> None:
    cell = _cell(home)
    sink = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    with lock.held(home, cell.key):
        text = pages.get(f"/runs/{cell.key[:12]}").text
        assert '<div id="epochs" hx-get' in text
        assert pages.get(_asked_again(text)).status_code == 204
        sink(ProgressEvent(cell.key, "train", 1, 3, {"train_loss": 0.5}, "", epoch=1))
        some = pages.get(_asked_again(text)).text
        assert 'data-every="3"' in some
        assert pages.get(_asked_again(some)).status_code == 204
    ended = pages.get(_asked_again(some)).text
    assert '<section id="curves">' in ended
    assert "data-every" not in ended


def _asked_again(text: str) -> str:
    found = re.search(r'<section id="curves" hx-get="([^"]*)"', text)
    assert found is not None
    return unescape(found[1])


def test_a_cell_without_epochs_says_so(pages: TestClient, home: Home) -> None:
    text = pages.get(f"/runs/{_cell(home).key[:12]}").text
    assert "This training tells no epochs" in text


def test_a_driving_cell_is_shown_by_its_run(pages: TestClient, home: Home) -> None:
    cell = _cell(home, "ppo")
    leave(home, "ppo_v1", cell=cell.key)
    told = pages.get(f"/runs/{cell.key[:12]}")
    assert (told.status_code, told.headers["location"]) == (303, "/driving/ppo_v1")
    shown = pages.get("/driving/ppo_v1").text
    assert "/models/carla_synthetic/ppo?target=vehicle" in shown
