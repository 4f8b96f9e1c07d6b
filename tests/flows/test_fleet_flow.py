"""The flow `train-fleet` on a real server with workers of both pools: one story, since each batch takes its time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.elsewhere import write_pump

from deployments import server
from deployments.api import ask
from deployments.workers import troubles
from nightshift import families
from nightshift.dashboard.jobs import JobBoard
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.runs import JobStatus
from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.plan.fleet_run import newest_start, read_outcome
from tests.support.flow_scenarios import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MACHINES = ("fleet_one", "fleet_two")
FLEET = {"machines": list(MACHINES), "families": ["anomaly", "forecast"], "targets": ["pi", "server"]}
GPU, PI = ("gpu-pool", "default"), ("pi-pool", "train")
RUN = """
import json, sys
from flows.fleet import train_fleet
from tests.support.flow_scenarios import ended
print(json.dumps(ended(train_fleet, **json.loads(sys.argv[1])), default=str))
"""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def land(served, subject: str, seed: int) -> None:
    with served.inside():
        folder = write_pump(served.home.tmp / subject, subject, seed=seed, labels=False)
        land_folder(served.home, folder, subject, event=False)


def configure(home, worker_s: float) -> None:
    """Write `fleet.yaml`; JSON is YAML."""
    settings = {"batch": {"processes": 2, "disk_mb_per_model": 1}, "dead": {"worker_s": worker_s}}
    (home.configs / "fleet.yaml").write_text(json.dumps(FLEET | settings))


@pytest.fixture(scope="module")
def fleet(served) -> Any:
    """The home with two machines and its deployments; no worker yet."""
    home = served.home
    home.configs.mkdir(exist_ok=True)
    configure(home, worker_s=1)
    for seed, subject in enumerate(MACHINES):
        (home.configs / "machines").mkdir(exist_ok=True)
        (home.configs / "machines" / f"{subject}.yaml").write_text(json.dumps({"families": {"anomaly": TINY}}))
        land(served, subject, seed)
    with served.inside():
        server.up(home, worker=False, mlflow=False, dashboard=False)
    return served


@dataclass
class Night:
    """A run of the flow in a process of its own, as the command starts it, and what it has said so far."""

    process: subprocess.Popen[str]
    said: Path

    def ended(self) -> dict[str, Any]:
        out, _ = self.process.communicate()
        assert self.process.returncode == 0, self.said.read_text()[-4000:]
        return dict(json.loads(out.splitlines()[-1]))


def begin(served, **parameters: Any) -> Night:
    command = [sys.executable, "-c", RUN, json.dumps(parameters)]
    said = served.home.tmp / "night.txt"
    with said.open("w") as errors:
        process = subprocess.Popen(
            command, env=served.environment(), cwd=served.home.root, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    return Night(process, said)


def run(served, **parameters: Any) -> dict[str, Any]:
    return begin(served, **parameters).ended()


@pytest.fixture(scope="module")
def first(fleet) -> dict[str, Any]:
    """A night that begins before the workers are there, as after a restart of the machine."""
    configure(fleet.home, worker_s=120)
    night = begin(fleet)
    wait("that the night waits for a worker", lambda: "waits up to 120 s: " in night.said.read_text())
    with fleet.inside():
        server.up(fleet.home, mlflow=False, dashboard=False)
        places = [("gpu-pool", "default"), ("pi-pool", "train"), ("local-pool", "default")]
        assert [str(t) for t in troubles(fleet.home, places)] == []
    return night.ended()


@pytest.fixture(scope="module")
def working(fleet, first) -> Iterator[Any]:
    """With the workers that `up` has started."""
    yield fleet
    fleet.dismiss()


def cli(served, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "nightshift.cli", *words],
        env=served.environment(),
        cwd=served.home.root,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def endings(told: dict[str, Any]) -> dict[str, str]:
    cells = told["outcome"]["cells"]
    return {c["planned"]["name"]: c["outcome"]["ending"] for c in cells if c["outcome"]}


def batches(served) -> list[dict[str, Any]]:
    """The nights' batches of this file's machines: other files' batches are on the same server."""
    found = served.ask("flow_runs/filter", flows={"name": {"any_": ["train-batch"]}}, limit=200)
    own = [r for r in found if {cell["subject"] for cell in r["parameters"]["cells"]} <= set(MACHINES)]
    return [r for r in own if r["parameters"]["options"]["for_run"]]


