"""A board checks a bundle: a real server, a real worker of the queue `device` with a home of its own.

The board has the base install and Prefect: what trains cannot be imported there. Its home and the training machine's
share nothing but a store.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments import server
from deployments.device_checks import answers, ask_board, no_board
from deployments.workers import Trouble
from nightshift.edge.manifest import CHECK_ARTIFACT, MODEL_FILE, DeviceCheck
from nightshift.plan.fleet_run import FleetOutcome
from nightshift.plan.state import State, newest, state
from nightshift.tracking import versions
from nightshift.tracking.device import Wanted
from nightshift.tracking.mlflow_store import open_store
from tests.support.flow_scenarios import TINY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
SUBJECT, TARGET, BOARD = "pump_board", "board", "bench-board"
NAME = f"{SUBJECT}.anomaly.{TARGET}"
FLEET = {"machines": [SUBJECT], "families": ["anomaly"], "targets": [TARGET], "dead": {"pending_s": 20}}
#: A board that is asked for by its architecture and is not there: this machine says what it stands in for.
DEVICE = {"architecture": "riscv64", "require_device_check": True}
TRAIN = """
import json, sys
from flows.train import train
from nightshift.settings import use_home
from tests.support.flow_scenarios import ended, land
# So many that the gate has enough of both kinds to judge by.
land(use_home(), sys.argv[1], rows=2_400)
run = ended(train, sys.argv[1], "anomaly", sys.argv[2])
print(json.dumps(run, default=str))
"""
FLEET_RUN = """
import json
from flows.fleet import train_fleet
from tests.support.flow_scenarios import ended
print(json.dumps(ended(train_fleet), default=str))
"""
#: Every Python of the board runs this first. Prefect itself reads YAML; our modules there must not.
BASE_INSTALL = """
import importlib.abc, sys
LEFT_OUT = {"autogluon", "catboost", "dvc", "lightgbm", "matplotlib", "mlflow", "onnx", "pandas", "pandera", "prophet",
            "pyarrow", "pyod", "scipy", "sklearn", "torch", "xgboost"}
class BaseInstall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top, frame = name.partition(".")[0], sys._getframe(1)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        ours = frame is not None and "/nightshift/" in frame.f_code.co_filename.removeprefix(ROOT)
        if top in LEFT_OUT or (top == "yaml" and ours):
            raise ModuleNotFoundError(f"No module named '{name}' on a board", name=name)
        return None
"""


@pytest.fixture(scope="module")
def shop(served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The training machine: its deployments, a target that wants a device's word, and a trained model that waits."""
    store, home = tmp_path_factory.mktemp("store"), served.home
    fleet = home.configs / "fleet.yaml"
    before = fleet.read_bytes() if fleet.exists() else None
    configs = {
        fleet: FLEET,
        home.configs / "targets" / f"{TARGET}.yaml": {"device": DEVICE},
        home.configs / "machines" / f"{SUBJECT}.yaml": {"families": {"anomaly": TINY}},
    }
    for path, content in configs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        path.write_text(json.dumps(content))
    with served.inside():
        server.up(home, worker=False, mlflow=False, dashboard=False)
    served.variables["NIGHTSHIFT_STORE_URL"] = str(store)
    yield served
    del served.variables["NIGHTSHIFT_STORE_URL"]
    fleet.unlink()
    if before is not None:
        fleet.write_bytes(before)


@pytest.fixture(scope="module")
def trained(shop) -> dict[str, Any]:
    return call(shop, "-c", TRAIN, SUBJECT, TARGET)


