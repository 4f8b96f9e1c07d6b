"""What a crashed run of the fleet was about, while the server that went down with it is started again."""

from __future__ import annotations

import time

import pytest
from support.away import answering

from deployments.api import API_VARIABLE, RefusedError
from nightshift.errors import UsageError
from nightshift.plan.fleet_run import keep_start
from nightshift.settings import Home
from tasks import crashed

STATES = "flow_run_states/?flow_run_id=r"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashed, "_PAUSE_S", 0.05)


def test_a_server_that_is_away_is_waited_for(home: Home, start, monkeypatch) -> None:
    keep_start(home, start)
    losses = ["nothing", "half", "busy"]
    with answering(lambda path: (200, [{"type": "RUNNING"}]) if path == STATES else (404, {}), losses) as url:
        monkeypatch.setenv(API_VARIABLE, url)
        assert crashed.left_by(home, "r", 3).start == start
    assert losses == []


def test_a_refusal_and_a_stop_are_not_waited_on(home: Home, start, monkeypatch) -> None:
    keep_start(home, start)
    began = time.monotonic()
    with answering(lambda path: (200, [{"type": "CANCELLING"}]) if path == STATES else (422, {})) as url:
        monkeypatch.setenv(API_VARIABLE, url)
        with pytest.raises(UsageError, match="was being stopped when it crashed"):
            crashed.left_by(home, "r", 3)
        with pytest.raises(RefusedError, match="answers 422"):
            crashed.left_by(home, "no-uuid", 3)
    assert time.monotonic() - began < 5