def wait(what: str, done: Callable[[], Any], limit_s: float = 400) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := done()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return found


def test_the_run_form_offers_the_fleets_families_and_explains_every_field(fleet):
    schema = fleet.ask("deployments/name/train-fleet/nightly")["parameter_openapi_schema"]
    fields = schema["properties"]
    assert schema.get("required", []) == []
    assert all(field.get("description") for name, field in fields.items() if name != "options")
    assert fields["only"]["enum"] == ["everything", "landed", "failed"]
    offered = set(fields["families"]["items"]["enum"])
    assert {"anomaly", "classification", "forecast", "rul"} <= offered
    groups = {families.get(families.canonical(name)).group for name in offered}
    assert groups == {"machine", "vehicle"}
    options = schema["definitions"]["FleetOptions"]
    assert options["additionalProperties"] is False
    assert all(p["title"] and p["description"] for p in options["properties"].values())


def test_without_workers_every_cell_fails_with_the_pool_and_the_command_and_nothing_waits(fleet):
    told = run(fleet, targets=["pi"], families=["anomaly"])
    assert (told["state"], told["error"], told["exit_code"]) == ("Failed", "FleetFailedError", 1)
    assert endings(told) == {"fleet_one.anomaly.pi": "failed", "fleet_two.anomaly.pi": "failed"}
    outcome = told["outcome"]["cells"][0]["outcome"]
    assert "no worker takes runs from 'pi-pool', queue 'train'" in outcome["reason"]
    assert "nightshift up" in outcome["hint"]
    assert batches(fleet) == []


def test_the_command_refuses_to_start_without_workers_and_the_plan_says_so_too(fleet):
    code, said = cli(fleet, "train-fleet")
    assert code == 4
    assert "No worker takes runs from 'gpu-pool'" in said
    assert "from 'pi-pool', queue 'train'" in said
    assert "Nothing was started. Start one: nightshift up" in said
    code, said = cli(fleet, "plan", "--target", "server")
    assert code == 0
    assert "no worker takes runs from 'gpu-pool'" in said
    assert "pi-pool" not in said


def test_what_else_would_keep_a_batch_waiting_is_named(fleet):
    with fleet.inside():
        for name, kind, paused in (("still-pool", "process", True), ("odd-pool", "docker", False)):
            ask("work_pools/", {"name": name, "type": kind, "is_paused": paused})
        ask("work_pools/odd-pool/queues", {"name": "held", "is_paused": True})
        (fleet.home.configs / "pools.yaml").write_text("pools: {still-pool: {}, odd-pool: {}, odd-one: {}}")
        places = [("no-pool", "default"), ("still-pool", "default"), ("odd-pool", "default")]
        found = [trouble.what for trouble in troubles(fleet.home, places)]
        (fleet.home.configs / "pools.yaml").unlink()
        found += [trouble.what for trouble in troubles(fleet.home, [("odd-pool", "held"), ("odd-pool", "other")])]
    assert found == [
        "the Prefect server has no work pool 'no-pool'.",
        "the work pool 'still-pool' is paused.",
        "the work pool 'odd-pool' is of type docker on the server and process in pools.yaml.",
        "the queue 'held' of 'odd-pool' is paused.",
        "the work pool 'odd-pool' has no queue 'other'.",
    ]


def test_every_cell_is_trained_on_the_pool_that_it_belongs_to(working, first):
    assert first["state"] == "Completed", first
    assert endings(first) == {
        f"{subject}.{family}.{target}": "trained" if family == "anomaly" else "not applicable"
        for subject in MACHINES
        for family in ("anomaly", "forecast")
        for target in ("pi", "server")
    }
    places = {r["name"]: (r["work_pool_name"], r["work_queue_name"]) for r in batches(working)}
    assert places == {"gpu-pool 1 of 1": GPU, "pi-pool 1 of 1": PI}
    by_batch = {c["planned"]["target"]: c["batch"] for c in first["outcome"]["cells"]}
    assert by_batch == {"pi": "pi-pool 1 of 1", "server": "gpu-pool 1 of 1"}
    tasks = dict(working.task_runs(first["id"]))
    assert (tasks["plan"], tasks["version"]) == ("Completed", "Completed")
    assert read_outcome(working.home, first["id"]) is not None
    for target in ("pi", "server"):
        assert (working.home.models / "anomaly" / "fleet_two" / target / "v1" / "bundle.json").is_file()
    # Versions are the parent's: each batch left that to it.
    assert all("version" not in dict(working.task_runs(r["id"])) for r in batches(working))
    assert "fleet_one" in working.artifacts(first["id"])["fleet-matrix"]["data"]


