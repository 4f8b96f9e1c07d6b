"""What `up` declares can be started by name, from the command line as from the UI, and completes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from deployments import server
from deployments.server import ProcessInfo
from nightshift import families
from nightshift.tracking.mlflow_store import open_store
from nightshift.tracking.runs import read_artifact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OPTIONS = {"settings": {"n_trees": 10, "reference_rows": 60, "max_rows": 200}, "threads": 1}


PARTS = ("server", "mlflow", "dashboard", "worker-gpu", "worker-local", "worker-pi")


@pytest.fixture(scope="module")
def upped(served) -> Iterator[list[ProcessInfo]]:
    """Servers, deployments and workers of the home."""
    with served.inside():
        machine = server.up(served.home)
        assert machine.tracking_uri.startswith("http://127.0.0.1:")
        assert machine.dashboard.startswith("http://127.0.0.1:")
        parts = server.ps(served.home)
    yield parts
    served.dismiss()


def schema_of(served, name: str) -> dict[str, Any]:
    return dict(served.ask(f"deployments/name/{name}")["parameter_openapi_schema"])


def test_up_brings_servers_and_workers_and_again_changes_nothing(served, upped):
    assert [(p.name, p.state) for p in upped] == [(name, "running") for name in PARTS]
    changes: list[object] = []
    with served.inside():
        server.up(served.home, tell=changes.append)
        assert server.ps(served.home) == upped
    assert changes == []
    assert {"train/local", "train-batch/gpu", "train-batch/pi", "train-fleet/nightly"} <= names_of(served)


def names_of(served) -> set[str]:
    flows = {f["id"]: f["name"] for f in served.ask("flows/filter", limit=50)}
    return {f"{flows[d['flow_id']]}/{d['name']}" for d in served.ask("deployments/filter", limit=50)}


def test_a_worker_knows_its_machine_and_the_mlflow_server_and_is_heard(served, upped):
    gpu, mlflow = (next(p for p in upped if p.name == name) for name in ("worker-gpu", "mlflow"))
    told = psutil.Process(gpu.pid).environ()
    assert (told["NIGHTSHIFT_WORKER"], told["MLFLOW_TRACKING_URI"]) == ("local", mlflow.url)
    for pool in ("local-pool", "gpu-pool", "pi-pool"):
        (heard,) = served.ask(f"work_pools/{pool}/workers/filter", workers={})
        assert (heard["name"], heard["status"]) == ("local", "ONLINE")


def test_the_run_form_offers_the_families_and_explains_the_options(served, upped):
    schema = schema_of(served, "train/local")
    assert schema["required"] == ["subject", "family"]
    assert set(families.names()) <= set(schema["properties"]["family"]["enum"])
    assert all(p["description"] for p in schema["properties"].values())
    options = schema["definitions"]["TrainOptions"]
    assert options["additionalProperties"] is False
    assert all(p["title"] and p["description"] for p in options["properties"].values())
    machine = schema_of(served, "train-machine/local")
    assert machine["required"] == ["subject"]
    assert machine["properties"]["families"]["default"] == ["classification", "rul", "anomaly", "forecast"]


def test_a_run_started_by_name_completes_on_the_worker(served, upped):
    served.run("land")
    parameters = {"subject": "pump_deployed", "family": "anomaly", "options": json.dumps(OPTIONS)}
    command = [sys.executable, "-m", "prefect", "deployment", "run", "train/local", "--watch"]
    for name, value in parameters.items():
        command += ["-p", f"{name}={value}"]
    done = subprocess.run(
        command, env=served.environment(), cwd=served.home.root, capture_output=True, text=True, check=False
    )
    log = (served.home.logs / "worker-local.log").read_text()[-3000:]
    assert done.returncode == 0, done.stdout + done.stderr + log
    (run,) = served.ask("flow_runs/filter", flow_runs={"name": {"any_": ["pump_deployed.anomaly.pi"]}})
    assert run["state_name"] == "Completed"
    assert (served.home.models / "anomaly" / "pump_deployed" / "pi" / "v1" / "bundle.json").is_file()
    # Registered through the server, found by a lone command in the database.
    with served.inside():
        store = open_store(served.home)
        assert store.uri.startswith("sqlite")
        found = store.client.get_model_version("pump_deployed.anomaly.pi", "1")
        assert b"pump_deployed" in read_artifact(store, found.run_id, "cell.json")


def test_a_run_with_a_family_that_does_not_exist_is_refused_before_it_starts(served, upped):
    command = [sys.executable, "-m", "prefect", "deployment", "run", "train/local", "-p", "subject=x", "-p", "family=y"]
    done = subprocess.run(
        command, env=served.environment(), cwd=served.home.root, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "anomaly" in done.stdout + done.stderr


def test_what_has_died_is_started_again_at_its_place_and_the_others_stay(served, upped):
    """The last test: it changes the home's processes."""
    killed = ("mlflow", "worker-pi")
    for part in upped:
        if part.name in killed:
            psutil.Process(part.pid).kill()
    psutil.wait_procs([psutil.Process(p.pid) for p in upped if p.name in killed and psutil.pid_exists(p.pid)], 20)
    with served.inside():
        assert {p.name for p in server.ps(served.home) if p.state == "not running"} == set(killed)
        changes: list[object] = []
        server.up(served.home, tell=changes.append)
        again = server.ps(served.home)
    assert [str(c).split(": ")[0] for c in changes] == ["started MLflow", "started worker of pi-pool, queue train"]
    assert [(p.name, p.state, p.url) for p in again] == [(p.name, "running", p.url) for p in upped]
    assert {p.pid for p in again} & {p.pid for p in upped} == {p.pid for p in upped if p.name not in killed}
