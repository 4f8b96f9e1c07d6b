"""A few plain requests to a Prefect server, where importing Prefect (3 s) for one of them would be felt."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

from nightshift.errors import ServiceError

API_VARIABLE = "PREFECT_API_URL"
HOST = "127.0.0.1"
#: Types of state that a run has ended in.
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
#: What the server answers while its SQLite is locked; its own clients try again, too.
_BUSY = 503
_PAUSES_S = (0.3, 1.0, 3.0, 6.0)
#: Requests to a server on SQLite that is not ours may wait 60 s for each other (see `prefect_server`).
PATIENCE_S = 90.0
#: A server that is started again while runs go on has this long.
OUTAGE_S = 600.0
# A server that goes down in the middle of its answer leaves a part of it, which is no OSError.
_NO_ANSWER = (OSError, http.client.HTTPException)


class RefusedError(ServiceError):
    """A Prefect server that answers, and does not do what it was asked.

    Attributes:
        status: its answer's; from 500 on, asking again may help.
    """

    status = 0


def health(api_url: str) -> str:
    """Ask a server for its health; "" when it is well, else what is wrong."""
    try:
        status, _ = _send(api_url, "health", None)
    except (*_NO_ANSWER, ValueError) as error:
        return str(getattr(error, "reason", error))
    return "" if status == 200 else f"it answers {status}"


def ask(
    path: str,
    body: object = None,
    *,
    method: str = "",
    accept: tuple[int, ...] = (),
    url: str = "",
    patience_s: float = PATIENCE_S,
) -> tuple[int, Any]:
    """Send a request to a Prefect server and return (status, answer).

    Args:
        path: below `/api/`.
        body: JSON values; with one it is a POST.
        method: another than that.
        accept: bad statuses that the caller wants to see.
        url: the server's API; that of `PREFECT_API_URL` by default.
        patience_s: that an answer may take.

    Raises:
        ServiceError: when the server does not answer.
        RefusedError: when its status is neither good nor in `accept`.
    """
    for pause_s in (*_PAUSES_S, 0.0):
        try:
            status, answer = _send(url or os.environ[API_VARIABLE], path, body, method, patience_s)
        except _NO_ANSWER as error:
            why = str(getattr(error, "reason", error)) or type(error).__name__
            raise ServiceError(f"The Prefect server does not answer: {why}.") from error
        if status != _BUSY:
            break
        time.sleep(pause_s)
    if status >= 400 and status not in accept:
        refused = RefusedError(f"The Prefect server answers {status} to {path}: {_reason(answer)}.")
        refused.status = status
        raise refused
    return status, answer


def _reason(answer: Any) -> str:
    """Return what a refusal says, in one line."""
    detail = answer.get("exception_detail", answer.get("detail", answer)) if isinstance(answer, dict) else answer
    if isinstance(detail, list):
        detail = "; ".join(str(one.get("msg", one)) if isinstance(one, dict) else str(one) for one in detail)
    return " ".join(str(detail).split())[:300].rstrip(".")


def _send(api_url: str, path: str, body: object, method: str = "", patience_s: float = 20.0) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api_url.rstrip('/')}/{path}", data=data, method=method or None)
    request.add_header("Content-Type", "application/json")
    if os.environ.get("PREFECT_API_KEY"):
        request.add_header("Authorization", f"Bearer {os.environ['PREFECT_API_KEY']}")
    elif os.environ.get("PREFECT_API_AUTH_STRING"):
        login = base64.b64encode(os.environ["PREFECT_API_AUTH_STRING"].encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    # A company's proxy has nothing to do with this machine's own server.
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    send = local.open if f"//{HOST}" in api_url or "//localhost" in api_url else urllib.request.urlopen
    try:
        with send(request, timeout=patience_s) as reply:
            status, text = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    try:
        return status, json.loads(text) if text else None
    except ValueError:
        return status, text.decode("utf-8", "replace")[:300]
