"""A person is asked by a run of its own, on a real server with a worker: no answer in time, promoted, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.machine import land_demo

from deployments import server
from deployments.api import ask
from deployments.workers import troubles
from nightshift.data.dataset import Dataset
from nightshift.plan.fleet import Filters, make_plan
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import FleetOptions, FleetStart
from nightshift.plan.records import read_record, write_record
from nightshift.settings import STORE_VARIABLE
from nightshift.tracking import registry, versions
from nightshift.tracking.mlflow_store import open_store
from tests.tracking.bundles import a_cell, finish, threshold_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MODEL = "motor_bench_001.anomaly.vehicle"
COMMAND = "nightshift promote motor_bench_001 anomaly --target vehicle --version"


@pytest.fixture(scope="module")
def shop(served) -> Iterator[Any]:
    """The home with its deployments, where promotion is by hand and a form waits for two seconds."""
    fleet = served.home.configs / "fleet.yaml"
    before = fleet.read_bytes() if fleet.exists() else None
    fleet.parent.mkdir(exist_ok=True)
    fleet.write_text("promotion: by_hand\npromotion_wait_h: 0.0006\n")
    with served.inside():
        server.up(served.home, worker=False, mlflow=False, dashboard=False)
    yield served
    fleet.unlink()
    if before is not None:
        fleet.write_bytes(before)


@pytest.fixture(scope="module")
def data(shop) -> Dataset:
    with shop.inside():
        return land_demo(shop.home, seed=5, runs=14)


@pytest.fixture(scope="module")
def worker(shop, told_without_a_worker) -> Iterator[None]:
    """A worker of the local pool alone."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local-pool"]
    with (shop.home.logs / "worker-of-test.log").open("w") as log:
        process = subprocess.Popen(
            command, env=shop.environment(), cwd=shop.home.root, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until(shop, lambda: not troubles(shop.home, [("local-pool", "default")]), "a worker")
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def until(shop, holds, what: str, limit_s: float = 240.0) -> None:
    deadline = time.monotonic() + limit_s
    with shop.inside():
        while not holds():
            assert time.monotonic() < deadline, f"never {what}"
            time.sleep(0.5)


def registered(shop, data: Dataset, seed: int) -> int:
    """A version that the gate lets pass."""
    with shop.inside():
        cell = a_cell(data, seed, target="vehicle")
        finish(shop.home, cell, data, threshold_for(data))
        done = registry.register(shop.home, open_store(shop.home), cell)
    assert done.verdict == versions.WAITS
    return done.version


def asked_about(shop) -> tuple[str, ...]:
    with shop.inside():
        from tasks.promote import ask_about

        return ask_about([MODEL, "motor_bench_001.rul.vehicle"])


def run_of(line: str) -> str:
    return line.split("/runs/flow-run/")[1].split(",")[0]


def state_of(run_id: str) -> str:
    return str(ask(f"flow_runs/{run_id}")[1]["state_name"])


@pytest.fixture(scope="module")
def told_without_a_worker(shop, data) -> tuple[str, ...]:
    registered(shop, data, 1)
    return asked_about(shop)


def test_without_a_worker_the_command_is_named_and_nothing_is_left_to_begin_later(shop, told_without_a_worker):
    (line,) = told_without_a_worker
    assert line.startswith(f"{MODEL} v1 passed the gate and waits for a person: {COMMAND} 1 (no form")
    assert "no worker takes runs from 'local-pool'" in line
    runs = {"deployments": {"name": {"any_": ["local"]}}, "flows": {"name": {"any_": ["promote-model"]}}}
    assert shop.ask("flow_runs/count", **runs) == 0


def test_a_form_that_nobody_answers_leaves_the_command(shop, worker):
    (line,) = asked_about(shop)
    run = run_of(line)
    until(shop, lambda: state_of(run) == "Failed", "given up")
    assert "never resumed" in shop.ask(f"flow_runs/{run}")["state"]["message"]
    assert asked_about(shop) == (
        f"{MODEL} v1 passed the gate and waits for a person; nobody has answered its form in time: {COMMAND} 1",
    )


def test_a_person_who_answers_the_form_makes_the_champion(shop, data, worker):
    (shop.home.configs / "fleet.yaml").write_text("promotion: by_hand\n")
    assert registered(shop, data, 2) == 2
    (line,) = asked_about(shop)
    run = run_of(line)
    assert line.endswith(f", or {COMMAND} 2")
    until(shop, lambda: state_of(run) == "Suspended", "asked")
    assert run_of(asked_about(shop)[0]) == run
    form = shop.ask(f"flow_runs/{run}")["state"]["state_details"]["run_input_keyset"]
    shown = shop.ask(f"flow_runs/{run}/input/{form['description']}")
    assert "| | challenger | champion |" in shown
    assert "| version | v2 | none yet |" in shown
    assert "| labels differing | 0 | – |" in shown
    schema = shop.ask(f"flow_runs/{run}/input/{form['schema']}")
    assert schema["properties"]["decision"]["enum"] == ["promote", "refuse"]
    refused = shop.ask(f"flow_runs/{run}/resume", run_input={"decision": "perhaps"})
    assert refused["status"] == "REJECT"
    assert state_of_in(shop, run) == "Suspended"
    shop.ask(f"flow_runs/{run}/resume", run_input={"decision": "promote", "note": "tested in hall 1"})
    until(shop, lambda: state_of(run) == "Completed", "promoted")
    with shop.inside():
        champion = versions.champion(open_store(shop.home), MODEL)
    assert champion is not None
    assert (champion.version, champion.tags[versions.GATE]) == (2, versions.BY_HAND)
    assert [(p.by, p.note) for p in champion.promotions] == [("hand", "tested in hall 1")]
    # Version 1 waits no more: the champion has overtaken it.
    assert asked_about(shop) == ()


def state_of_in(shop, run: str) -> str:
    with shop.inside():
        return state_of(run)


def test_a_plan_s_models_are_asked_about_and_the_morning_tells_of_it(shop, data):
    number = registered(shop, data, 3)
    with shop.inside():
        from tasks.fleet import Night
        from tasks.promote import ask_about_plan
        from tasks.signals import StopOnSignal

        target = shop.home.configs / "targets" / "vehicle.yaml"
        target.parent.mkdir(exist_ok=True)
        target.write_text("device: {architecture: x86_64}\n")
        plan = make_plan(shop.home, FleetConfig(families=("anomaly", "rul"), targets=("vehicle",)))
        target.unlink()
        assert MODEL in {cell.name for cell in plan.cells if cell.cell_key}
        start = FleetStart(
            run_id="r", started_at=plan.made_at, filters=Filters(), options=FleetOptions(), plan=plan, batches=()
        )
        night = Night(StopOnSignal(), remarks=("said before",))
        ask_about_plan(start, night)
        before, line = night.remarks
        stopped = Night(StopOnSignal())
        stopped.stop.signal = signal.SIGTERM
        ask_about_plan(start, stopped)
    assert before == "said before"
    assert line.startswith(f"{MODEL} v{number} passed the gate and waits for a person: ")
    assert stopped.remarks == ()


def test_a_refusal_is_noted_the_champion_stays_and_other_machines_hear_of_it(shop, data, tmp_path):
    number = 3
    with shop.inside():
        from tasks.promote import Decision, done_as_said, settled_already

        # Put back by `inside`.
        os.environ[STORE_VARIABLE] = str(tmp_path)
        own = a_cell(data, number, target="vehicle")
        record = read_record(shop.home, own.key, "register")
        assert record is not None
        write_record(shop.home, record.model_copy(update={"summary": {**record.summary, "version": number}}))
        assert settled_already(MODEL, number) is None
        word = done_as_said(MODEL, number, Decision(decision="refuse", note="too noisy"))
        assert (word.ended, word.note) == ("refused", "too noisy")
        assert settled_already(MODEL, number) == word
        again = settled_already(MODEL, 2)
        assert again is not None
        assert again.ended == "champion already"
        store = open_store(shop.home)
        held = versions.find(store, MODEL, number)
        assert (held.tags[versions.GATE], held.tags[versions.NOTE]) == (versions.REFUSED, "too noisy")
        champion = versions.champion(store, MODEL)
    assert champion is not None
    assert champion.version == 2
    texts = json.loads((tmp_path / "cells" / f"{MODEL}.json").read_text())["texts"]
    assert json.loads(texts["register.json"])["summary"]["gate"].startswith("refused by hand (too noisy)")
    assert asked_about(shop) == ()
