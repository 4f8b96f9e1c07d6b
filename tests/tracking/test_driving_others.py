"""Runs that other workers train, as MLflow tells of them, and what Prefect's flow runs say of them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.driving_runs import leave, stamp
from support.homes import a_home

from nightshift.cli import driving, driving_pool, main
from nightshift.errors import ServiceError
from nightshift.plan.cell import Cell
from nightshift.plan.records import work_folder
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home
from nightshift.tracking import epochs
from nightshift.tracking.driving_others import (
    FLOW_RUN,
    HOST,
    RUN,
    TOTAL_STEPS,
    figures_elsewhere,
    is_shared,
    runs_elsewhere,
    tags_of_driving,
)
from nightshift.tracking.driving_runs import RunView
from nightshift.tracking.driving_status import driving_status
from nightshift.tracking.live import LiveMetrics
from nightshift.tracking.mlflow_store import open_store

QUICK_S = 0.02


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("others"), migrated_db) as home:
        yield home


def a_cell(seed: int, **config: object) -> Cell:
    settings = {"seed": seed, "total_steps": 4000, **config}
    config_of = {"config": settings, "limits": {}}
    return Cell(subject="adplanning", family="ppo", target="vehicle", dataset="d" * 64, config=config_of, code="c" * 64)


def tell(home: Home, cell: Cell, live: LiveMetrics, *rows: int) -> None:
    """Tell of rows of a run as its recorder does."""
    file = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    for number in rows:
        figures = {
            "step": 1000.0 * number,
            "mean_reward": float(number),
            "collision": 0.5,
            "steps_per_s": 100.0,
            "value_loss": 7.0,
        }
        event = ProgressEvent(cell=cell.key, stage="train", step=number, total=4, metrics=figures, epoch=number)
        file(event)
        live(event)


def until_sent(home: Home, cell: Cell, n: int) -> list[int]:
    client, deadline = open_store(home).client, time.monotonic() + 30
    while True:
        run_id = epochs.noted_run(home, cell)
        steps = sorted(m.step for m in client.get_metric_history(run_id, "mean_reward")) if run_id else []
        if len(steps) >= n:
            return steps
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_s_figures_stand_at_environment_steps_and_other_machines_see_it(
    place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = a_cell(1)
    leave(place, "ppo_v1", cell=cell.key, total_steps=4000, memory_mb=321.0, best_score=0.9, best_step=1000)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "7")
    with LiveMetrics(place, cell, QUICK_S) as live:
        tell(place, cell, live, 1, 2)
        assert until_sent(place, cell, 2) == [1000, 2000]
        # On the machine that trains it, its files tell of it already.
        assert runs_elsewhere(place, ["ppo_v1"]) == ()
        # Another machine has no such files, and another name.
        client = open_store(place).client
        client.set_tag(epochs.noted_run(place, cell), HOST, "worker-b")
        (seen,) = runs_elsewhere(place, ["ppo_v1"])
        assert (seen.run_id, seen.algorithm, seen.subject, seen.host, seen.source) == (
            *("ppo_v1", "ppo", "adplanning", "worker-b"),
            "mlflow",
        )
        assert (seen.step, seen.total_steps, seen.reward, seen.collision) == (2000, 4000, 2.0, 0.5)
        assert (seen.cell, seen.flow_run) == (cell.key, "7")
        assert seen.eta_s == pytest.approx(20.0)
        assert (seen.device, seen.best_score, seen.best_step) == ("cpu", 0.9, 1000)
        assert seen.cpu_pct is not None
        assert seen.memory_mb == 321.0
        # Its curve comes from MLflow too: what status shows of it, and what the rules are asked about.
        figures = figures_elsewhere(place, [seen])
        assert [(r.step, r.mean_reward, r.more) for r in figures[seen.mlflow_run]] == [
            (1000, 1.0, {"value_loss": 7.0}),
            (2000, 2.0, {"value_loss": 7.0}),
        ]
        found = driving_status(place, [seen], figures=figures)
        assert [(r.run_id, r.step, r.reward, r.collision) for r in found.recent[-2:]] == [
            ("ppo_v1", 2000, 2.0, 0.5),
            ("ppo_v1", 1000, 1.0, 0.5),
        ]
        assert seen.updated_at >= stamp(60)[:10]
    # It goes on in another flow run: that one is called off when it is to stop.
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "8")
    store = open_store(place)
    store.client.set_terminated(epochs.noted_run(place, cell), status="KILLED")
    with LiveMetrics(place, cell, QUICK_S) as live:
        tell(place, cell, live, 3)
        assert until_sent(place, cell, 3)[-1] == 3000
    tags = store.client.get_run(epochs.noted_run(place, cell)).data.tags
    assert (tags[FLOW_RUN], tags[HOST]) == ("8", socket.gethostname())
    known = store.client.get_run(epochs.noted_run(place, cell))
    # Every row is known as sent: registering logs none of them twice.
    assert epochs.sent(store, known) == {1, 2, 3}
    store.client.set_terminated(known.info.run_id)
    assert runs_elsewhere(place, []) == ()


def test_only_policies_are_tagged_as_runs(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    other = a_cell(2).model_copy(update={"family": "rul", "target": "pi"})
    assert tags_of_driving(place, other) == {}
    named = tags_of_driving(place, a_cell(3, run_id="named"))
    assert (named[RUN], named[TOTAL_STEPS]) == ("named", "4000")
    assert named[FLOW_RUN] == ""
    # As a pool's worker sets it.
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "0f" * 16)
    assert tags_of_driving(place, a_cell(3))[FLOW_RUN] == "0f" * 16


def test_a_home_of_its_own_is_not_shared(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_shared(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://head:5000")
    assert is_shared(place)


def view(run_id: str = "ppo_v1", ago_s: float = 0.0, algorithm: str = "ppo", **more: str) -> RunView:
    return RunView(
        run_id=run_id,
        algorithm=algorithm,
        subject="adplanning",
        state="running",
        updated_at=stamp(ago_s),
        source="mlflow",
        **more,
    )


#: Flow runs that are at work: two of one policy and set, and so of one name, one that goes on with a run, and a batch.
FLOWS = (
    {"id": "7", "name": "adplanning.ppo.vehicle", "parameters": {"resume": ""}},
    {"id": "8", "name": "adplanning.ppo.vehicle", "parameters": {}},
    {"id": "9", "name": "adplanning.ppo.vehicle", "parameters": {"resume": "ABCDEF0123"}},
    {"id": "10", "name": "batch", "parameters": {}},
)


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    """A server that answers as Prefect's does; a flow run is called off once it is asked to be."""
    asked: list[tuple[str, bytes]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, body))
            off = {path.split("/")[3] for path, _ in asked if "set_state" in path}
            found = [{**flow, "state_type": "CANCELLING" if flow["id"] in off else "RUNNING"} for flow in FLOWS]
            if b"train-batch" in body:
                found = found[-1:]
            answer = b"{}" if "set_state" in self.path else json.dumps(found).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def called_off(prefect: list[tuple[str, bytes]]) -> list[str]:
    return [path for path, _ in prefect if "set_state" in path]


