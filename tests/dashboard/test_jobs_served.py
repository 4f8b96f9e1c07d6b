"""Jobs against a real Prefect server with real workers: started, watched, heard, called off."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from support.homes import a_home
from support.machine import SUBJECT, metadata, simulate
from support.servers import EmptyDatabase

from deployments import posts, processes, server
from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.dashboard.service import Service
from nightshift.data.importers.landing import split_and_land
from nightshift.settings import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Seconds of training.
SMALL = {"settings": {"reference_rows": 300, "n_trees": 20}}
REQUEST = {"machine_id": SUBJECT, **SMALL}
#: Minutes of it.
LONG = {"machine_id": SUBJECT, "settings": {"test_origins": 200, "val_origins": 200, "n_changepoints": 100}}
WORKERS = tuple(post for post in posts.POSTS if post.pool in ("local-pool", "pi-pool"))


@dataclass
class Place:
    """A dashboard over a home with a server and workers."""

    home: Home
    url: str
    service: Service

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}/api/ml/{path}", timeout=30)

    def post(self, path: str, body: object = None, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return httpx.post(f"{self.url}/api/ml/{path}", json=body, headers=headers, timeout=60)

    def start(self, kind: str, body: object, key: str = "") -> str:
        told = self.post(f"train/{kind}", body, key)
        assert told.status_code == 202, told.text
        return str(told.json()["job_id"])

    def status(self, job_id: str) -> dict[str, Any]:
        told = self.get(f"train/status/{job_id}")
        assert told.status_code == 200, told.text
        return dict(told.json())

    def start_waiting(self) -> str:
        """Ask Prefect itself for a run that waits for its hour: as the command line of Prefect does."""
        api = self.service.prefect.url
        found = httpx.get(f"{api}/deployments/name/train/local", timeout=30).json()["id"]
        soon = {"scheduled_time": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        parameters = {"subject": SUBJECT, "family": "anomaly", "options": SMALL}
        body = {"parameters": parameters, "state": {"type": "SCHEDULED", "state_details": soon}}
        asked = httpx.post(f"{api}/deployments/{found}/create_flow_run", json=body, timeout=30)
        return str(asked.json()["id"])

    def until(self, job_id: str, wanted: Callable[[dict[str, Any]], object], limit_s: float = 240) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while not wanted(found := self.status(job_id)):
            assert time.monotonic() < deadline, found
            time.sleep(0.3)
        return found

    def ended(self, job_id: str) -> dict[str, Any]:
        return self.until(job_id, lambda job: job["status"] in ("completed", "failed", "cancelled"))

    def heard(self, job_id: str, after: str = "", stop_at: int = 0) -> list[tuple[str, str, dict[str, Any]]]:
        """The (event, id, data) of a job's stream, until its end or so many."""
        headers = {"Last-Event-ID": after} if after else {}
        address = f"{self.url}/api/ml/train/logs/{job_id}"
        found: list[tuple[str, str, dict[str, Any]]] = []
        with httpx.stream("GET", address, headers=headers, timeout=240) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            event: dict[str, str] = {}
            for line in stream.iter_lines():
                if not line and event:
                    found.append((event.get("event", ""), event.get("id", ""), json.loads(event["data"])))
                    if event["event"] == "end" or len(found) == stop_at:
                        break
                    event = {}
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
        return found


def wait_until(done: Callable[[], bool], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Any, empty_prefect: EmptyDatabase) -> Iterator[Place]:
    with a_home(tmp_path_factory.mktemp("jobs"), migrated_db) as home:
        empty_prefect.into(home)
        split_and_land(home, simulate(), metadata(), event=False)
        machine = server.up(home, worker=False, mlflow=False)
        try:
            posts.ensure_workers(home, WORKERS)
            with served(home, machine.server.api_url) as found:
                yield found
        finally:
            server.down(home)


class served:  # noqa: N801 - reads as a statement
    """The dashboard in a thread, on a port of its own."""

    def __init__(self, home: Home, prefect_url: str) -> None:
        app = create_app(home, load_config(home), prefect_url)
        port = processes.free_port(0)
        self._server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run)
        self._place = Place(home, f"http://127.0.0.1:{port}", app.state.service)

    def __enter__(self) -> Place:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return self._place

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)


@dataclass
class Watched:
    """A training that was watched from its start to its end."""

    job_id: str
    seen: list[dict[str, Any]]
    streams: list[list[tuple[str, str, dict[str, Any]]]]
    most_tails: int
    listeners: int


