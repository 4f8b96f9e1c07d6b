"""The board of jobs over a Prefect that answers as it is told to: what is asked, kept, and told when it fails."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.machine import SUBJECT

from nightshift.dashboard import jobs, reading
from nightshift.dashboard.jobs import JobBoard
from nightshift.dashboard.prefect_api import PrefectApi, RefusedError
from nightshift.dashboard.reading import UnknownJobError
from nightshift.dashboard.runs import JobStatus, Run
from nightshift.dashboard.standing import Desk
from nightshift.dashboard.starting import ConflictError
from nightshift.errors import ServiceError
from nightshift.plan.batch import hearing_stops, hears_stops, is_to_stop
from nightshift.settings import Home

CELLS = [{"subject": SUBJECT, "family": family, "target": "pi"} for family in ("anomaly", "rul")]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty one."""
    return Home(tmp_path)


def run_of(state: str, **facts: Any) -> dict[str, Any]:
    """A flow run as Prefect tells it."""
    now = datetime.now(UTC).isoformat()
    ended = state in ("COMPLETED", "FAILED")
    return {
        **{"id": str(uuid.uuid4()), "name": "r", "flow_id": "f", "state_type": state, "created": now},
        **{"parameters": {"cells": CELLS}, "start_time": now, "end_time": now if ended else None},
        **facts,
    }


class Server(PrefectApi):
    """Answers from its runs; `fails` may raise first."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:9/api")
        self.runs = list(runs)
        self.asked: list[str] = []
        self.bars: list[dict[str, Any]] = []
        self.bars_of: list[list[str]] = []
        self.given: list[dict[str, Any]] = []
        self.fails: Callable[[str, dict[str, Any]], None] = lambda path, body: None

    async def ask(self, path: str, body: Any = None, *, method: str = "") -> Any:
        self.asked.append(path)
        self.fails(path, body)
        if path == "flows/filter":
            return [
                {"id": "f", "name": "train-batch"},
                {"id": "t", "name": "train"},
                {"id": "n", "name": "train-fleet"},
            ]
        if path == "artifacts/filter" and "type" in body["artifacts"]:
            self.bars_of.append(body["artifacts"]["flow_run_id"]["any_"])
            return self.bars[body["offset"] :]
        if path == "flow_runs/filter" and "parent_flow_run_id" in body["flow_runs"]:
            return self.given[body["offset"] :]
        if path != "flow_runs/filter" or "tags" not in body["flow_runs"]:
            return []
        wanted = body["flow_runs"]
        ids, states = wanted.get("id", {}).get("any_"), wanted.get("state", {}).get("type", {}).get("any_")
        found = [r for r in self.runs if (not ids or r["id"] in ids) and (not states or r["state_type"] in states)]
        at = body.get("offset", 0)
        return found[at : at + body["limit"]]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the board's clock go on."""
    clock = jobs.time.monotonic
    for module in (jobs, reading):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock() + seconds))


