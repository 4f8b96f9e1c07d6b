"""Workers, runs and cells killed in the middle of a night: it is gone on with, and nothing is done twice.

Real server, workers and processes, in real time: that a run has gone is known by its silence alone. The families stop
halfway until the test opens a gate, so that what is killed is always at the same point.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from support.elsewhere import write_pump
from support.homes import an_environment
from support.servers import KeptDatabase
from support.tree import plant

from deployments import processes
from deployments.api import ask
from nightshift.errors import UsageError
from nightshift.plan.fleet import Filters
from nightshift.plan.fleet_run import FleetOutcome, read_outcome, read_start
from nightshift.progress import read_events
from nightshift.settings import Home
from tasks.crashed import left_by

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

#: A busy server may hear of a heartbeat, sent every 30 s, half a minute late. Cells at the gate keep their slots.
FLEET = """
families: [anomaly, plodding, stepwise]
targets: [server]
dead: {silent_s: 75, pending_s: 120}
batch: {processes: 4, cell_memory_gb: 1, disk_mb_per_model: 50}
"""
BATCH = {"processes": 4, "cell_memory_gb": 1, "disk_mb_per_model": 50}
BUDGET = "n_trees: 10, reference_rows: 60, max_rows: 200"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
#: The server answers busy tests beside this one too.
LIMIT_S = 600.0


@dataclass(frozen=True)
class Place:
    """A home that is up, from a checkout with two families more."""

    tree: Path
    home: Home
    variables: dict[str, str]

    def command(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nightshift.cli", *words],
            env=self.variables,
            cwd=self.home.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, **body: Any) -> Any:
        record = processes.read(self.home, "server")
        assert record is not None
        return ask(path, body or None, url=record.url)[1]

    def land(self, subject: str) -> None:
        """Land a machine whose slow models wait for its gate."""
        gated = f"{BUDGET}, gate: {self.gate(subject)}"
        config = {"anomaly": BUDGET, "plodding": gated, "stepwise": gated}
        lines = ["families:", *(f"  {family}: {{{text}}}" for family, text in config.items())]
        (self.home.configs / "machines" / f"{subject}.yaml").write_text("\n".join(lines))
        folder = write_pump(self.home.root / "sources" / subject, subject, seed=int(subject[5:]), labels=False)
        self.command("land", str(folder), "--no-event")

    def gate(self, subject: str) -> Path:
        return self.home.root / f"{subject}.open"

    def start(self, deployment: str, *, at: str = "", **parameters: Any) -> str:
        found = self.ask(f"deployments/name/{deployment}")
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at} if at else {}}
        run = self.ask(f"deployments/{found['id']}/create_flow_run", parameters=parameters, state=state)
        return str(run["id"])

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command at work while the body runs; what it says goes to `command.log`."""
        line = [sys.executable, "-m", "nightshift.cli", *words]
        root = self.home.root
        with (root / "command.log").open("wb") as log:
            process = subprocess.Popen(line, env=self.variables, cwd=root, stdout=log, stderr=subprocess.STDOUT)
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.ask(f"flow_runs/{run_id}"))

    def ended(self, run_id: str) -> bool:
        return self.run(run_id)["state_type"] in FINAL

    def nights(self, **parameters: Any) -> list[dict[str, Any]]:
        """The runs of the fleet that were asked for these, whatever else they were asked for."""
        found = self.ask("flow_runs/filter", flows={"name": {"any_": ["train-fleet"]}}, limit=50)
        return [run for run in found if parameters.items() <= run["parameters"].items()]

    def batches(self, fleet_run: str) -> list[dict[str, Any]]:
        """The flow runs that trained for a run of the fleet, in the order in which they were asked for."""
        found = self.ask("flow_runs/filter", flows={"name": {"any_": ["train-batch"]}}, limit=50)
        ours = [run for run in found if run["parameters"]["options"].get("for_run") == fleet_run]
        return sorted(ours, key=lambda run: run["created"])

    def told(self, cell: str) -> list[str]:
        """What the training of a cell has told of, in order."""
        for path in self.home.work.glob("*/cell.json"):
            text = json.loads(path.read_bytes())
            if ".".join((text["subject"], text["family"], text["target"])) == cell:
                events = read_events(path.with_name("progress.jsonl"))
                return [e.message for e in events if e.stage == "train" and e.message.startswith(("epoch", "step"))]
        return []

    def versions(self, subject: str) -> dict[str, int]:
        """Registered versions of each model of a machine."""
        with sqlite3.connect(f"file:{self.home.mlflow_db}?mode=ro", uri=True) as store:
            found = store.execute("select name, count(*) from model_versions group by name").fetchall()
        return {name: count for name, count in found if name.startswith(f"{subject}.")}

    def halfway(self, subject: str) -> bool:
        """Whether the quick model of a machine is registered and its slow ones wait at the gate."""
        slow = [self.told(f"{subject}.{family}.server") for family in ("plodding", "stepwise")]
        return slow == [_steps("step"), _steps("epoch")] and f"{subject}.anomaly.server" in self.versions(subject)

    def kill(self, worker: str, *, alone: bool = False) -> None:
        """Kill -9 a worker, with everything below it or alone."""
        process = processes.verified(processes.read(self.home, worker))
        assert process is not None, worker
        below = [] if alone else process.children(recursive=True)
        assert alone or below, f"{worker} had no run"
        for one in (process, *below):
            one.kill()
        psutil.wait_procs([process, *below], timeout=10)

    def outcome(self, run_id: str) -> FleetOutcome:
        found = read_outcome(self.home, run_id)
        assert found is not None
        return found

    def wait(self, what: str, done: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > deadline:
                runs = self.ask("flow_runs/filter", sort="EXPECTED_START_TIME_ASC", limit=50)
                states = [(run["name"], run["state_name"], (run["state"] or {}).get("message")) for run in runs]
                logs = [path.read_text()[-2000:] for path in sorted(self.home.logs.glob("worker*.log"))]
                pytest.fail("\n".join([f"{what}: not within {limit_s:.0f} s; {states}", *logs]))
            time.sleep(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path, empty_prefect: KeptDatabase) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("dead")
    tree, home = plant(root / "tree"), Home(root / "home")
    (home.configs / "machines").mkdir(parents=True)
    (home.configs / "fleet.yaml").write_text(FLEET)
    home.machinery.mkdir()
    shutil.copy(migrated_db, home.mlflow_db)
    empty_prefect.into(home)
    with an_environment():
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    own = {"NIGHTSHIFT_HOME": str(home.root), "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    made = Place(tree, home, {**kept, **own})
    try:
        made.command("up", "--no-mlflow", "--no-dashboard")
        yield made
    finally:
        made.command("down")


def test_a_night_that_crashed_before_it_had_a_plan_is_gone_on_with_as_it_was_asked_for(place, monkeypatch):
    """Runs of a far day stand for crashed ones: what they were asked for is all that is there."""
    far, name = "2099-01-01T00:00:00Z", "train-fleet/nightly"
    first = place.start(name, at=far, machines=["pump_9"], only="landed", options={"processes": 2})
    chain = [first]
    for _ in range(2):
        chain.append(place.start(name, at=far, continues=chain[-1]))
    monkeypatch.setenv("PREFECT_API_URL", processes.read(place.home, "server").url)
    found = left_by(place.home, chain[-1], tries=3)
    assert (found.start, found.filters, found.options.processes) == (
        None,
        Filters(machines=("pump_9",), only="landed"),
        2,
    )
    with pytest.raises(UsageError, match="crashed 2 times before it had a plan"):
        left_by(place.home, chain[-1], tries=2)
    with pytest.raises(UsageError, match="has no flow run"):
        left_by(place.home, str(uuid4()), tries=2)
    for state in ("CANCELLING", "CRASHED"):
        place.ask(f"flow_runs/{first}/set_state", state={"type": state}, force=True)
    with pytest.raises(UsageError, match="was being stopped"):
        left_by(place.home, chain[-1], tries=3)


def _steps(word: str, first: int = 1, last: int = 5) -> list[str]:
    return [f"{word} {number}" for number in range(first, last + 1)]


@pytest.fixture(scope="module")
def killed_night(place) -> str:
    """A night whose run was killed while its batch went on; that it has gone is known minutes later."""
    place.land("pump_2")
    night = place.start("train-fleet/nightly", machines=["pump_2"])
    place.wait("the cells wait at the gate", lambda: place.halfway("pump_2"))
    place.kill("worker-local")
    place.gate("pump_2").touch()
    assert "started worker of local-pool" in place.command("up", "--no-mlflow", "--no-dashboard")
    place.wait("its batch ends", lambda: [run["state_name"] for run in place.batches(night)] == ["Completed"])
    return night


def test_a_worker_killed_alone_loses_nothing_and_a_killed_run_is_given_again_and_goes_on(place, killed_night):
    """Two ends of a worker in one wait: alone, and with its run and the cells. The night is a command's own run."""
    place.land("pump_1")
    cells = [{"subject": "pump_1", "family": "plodding", "target": "pi"}]
    alone = place.start("train-batch/pi", cells=cells, options=BATCH)
    with place.running("train-fleet", "--machine", "pump_1") as command:
        place.wait("the cells wait at the gate", lambda: place.halfway("pump_1"))
        place.wait("so does the other", lambda: place.told("pump_1.plodding.pi") == _steps("step"))
        place.kill("worker-pi", alone=True)
        place.kill("worker-gpu")
        place.gate("pump_1").touch()
        said = place.command("up", "--no-mlflow", "--no-dashboard")
        assert "started worker of gpu-pool" in said
        assert "automation" not in said

        place.wait("the run without its worker ends", lambda: place.ended(alone))
        run = place.run(alone)
        assert (run["state_name"], run["run_count"]) == ("Completed", 1)
        assert place.told("pump_1.plodding.pi") == _steps("step", last=10)
        assert command.wait(LIMIT_S) == 0, (place.home.root / "command.log").read_text()

    [night] = place.nights(machines=["pump_1"])
    assert night["state_name"] == "Completed"
    assert [run["state_name"] for run in place.batches(night["id"])] == ["Crashed", "Completed"]
    cells = {c.planned.family: c for c in place.outcome(night["id"]).cells}
    assert {c.attempts for c in cells.values()} == {2}
    assert {c.outcome.ending for c in cells.values() if c.outcome} == {"trained"}
    # From its checkpoint; anew, and said so; not again.
    assert place.told("pump_1.stepwise.server") == _steps("epoch", last=10)
    assert place.told("pump_1.plodding.server") == _steps("step") + _steps("step", last=10)
    assert "anew" in cells["plodding"].outcome.reason
    assert "checkpoint" in cells["stepwise"].outcome.reason
    assert place.versions("pump_1") == {
        **dict.fromkeys(("pump_1.anomaly.server", "pump_1.plodding.server", "pump_1.stepwise.server"), 1),
        "pump_1.plodding.pi": 1,
    }


def test_a_killed_night_is_gone_on_with_and_its_batch_is_not_given_twice(place, killed_night):
    place.wait("it is known to be dead", lambda: place.run(killed_night)["state_name"] == "Crashed")
    place.wait("another goes on with it", lambda: bool(place.nights(continues=killed_night)))
    place.wait("that ends", lambda: place.ended(place.nights(continues=killed_night)[0]["id"]))
    [following] = place.nights(continues=killed_night)
    assert following["state_name"] == "Completed"
    assert [run["state_name"] for run in place.batches(killed_night)] == ["Completed"]
    kept = read_start(place.home, killed_night)
    assert kept is not None
    assert kept.tries == 2
    assert {c.outcome.ending for c in place.outcome(killed_night).cells if c.outcome} == {"trained"}
    assert set(place.versions("pump_2").values()) == {1}
    assert len(place.versions("pump_2")) == 3