@pytest.fixture(scope="module")
def watched(place: Place) -> Watched:
    """A small training, with twenty streams open."""
    job_id = place.start("anomaly", REQUEST, key="first")
    seen, tails, listeners = [place.status(job_id)], 0, 0
    with ThreadPoolExecutor(20) as pool:
        streams = [pool.submit(place.heard, job_id) for _ in range(20)]
        while seen[-1]["status"] in ("pending", "running"):
            time.sleep(0.3)
            seen.append(place.status(job_id))
            open_tails = list(place.service.jobs.logs.tails.values())
            tails, listeners = max(tails, len(open_tails)), max([listeners, *(t.listeners for t in open_tails)])
        return Watched(job_id, seen, [stream.result(60) for stream in streams], tails, listeners)


def test_a_training_is_pending_then_runs_then_is_completed_with_its_model(place: Place, watched: Watched) -> None:
    assert list(dict.fromkeys(job["status"] for job in watched.seen)) == ["pending", "running", "completed"]
    progress = [job["progress"] for job in watched.seen]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    assert any(0 < p < 100 for p in progress)
    last = watched.seen[-1]
    assert (last["current_step"], last["error"], last["model_path"]) == ("Done", "", f"models/anomaly/{SUBJECT}/pi/v1")
    assert (place.home.root / last["model_path"] / "model.onnx").is_file()
    assert 0 < last["metrics"]["pr_auc"] <= 1
    assert (last["machine"], last["families"], last["target"]) == (SUBJECT, ["anomaly"], "pi")
    steps = {job["current_step"].split()[0] for job in watched.seen}
    assert steps & {"Training", "Evaluating", "Exporting", "Registering"}


def test_the_snapshot_is_renewed_at_most_once_a_second(watched: Watched) -> None:
    moments = list(dict.fromkeys(job["as_of"] for job in watched.seen))
    took_s = len(watched.seen) * 0.3
    assert 2 < len(moments) <= took_s * 2 + 2


def test_many_streams_share_one_tail_and_hear_the_same(watched: Watched) -> None:
    assert (watched.most_tails, watched.listeners) == (1, 20)
    first = watched.streams[0]
    assert first[-1] == ("end", "", {"status": "completed"})
    assert all(sorted(stream, key=str) == sorted(first, key=str) for stream in watched.streams)
    said = "\n".join(data["text"] for _, _, data in first[:-1])
    assert f"{SUBJECT}.anomaly.pi: train" in said
    assert f"{SUBJECT}.anomaly.pi: trained" in said
    assert all(re.fullmatch(r"\d{8}T\d{12}-[0-9a-f]{12}", key) for event, key, _ in first if event == "log")


def test_a_stream_goes_on_after_the_last_line_that_is_known(place: Place, watched: Watched) -> None:
    whole = place.heard(watched.job_id)
    begun = place.heard(watched.job_id, stop_at=4)
    rest = place.heard(watched.job_id, after=begun[-1][1])
    assert begun + rest == whole


def test_the_same_request_under_the_same_key_is_the_same_job(place: Place, watched: Watched) -> None:
    assert place.start("anomaly", REQUEST, key="first") == watched.job_id
    other = place.post("train/anomaly", {**REQUEST, "force": True}, key="first")
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert place.post("train/regression", REQUEST, key="first").status_code in (409, 422)


def test_a_restarted_dashboard_knows_all_again(place: Place, watched: Watched) -> None:
    with served(place.home, place.service.prefect.url) as again:
        found = again.status(watched.job_id)
        assert {**found, "as_of": ""} == {**watched.seen[-1], "as_of": ""}
        (cell,) = found["cells"]
        assert again.status(cell["job_id"])["model_path"] == found["model_path"]
        assert watched.job_id in [job["job_id"] for job in again.get("jobs").json()]


def test_what_is_up_to_date_is_completed_and_says_so(place: Place, watched: Watched) -> None:
    found = place.ended(place.start("anomaly", REQUEST))
    assert (found["status"], found["current_step"]) == ("completed", "Up to date: nothing had to be done")
    assert found["metrics"] == watched.seen[-1]["metrics"]