def test_of_ended_runs_the_list_is_made_once_and_without_cells(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(*[run_of("COMPLETED") for _ in range(3)], run_of("RUNNING"))
    looked: list[str] = []
    whole = jobs.refs_of
    monkeypatch.setattr(jobs, "refs_of", lambda run: looked.append(run.id) or whole(run))

    async def twice() -> None:
        board = JobBoard(home, server)
        await board.recent()
        await board.status(server.runs[0]["id"])
        found = await board.recent()
        assert [(job.status, len(job.cells)) for job in found] == [("running", 2), *[("completed", 0)] * 3]
        assert len((await board.status(server.runs[0]["id"])).cells) == 2
        await board.stop()

    asyncio.run(twice())
    assert len(looked) == 3


def test_what_is_wrong_with_one_run_hides_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(run_of("RUNNING"), run_of("RUNNING"), run_of("RUNNING"))
    ill, odd, well = (run["id"] for run in server.runs)
    standing = Desk.standing

    def breaks(desk: Desk, run: Run, *what: Any) -> JobStatus:
        if run.id == ill:
            raise RuntimeError("the file is odd")
        return standing(desk, run, *what)

    def no_sense(path: str, body: Any) -> None:
        if path == "task_runs/filter" and body["flow_runs"]["id"]["any_"] == [odd]:
            raise KeyError("state")

    monkeypatch.setattr(Desk, "standing", breaks)
    server.fails = no_sense

    async def listed() -> None:
        board = JobBoard(home, server)
        assert [job.status for job in await board.recent()] == ["running"] * 3
        assert len((await board.status(ill)).cells) == 2
        assert (await board.status(well)).status == "running"
        await board.stop()

    asyncio.run(listed())


def test_parts_are_asked_for_of_what_has_begun_alone(home: Home) -> None:
    server = Server(run_of("RUNNING"), run_of("SCHEDULED", start_time=None), run_of("RUNNING"))

    async def listed() -> None:
        board = JobBoard(home, server)
        assert len(await board.recent()) == 3
        await board.stop()

    asyncio.run(listed())
    assert server.asked.count("task_runs/filter") == 2


def test_an_old_snapshot_is_told_with_its_moment_while_prefect_is_away_shortly(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(run_of("RUNNING"))
    (run_id,) = (run["id"] for run in server.runs)

    def away(path: str, body: object) -> None:
        raise ServiceError("Prefect answers 503: locked")

    async def asked() -> None:
        board = JobBoard(home, server)
        before = await board.status(run_id)
        server.fails = away
        later(monkeypatch, 10)
        assert (await board.status(run_id)).as_of == before.as_of
        assert [job.as_of for job in await board.recent()] == [before.as_of]
        assert json.loads(await board.status_json(run_id))["status"] == "running"
        later(monkeypatch, 10)
        with pytest.raises(ServiceError, match="locked"):
            await board.status(run_id)
        server.fails = lambda path, body: None
        assert (await board.status(run_id)).as_of > before.as_of
        await board.stop()

    asyncio.run(asked())


def test_a_job_that_is_not_there_is_not_looked_for_again_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    server, run_id = Server(), str(uuid.uuid4())

    def missing(path: str, body: object) -> None:
        if path == f"flow_runs/{run_id}":
            raise RefusedError(404, "no such run")

    server.fails = missing

    async def asked() -> None:
        board = JobBoard(home, server)
        for _ in range(3):
            with pytest.raises(UnknownJobError):
                await board.status(run_id)
        assert server.asked.count(f"flow_runs/{run_id}") == 1
        later(monkeypatch, 10)
        with pytest.raises(UnknownJobError):
            await board.run(run_id)
        assert server.asked.count(f"flow_runs/{run_id}") == 2
        await board.stop()

    asyncio.run(asked())


def test_what_is_planned_ahead_hides_no_run(home: Home) -> None:
    planned = [run_of("SCHEDULED", auto_scheduled=True, state_name="Scheduled", start_time=None) for _ in range(250)]
    server = Server(*planned, run_of("COMPLETED"), run_of("RUNNING"))

    async def listed() -> None:
        board = JobBoard(home, server)
        assert sorted(job.status for job in await board.recent()) == ["completed", "running"]
        await board.stop()

    asyncio.run(listed())


def bar_of(run_id: str, percent: float, text: str) -> dict[str, Any]:
    """What a run shows in Prefect."""
    return {"flow_run_id": run_id, "data": percent, "description": text, "updated": datetime.now(UTC).isoformat()}


def test_what_runs_elsewhere_is_asked_for_together_and_only_where_there_is_any(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = {"subject": SUBJECT, "family": "rul", "target": "pi"}
    server = Server(
        *(run_of("RUNNING", flow_id="t", parameters=ref) for _ in range(2)),
        *(run_of("RUNNING"), run_of("COMPLETED"), run_of("SCHEDULED", start_time=None)),
    )
    one, other, batch = (run["id"] for run in server.runs[:3])
    line = f"{SUBJECT}.rul.pi: train 5/10 member 5"
    newer = bar_of(one, 38, line)
    server.bars = [newer, bar_of(batch, 19, f"- {line}"), {"flow_run_id": other, "data": None}, bar_of(one, 0, "older")]

    async def listed() -> None:
        board = JobBoard(home, server)
        found = {job.job_id: job for job in await board.recent()}
        assert (found[one].progress, found[one].current_step) == (38, "Training 5/10 member 5")
        assert (found[batch].progress, found[other].progress) == (19, 0)
        assert server.bars_of == [sorted([one, other, batch])]
        newer["description"] = line.replace("5/10", "10/10")
        later(monkeypatch, 5)
        assert (await board.status(one)).progress == 70
        assert len(server.bars_of) == 2
        for run in server.runs:
            run |= {"state_type": "COMPLETED", "end_time": run["created"]}
        later(monkeypatch, 10)
        assert (await board.status(one)).status == "completed"
        assert len(server.bars_of) == 2
        await board.stop()

    asyncio.run(listed())


def test_one_model_is_stopped_where_its_batch_hears_of_it_and_refused_where_it_does_not(home: Home) -> None:
    server = Server(run_of("RUNNING"))
    (run_id,) = (run["id"] for run in server.runs)
    digits = "1" * 12

    async def asked() -> None:
        board = JobBoard(home, server)
        job = await board.status(run_id)
        cells = (job.cells[0].model_copy(update={"job_id": f"{run_id}.{digits}"}), job.cells[1])
        board._shown[run_id] = job.model_copy(update={"cells": cells})
        with pytest.raises(ConflictError, match="on another machine") as refused:
            await board.cancel(f"{run_id}.{digits}", "ada")
        assert refused.value.hint == f"Cancel the whole: {run_id}"
        with hearing_stops(home, run_id):
            assert not is_to_stop(home, run_id, cells[0].name)
            await board.cancel(f"{run_id}.{digits}", "ada")
            assert (is_to_stop(home, run_id, cells[0].name), is_to_stop(home, run_id, cells[1].name)) == (True, False)
        assert not is_to_stop(home, run_id, cells[0].name)
        assert not hears_stops(home, run_id)
        await board.stop()

    asyncio.run(asked())


def test_a_run_of_the_fleet_goes_on_with_its_batches(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has been given again, and one has ended before anybody asked."""
    crashed = run_of("CRASHED", name="pi-pool 1 of 2")
    again = run_of("RUNNING", name="pi-pool 1 of 2, try 2", deployment_id="d", parent_task_run_id="p")
    ended = run_of("COMPLETED", name="pi-pool 2 of 2", deployment_id="d", parent_task_run_id="p")
    before = str(uuid.uuid4())
    server = Server(run_of("RUNNING", flow_id="n", name="curious-otter", parameters={"continues": before}), again)
    server.given = [crashed, again, ended]
    server.bars = [bar_of(again["id"], 0, f"- {SUBJECT}.anomaly.pi: train 5/10")]
    (fleet, _) = (run["id"] for run in server.runs)
    wanted: list[Any] = []
    server.fails = lambda path, body: wanted.append(body["flow_runs"]) if path == "flow_runs/filter" else None

    async def listed() -> None:
        board = JobBoard(home, server)
        found = await board.status(fleet)
        assert {"parent_flow_run_id": {"any_": [fleet, before]}} in wanted
        assert (found.name, found.progress, found.current_step) == ("fleet", 59.5, "1 of 2 batches")
        assert [(c.job_id, c.status, c.progress) for c in found.cells] == [
            (again["id"], "running", 19),
            (ended["id"], "completed", 100),
        ]
        assert {job.job_id: job.progress for job in await board.recent()} == {fleet: 59.5, again["id"]: 19}
        assert server.bars_of == [[again["id"]]]
        await board.stop()

    asyncio.run(listed())


def test_who_asked_for_a_run_is_told_without_secrets_and_odd_characters(home: Home) -> None:
    server = Server(
        run_of("RUNNING", labels={"nightshift.user": "ada\n\u202e\x00 http://me:secret@host" + "x" * 200}),
        run_of("COMPLETED", labels={"nightshift.user": "bob"}),
        run_of("RUNNING"),
    )

    async def listed() -> None:
        board = JobBoard(home, server)
        told = [job.by for job in await board.recent()]
        assert sorted(told) == ["", "ada http://host" + "x" * 85, "bob"]
        await board.stop()

    asyncio.run(listed())
