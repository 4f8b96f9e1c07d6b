"""Flow runs that another run waits for, by plain HTTP: begun, looked at, called off."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from deployments.api import ask
from deployments.changes import TAG
from nightshift.errors import ServiceError

_AT_ONCE = 200
_RAISED = "Flow run encountered an exception: "


def begin(
    deployment_id: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    key: str = "",
    tags: Iterable[str] = (),
    url: str = "",
) -> str:
    """Ask for a run of a deployment, and return its flow run.

    Args:
        deployment_id: of the deployment.
        name: of the run.
        parameters: of its flow, JSON values.
        key: whoever asks again under this key gets the same flow run; "" asks anew.
        tags: of the run, beside our own.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer, or refuses.
    """
    body = {"name": name, "parameters": parameters, "idempotency_key": key or str(uuid.uuid4()), "tags": [TAG, *tags]}
    return str(ask(f"deployments/{deployment_id}/create_flow_run", body, url=url)[1]["id"])


def states_of(run_ids: Iterable[str], url: str = "") -> dict[str, dict[str, Any]]:
    """Return the states of flow runs; one that is gone has crashed.

    Raises:
        ServiceError: when the server does not answer.
    """
    ids, found = tuple(run_ids), dict[str, dict[str, Any]]()
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        runs = {r["id"]: r for r in ask("flow_runs/filter", {"flow_runs": {"id": {"any_": some}}}, url=url)[1]}
        gone = {"type": "CRASHED", "message": "its flow run was deleted"}
        found |= {run_id: runs[run_id]["state"] if run_id in runs else gone for run_id in some}
    return found


def message_of(state: Mapping[str, Any] | None) -> str:
    """Return the first line of what a state says, "" for nothing."""
    lines = str((state or {}).get("message") or "").removeprefix(_RAISED).strip().splitlines()
    return lines[0][:500].rstrip(".") if lines else ""


def call_off(run_ids: Iterable[str], url: str = "") -> None:
    """Call off flow runs that nobody waits for any more.

    Raises:
        ServiceError: when the server does not answer for one of them; the others were asked for too.
    """
    trouble: ServiceError | None = None
    for run_id in run_ids:
        state = {"type": "CANCELLING", "name": "Cancelling", "message": "Nobody waits for it any more."}
        try:
            ask(f"flow_runs/{run_id}/set_state", {"state": state}, accept=(404,), url=url)
        except ServiceError as error:
            trouble = error
    if trouble is not None:
        raise trouble
