"""The MLflow server of a home: one process on the loopback, over the same database and artifacts as a lone command.

Run as a module it is that server: the database is made first, once and atomically, and then MLflow takes over, in the
same process, whose imports take seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from urllib.parse import urlsplit

from deployments import processes
from deployments.api import HOST
from deployments.changes import Change, quiet
from deployments.listeners import Listener
from deployments.processes import ProcessRecord
from nightshift.errors import NightshiftError, ServiceError, without_credentials
from nightshift.plan import lock
from nightshift.settings import Home, use_home

MLFLOW = "mlflow"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
PREFERRED_PORT = 5000
# Another than the store's own, which the server takes while it comes up.
_LOCK = "mlflow-server"


def ensure_mlflow(home: Home, tell: Callable[[Change], None] = quiet) -> str:
    """Return where runs reach MLflow: the home's server, started if need be, or what the user's variable names.

    Args:
        tell: is told when it was started and answers.

    Returns:
        A tracking URI; "" where MLflow is not installed.

    Raises:
        ServiceError: when the user's server does not answer, or ours does not come up.
    """
    chosen = users_choice(home)
    if chosen:
        problem = health(chosen) if chosen.startswith("http") else ""
        if problem:
            raise ServiceError(
                f"{URI_VARIABLE} is {without_credentials(chosen)}, and no MLflow answers there: {problem}.",
                hint=f"Start that server, or unset {URI_VARIABLE} to use one of Nightshift's own.",
            )
        return chosen
    if find_spec("mlflow") is None:
        return ""
    with lock.held(home, _LOCK, wait=True):
        record = _running(home)
        if record is None:
            record = _MLFLOW.start(home, _variables(home))
            tell(Change("started", "MLflow", record.url))
        return record.url


def stop_mlflow(home: Home) -> list[ProcessRecord]:
    """End the home's server; returns it if it ran."""
    with lock.held(home, _LOCK, wait=True):
        record = processes.read(home, MLFLOW)
        ended = processes.stop([record] if record else [])
        processes.forget(home, MLFLOW)
        return ended


def health(url: str) -> str:
    """Ask an MLflow server for its health; "" when it is well, else what is wrong."""
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener = local.open if urlsplit(url).hostname in (HOST, "localhost") else urllib.request.urlopen
    try:
        with opener(f"{url.rstrip('/')}/health", timeout=20) as reply:
            return "" if reply.read(10) == b"OK" else "it is no MLflow server"
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))


def users_choice(home: Home) -> str:
    """Return the tracking URI that the user set, "" when there is none or it is our own server's, now or before."""
    uri = os.environ.get(URI_VARIABLE, "")
    record = processes.read(home, MLFLOW)
    return "" if uri in (_MLFLOW.last_address(home), record.url if record else "") else uri


def _running(home: Home) -> ProcessRecord | None:
    """Return the recorded server if it runs, answers, and serves what is set now; another is ended."""
    record = processes.read(home, MLFLOW)
    if record is None or processes.verified(record) is None:
        return None
    if record.settings != processes.settings_hash(_variables(home)):
        processes.stop([record])
        return None
    # A caller that was killed while it waited leaves a server that is still coming up.
    _MLFLOW.await_ready(home, record)
    return record


_MLFLOW = Listener(
    name=MLFLOW,
    title="The MLflow server",
    port=PREFERRED_PORT,
    address_file=f"{MLFLOW}-address",
    command=lambda port: processes.python("-m", "deployments.mlflow_server", "--port", str(port)),
    url=lambda port: f"http://{HOST}:{port}",
    health=health,
)


def _variables(home: Home) -> dict[str, str]:
    """Return what the server is told by its environment: a command line shows passwords to everybody."""
    return {
        # Between MLflow's own command and the server that it starts (mlflow/server/constants.py).
        "_MLFLOW_SERVER_FILE_STORE": home.mlflow_backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": home.mlflow_artifacts,
        "_MLFLOW_SGI_NAME": "uvicorn",
        # Queues and processes of their own for things that are not used here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # The server is not to ask itself.
        URI_VARIABLE: home.mlflow_backend,
    }


def _serve(port: int) -> None:
    """Make the database where there is none yet, and be MLflow's server.

    `mlflow server` would do it in a second process, which outlives the first when that is killed and holds the port;
    and in four by default, which a busy small machine ends before they have started. Artifacts are read and written
    where they lie, not through the server, so that a lone command and the server name them alike.
    """
    from nightshift.tracking.mlflow_store import open_store, quiet_imports

    open_store(use_home())
    import uvicorn

    with quiet_imports(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="starlette.middleware.wsgi is deprecated")
        from mlflow.server.fastapi_app import app
    uvicorn.run(app, host=HOST, port=port, log_level="warning")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    try:
        _serve(parser.parse_args().port)
    except NightshiftError as error:
        print(error, file=sys.stderr)  # noqa: T201 - into its log, which whoever waits for it quotes
        sys.exit(error.exit_code)
