"""What `up` declares can be started by name, from the command line as from the UI, and completes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from deployments import server
from deployments.server import ProcessInfo
from nightshift import families

pytestmark = pytest.mark.slow

OPTIONS = {"settings": {"n_trees": 10, "reference_rows": 60, "max_rows": 200}, "threads": 1}


@pytest.fixture(scope="module")
def upped(served) -> list[ProcessInfo]:
    """Server, deployments and worker of the home."""
    with served.inside():
        server.up(served.home)
        return server.ps(served.home)


def schema_of(served, name: str) -> dict[str, Any]:
    return dict(served.ask(f"deployments/name/{name}")["parameter_openapi_schema"])


def test_up_brings_a_worker_too_and_again_changes_nothing(served, upped):
    assert [(p.name, p.running) for p in upped] == [
        (name, True) for name in ("server", "worker-gpu", "worker-local", "worker-pi")
    ]
    with served.inside():
        server.up(served.home)
        assert server.ps(served.home) == upped
    assert len(served.ask("deployments/filter", limit=50)) == 5


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


def test_a_run_with_a_family_that_does_not_exist_is_refused_before_it_starts(served, upped):
    command = [sys.executable, "-m", "prefect", "deployment", "run", "train/local", "-p", "subject=x", "-p", "family=y"]
    done = subprocess.run(
        command, env=served.environment(), cwd=served.home.root, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "anomaly" in done.stdout + done.stderr
