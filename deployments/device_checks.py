"""Asks boards to check bundles, by plain HTTP: one flow run to each, and what it has left with the server."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from deployments.api import ENDED, ask
from deployments.workers import DEVICE_CHECK, DEVICE_PLACE, Trouble, troubles
from nightshift.edge.manifest import CHECK_ARTIFACT, DeviceCheck
from nightshift.settings import Home
from nightshift.tracking.device import Wanted

logger = logging.getLogger("nightshift")

_POLL_S = 1.0
#: How often it is asked whether a board is still there.
_LOOK_S = 10.0
_AT_ONCE = 200


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
    body = {
        "name": f"{wanted.name} v{wanted.version}",
        "parameters": {
            "name": wanted.name,
            "bundle_id": wanted.bundle_id,
            "folder": wanted.folder,
            "store_key": f"models/{wanted.bundle_id}",
            "architecture": wanted.architecture,
        },
        "idempotency_key": f"{for_run or uuid.uuid4()}-{wanted.bundle_id}",
        "tags": ["nightshift"],
    }
    return str(ask(f"deployments/{found['id']}/create_flow_run", body, url=url)[1]["id"])


def answers(
    home: Home,
    asked: Mapping[str, Wanted],
    *,
    should_stop: Callable[[], bool],
    patience_s: float,
    url: str = "",
) -> Iterator[tuple[Wanted, DeviceCheck | str]]:
    """Yield each version with what the board has found, or why it has found nothing, as soon as it is known.

    What has not begun when a stop is wished for, or when no board has been there for long, is called off.

    Args:
        home: see `no_board`.
        asked: flow run -> version.
        should_stop: whether a stop is wished for.
        patience_s: how long no board may be there.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer.
    """
    left, looked, there = dict(asked), 0.0, time.monotonic()
    while left:
        for run_id, state in _ended(tuple(left), url).items():
            yield left.pop(run_id), _found(run_id, state, url)
        trouble = None
        if left and time.monotonic() - looked > _LOOK_S:
            looked, trouble = time.monotonic(), no_board(home, url)
            there = there if trouble else looked
        if should_stop():
            _call_off(left, url)
            return
        if trouble and time.monotonic() - there > patience_s:
            _call_off(left, url)
            yield from ((wanted, str(trouble)) for wanted in left.values())
            return
        time.sleep(_POLL_S if left else 0.0)


def _ended(run_ids: tuple[str, ...], url: str) -> dict[str, dict[str, Any]]:
    """Return the states of those flow runs that have ended; one that is gone has, too."""
    found: dict[str, dict[str, Any]] = {}
    for first in range(0, len(run_ids), _AT_ONCE):
        some = run_ids[first : first + _AT_ONCE]
        runs = {r["id"]: r for r in ask("flow_runs/filter", {"flow_runs": {"id": {"any_": some}}}, url=url)[1]}
        gone = {"type": "CRASHED", "message": "its flow run was deleted"}
        found |= {run_id: gone for run_id in some if run_id not in runs}
        found |= {run_id: run["state"] for run_id, run in runs.items() if run["state_type"] in ENDED}
    return found


def _found(run_id: str, state: Mapping[str, Any], url: str) -> DeviceCheck | str:
    """Return what a flow run has left with the server, or why it has left nothing."""
    wanted = {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [CHECK_ARTIFACT]}}
    _, left = ask("artifacts/filter", {"artifacts": wanted, "sort": "CREATED_DESC", "limit": 1}, url=url)
    if left:
        data = left[0]["data"]
        try:
            rows = json.loads(data) if isinstance(data, str) else data
            return DeviceCheck.model_validate_json(rows[0]["check"])
        except (ValueError, LookupError, TypeError, ValidationError) as error:
            return f"what the board has told cannot be read: {error}"
    said = str(state.get("message") or "").removeprefix("Flow run encountered an exception: ").strip().splitlines()
    return f"the check {str(state['type']).lower()}" + (f": {said[0][:500]}" if said else "")


def _call_off(left: Mapping[str, Wanted], url: str) -> None:
    for run_id in left:
        state = {"type": "CANCELLING", "name": "Cancelling", "message": "Nobody waits for it any more."}
        ask(f"flow_runs/{run_id}/set_state", {"state": state}, url=url)
