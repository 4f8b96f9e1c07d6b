"""A search's trials on a work pool, with a real server and a worker: shared, gone on with, stopped; or refused."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from support.trainer_files import write_table

from deployments import posts, server
from nightshift.cli.app import main
from nightshift.errors import EXIT_INTERRUPTED, EXIT_UNREACHABLE, EXIT_USAGE
from nightshift.tracking.mlflow_store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FLOW = "search-estimator"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SPACE = {"alpha": {"low": 0.001, "high": 1e6, "log": True}}


@dataclass(frozen=True)
class Place:
    """The home with a table and its deployments."""

    served: Any
    file: Path

    @property
    def storage(self) -> str:
        return f"sqlite:///{self.served.home.root / 'experiments' / 'searches' / 'studies.db'}"

    def words(self, trials: int, pool: str = "local-pool", workers: int = 1) -> list[str]:
        return ["train-table", str(self.file), "--target", "fuel", "--model", "ridge", "--no-track", "--cv", "3",
                "--search", str(trials), "--pool", pool, "--workers", str(workers)]  # fmt: skip

    def trials(self, name: str, *states: str) -> list[optuna.trial.FrozenTrial]:
        if not Path(self.storage.removeprefix("sqlite:///")).is_file():
            return []
        try:
            study = optuna.load_study(study_name=name, storage=self.storage)
        except KeyError:
            return []
        return [trial for trial in study.get_trials(deepcopy=False) if not states or trial.state.name in states]

    def runs(self, name: str, flow: str = FLOW) -> list[dict[str, Any]]:
        """Flow runs whose name begins so, in the order in which they were asked for."""
        found = self.served.ask("flow_runs/filter", flows={"name": {"any_": [flow]}}, limit=50)
        return sorted((run for run in found if run["name"].startswith(name)), key=lambda run: run["created"])


def wait(what: str, done: Callable[[], Any], limit_s: float = 120) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := done()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def place(served) -> Place:
    """No worker yet; the server may have written down a poll of an earlier file's worker only now."""
    served.dismiss()
    with served.inside():
        server.up(served.home, worker=False, mlflow=False, dashboard=False)
    return Place(served, write_table(served.home.tmp))


@pytest.fixture(scope="module")
def working(place) -> Iterator[Place]:
    with place.served.inside():
        posts.ensure_workers(place.served.home, posts.POSTS[:1])
    yield place
    place.served.dismiss()


@pytest.mark.parametrize(
    ("pool", "code", "said"),
    [
        ("local-pool", EXIT_UNREACHABLE, "No worker takes runs from 'local-pool'. Nothing was started. Start one: "),
        ("locl-pool", EXIT_USAGE, "unknown work pool 'locl-pool'. Did you mean 'local-pool'?"),
    ],
)
def test_a_pool_that_would_do_nothing_is_refused_in_one_line(place, capsys, pool, code, said):
    with place.served.inside():
        assert main(place.words(4, pool)) == code
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(shown) == 1
    assert said in shown[0]
    assert place.runs("data") == []


def waiting_for(lock: Path) -> int:
    """How many processes wait for a file's lock."""
    inode = f":{lock.stat().st_ino} "
    return sum("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_two_runs_share_the_trials_of_a_search_and_who_asked_for_them_fits_the_best(working):
    options = {"settings": {"cross_validation": 3, "scoring": "rmse"}, "subject": "shared", "space": SPACE,
               "search": 6, "pool": "local-pool", "workers": 2}  # fmt: skip
    served = working.served
    found = served.ask("deployments/name/train-estimator/local")
    file = str(working.file.relative_to(served.home.root))
    parameters = {"file": file, "target": "fuel", "model": "ridge", "options": options}
    run_id = served.ask(f"deployments/{found['id']}/create_flow_run", parameters=parameters)["id"]
    wait("the runs are asked for", lambda: len(working.runs("shared")) == 2)
    # Nobody begins before both can.
    lock = Path(working.storage.removeprefix("sqlite:///") + ".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        wait("both are there", lambda: waiting_for(lock) == 2)
    wait("it ends", lambda: served.ask(f"flow_runs/{run_id}")["state_type"] in FINAL)
    assert served.ask(f"flow_runs/{run_id}")["state_name"] == "Completed", served.log(run_id)

    done = working.trials("shared.fuel.Ridge", "COMPLETE", "PRUNED")
    assert len(done) == 6
    assert len({trial.user_attrs["pid"] for trial in done}) == 2
    wait("its runs end", lambda: {run["state_name"] for run in working.runs("shared")} == {"Completed"})
    assert [run["name"] for run in working.runs("shared")] == ["shared search 1 of 2", "shared search 2 of 2"]
    log = served.log(run_id)
    assert "2 runs of search-estimator on local-pool share the trials" in log
    assert "6 of 6 trials, best so far" in log
    with served.inside():
        store = open_store(served.home)
        (logged,) = store.client.search_runs([store.experiment("estimators")], "tags.`mlflow.runName` = 'shared'")
    best = min((trial for trial in done if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert logged.data.metrics["search/trials"] == 6
    assert float(logged.data.params["model.alpha"]) == pytest.approx(best.params["alpha"], rel=1e-3)


def test_a_run_that_dies_is_begun_again_and_a_stop_calls_it_off(working):
    served, name = working.served, "data.fuel.Ridge"
    words = [sys.executable, "-m", "nightshift.cli", *working.words(10_000)]
    with subprocess.Popen(
        words, env=served.environment(), cwd=served.home.root, stderr=subprocess.PIPE, text=True
    ) as command:
        (first, *_) = wait("a trial ends", lambda: working.trials(name, "COMPLETE"))
        psutil.Process(first.user_attrs["pid"]).kill()
        again = wait("another run works", lambda: [t for t in working.trials(name, "COMPLETE")
                                                   if t.user_attrs["pid"] != first.user_attrs["pid"]])  # fmt: skip
        assert again
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=60)
    assert command.returncode == EXIT_INTERRUPTED
    assert "data search 1 of 1 crashed" in said
    assert [run["name"] for run in working.runs("data")] == ["data search 1 of 1", "data search 1 of 1, try 2"]
    wait("it is called off", lambda: [r["state_name"] for r in working.runs("data")] == ["Crashed", "Cancelled"])
    # What it was at is free for whoever goes on; what was killed before it had a mark is so a minute later.
    wait("nothing is left at work", lambda: not [t for t in working.trials(name, "RUNNING") if "pid" in t.user_attrs])
