"""What is waited for when boards check, and what is not: a server that tells of boards which are lost or hang."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from support.away import Answer, answering

from deployments.device_checks import CEILING_S, answers
from nightshift.settings import Home
from nightshift.tracking.device import Wanted

PUMP, FAN = Wanted("pump_1.rul.pi", 3, "0" * 64, ""), Wanted("fan_1.rul.pi", 1, "1" * 64, "")


class Boards:
    """A server whose queue `device` a board asks all the time.

    Attributes:
        types: the state of each flow run, as (seconds since the first look, type), the first one last in time.
        left: what each has left with the server.
        called_off: flow runs, in order.
    """

    def __init__(self, types: dict[str, list[tuple[float, str]]], left: Any = None) -> None:
        self.types, self.left, self.called_off = types, left, list[str]()
        self._since: float | None = None

    def __call__(self, path: str) -> Answer:
        if path == "flow_runs/filter":
            return 200, [{"id": run_id, "state": {"type": self._type(run_id)}} for run_id in self.types]
        if path.endswith("/set_state"):
            self.called_off.append(path.split("/")[1])
            return 201, {}
        if path == "artifacts/filter":
            return 200, [{"data": self.left}] if self.left is not None else []
        return 200, {"type": "process", "is_paused": False, "last_polled": datetime.now(UTC).isoformat()}

    def _type(self, run_id: str) -> str:
        self._since = self._since or time.monotonic()
        past_s = time.monotonic() - self._since
        return next(kind for since, kind in self.types[run_id] if past_s >= since)


def told(home: Home, boards: Boards, ceiling_s: float, *wanted: Wanted) -> list[tuple[Wanted, Any]]:
    asked = dict(zip(boards.types, wanted, strict=True))
    with answering(boards) as url:
        return list(answers(home, asked, should_stop=lambda: False, patience_s=60, ceiling_s=ceiling_s, url=url))


@pytest.mark.timeout(60)
def test_a_board_that_is_lost_in_a_check_keeps_nobody_waiting_while_another_one_goes_on(home: Home) -> None:
    # The second begins late, and its own time counts from there.
    boards = Boards({"a": [(0.0, "RUNNING")], "b": [(3.0, "FAILED"), (1.5, "RUNNING"), (0.0, "SCHEDULED")]})
    found = told(home, boards, 1.8, PUMP, FAN)
    assert found == [
        (PUMP, "its board came to no end in 0.03 minutes, and was called off."),
        (FAN, "the check failed"),
    ]
    assert boards.called_off == ["a"]


@pytest.mark.timeout(60)
def test_checks_that_no_board_begins_are_called_off_though_one_asks_for_runs(home: Home) -> None:
    boards = Boards({"a": [(0.0, "SCHEDULED")], "b": [(0.0, "SCHEDULED")]})
    found = told(home, boards, 0.6, PUMP, FAN)
    assert {one for one, _ in found} == {PUMP, FAN}
    assert {why for _, why in found} == {
        "a board asks for checks, but none began it in 0.01 minutes, and was called off."
    }
    assert sorted(boards.called_off) == ["a", "b"]


def test_what_cannot_be_read_is_told_in_one_line(home: Home) -> None:
    boards = Boards({"a": [(0.0, "COMPLETED")]}, left=json.dumps([{"check": '{"bundle_id": 3, "device": 4}'}]))
    ((one, why),) = told(home, boards, 60.0, PUMP)
    assert one == PUMP
    assert why == "what the board has told cannot be read: bundle_id: expected text, got 3."
    assert len(why.splitlines()) == 1


def test_a_check_that_hangs_ends_itself_before_whoever_waits_gives_it_up() -> None:
    from flows.verify import verify_on_device

    assert verify_on_device.timeout_seconds is not None
    assert 300 <= verify_on_device.timeout_seconds < CEILING_S