@pytest.fixture(scope="module")
def board(shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A worker with a home of its own, on the base install and Prefect."""
    place = tmp_path_factory.mktemp("board")
    (place / "sitecustomize.py").write_text(
        f"ROOT = {str(ROOT)!r}\n{BASE_INSTALL}\nsys.meta_path.insert(0, BaseInstall())\n"
    )
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "pi-pool", "--work-queue", "device"]
    own = {
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": shop.variables["PREFECT_API_URL"],
        "PREFECT_HOME": str(place / "prefect"),
        "DO_NOT_TRACK": "1",
        "NIGHTSHIFT_HOME": str(place / "home"),
        "NIGHTSHIFT_STORE_URL": shop.variables["NIGHTSHIFT_STORE_URL"],
        "NIGHTSHIFT_WORKER": BOARD,
        "PYTHONPATH": f"{place}:{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    with (place / "worker.log").open("w") as log:
        worker = subprocess.Popen(command, env=own, cwd=place, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while no_board_of(shop) is not None:
            assert worker.poll() is None, (place / "worker.log").read_text()
            assert time.monotonic() < deadline, "the worker never asked for runs"
            time.sleep(0.3)
        yield place
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(timeout=60)


def call(shop, *words: str) -> dict[str, Any]:
    """Run Python code as the command does; returns the last line as JSON."""
    done = python(shop, *words)
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def python(shop, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env=shop.environment(),
        cwd=shop.home.root,
        capture_output=True,
        text=True,
        check=False,
    )


def verify(shop, *words: str) -> tuple[int, list[dict[str, Any]]]:
    done = python(shop, "-m", "nightshift.cli", "verify", *words, "--json")
    assert done.stdout, done.stderr[-4000:]
    return done.returncode, json.loads(done.stdout)


def standing(shop) -> State:
    with shop.inside():
        cell = newest(shop.home, NAME)
        assert cell is not None
        return state(shop.home, cell).state


def no_board_of(shop) -> Trouble | None:
    with shop.inside():
        return no_board(shop.home)


def champion(shop) -> versions.Version | None:
    with shop.inside():
        return versions.champion(open_store(shop.home), NAME)


def test_without_a_board_the_model_waits_and_the_run_says_what_to_start(shop, trained) -> None:
    assert (trained["outcome"]["ending"], trained["outcome"]["device"]) == ("trained", "awaiting")
    assert standing(shop) is State.AWAITING
    told = FleetOutcome.model_validate(call(shop, "-c", FLEET_RUN)["outcome"])
    (remark,) = told.remarks
    assert remark.startswith("1 model awaits its device check: no worker takes runs from 'pi-pool', queue 'device'.")
    assert "On the board: prefect worker start --pool pi-pool --work-queue device" in remark
    assert [c.planned.state for c in told.cells] == [State.AWAITING]
    assert champion(shop) is None


def test_a_check_is_asked_for_once_and_called_off_where_no_board_comes(shop) -> None:
    wanted = Wanted(NAME, 9, "0" * 64, "")
    with shop.inside():
        (run_id,) = {ask_board(wanted, for_run="a night") for _ in range(2)}
        told = list(answers(shop.home, {run_id: wanted}, should_stop=lambda: False, patience_s=0.0))
    assert told == [(wanted, str(no_board_of(shop)))], "the command that starts one"
    assert shop.ask(f"flow_runs/{run_id}")["state_type"] == "CANCELLED"


def test_a_board_fetches_the_bundle_checks_it_and_the_run_of_the_fleet_makes_it_champion(shop, trained, board) -> None:
    told = FleetOutcome.model_validate(call(shop, "-c", FLEET_RUN)["outcome"])
    assert told.remarks == ()
    assert [c.planned.state for c in told.cells] == [State.FRESH]
    held = champion(shop)
    assert held is not None
    assert [p.by for p in held.promotions] == ["device check"]
    found = DeviceCheck.model_validate_json(held.tags["nightshift.device_check"])
    assert (found.device, found.parity.ok, found.parity.flips) == (BOARD, True, 0)
    assert found.stand_in.endswith("in place of riscv64")
    assert found.latency.p99_ms > 0
    assert found.footprint.memory_mb > 10
    assert standing(shop) is State.FRESH
    assert not (board / "home" / "models").exists()
    assert list((board / "home").rglob(MODEL_FILE)) == [], "what was fetched is gone again"
    done = {"state": {"type": {"any_": ["COMPLETED"]}}}
    (run,) = shop.ask("flow_runs/filter", flows={"name": {"any_": ["verify-on-device"]}}, flow_runs=done, limit=5)
    assert (run["name"], run["state_type"]) == (f"{NAME}.device", "COMPLETED")
    assert {CHECK_ARTIFACT, "device-figures"} <= set(shop.artifacts(run["id"]))


def test_a_bundle_that_was_altered_on_its_way_is_refused_by_the_board_and_checked_here_as_a_stand_in(
    shop, trained, board
) -> None:
    store = Path(shop.variables["NIGHTSHIFT_STORE_URL"])
    # Other files' models of this home lie there too.
    held = champion(shop)
    assert held is not None
    (graph,) = (store / "models" / held.bundle_id).glob(f"*/{MODEL_FILE}")
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, (told,) = verify(shop, SUBJECT, "anomaly", "--target", TARGET)
    assert (code, told["passed"]) == (1, False)
    assert f"{MODEL_FILE} of models/" in told["error"]
    assert "was altered" in told["error"]
    assert champion(shop) is not None
    code, (told,) = verify(shop, SUBJECT, "anomaly", "--target", TARGET, "--here")
    assert (code, told["passed"], told["champion"]) == (0, True, True)
    assert told["check"]["stand_in"].endswith("in place of riscv64")
    assert told["gate"] == "It is champion."


def test_the_run_form_explains_what_a_check_is_given(shop) -> None:
    fields = shop.ask("deployments/name/verify-on-device/device")["parameter_openapi_schema"]
    assert fields["required"] == ["name", "bundle_id"]
    assert all(field["description"] for field in fields["properties"].values())
