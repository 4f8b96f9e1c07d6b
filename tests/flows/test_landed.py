"""Data that land train themselves: command, event, automation, worker and plan, on a real server, in real time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.elsewhere import write_pump
from support.homes import a_home

from deployments import automations, on_landing, server
from deployments.api import ask
from deployments.events import worker_online
from deployments.reactions import Scene
from deployments.server import down
from nightshift.data import outbox
from nightshift.plan.fleet_config import load_fleet
from nightshift.plan.landed import landed
from nightshift.settings import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
TEN = [f"pump_{i}" for i in range(1, 11)]
BUDGET = """
families:
  classification: {boost_rounds: 10, model_types: [GBM]}
  anomaly: {n_trees: 10, reference_rows: 60, max_rows: 200}
"""
# Runs what has landed here and now.
RUN = """
from flows.landed import train_landed
state = train_landed(return_state=True)
print(state.name, state.result(raise_on_failure=False))
"""
FINAL = {"Completed", "Failed", "Crashed", "Cancelled"}
BURST = "import sys; from nightshift.cli.app import main; sys.exit(max(main(['land', p]) for p in sys.argv[1:]))"


@dataclass(frozen=True)
class Upped:
    """A home that is up: server, deployments, automation and worker."""

    home: Home
    url: str
    variables: dict[str, str]
    made: Path

    def ask(self, path: str, **body: Any) -> Any:
        return ask(path, body or None, url=self.url)[1]

    def command(self, *words: str) -> str:
        """Run this interpreter in the home and return what it said."""
        done = subprocess.run(
            [sys.executable, *words],
            env={**self.variables, "PYTHONPATH": str(ROOT)},
            cwd=self.home.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def land(self, subject: str) -> str:
        return self.command("-m", "nightshift.cli", "land", str(self.made / subject))

    def runs(self) -> list[dict[str, Any]]:
        """The runs of `train-landed`, in the order in which they were asked for."""
        found = self.ask("flow_runs/filter", flows={"name": {"any_": ["train-landed"]}}, limit=50)
        return sorted(found, key=lambda run: run["created"])

    def events(self) -> list[dict[str, Any]]:
        found = self.ask("events/filter", filter={"event": {"name": [on_landing.EVENT]}}, limit=50)
        return list(found["events"])

    def trained(self, family: str) -> set[str]:
        folder = self.home.models / family
        return {path.parts[-4] for path in folder.glob("*/pi/v*/bundle.json")}

    def wait(self, what: str, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                log = (self.home.logs / "worker-local.log").read_text()[-3000:]
                states = [(run["name"], run["state_name"]) for run in self.runs()]
                pytest.fail(f"{what}: not within {limit_s:.0f} s; {states}\n{log}")
            time.sleep(1)


@pytest.fixture(scope="module")
def upped(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Upped]:
    root = tmp_path_factory.mktemp("landed")
    with a_home(root / "home") as home:
        os.environ["OMP_NUM_THREADS"] = "1"
        home.machinery.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated_db, home.mlflow_db)
        machines = home.configs / "machines"
        machines.mkdir(parents=True)
        for subject in ("pump_0", *TEN):
            (machines / f"{subject}.yaml").write_text(BUDGET)
            write_pump(root / subject, subject, seed=int(subject[5:]), labels=subject == "pump_0")
        try:
            url = server.ensure_server(home).api_url
            place = Upped(home, url, dict(os.environ), root)
            # A server that would not react: the landing waits for `up`, which tells of it.
            assert "next: nightshift train-machine --machine pump_0" in place.land("pump_0")
            assert [note.subject for note in outbox.pending(home)] == ["pump_0"]
            server.up(home)
            yield place
        finally:
            down(home)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_automation_is_made_once_and_an_edited_one_is_brought_back(upped):
    def found() -> list[dict[str, Any]]:
        return list(upped.ask("automations/filter", limit=50))

    [first] = found()
    scene = Scene(load_fleet(upped.home), frozenset({on_landing.DEPLOYMENT}))
    assert list(automations.declare(scene)) == []
    assert found() == [first]
    body = {key: first[key] for key in ("name", "description", "enabled", "tags", "trigger", "actions")}
    edited = {**body, "enabled": False, "trigger": {**first["trigger"], "within": 0}, "actions": []}
    ask(f"automations/{first['id']}", edited, method="PUT")
    ask("automations/", edited)
    assert len(found()) == 2
    assert not automations.declared(on_landing.NAME, upped.url)
    assert len(list(automations.declare(scene))) == 2
    assert automations.declared(on_landing.NAME, upped.url)
    assert worker_online(upped.home)
    [after] = found()
    assert (after["enabled"], after["trigger"]["within"]) == (True, 30)
    assert after["actions"] == first["actions"]


def test_a_landing_starts_a_run_a_burst_loses_none_and_the_same_again_starts_nothing(upped):
    """One story, because a minute passes between a landing and its run."""
    upped.wait("the event", lambda: len(upped.events()) == 1, 30)
    [event] = upped.events()
    assert event["resource"]["prefect.resource.id"] == "nightshift.dataset.pump_0"
    assert (event["payload"]["machine_id"], event["payload"]["rows"]) == ("pump_0", 300)
    upped.wait("the run", lambda: bool(upped.runs()), 30)
    [first] = upped.runs()
    assert (at(first["expected_start_time"]) - at(event["occurred"])).total_seconds() >= on_landing.AFTER_S
    upped.wait("its start", lambda: upped.runs()[0]["state_name"] == "Running", 120)

    # The burst meets a run at work: its own run waits for that one to end.
    said = upped.command("-c", BURST, *(str(upped.made / subject) for subject in TEN))
    assert said.count("training of what is new begins") == len(TEN)
    upped.wait("ten more events", lambda: len(upped.events()) == 11, 30)
    assert outbox.pending(upped.home) == ()
    upped.wait("all are trained", lambda: upped.trained("anomaly") == {"pump_0", *TEN}, 300)
    upped.wait("all runs end", lambda: all(run["state_name"] in FINAL for run in upped.runs()), 120)
    runs = upped.runs()
    assert [run["state_name"] for run in runs] == ["Completed"] * len(runs)
    # One for the first, and one for the burst, however long landing ten took.
    assert 2 <= len(runs) <= 3
    ended = sorted((at(run["start_time"]), at(run["end_time"])) for run in runs)
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(ended))
    assert upped.trained("classification") == {"pump_0"}
    assert landed(upped.home) == ()

    again = upped.land("pump_3")
    assert "nothing new" in again
    assert outbox.pending(upped.home) == ()
    time.sleep(3)
    assert len(upped.events()) == 11
    assert len(upped.runs()) == len(runs)


def test_a_machine_that_fails_stops_no_other_and_is_tried_once_and_the_run_fails(upped):
    """A config that cannot be used is noted, and tried again only once it says something else."""
    budgets = {"pump_11": BUDGET.replace("n_trees", "n_treees"), "pump_12": BUDGET}
    for seed, (subject, budget) in enumerate(budgets.items(), 11):
        (upped.home.configs / "machines" / f"{subject}.yaml").write_text(budget)
        folder = write_pump(upped.made / subject, subject, seed=seed, labels=False)
        upped.command("-m", "nightshift.cli", "land", str(folder), "--no-event")
    said = upped.command("-c", RUN)
    assert "Failed 1 of 2 machines did not end well: pump_11 anomaly failed:" in said
    assert "unknown key 'n_treees'" in said
    assert {"pump_11", "pump_12"} & upped.trained("anomaly") == {"pump_12"}
    assert landed(upped.home) == ()
    (upped.home.configs / "machines" / "pump_11.yaml").write_text(BUDGET)
    assert [(machine.subject, machine.families) for machine in landed(upped.home)] == [("pump_11", ("anomaly",))]
