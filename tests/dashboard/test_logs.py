"""Tails of logs: what ends them, what does not, and what they keep."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nightshift.dashboard import logs
from nightshift.dashboard.api.jobs import _ending
from nightshift.dashboard.logs import LogLine, Logs
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.reading import UnknownJobError
from nightshift.dashboard.runs import CellStatus, JobStatus
from nightshift.dashboard.service import Service
from nightshift.errors import ServiceError, UnknownNameError
from nightshift.plan.cell import Cell
from nightshift.plan.records import PROGRESS, work_folder
from nightshift.plan.state import remember
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home

RUN = "01234567-89ab-cdef-0123-456789abcdef"
ONE, OTHER = f"{RUN}.{'1' * 12}", f"{RUN}.{'2' * 12}"
LONG_AGO = datetime.now(UTC) - timedelta(minutes=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL_S", 0.01)


class Server(PrefectApi):
    """Has said some lines; `fails` may raise first."""

    def __init__(self, *said: str) -> None:
        super().__init__("http://127.0.0.1:9/api")
        self.lines = [told(text, LONG_AGO) for text in said]
        self.fails: Callable[[], None] = lambda: None

    async def ask(self, path: str, body: Any = None, *, method: str = "") -> Any:
        self.fails()
        return self.lines[body["offset"] :] if path == "logs/filter" else []


def told(text: str, at: datetime) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "timestamp": at.isoformat(), "level": 20, "message": text}


def cell(job_id: str, status: Any) -> CellStatus:
    name = f"m1.{'anomaly' if job_id == ONE else 'rul'}.pi"
    ended = LONG_AGO if status == "completed" else None
    return CellStatus(job_id=job_id, name=name, family=name.split(".")[1], status=status, ended_at=ended)


class Jobs:
    """Tells where the run stands."""

    def __init__(self, *cells: CellStatus, status: Any = "running") -> None:
        self.job = JobStatus(
            **{"job_id": RUN, "name": "r", "family": "", "status": status, "as_of": LONG_AGO, "cells": cells},
            ended_at=LONG_AGO if status == "completed" else None,
        )
        self.fails: Callable[[], None] = lambda: None

    async def status(self, job_id: str) -> JobStatus:
        self.fails()
        own = [c for c in self.job.cells if c.job_id == job_id]
        return JobStatus(**own[0].model_dump(), as_of=LONG_AGO) if own else self.job


def heard(home: Home, server: Server, jobs: Jobs, job_id: str = RUN, limit_s: float = 5.0) -> list[LogLine]:
    """What is said until a stream ends by itself."""

    async def listen() -> list[LogLine]:
        made = Logs(home, server, jobs.status)
        try:
            async with asyncio.timeout(limit_s):
                return [line async for line in made.follow(job_id, "")]
        finally:
            await made.stop()

    return asyncio.run(listen())


def after(times: int, do: Callable[[], None]) -> Callable[[], None]:
    """Return what does something once it has been called so often."""
    left = [times]

    def counted() -> None:
        left[0] -= 1
        if left[0] < 0:
            do()

    return counted


def test_a_cells_stream_ends_with_the_cell_and_not_with_the_batch(tmp_path: Path) -> None:
    server, jobs = (
        Server("m1.anomaly.pi: train", "m1.rul.pi: train"),
        Jobs(cell(ONE, "completed"), cell(OTHER, "running")),
    )
    assert [line.text for line in heard(Home(tmp_path), server, jobs, ONE)] == ["m1.anomaly.pi: train"]
    with pytest.raises(TimeoutError):
        heard(Home(tmp_path), server, jobs, OTHER, limit_s=0.5)
    nameless = Jobs(cell(ONE, "running"), cell(ONE, "completed").model_copy(update={"job_id": ""}))
    with pytest.raises(TimeoutError):
        heard(Home(tmp_path), server, nameless, limit_s=0.5)


@pytest.mark.parametrize("error", [RuntimeError("odd"), ServiceError("Prefect answers 503.")])
def test_a_fault_is_said_once_and_the_log_goes_on(tmp_path: Path, error: Exception) -> None:
    server, jobs = Server("hello"), Jobs()
    faults = [error] * 3

    def fails() -> None:
        if faults:
            raise faults.pop()
        jobs.job = Jobs(status="completed").job

    server.fails = fails
    said = [line.text for line in heard(Home(tmp_path), server, jobs)]
    assert len(said) == 3
    assert said[1:] == ["The log goes on.", "hello"]


def test_an_end_is_told_of_what_has_ended_alone() -> None:
    for jobs, ended in ((Jobs(), None), (Jobs(status="completed"), "completed")):
        assert asyncio.run(_ending(RUN, cast("Service", SimpleNamespace(jobs=jobs)))) == ended

    def away() -> None:
        raise ServiceError("Prefect answers 503.")

    jobs.fails = away
    assert asyncio.run(_ending(RUN, cast("Service", SimpleNamespace(jobs=jobs)))) is None


def test_that_a_nameless_task_is_done_is_no_line_and_the_home_goes_by_its_name(tmp_path: Path) -> None:
    server, jobs = Server("Finished in state Completed()", f"wrote {tmp_path}/reports/x.html"), Jobs(status="completed")
    server.lines.append({**told("Finished in state Completed()", LONG_AGO), "task_run_id": str(uuid.uuid4())})
    said = [line.text for line in heard(Home(tmp_path), server, jobs)]
    assert sorted(said) == ["Finished in state Completed()", "wrote $NIGHTSHIFT_HOME/reports/x.html"]


def test_a_run_that_was_deleted_ends_its_stream(tmp_path: Path) -> None:
    server, jobs = Server("hello"), Jobs()

    def deleted() -> None:
        raise UnknownJobError(RUN)

    jobs.fails = after(2, deleted)
    assert [line.text for line in heard(Home(tmp_path), server, jobs)] == ["hello", f"there is no job '{RUN}'."]


def test_what_is_known_is_kept_no_longer_than_it_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MOST", 10)
    tail = logs.LogTail(RUN, Home(tmp_path), Server(), Jobs().status)
    for second in range(100):
        tail._take(tail._lines_of([told("x", LONG_AGO + timedelta(seconds=second))]))
    assert len(tail._known) <= 12
    assert tail._dropped == 90


def test_an_old_tail_does_not_take_its_successor_along_and_very_many_streams_are_refused(tmp_path: Path) -> None:
    async def listen() -> None:
        made = Logs(Home(tmp_path), Server("hello"), Jobs().status)

        async def first() -> None:
            async for _line in made.follow(RUN, ""):
                return

        await first()
        old = made._tails[RUN]
        old.closed = True
        await first()
        new = made._tails[RUN]
        await old.stop()
        await asyncio.sleep(0)
        assert (made.tails[RUN] is new, new is old) == (True, False)
        made.see_room()
        new.listeners = 200
        with pytest.raises(ServiceError, match="200 logs"):
            made.see_room()
        await made.stop()

    asyncio.run(listen())


def test_what_a_cell_says_in_its_own_file_is_heard_though_a_newer_one_of_its_name_has_begun(tmp_path: Path) -> None:
    home = Home(tmp_path)
    old, new = (
        Cell(subject="m1", family="rul", target="pi", dataset=digit * 64, config={}, code="c" * 64) for digit in "de"
    )
    for one in (old, new):
        remember(home, one)
    FileSink(work_folder(home, old.key) / PROGRESS)(ProgressEvent(old.key, "train", 1, 2, message="fold 1", line=True))
    jobs = Jobs(cell(f"{RUN}.{old.key[:12]}", "completed"), cell(OTHER, "completed"), status="completed")
    jobs.job = jobs.job.model_copy(
        update={"started_at": LONG_AGO, "ended_at": datetime.now(UTC) - timedelta(seconds=5)}
    )
    FileSink(work_folder(home, old.key) / PROGRESS)(
        ProgressEvent(old.key, "train", 2, 2, message=f"fold 2 in {tmp_path}/x", line=True, at=LONG_AGO.timestamp() + 1)
    )
    assert [line.text for line in heard(home, Server(), jobs)] == ["m1.rul.pi: fold 2 in $NIGHTSHIFT_HOME/x"]


def test_for_what_is_at_work_elsewhere_all_folders_are_not_looked_through_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def at(home: Home, key: str, name: str) -> Cell:
        looked.append(name)
        raise UnknownNameError("cell", key, ())

    monkeypatch.setattr(logs, "cell_at", at)
    tail = logs.LogTail(RUN, Home(tmp_path), Server(), Jobs().status)
    away = cell(ONE, "running").model_copy(update={"started_at": LONG_AGO})
    assert [tail._tail_of(away) for _ in range(5)] == [None] * 5
    assert len(looked) == 1
    assert [tail._tail_of(cell(ONE, "completed")) for _ in range(5)] == [None] * 5
    assert len(looked) == 2, "whatever it said at its end is not missed"
