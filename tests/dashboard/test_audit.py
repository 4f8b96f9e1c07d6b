"""The audit log: lines that are whole, whoever writes beside, and that show no secret."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.dashboards import asking

from nightshift.dashboard.audit import Audit
from nightshift.dashboard.jobs import JobStatus
from nightshift.dashboard.starting import Started
from nightshift.settings import Home

JOB = "3b1f2c52-8a3a-4c1a-9d63-0a8f5d2f7e11"


def test_a_deed_is_one_line_that_names_who_what_and_when(home: Home) -> None:
    audit = Audit(home)
    audit.note("ada", "started", "job-1", machine="press-1", seconds=900)
    (line,) = (home.logs / "audit.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert found["at"].endswith("Z")
    assert (found["user"], found["did"], found["what"]) == ("ada", "started", "job-1")
    assert found["details"] == {"machine": "press-1", "seconds": 900}
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


def test_lines_of_many_writers_stay_whole_and_the_newest_come_first(home: Home) -> None:
    def write(number: int) -> None:
        Audit(home).note("ada", "started", f"job-{number}", text="x" * 200)

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(write, range(200)))
    Audit(home).note("bob", "promoted", "press-1/anomaly")
    newest = Audit(home).newest(201)
    assert len(newest) == 201
    assert (newest[0].user, newest[0].did) == ("bob", "promoted")
    assert len({note.what for note in newest}) == 201


def test_a_user_cannot_forge_a_line_and_half_a_line_hides_no_other(home: Home) -> None:
    audit = Audit(home)
    audit.note('eve\n{"user": "ada"}', "started", "job-1\njob-2", address="http://me:secret@host/x")
    with audit.path.open("a") as file:
        file.write('{"at": "2026-01-01T00:00\n')
    audit.note("ada", "cancelled", "https://me:secret@host/job")
    assert [note.user for note in audit.newest()] == ["ada", 'eve\n{"user": "ada"}']
    assert "secret" not in audit.path.read_text()


def test_nothing_done_yet_is_an_empty_list(home: Home) -> None:
    assert Audit(home).newest() == []


async def started(*_: Any) -> Started:
    return Started(
        job_id=JOB, status="pending", estimated_time=9.0, estimated_from="time_limit", url=f"/api/ml/train/status/{JOB}"
    )


async def stopped(*_: Any) -> JobStatus:
    return JobStatus.model_construct(job_id=JOB, name="motor.anomaly.pi", status="cancelled")


@pytest.mark.parametrize("by", ["page", "api"])
def test_whether_by_the_page_or_by_the_api_a_start_and_a_stop_are_noted(
    home: Home, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """What stands behind them is asked in `test_whole_path.py`; here only who is noted for it."""
    with asking(home) as opened:
        client = opened()
        service = client.app.state.service  # type: ignore[attr-defined]
        monkeypatch.setattr(service.jobs, "start", started)
        monkeypatch.setattr(service.jobs, "cancel", stopped)
        if by == "api":
            client.post("/api/ml/train/anomaly", json={"machine_id": "motor_1"})
            client.post(f"/api/ml/train/cancel/{JOB}")
        else:
            form = {"machine": "motor_1", "families": "anomaly", "target": "pi", "key": "k"}
            client.post("/train", data=form, follow_redirects=False)
            client.post(f"/jobs/{JOB}/cancel", follow_redirects=False)
        assert [(note.user, note.did, note.what) for note in service.audit.newest()] == [
            ("local", "cancelled", JOB),
            ("local", "started", JOB),
        ]
