"""Device checks within a run of the fleet, before a server that goes away half-way."""

from __future__ import annotations

import pytest
from support.away import Answer, answering

from nightshift.plan.fleet_run import FleetStart
from nightshift.plan.records import StageRecord, write_record
from nightshift.plan.state import AWAITS, DEVICE, make_cell, remember
from nightshift.settings import Home
from tasks.fleet import Night
from tasks.fleet_device import check_on_devices
from tasks.signals import StopOnSignal


def let_wait(home: Home, start: FleetStart) -> list[str]:
    """Both cells of the plan have been trained and wait for a board."""
    names = []
    for planned in start.plan.cells:
        cell = make_cell(home, planned.subject, planned.family, planned.target)
        remember(home, cell)
        place = f"models/{cell.family}/{cell.subject}/{cell.target}/v1"
        summary = {DEVICE: AWAITS, "version": 1, "bundle_sha256": "0" * 64, "bundle": place}
        record = {"stage": "register", "cell_key": cell.key, "status": "done", "started_at": "2026-01-01T00:00:00Z"}
        write_record(home, StageRecord.model_validate({**record, "seconds": 0.1, "summary": summary}))
        names.append(cell.name)
    return names


@pytest.mark.timeout(90)
def test_what_was_found_before_the_server_went_away_stays_in_the_report(
    start: FleetStart, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = let_wait(home, start)
    made, looks = iter(("a", "b")), []

    def answer(path: str) -> Answer:
        if path == "flow_runs/filter":
            looks.append(path)
            failed = {"type": "FAILED", "message": "no bundle"}
            states = [{"id": "a", "state": failed}, {"id": "b", "state": {"type": "RUNNING"}}]
            return (200, states) if len(looks) == 1 else (500, {"detail": "out of memory"})
        if path == "artifacts/filter":
            return 200, []
        if path.endswith("create_flow_run"):
            return 201, {"id": next(made)}
        return 200, {"id": "d", "type": "process", "is_paused": False, "last_polled": "2999-01-01T00:00:00Z"}

    with answering(answer) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        night = Night(StopOnSignal())
        check_on_devices(start, night)
    one, other = night.remarks
    assert one == f"{first} v1 was not checked on a device: the check failed: no bundle"
    assert other.startswith("Device checks came to no end: The Prefect server answers 500 to flow_runs/filter: out of")
    assert second
