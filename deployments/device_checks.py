"""Asks boards to check bundles, by plain HTTP: one flow run to each, and what it has left with the server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deployments.api import ENDED, ask
from deployments.runs import begin, call_off, message_of, states_of
from deployments.workers import DEVICE_CHECK, DEVICE_PLACE, Trouble, troubles
from nightshift.edge.manifest import CHECK_ARTIFACT, DeviceCheck
from nightshift.errors import first_line
from nightshift.settings import Home
from nightshift.tracking.device import Wanted

logger = logging.getLogger("nightshift")

_POLL_S = 1.0
#: How often it is asked whether a board is still there.
_LOOK_S = 10.0
#: So long one check may take. The flow ends itself before: this is for a board that went away in the middle of it.
CEILING_S = 1_200.0


def no_board(home: Home, url: str = "") -> Trouble | None:
    """Return why no board would check anything, None when one waits for it.

    Args:
        home: whose `pools.yaml` says of which type the pool is.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer.
    """
    return next(iter(troubles(home, [DEVICE_PLACE], url)), None)


def ask_board(wanted: Wanted, *, for_run: str = "", url: str = "") -> str:
    """Ask for one check, and return the flow run that does it.

    Args:
        wanted: the version.
        for_run: whoever asks again under this name gets the same flow run; "" asks anew.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer, or has no such deployment.
    """
    _, found = ask(f"deployments/name/{DEVICE_CHECK}", url=url)
    parameters = {
        "name": wanted.name,
        "bundle_id": wanted.bundle_id,
        "folder": wanted.folder,
        "store_key": f"models/{wanted.bundle_id}",
        "architecture": wanted.architecture,
    }
    key = f"{for_run}-{wanted.bundle_id}" if for_run else ""
    return begin(found["id"], f"{wanted.name} v{wanted.version}", parameters, key=key, url=url)


def answers(
    home: Home,
    asked: Mapping[str, Wanted],
    *,
    should_stop: Callable[[], bool],
    patience_s: float,
    ceiling_s: float = CEILING_S,
    url: str = "",
) -> Iterator[tuple[Wanted, DeviceCheck | str]]:
    """Yield each version with what the board has found, or why it has found nothing, as soon as it is known.

    What has not begun when a stop is wished for, or when no board has been there for long, is called off; so is a check
    that takes for ever, since one board that is lost shall not keep whoever waits for all of them.

    Args:
        home: see `no_board`.
        asked: flow run -> version.
        should_stop: whether a stop is wished for.
        patience_s: how long no board may be there.
        ceiling_s: how long one check may take, and how long boards that are there may begin none.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer.
    """
    left, looked, there, clock = dict(asked), 0.0, time.monotonic(), _Clock(ceiling_s)
    while left:
        states = states_of(left, url)
        for run_id, state in states.items():
            if state["type"] in ENDED:
                yield left.pop(run_id), _found(run_id, state, url)
        for run_id, why in clock.overdue(states).items():
            call_off((run_id,), url)
            yield left.pop(run_id), why
        trouble = None
        if left and time.monotonic() - looked > _LOOK_S:
            looked, trouble = time.monotonic(), no_board(home, url)
            there = there if trouble else looked
        if should_stop():
            call_off(left, url)
            return
        if trouble and time.monotonic() - there > patience_s:
            call_off(left, url)
            yield from ((wanted, str(trouble)) for wanted in left.values())
            return
        time.sleep(_POLL_S if left else 0.0)


class _Clock:
    """Tells which checks take for ever.

    Args:
        ceiling_s: how long one may take from its begin, and how long the rest may wait without any that begins or ends.
    """

    def __init__(self, ceiling_s: float) -> None:
        self._ceiling_s = ceiling_s
        self._since: dict[str, float] = {}
        self._news = time.monotonic()

    def overdue(self, states: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Return why each flow run that is overdue is not waited for any longer; `states` has those still asked."""
        now = time.monotonic()
        waiting = {run_id for run_id, state in states.items() if state["type"] == "SCHEDULED"}
        ended = {run_id for run_id, state in states.items() if state["type"] in ENDED}
        begun = states.keys() - waiting - ended
        if ended or begun - self._since.keys():
            self._news = now
        for run_id in begun:
            self._since.setdefault(run_id, now)
        limit = f"in {self._ceiling_s / 60:.3g} minutes, and was called off"
        late = {r: f"its board came to no end {limit}." for r in begun if now - self._since[r] > self._ceiling_s}
        if late:
            self._news = now
        elif now - self._news > self._ceiling_s and waiting == states.keys():
            late = dict.fromkeys(waiting, f"a board asks for checks, but none began it {limit}.")
        return late


def _found(run_id: str, state: Mapping[str, Any], url: str) -> DeviceCheck | str:
    """Return what a flow run has left with the server, or why it has left nothing."""
    wanted = {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [CHECK_ARTIFACT]}}
    _, left = ask("artifacts/filter", {"artifacts": wanted, "sort": "CREATED_DESC", "limit": 1}, url=url)
    if left:
        data = left[0]["data"]
        try:
            rows = json.loads(data) if isinstance(data, str) else data
            return DeviceCheck.model_validate_json(rows[0]["check"])
        except (ValueError, LookupError, TypeError) as error:
            return f"what the board has told cannot be read: {first_line(error)}."
    why = message_of(state)
    return f"the check {str(state['type']).lower()}" + (f": {why}" if why else "")
