"""The dashboard's server of a home: `python -m nightshift.dashboard`, started, found again and ended as the others."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from deployments import processes
from deployments.api import API_VARIABLE, HOST
from deployments.changes import Change, quiet
from deployments.listeners import Listener
from deployments.mlflow_server import URI_VARIABLE
from deployments.processes import ProcessRecord
from nightshift.plan import lock
from nightshift.settings import Home

if TYPE_CHECKING:
    from nightshift.dashboard.config import DashboardConfig, Role

DASHBOARD = "dashboard"
#: What the extra brings beside `train`.
_NEEDS = ("fastapi_offline", "httpx", "jinja2", "limits", "python_multipart", "pandas")
_EVERYWHERE = ("0.0.0.0", "::")
# Not read by anybody: a server with other settings is another one.
_SETTINGS_VARIABLE = "_NIGHTSHIFT_DASHBOARD_SETTINGS"
_LOCK = "dashboard-server"
#: Beyond what it gives streams to end, see `nightshift.dashboard.__main__`.
_GRACE_S = 10.0


def missing() -> str:
    """Return a library that the dashboard needs and that is not installed, "" when all are."""
    return next((name for name in _NEEDS if find_spec(name) is None), "")


def check(home: Home) -> None:
    """Read the dashboard's settings, before anything is started.

    Raises:
        ConfigError: when they cannot be used, or would let everybody in.
    """
    if not missing():
        from nightshift.dashboard.config import load_config, tokens

        load_config(home)
        tokens()


def ensure_dashboard(home: Home, tracking_uri: str = "", tell: Callable[[Change], None] = quiet) -> str:
    """Return the dashboard's address, started if need be; Prefect's server is `PREFECT_API_URL`.

    Args:
        tracking_uri: where it reads the registry; "" leaves it to itself.
        tell: is told when it was started and answers, or that it cannot be.

    Returns:
        "" where the extra is not installed.

    Raises:
        ConfigError: when its settings cannot be used.
        ServiceError: when it does not come up.
    """
    lacking = missing()
    if lacking:
        tell(Change("not started", "the dashboard", f"'{lacking}' is missing: pip install 'nightshift[dashboard]'"))
        return ""
    from nightshift.dashboard.config import load_config, tokens

    config = load_config(home)
    listener = _listener(config)
    variables = _variables(config, tokens(), tracking_uri)
    with lock.held(home, _LOCK, wait=True):
        record = _running(home, listener, variables)
        if record is None:
            record = listener.start(home, variables)
            tell(Change("started", "the dashboard", shown(record.url, config.host)))
        return shown(record.url, config.host)


def stop_dashboard(home: Home) -> list[ProcessRecord]:
    """End the home's dashboard; returns it if it ran."""
    with lock.held(home, _LOCK, wait=True):
        record = processes.read(home, DASHBOARD)
        ended = processes.stop([record] if record else [], _GRACE_S)
        processes.forget(home, DASHBOARD)
        return ended


def health(url: str) -> str:
    """Ask a dashboard for its health; "" when it is well, else what is wrong."""
    # A company's proxy has nothing to do with this machine's own server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/api/health", timeout=20) as reply:
            found = json.loads(reply.read(1000))
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error))
    except ValueError:
        found = None
    ours = isinstance(found, dict) and found.get("service") == "nightshift-dashboard"
    return "" if ours else "it is no dashboard"


def shown(url: str, host: str) -> str:
    """Return the address that people are told: this machine's name where it listens on all of its addresses."""
    return url.replace(HOST, socket.gethostname(), 1) if host in _EVERYWHERE else url


def _running(home: Home, listener: Listener, variables: dict[str, str]) -> ProcessRecord | None:
    """Return the recorded dashboard if it runs, answers, and was started with what is set now; another is ended."""
    record = processes.read(home, DASHBOARD)
    if record is None or processes.verified(record) is None:
        return None
    if record.settings != processes.settings_hash(variables):
        processes.stop([record], _GRACE_S)
        return None
    # A caller that was killed while it waited leaves a server that is still coming up.
    listener.await_ready(home, record)
    return record


def _listener(config: DashboardConfig) -> Listener:
    return Listener(
        name=DASHBOARD,
        title="The dashboard",
        port=config.port,
        # Where it last was counts while the port that the user prefers is the same.
        address_file=f"{DASHBOARD}-{config.port}-address",
        command=lambda port: processes.python("-m", "nightshift.dashboard", "--port", str(port)),
        url=lambda port: f"http://{_asked_at(config.host)}:{port}",
        health=health,
    )


def _asked_at(host: str) -> str:
    """Return where this machine asks a server that listens on a host."""
    asked = HOST if host in (*_EVERYWHERE, "localhost") else host
    return f"[{asked}]" if ":" in asked else asked


def _variables(config: DashboardConfig, tokens: Mapping[Role, str], tracking_uri: str) -> dict[str, str]:
    """Return what the server is told by its environment: who it asks, and a mark of its settings."""
    settings = json.dumps([config.model_dump(mode="json"), sorted(tokens.items())])
    return {
        API_VARIABLE: os.environ[API_VARIABLE],
        _SETTINGS_VARIABLE: hashlib.sha256(settings.encode()).hexdigest(),
        **({URI_VARIABLE: tracking_uri} if tracking_uri else {}),
    }
