"""A person is asked by a run of its own, on a real server with a worker: no answer in time, promoted, refused."""

from __future__ import annotations

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
        server.up(served.home, worker=False, mlflow=False)
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
    assert "| parity | same as the library: 100 rows" in shown
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


def test_a_refusal_is_noted_and_the_champion_stays(shop, data):
    number = registered(shop, data, 3)
    with shop.inside():
        from tasks.promote import Decision, done_as_said, settled_already

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
    assert asked_about(shop) == ()
