"""Pages of runs: what is listed, how far one is, what came of it, how it is stopped and asked for again.

Where a run stands is told by a stand-in of the board here; the real one, on a real server, is in `test_whole_path.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboards import ADDRESS, VIEWER, with_tokens
from support.machine import SUBJECT

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.dashboard.reading import UnknownJobError
from nightshift.dashboard.runs import CellStatus, JobStatus, Run, with_table
from nightshift.plan.state import newest
from nightshift.plan.table import TableOutcome
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home

RUN = "01234567-89ab-cdef-0123-456789abcdef"
NOW = datetime.now(UTC)
NO_SERVER = "http://127.0.0.1:9/api"


class Board:
    """Tells where jobs stand; notes who stopped one."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobStatus] = {}
        self.stopped: list[tuple[str, str]] = []

    async def status(self, job_id: str) -> JobStatus:
        if job_id not in self.jobs:
            raise UnknownJobError(job_id)
        return self.jobs[job_id]

    async def recent(self) -> list[JobStatus]:
        return list(self.jobs.values())

    async def cancel(self, job_id: str, user: str) -> JobStatus:
        self.stopped.append((job_id, user))
        return self.jobs[job_id]

    async def run(self, run_id: str) -> Run:
        assert run_id == RUN
        given = {"subject": SUBJECT, "family": "anomaly", "target": "pi", "options": {"time_limit_s": 120.0}}
        return Run(RUN, "r", "train", "RUNNING", parameters=given)

    async def stop(self) -> None:
        pass


class Prefect:
    """An address."""

    url = "http://ada:secret@127.0.0.1:4200/api"

    async def close(self) -> None:
        pass


@pytest.fixture
def shop(trained: Home) -> Iterator[SimpleNamespace]:
    """The dashboard over the trained home: `client`, `board`, `home`."""
    app = create_app(trained, load_config(trained), NO_SERVER)
    with TestClient(app, base_url=ADDRESS) as client:
        app.state.service.jobs = board = Board()
        app.state.service.prefect = Prefect()
        yield SimpleNamespace(client=client, board=board, home=trained)


def cell(home: Home, family: str, status: Any = "completed", **changes: Any) -> CellStatus:
    """Where a model of the trained machine stands."""
    name = f"{SUBJECT}.{family}.pi"
    known = newest(home, name)
    digits = known.key[:12] if known else "0" * 12
    values: dict[str, Any] = {"job_id": f"{RUN}.{digits}", "name": name, "family": family, "status": status}
    return CellStatus(**values | {"progress": 100.0 if status == "completed" else 40.0} | changes)


def job(*cells: CellStatus, status: Any = "completed", **changes: Any) -> JobStatus:
    """A job of some cells."""
    values: dict[str, Any] = {
        **{"job_id": RUN, "name": cells[0].name if cells else "fleet", "family": "", "status": status, "as_of": NOW},
        **{"flow": "train", "machine": SUBJECT, "families": tuple(c.family for c in cells), "target": "pi"},
        **{"created_at": NOW - timedelta(minutes=3), "started_at": NOW - timedelta(minutes=2), "cells": cells},
        **{
            "by": "ada",
            "ended_at": NOW if status in ("completed", "failed", "cancelled") else None,
            "current_step": "Done",
        },
    }
    return JobStatus(**values | changes)


def page(shop: SimpleNamespace, found: JobStatus, part: str = "") -> str:
    shop.board.jobs[found.job_id] = found
    told = shop.client.get(f"/jobs/{found.job_id}", params={"part": part} if part else {})
    assert told.status_code == 200, told.text
    return str(told.text)


def test_no_runs_say_how_to_begin(shop: SimpleNamespace) -> None:
    assert "Nothing has run yet." in shop.client.get("/jobs").text


def test_runs_are_listed_and_the_list_alone_is_fetched_again(shop: SimpleNamespace) -> None:
    running = job(cell(shop.home, "anomaly", "running"), status="running", progress=40.0, current_step="Training 2/5")
    shop.board.jobs[RUN] = running
    html = shop.client.get("/jobs").text
    assert f'href="/jobs/{RUN}"' in html
    assert 'value="40.0" aria-label="Progress of ' in html
    assert "Training 2/5" in html
    assert "by ada</span>" in html
    part = shop.client.get("/jobs?part=list").text
    assert part.strip() in html
    assert "<header" not in part


