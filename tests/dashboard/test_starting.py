"""Starts of runs: one for a key, whatever has happened since, and none that waits for another."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from support.dashboards import asking
from support.tables import SUBJECT, small_table

from nightshift.dashboard import starting
from nightshift.dashboard.training import TrainRequest
from nightshift.settings import Home

REQUEST = {"machine_id": SUBJECT, "settings": {"model": "ridge"}}


@dataclass
class Prefect:
    """Stands for a server where one has to hang at will; `test_jobs_served.py` asks a real one.

    Attributes:
        runs: idempotency key -> run.
        hangs: so many of the next starts find that it does not answer, until `back`.
    """

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    hangs: int = 0
    back: bool = False

    async def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"{}")
        if path.endswith("/flow_runs/filter"):
            (key,) = body["flow_runs"]["idempotency_key"]["any_"]
            return httpx.Response(200, json=[self.runs[key]] if key in self.runs else [])
        if path.endswith("/create_flow_run"):
            made = {"id": str(uuid.uuid4()), "state_type": "SCHEDULED", **body}
            return httpx.Response(201, json=self.runs.setdefault(body["idempotency_key"], made))
        if "/deployments/name/" in path:
            hangs, self.hangs = self.hangs > 0, max(0, self.hangs - 1)
            while hangs and not self.back:
                await asyncio.sleep(0.01)
            return httpx.Response(200, json={"id": "d", "work_pool_name": "local-pool"})
        return httpx.Response(200, json={"is_paused": False, "last_polled": datetime.now(UTC).isoformat()})


@pytest.fixture
def prefect() -> Prefect:
    return Prefect()


@pytest.fixture
def client(home: Home, prefect: Prefect) -> Iterator[TestClient]:
    """The dashboard over a home with a table that has landed, and that server."""
    small_table(home)
    with asking(home) as opened:
        found = opened()
        api = found.app.state.service.prefect  # type: ignore[attr-defined]
        api._client = httpx.AsyncClient(transport=httpx.MockTransport(prefect.answer), base_url=f"{api.url}/")
        yield found


def start(client: TestClient, kind: str = "regressor", key: str = "one", **changed: Any) -> Any:
    return client.post(f"/api/ml/train/{kind}", json=REQUEST | changed, headers={"Idempotency-Key": key})


def test_a_request_under_its_key_is_answered_alike_though_its_data_are_gone(home: Home, client: TestClient) -> None:
    first = start(client, time_limit=77)
    assert (first.status_code, first.json()["estimated_time"]) == (202, 77)
    shutil.rmtree(home.data)
    again = start(client, time_limit=77)
    assert again.status_code == 202, again.text
    assert again.json() == first.json() | {"repeated": True}
    assert start(client, key="two").status_code == 404
    assert start(client, time_limit=78).status_code == 409


def test_a_family_by_either_of_its_names_is_the_same_request() -> None:
    def asked(kind: str, *types: str, excluded: tuple[str, ...] = ()) -> str:
        return TrainRequest(machine_id="m", model_types=types, excluded_model_types=excluded).fingerprint(kind)

    assert asked("regression") == asked("rul") != asked("anomaly")
    assert asked("batch", "timeseries") == asked("batch", "forecast") != asked("batch", "rul")
    assert asked("batch", "all") == asked("batch") == asked("batch", excluded=())
    assert asked("batch", excluded=("regression",)) == asked("batch", excluded=("rul",)) != asked("batch")


def test_a_start_is_noted_once_however_often_it_is_asked_for(client: TestClient, prefect: Prefect) -> None:
    prefect.hangs = 1
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(start, client) for _ in range(3)]
        time.sleep(1)
        prefect.back = True
        told = [one.result().json() for one in asked]
    told.append(start(client).json())
    assert len({one["job_id"] for one in told}) == 1
    assert [one["repeated"] for one in told].count(False) == 1
    service = client.app.state.service  # type: ignore[attr-defined]
    assert [(note.did, note.what) for note in service.audit.newest()] == [("started", told[0]["job_id"])]


def test_a_start_that_cannot_be_noted_has_started_all_the_same(
    home: Home, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    (home.logs / "audit.jsonl").mkdir(parents=True)
    told = start(client)
    assert told.status_code == 202
    assert "audit.jsonl cannot be written" in caplog.text
    assert told.json()["job_id"] in caplog.text


def test_no_start_waits_for_another_that_hangs(client: TestClient, prefect: Prefect) -> None:
    prefect.hangs = 1
    with ThreadPoolExecutor(2) as pool:
        hanging = pool.submit(start, client, key="one")
        while prefect.hangs:
            time.sleep(0.01)
        try:
            assert pool.submit(start, client, key="two").result(5).status_code == 202
            assert not hanging.done()
        finally:
            prefect.back = True
        assert hanging.result().status_code == 202


def test_a_start_gives_up_and_its_repetitions_with_it(
    client: TestClient, prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_PATIENCE_S", 1.0)
    prefect.hangs = 10
    began = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        told = list(pool.map(lambda _: start(client), range(5)))
    assert time.monotonic() - began < 4
    assert {one.status_code for one in told} == {503}
    assert all("nightshift ps" in one.json()["hint"] for one in told)
    prefect.hangs = 0
    assert start(client).status_code == 202
