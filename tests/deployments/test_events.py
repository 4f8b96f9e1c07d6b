"""Landings are told of once, or kept: without a server that would react nothing is sent."""

from __future__ import annotations

import socket

import pytest
from support.datasets import calendar_rows, describe

from deployments import server
from deployments.events import deliver, event_of, worker_online
from nightshift.data import outbox
from nightshift.data.importers.landing import split_and_land
from nightshift.settings import Home

NOTE = outbox.Note(subject="pump_1", fingerprint="ab" * 32, rows=300, at="2026-11-21T02:00:00Z")


def test_an_event_carries_machine_fingerprint_and_rows() -> None:
    event = event_of(NOTE)
    assert event["event"] == "nightshift.dataset.landed"
    assert event["resource"]["prefect.resource.id"] == "nightshift.dataset.pump_1"
    assert event["payload"] == {
        "machine_id": "pump_1",
        "fingerprint": NOTE.fingerprint,
        "rows": 300,
        "landed_at": NOTE.at,
    }


def test_the_same_landing_told_twice_is_one_event_and_another_landing_is_another() -> None:
    assert event_of(NOTE)["id"] == event_of(NOTE)["id"]
    assert event_of(NOTE)["id"] != event_of(NOTE.model_copy(update={"at": "2026-11-21T03:00:00Z"}))["id"]


def test_without_a_server_landings_are_kept(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe())
    assert server.address(home) == ""
    assert not worker_online(home)
    assert deliver(home) == 0
    assert [n.subject for n in outbox.pending(home)] == ["pump_1"]


def test_a_server_that_does_not_answer_is_a_warning_and_landings_are_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    split_and_land(home, calendar_rows(), describe())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}/api")
        assert deliver(home) == 0
        assert not worker_online(home)
    assert "landings are not told of yet" in caplog.text
    assert len(outbox.pending(home)) == 1