def test_prefect_down_is_said_on_the_page(client: TestClient) -> None:
    told = client.get("/jobs")
    assert told.status_code == 503
    assert "nightshift up" in told.text


@pytest.mark.parametrize("job_id", ["nothing", RUN, f"{RUN}.short", "..%2f..%2fetc"])
def test_a_job_that_is_not_there_is_said(shop: SimpleNamespace, job_id: str) -> None:
    told = shop.client.get(f"/jobs/{job_id}")
    assert told.status_code == 404
    assert "<h1>" in told.text


def test_a_running_job_shows_step_bar_rest_and_log_and_can_be_stopped(shop: SimpleNamespace) -> None:
    html = page(
        shop,
        job(
            cell(shop.home, "anomaly", "running"),
            **{"status": "running", "progress": 40.0, "current_step": "Training 2/5", "remaining_s": 200.0},
        ),
    )
    assert 'id="bar" max="100" value="40.0" aria-labelledby="step"' in html
    assert "about <strong>3 min</strong> left" in html
    assert 'hx-trigger="every 2s"' in html
    assert f'data-source="/api/ml/train/logs/{RUN}"' in html
    assert "asked for by</dt><dd>ada" in html
    assert 'href="http://127.0.0.1:4200/runs/flow-run/' in html
    stopped = shop.client.post(f"/jobs/{RUN}/cancel", follow_redirects=False)
    assert (stopped.status_code, stopped.headers["location"]) == (303, f"/jobs/{RUN}")
    assert shop.board.stopped == [(RUN, "local")]