def test_a_batch_has_cells_of_which_one_can_be_stopped_alone(place: Place, watched: Watched, tmp_path: Path) -> None:
    """Anomaly is up to date; the forecast would take minutes."""
    asked = {"machine_id": SUBJECT, "settings": {**SMALL["settings"], **LONG["settings"]}}
    job_id = place.start("batch", {**asked, "model_types": ["anomaly", "timeseries"]})
    running = place.until(
        job_id, lambda job: any(c["family"] == "forecast" and c["status"] == "running" for c in job["cells"])
    )
    forecast = next(c["job_id"] for c in running["cells"] if c["family"] == "forecast")
    assert re.fullmatch(rf"{job_id}\.[0-9a-f]{{12}}", forecast)
    assert place.status(forecast)["name"] == f"{SUBJECT}.forecast.pi"
    told_without_its_disk(place, tmp_path / "home", job_id, forecast)
    assert place.post(f"train/cancel/{forecast}").status_code == 202
    found = place.ended(job_id)
    assert {c["family"]: c["status"] for c in found["cells"]} == {"anomaly": "completed", "forecast": "cancelled"}
    assert found["status"] == "failed"
    assert "Stopped on request" in found["error"]
    assert place.post(f"train/cancel/{forecast}").status_code == 409
    lines = [data["text"] for event, _, data in place.heard(forecast) if event == "log"]
    assert lines
    assert all("forecast" in line for line in lines)


def told_without_its_disk(place: Place, root: Path, job_id: str, forecast: str) -> None:
    """The same batch, as a dashboard sees it that has the data, and nothing of what the worker writes."""
    shutil.copytree(place.home.data, Home(root).data, symlinks=True)
    with served(Home(root), place.service.prefect.url) as elsewhere:
        cells = elsewhere.until(
            job_id, lambda job: any(c["job_id"] == forecast and c["progress"] > 6 for c in job["cells"])
        )["cells"]
        (found,) = (c for c in cells if c["job_id"] == forecast)
        assert (found["status"], found["current_step"].split()[0]) == ("running", "Training")
        refused = elsewhere.post(f"train/cancel/{forecast}")
        assert (refused.status_code, refused.json()["hint"]) == (409, f"Cancel the whole: {job_id}")
        assert elsewhere.status(forecast)["status"] == "running"


@pytest.fixture(scope="module")
def long_job(place: Place, watched: Watched) -> str:
    """A training of minutes, while it trains."""
    job_id = place.start("timeseries", LONG)
    place.until(job_id, lambda job: job["current_step"].startswith("Training"))
    return job_id


def test_while_prefect_is_away_all_is_told_so_and_a_stream_goes_on_when_it_is_back(place: Place, long_job: str) -> None:
    client = place.service.prefect._client
    there = client.base_url
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(place.heard, long_job, "", 1_000)
        try:
            time.sleep(2)
            client.base_url = "http://127.0.0.1:9/api/"
            wait_until(lambda: place.get(f"train/status/{long_job}").status_code == 503)
            told = place.get("jobs")
            assert (told.status_code, told.headers["content-type"]) == (503, "application/problem+json")
            assert place.post("train/anomaly", REQUEST).status_code == 503
            time.sleep(1)
        finally:
            client.base_url = there
        wait_until(lambda: place.get(f"train/status/{long_job}").status_code == 200)
        time.sleep(2)
        assert place.post(f"train/cancel/{long_job}").status_code == 202
        said = [data["text"] for _, _, data in stream.result(120)[:-1]]
    away = next(i for i, text in enumerate(said) if "does not answer" in text)
    back = next(i for i, text in enumerate(said) if text == "The log goes on.")
    assert away < back < len(said) - 1


def test_a_run_is_called_off_and_only_once(place: Place, long_job: str) -> None:
    found = place.ended(long_job)
    assert (found["status"], found["current_step"]) == ("cancelled", "Stopped on request: Training")
    again = place.post(f"train/cancel/{long_job}")
    assert (again.status_code, again.json()["title"]) == (409, "Conflict")


def test_a_run_that_no_worker_has_taken_is_called_off_at_once(place: Place, watched: Watched) -> None:
    job_id = place.start_waiting()
    found = place.status(job_id)
    assert (found["status"], found["current_step"], found["families"]) == (
        "pending",
        "Waiting for a worker",
        ["anomaly"],
    )
    assert place.post(f"train/cancel/{job_id}").json()["status"] == "cancelled"


def test_a_pool_without_a_worker_is_told_with_the_command(place: Place) -> None:
    told = place.post("train/anomaly", {**REQUEST, "target": "server"})
    assert told.status_code == 503
    assert "gpu-pool" in told.json()["detail"]
    assert "nightshift up" in told.json()["hint"]


@pytest.mark.parametrize("path", ["status", "logs"])
@pytest.mark.parametrize("job_id", ["00000000-0000-4000-8000-000000000000", "nothing", "..", "0" * 36])
def test_a_job_that_is_not_there(place: Place, path: str, job_id: str) -> None:
    assert place.get(f"train/{path}/{job_id}").status_code == 404
    assert place.post(f"train/cancel/{job_id}").status_code == 404