def test_flow_runs_say_who_is_at_work(home: Home, prefect: list[tuple[str, bytes]]) -> None:
    mine, theirs = view(ago_s=900, flow_run="7"), view("ppo_v2", 900, flow_run="8")
    # Killed: others of its name are at work, but not its own flow run, and it has told nothing for long.
    dead, fresh = view("ppo_v3", 900, flow_run="6"), view("ppo_v4", 5, flow_run="6")
    went_on, batched = view("ppo_v5", 900, flow_run="5", cell="abcdef0123" + "0" * 54), view("sac_v1", 900, "sac")
    found, remarks = driving_pool.at_work(home, [mine, theirs, dead, fresh, went_on, batched])
    # Which cells a batch trains is not told, so one of its cells may be the last one.
    assert [run.state for run in found] == ["running", "running", "gone", "running", "running", "running"]
    assert remarks == ()
    inside = view("sac_v2", 900, "sac", flow_run="10")
    assert [run.state for run in driving_pool.at_work(home, [inside, batched])[0]] == ["running", "gone"]
    # One that was started by hand is none of those that others are trained in.
    by_hand = view("ppo_v6", 900)
    taken = [view(f"ppo_{i}", flow_run=i) for i in ("7", "8", "9", "10")]
    assert driving_pool.at_work(home, [by_hand, *taken[:2]])[0][0].state == "running"
    assert driving_pool.at_work(home, [by_hand, *taken])[0][0].state == "gone"


def test_only_the_flow_run_of_the_run_is_called_off(home: Home, prefect: list[tuple[str, bytes]]) -> None:
    mine, theirs = view(flow_run="8"), view("ppo_v2", flow_run="7")
    driving_pool.cancel(home, mine)
    assert called_off(prefect) == ["/api/flow_runs/8/set_state"]
    assert [run.state for run in driving_pool.at_work(home, [mine, theirs])[0]] == ["stopping", "running"]
    driving_pool.cancel(home, view("ppo_v5", flow_run="5", cell="abcdef0123" + "0" * 54))
    assert called_off(prefect)[1:] == ["/api/flow_runs/9/set_state"]


@pytest.mark.parametrize("flow_run", ["", "6", "10"])
def test_a_run_without_a_flow_run_of_its_own_stops_nobody(
    home: Home, prefect: list[tuple[str, bytes]], flow_run: str
) -> None:
    said = "with others, which would end too" if flow_run == "10" else "knows no flow run of it"
    with pytest.raises(ServiceError, match=said) as refused:
        driving_pool.cancel(home, view(flow_run=flow_run, host="b", cell="c" * 64))
    assert refused.value.hint == "On that machine: nightshift driving stop ppo_v1."
    assert called_off(prefect) == []


def test_a_run_elsewhere_is_stopped_by_its_id_and_two_of_one_id_are_not(
    home: Home,
    prefect: list[tuple[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = [view(flow_run="7", worker="a"), view("ppo_v2", flow_run="8", worker="b")]
    monkeypatch.setattr(driving, "elsewhere", lambda *_: (tuple(seen), ()))
    assert main(["driving", "stop", "ppo_v2"]) == 0
    assert "asked Prefect to stop run 'ppo_v2' on 'b'" in capsys.readouterr().out
    assert called_off(prefect) == ["/api/flow_runs/8/set_state"]
    seen.append(view(flow_run="9", worker="c"))
    assert main(["driving", "stop", "ppo_v1"]) == 2
    said = capsys.readouterr().err
    assert "'ppo_v1' is at work on 'a' and 'c'; which one is not said." in said
    assert said.count("\n") == len(called_off(prefect)) == 1


def test_without_prefect_nothing_is_said_of_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    found, remarks = driving_pool.at_work(home, [view()])
    assert found[0].state == "running"
    assert "is not known: The Prefect server does not answer" in remarks[0]
