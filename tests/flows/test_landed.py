"""Data that land train themselves, and missed nights are made up for: on a real server with real workers."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.elsewhere import write_pump
from support.homes import a_home
from support.servers import KeptDatabase

from deployments import on_landing, posts, server
from deployments.api import ask
from deployments.events import deliver
from deployments.reactions import NIGHTLY
from deployments.server import down
from nightshift.cli.app import main
from nightshift.data import outbox
from nightshift.errors import ServiceError
from nightshift.plan.fleet_run import read_outcome
from nightshift.settings import Home

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    # DVC's use of pygtrie.
]

AFTER_S = 5.0
FLEET = f"""
families: [anomaly]
tags: {{nobody: [pump_99]}}
batch: {{processes: 2}}
landing: {{within_s: 3, after_s: {AFTER_S}}}
"""
BUDGET = "families: {anomaly: {n_trees: 10, reference_rows: 60, max_rows: 200}}"
#: A night is 5 s here: three are made ahead, and one that waits for its turn asks every 4 s.
QUICK = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT1S",
    "PREFECT_DEPLOYMENT_CONCURRENCY_SLOT_WAIT_SECONDS": "4",
    "PREFECT_WORKER_PREFETCH_SECONDS": "0",
    "OMP_NUM_THREADS": "1",
}
OFTEN = {"slug": "often", "active": True, "schedule": {"interval": 5}, "parameters": {"tags": ["nobody"]}}
FINAL = {"Completed", "Failed", "Crashed", "Cancelled"}


@dataclass(frozen=True)
class Upped:
    """A home that is up: server, deployments, automations and workers."""

    home: Home
    url: str
    made: Path

    def ask(self, path: str, body: object = None, method: str = "") -> Any:
        return ask(path, body, method=method, url=self.url)[1]

    def land(self, *subjects: str) -> str:
        """Land them, one after the other, and return what was said."""
        with redirect_stdout(io.StringIO()) as said:
            for subject in subjects:
                assert main(["land", str(self.made / subject)]) == 0
        return said.getvalue()

    def runs(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """The runs of the fleet that were asked for these, in the order in which they are due."""
        found = self.ask("flow_runs/filter", {"flows": {"name": {"any_": ["train-fleet"]}}, "limit": 100})
        return sorted((r for r in found if r["parameters"] == parameters), key=lambda r: at(r["expected_start_time"]))

    def landed(self) -> list[dict[str, Any]]:
        return self.runs(on_landing.PARAMETERS)

    def events(self) -> list[dict[str, Any]]:
        found = self.ask("events/filter", {"filter": {"event": {"name": [on_landing.EVENT]}}, "limit": 50})
        return list(found["events"])

    def automation(self, *, enabled: bool) -> None:
        [found] = self.ask("automations/filter", {"automations": {"name": {"any_": [on_landing.NAME]}}})
        self.ask(f"automations/{found['id']}", {"enabled": enabled}, "PATCH")

    def trained(self) -> set[str]:
        return {path.parts[-4] for path in (self.home.models / "anomaly").glob("*/pi/v*/bundle.json")}

    def wait(self, what: str, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not _now(done):
            if time.monotonic() > deadline:
                logs = [path.read_text()[-2000:] for path in self.home.logs.glob("worker*.log")]
                found = self.ask("flow_runs/filter", {"limit": 100})
                states = [(run["name"], run["parameters"], run["state_name"]) for run in found]
                pytest.fail("\n".join([f"{what}: not within {limit_s:.0f} s; {states}", *logs]))
            time.sleep(0.5)


def _now(done: Callable[[], bool]) -> bool:
    try:
        return done()
    except ServiceError:  # a busy machine's server takes its time
        return False


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture(scope="module")
def upped(
    tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, deployed_prefect: KeptDatabase
) -> Iterator[Upped]:
    root = tmp_path_factory.mktemp("landed")
    with a_home(root / "home", migrated_db) as home:
        os.environ.update(QUICK)
        home.configs.mkdir(parents=True)
        (home.configs / "fleet.yaml").write_text(FLEET)
        machines = home.configs / "machines"
        machines.mkdir()
        for i in range(5):
            subject = f"pump_{i}"
            (machines / f"{subject}.yaml").write_text(BUDGET if i < 4 else BUDGET.replace("n_trees", "n_treees"))
            write_pump(root / subject, subject, seed=i, labels=False)
        deployed_prefect.into(home)
        try:
            server.ensure_server(home)
            server.deploy(home)
            # Nothing here goes to gpu-pool.
            posts.ensure_workers(home, tuple(post for post in posts.POSTS if post.pool != "gpu-pool"))
            yield Upped(home, os.environ["PREFECT_API_URL"], root)
        finally:
            down(home)


def test_a_landing_starts_a_run_and_a_burst_during_it_loses_none_and_the_same_again_starts_nothing(upped):
    """One story, because seconds pass between a landing and its run."""
    # While nothing would react the landing is kept.
    upped.automation(enabled=False)
    assert "no server was told" in upped.land("pump_0")
    assert [note.subject for note in outbox.pending(upped.home)] == ["pump_0"]
    upped.automation(enabled=True)
    assert deliver(upped.home) == 1
    upped.wait("the event", lambda: len(upped.events()) == 1, 60)
    [event] = upped.events()
    assert event["resource"]["prefect.resource.id"] == "nightshift.dataset.pump_0"
    assert (event["payload"]["machine_id"], event["payload"]["rows"]) == ("pump_0", 300)
    upped.wait("the run", lambda: bool(upped.landed()), 60)
    [first] = upped.landed()
    assert (at(first["expected_start_time"]) - at(event["occurred"])).total_seconds() >= AFTER_S
    upped.wait("its start", lambda: upped.landed()[0]["state_name"] == "Running", 240)

    # The burst meets a run at work: its own run waits for that one to end. The config of pump_4 cannot be used.
    said = upped.land("pump_1", "pump_2", "pump_3", "pump_4")
    assert "training of what is new begins in 5 s" in said
    upped.wait("all are told", lambda: deliver(upped.home) >= 0 and not outbox.pending(upped.home), 60)
    upped.wait("all are trained", lambda: upped.trained() == {f"pump_{i}" for i in range(4)}, 400)
    upped.wait("all runs end", lambda: all(run["state_name"] in FINAL for run in upped.landed()), 180)
    assert len(upped.events()) == 5
    runs = upped.landed()
    assert {run["state_name"] for run in runs} <= {"Completed", "Cancelled"}
    # One for the first, and one for the burst, however long landing four took.
    assert 2 <= len(runs) <= 4
    worked = sorted((at(run["start_time"]), at(run["end_time"])) for run in runs if run["run_count"])
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(worked))
    assert len(list(upped.home.models.glob("anomaly/*/pi/v*"))) == 4
    told = [outcome for run in runs if (outcome := read_outcome(upped.home, run["id"]))]
    [broken] = [cell for cell in told[-1].cells if cell.planned.subject == "pump_4"]
    assert (broken.planned.state, broken.outcome) == ("blocked", None)
    assert "n_treees" in broken.planned.reasons[0]

    assert "nothing new" in upped.land("pump_3")
    assert outbox.pending(upped.home) == ()
    assert len(upped.events()) == 5
    assert len(upped.landed()) == len(runs)


def test_of_the_nights_that_no_worker_took_the_first_works_and_calls_the_others_off(upped):
    nightly = upped.ask(f"deployments/name/{NIGHTLY}")["id"]

    def waiting() -> list[str]:
        """The states of those that are due."""
        now = datetime.now(UTC)
        return [r["state_name"] for r in upped.runs(OFTEN["parameters"]) if at(r["expected_start_time"]) < now]

    upped.ask("work_pools/local-pool", {"is_paused": True}, "PATCH")
    try:
        [schedule] = upped.ask(f"deployments/{nightly}/schedules", [OFTEN])
        upped.wait("three nights are due", lambda: len(waiting()) >= 3, 90)
    finally:
        upped.ask("work_pools/local-pool", {"is_paused": False}, "PATCH")
    upped.wait("they wait for each other", lambda: waiting().count("AwaitingConcurrencySlot") >= 2, 120)
    # With a schedule go the runs that nobody has taken yet.
    upped.ask(f"deployments/{nightly}/schedules/{schedule['id']}", method="DELETE")
    upped.wait("all end", lambda: set(waiting()) <= FINAL, 240)
    runs = upped.runs(OFTEN["parameters"])
    worked = [run for run in runs if run["state_name"] == "Completed"]
    called_off = [run for run in runs if run["state_name"] == "Cancelled"]
    assert len(worked) + len(called_off) == len(runs)
    # A second works where the first has planned before the last came due.
    assert 1 <= len(worked) <= 2
    assert len(called_off) >= 2
    for run in called_off:
        assert run["run_count"] == 0
        assert any(other["id"] in run["state"]["message"] for other in worked)
