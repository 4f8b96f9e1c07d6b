"""A home with a server of its own for the flow tests, and a way to run scenarios against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.homes import a_home, an_environment
from support.servers import KeptDatabase

from deployments import api, posts, processes
from deployments.mlflow_server import MLFLOW, stop_mlflow
from deployments.server import deploy, down, ensure_server
from nightshift.settings import Home

ROOT = Path(__file__).resolve().parents[2]
LONG_AGO = "2020-01-01T00:00:00Z"
SCENARIOS = ROOT / "tests" / "support" / "flow_scenarios.py"


@dataclass(frozen=True)
class Served:
    """A home whose server runs, and the environment of a process that belongs to it."""

    home: Home
    variables: dict[str, str]

    def command(self, name: str) -> list[str]:
        """The command of a scenario."""
        return [sys.executable, str(SCENARIOS), name, str(self.home.root)]

    def environment(self) -> dict[str, str]:
        """What such a command is run with."""
        return {**self.variables, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process belongs to the home while the body runs."""
        with an_environment():
            os.environ.update(self.variables)
            # Prefect keeps the settings of its import, or those of another home that this process has been in since.
            from prefect.context import refresh_global_settings_context

            refresh_global_settings_context()
            yield

    def run(self, name: str) -> list[dict[str, Any]]:
        """Run a scenario and return how its runs ended."""
        done = subprocess.run(
            self.command(name), env=self.environment(), cwd=self.home.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return list(json.loads(done.stdout.splitlines()[-1]))

    def stopped(self, name: str, subject: str, sign: str) -> tuple[dict[str, Any], Path]:
        """Start a scenario, send SIGTERM once its progress shows the sign; returns how its run ended, and its work."""
        with subprocess.Popen(
            self.command(name), env=self.environment(), cwd=self.home.root, stdout=subprocess.PIPE, text=True
        ) as process:
            deadline = time.monotonic() + 200
            while not (found := self._showing(subject, sign)):
                assert time.monotonic() < deadline, f"{subject} never showed {sign}"
                assert process.poll() is None
                time.sleep(0.1)
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=120)
        assert time.monotonic() - told < 60
        (run,) = json.loads(out.splitlines()[-1])
        return run, found[0]

    def _showing(self, subject: str, sign: str) -> list[Path]:
        paths = self.home.work.glob("*/progress.jsonl")
        return [p.parent for p in paths if subject in (text := p.read_text()) and sign in text]

    def ask(self, path: str, **body: Any) -> Any:
        """Ask the server; with `body` it is a POST."""
        with self.inside():
            return api.ask(path, body or None)[1]

    def task_runs(self, flow_run_id: str) -> list[tuple[str, str]]:
        """(stage, state) of a flow run's tasks, in order."""
        found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}}, limit=100)
        return [(t["name"], t["state_name"]) for t in sorted(found, key=lambda t: t["expected_start_time"])]

    def dismiss(self) -> None:
        """End the workers and MLflow, and let the server forget that it was asked for runs: as the next file expects.

        Files share the home in any order.
        """
        with self.inside():
            workers = [record for record in processes.recorded(self.home) if record.name not in ("server", MLFLOW)]
            posts.stop_workers(self.home, workers, 30.0)
            stop_mlflow(self.home)
            for queue in api.ask("work_queues/filter", {})[1]:
                api.ask(f"work_queues/{queue['id']}", {"last_polled": LONG_AGO}, method="PATCH")

    def artifacts(self, flow_run_id: str) -> dict[str, dict[str, Any]]:
        """A flow run's artifacts by key; Prefect's own, of results, have none."""
        found = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run_id]}}, limit=100)
        return {a["key"]: a for a in found if a["key"]}

    def log(self, flow_run_id: str) -> str:
        """What a flow run has said."""
        found = self.ask("logs/filter", logs={"flow_run_id": {"any_": [flow_run_id]}}, limit=200)
        return "\n".join(line["message"] for line in found)


_running: list[ExitStack] = []


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """With the last flow test of a process its server ends: it would take its share of a core for nobody."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        while _running:
            _running.pop().close()


def _end(home: Home, environment: dict[str, str]) -> None:
    with an_environment():
        os.environ.update(environment)
        down(home)


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    migrated_db: Path,
    empty_prefect: KeptDatabase,
    deployed_prefect: KeptDatabase,
) -> Iterator[Served]:
    """One server for all flow tests, with our deployments; the process's own environment is left as it was."""
    root = tmp_path_factory.mktemp("flows")
    with a_home(root, migrated_db) as home:
        with deployed_prefect.one_at_a_time():
            deployed_prefect.into(home)
            ensure_server(home)
            if not deployed_prefect.path.is_file():
                empty_prefect.keep(home)
                deploy(home)
                deployed_prefect.keep(home)
        environment = dict(os.environ)
    with ExitStack() as until:
        until.callback(_end, home, environment)
        _running.append(until)
        yield Served(home, environment)