def test_a_second_run_trains_nothing_and_starts_no_batch(working, first):
    before = len(batches(working))
    again = run(working)
    assert (again["state"], endings(again)) == ("Completed", {})
    code, said = cli(working, "train-fleet")
    assert code == 0
    assert "Nothing to train" in said
    assert len(batches(working)) == before


def test_a_run_that_goes_on_finds_its_batches_again_and_starts_none(working, first):
    before = len(batches(working))
    again = run(working, continues=first["id"])
    assert endings(again) == endings(first)
    assert again["outcome"]["run_id"] == first["id"]
    ids = {r["name"]: r["id"] for r in batches(working)}
    for night in (first, again):
        found = shown(working, night["id"])
        assert (found.status, found.progress, {c.name: c.job_id for c in found.cells}) == ("completed", 100, ids)
    assert len(batches(working)) == before


def test_new_data_of_one_machine_retrain_exactly_its_cells(working, first):
    land(working, "fleet_two", seed=7)
    code, said = cli(working, "train-fleet", "--only", "landed")
    assert code == 0, said
    assert "2 trained, 2 not applicable" in said.replace("2 not applicable, 2 trained", "2 trained, 2 not applicable")
    assert "4 of 4 cells" in said
    start = newest_start(working.home)
    assert {cell.subject for cell in start.plan.cells} == {"fleet_two"}
    folder = working.home.models / "anomaly"
    assert {p.parts[-2] for p in (folder / "fleet_two" / "pi").glob("v*/bundle.json")} == {"v1", "v2"}
    assert {p.parts[-2] for p in (folder / "fleet_one" / "pi").glob("v*/bundle.json")} == {"v1"}


def test_a_run_cancelled_in_the_ui_stops_its_batches_and_the_next_one_resumes(working, first):
    (deployment,) = working.ask("deployments/filter", deployments={"name": {"any_": ["nightly"]}})
    parameters = {"force": True, "machines": ["fleet_one"], "families": ["anomaly"]}
    parent = working.ask(f"deployments/{deployment['id']}/create_flow_run", parameters=parameters)["id"]
    known = {r["id"] for r in batches(working)}

    def begun() -> list[str]:
        return [r["id"] for r in batches(working) if r["id"] not in known and r["state_type"] == "RUNNING"]

    wait("its batches begin", lambda: len(begun()) == 2)
    children = begun()
    going = shown(working, parent)
    assert (going.current_step, {c.job_id for c in going.cells}) == ("0 of 2 batches", set(children))
    state = {"type": "CANCELLING", "name": "Cancelling"}
    working.ask(f"flow_runs/{parent}/set_state", state=state)
    wait("all end", lambda: all(state_of(working, run_id) in FINAL for run_id in (parent, *children)))
    assert [state_of(working, run_id) for run_id in (parent, *children)] == ["CANCELLED"] * 3
    outcome = read_outcome(working.home, parent)
    assert outcome is not None
    assert outcome.ended == "cancelled"
    code, said = cli(working, "resume", "--dry-run")
    assert code == 0
    left = {c.planned.name for c in outcome.cells if c.outcome is None}
    assert f"{len(left)} to train" in said or (not left and "Nothing failed" in said)


def shown(served, run_id: str) -> JobStatus:
    """A run as the dashboard tells of it."""

    async def asked() -> JobStatus:
        prefect = PrefectApi(served.variables["PREFECT_API_URL"])
        board = JobBoard(served.home, prefect)
        try:
            return await board.status(run_id)
        finally:
            await board.stop()
            await prefect.close()

    return asyncio.run(asked())


def state_of(served, run_id: str) -> str:
    return str(served.ask(f"flow_runs/{run_id}")["state_type"])