def test_a_viewer_may_look_and_not_stop(trained: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    app = create_app(trained, load_config(trained), NO_SERVER)
    with TestClient(app, base_url=ADDRESS, headers={"Authorization": f"Bearer {VIEWER}"}) as client:
        app.state.service.jobs, app.state.service.prefect = Board(), Prefect()
        app.state.service.jobs.jobs[RUN] = job(cell(trained, "anomaly", "running"), status="running")
        html = client.get(f"/jobs/{RUN}").text
        assert 'class="danger" disabled aria-describedby="refusal"' in html
        assert "operators stop runs" in html
        assert client.post(f"/jobs/{RUN}/cancel").status_code == 403
        assert app.state.service.jobs.stopped == []


def test_what_came_of_a_run_stands_beside_baselines_with_plots_tables_and_ways_on(shop: SimpleNamespace) -> None:
    html = page(shop, job(cell(shop.home, "classification")))
    for said in ("Leaderboard: beside its baselines", "best baseline", "On the device", "Parity with", "latency p99"):
        assert said in html, said
    assert html.count('<figure class="plot"') >= 4
    assert f'href="/predict?machine={SUBJECT}&amp;family=classification&amp;target=pi"' in html
    assert f'href="/api/models/{SUBJECT}/classification/download?version=1&amp;target=pi"' in html
    assert f'href="/models/{SUBJECT}/classification?target=pi"' in html
    assert "every 2s" not in html
    # The form as it was filled in.
    assert re.search(r'href="/train\?machine=[^"]*families=anomaly[^"]*minutes=2[^"]*">Start again', html)


def test_a_synthesis_leads_to_its_data(shop: SimpleNamespace) -> None:
    made = {"name": "pump_7.synthesis", "family": "synthesis", "families": ("synthesis",)}
    found = job(flow="synthesize-machine", machine="pump_7", target="", **made)
    html = page(shop, found)
    assert '<a class="button first" href="/machines/pump_7#data">Its data and quality</a>' in html
    assert '<dd><a href="/machines/pump_7">pump_7</a></dd>' in html
    assert "No model came of it." not in html
    assert "<dt>family</dt>" not in html
    assert 'href="/machines/pump_7#data">its data</a>' in shop.client.get("/jobs").text


def test_a_table_s_model_that_is_not_registered_has_its_figures_and_its_place(shop: SimpleNamespace) -> None:
    told = TableOutcome(
        subject="shop",
        model="Ridge",
        task="regression",
        rows=1_234,
        metric="rmse",
        scores={"train": {"rmse": 1.0, "r2": 0.9}, "test": {"rmse": 1.5, "r2": None}},
        findings=("T005",),
        saved=f"{shop.home.root}/models/Ridge_1",
        reason="the model was not registered: column 'at' holds dates.",
    )
    found = with_table(shop.home, job(flow="train-estimator", machine="", target=""), told)
    assert (found.metrics, found.model_path) == ({"rmse": 1.5}, "models/Ridge_1")
    html = page(shop, found).replace("&#39;", "'")
    for said in (
        "Ridge on 1,234 rows, judged by rmse",
        ">1.5",
        "column 'at' holds dates",
        "<code>models/Ridge_1<",
        "T005",
    ):
        assert said in html, said
    assert "No model came of it" not in html


def test_who_looks_on_gets_the_results_when_the_run_ends(shop: SimpleNamespace) -> None:
    found = job(cell(shop.home, "anomaly"))
    now = page(shop, found, part="now")
    assert 'data-state="completed"' in now
    assert f'hx-get="/jobs/{RUN}?part=results" hx-trigger="load" hx-target="#results"' in now
    assert 'hx-swap-oob="true"' in now
    results = page(shop, found, part="results")
    assert "Leaderboard" in results
    assert "<header" not in results


def test_a_failed_run_says_why_and_what_to_do_and_keeps_its_log(shop: SimpleNamespace) -> None:
    html = page(
        shop, job(status="failed", error="the disk is full.", hint="Free 2 GB.", current_step="Failed: Training")
    )
    assert '<div class="notice bad"><p>the disk is full.</p><p class="hint">Free 2 GB.</p>' in html
    assert 'id="log"' in html
    assert "Start again" in html


def test_cells_of_a_batch_have_pages_of_their_own(shop: SimpleNamespace) -> None:
    well, ill = cell(shop.home, "anomaly"), cell(shop.home, "rul", "failed", error="no <b>labels</b>")
    html = page(
        shop,
        job(well, ill, status="failed", name=f"{SUBJECT}: anomaly, rul", error="1 of 2 failed", flow="train-batch"),
    )
    assert f'href="/jobs/{well.job_id}"' in html
    assert "no &lt;b&gt;labels&lt;/b&gt;" in html
    assert html.index(ill.job_id) < html.index(well.job_id)  # what went wrong, first
    own = page(shop, job(job_id=well.job_id, name=well.name, family="anomaly"))
    assert "Leaderboard" in own
    assert f'href="/jobs/{RUN}">the whole run' in own


def test_of_very_many_cells_the_first_are_listed(shop: SimpleNamespace) -> None:
    html = page(shop, job(*[cell(shop.home, "anomaly")] * 450, name="fleet"))
    assert "and 250 more." in html
    assert "Leaderboard" not in html


def test_learning_curves_appear_once_there_are_any_and_are_not_drawn_again(shop: SimpleNamespace) -> None:
    one = cell(shop.home, "anomaly", "running")
    page(shop, job(one, status="running"))
    at = f"/jobs/{RUN}/curves"
    assert shop.client.get(at).status_code == 204
    known = newest(shop.home, one.name)
    assert known is not None
    told = shop.home.work / known.key / "progress.jsonl"
    before = told.read_bytes() if told.exists() else None
    try:
        FileSink(told)(
            ProgressEvent(known.key, "train", 1, 9, {"train_loss": 0.5, "val_loss": 0.6}, "epoch 1", epoch=1)
        )
        html = shop.client.get(at).text
        source = f"/api/live/{known.key[:12]}/loss"
        assert f'data-source="{source}" data-every="2"' in html
        assert shop.client.get(source).json()["series"][0]["y"] == [0.5]
        have = re.search(r'hx-get="([^"]*)"', html)
        assert have is not None
        assert shop.client.get(have[1]).status_code == 204
        link = f'<a href="/runs/{known.key[:12]}">Learning curves</a>'
        assert link in page(shop, job(cell(shop.home, "anomaly")))
        assert link in shop.client.get(f"/models/{SUBJECT}/anomaly").text
    finally:
        told.write_bytes(before) if before is not None else told.unlink()


def test_a_run_of_the_fleet_lists_its_batches_which_are_runs_of_their_own(shop: SimpleNamespace) -> None:
    other = RUN.replace("0", "f")
    batch = CellStatus(job_id=other, name="pi-pool 1 of 1", family="", status="running", progress=40.0)
    facts = {
        "name": "fleet",
        "flow": "train-fleet",
        "machine": "",
        "target": "",
        "current_step": "0 of 1 batches",
        "families": (),
    }
    html = page(shop, job(batch, status="running", **facts))
    assert f'<a id="cell-1" href="/jobs/{other}">pi-pool 1 of 1</a>' in html
    assert '<th scope="col">batch</th>' in html
    assert 'aria-label="Progress of pi-pool 1 of 1"' in html
    assert "model types" not in html
