"""The Prefect server of a home: one standalone process on the loopback, started once, found again, ended exactly.

The ephemeral server is not used: it answered "database is locked" after a map of 1,000 tasks, where a standalone one
on the same SQLite served 3,000.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deployments import dashboard_server, mlflow_server, posts, processes
from deployments.api import API_VARIABLE, HOST, health
from deployments.changes import Change, quiet
from deployments.listeners import Listener
from deployments.processes import ProcessRecord
from nightshift.errors import ServiceError
from nightshift.plan import lock
from nightshift.settings import Home

PREFERRED_PORT = 4200
SERVER = "server"
#: A batch's stages record their checkpoints within 20 s; the run of the fleet then writes how it ended.
DOWN_GRACE_S = 45.0


def _command(port: int) -> tuple[str, ...]:
    return processes.python("-m", "deployments.prefect_server", "--host", HOST, "--port", str(port))


_PREFECT = Listener(
    name=SERVER,
    title="The Prefect server",
    port=PREFERRED_PORT,
    address_file="address",
    command=_command,
    url=lambda port: f"http://{HOST}:{port}/api",
    health=health,
)

#: The servers, as `ps` shows them, and what asks each for its health.
_SERVERS: dict[str, Callable[[str], str]] = {
    SERVER: health,
    mlflow_server.MLFLOW: mlflow_server.health,
    dashboard_server.DASHBOARD: dashboard_server.health,
}

# Addresses that this process itself has put into PREFECT_API_URL: they are not the user's choice.
_set_here: set[str] = set()


@dataclass(frozen=True)
class ServerInfo:
    """A Prefect server that answers.

    Attributes:
        api_url: for `PREFECT_API_URL`.
        ui_url: to look around in.
        pid: of our own server; None for one that `PREFECT_API_URL` names.
        started: whether this call started it.
    """

    api_url: str
    ui_url: str
    pid: int | None = None
    started: bool = False


@dataclass(frozen=True)
class ProcessInfo:
    """One line of `nightshift ps`.

    Attributes:
        running: whether the process is there.
        state: in words; a process that is there may not answer.
    """

    name: str
    pid: int
    running: bool
    state: str
    started_at: str
    url: str
    log: str


@dataclass(frozen=True)
class Machine:
    """What `up` has brought up.

    Attributes:
        server: Prefect's.
        tracking_uri: where the workers' runs reach MLflow; "" leaves it to each run.
        dashboard: its address; "" without one.
    """

    server: ServerInfo
    tracking_uri: str
    dashboard: str = ""


def ensure_server(home: Home) -> ServerInfo:
    """Return a server that answers, and set `PREFECT_API_URL` for this process and its children.

    The user's own `PREFECT_API_URL` is used as it is; otherwise the home's recorded server, verified; otherwise one is
    started. Call it before Prefect is imported.

    Raises:
        ServiceError: when the user's server does not answer, or ours does not come up.
    """
    chosen = _users_choice(home)
    if chosen:
        problem = health(chosen)
        if problem:
            raise ServiceError(
                f"{API_VARIABLE} is {chosen}, and no Prefect server answers there: {problem}.",
                hint=f"Start that server, or unset {API_VARIABLE} to use one of Nightshift's own.",
            )
        return ServerInfo(chosen, chosen.removesuffix("/").removesuffix("/api"))
    with lock.held(home, "server", wait=True):
        record, started = _running(home), False
        if record is None:
            record, started = _start(home), True
    _use(record.url)
    return ServerInfo(record.url, record.url.removesuffix("/api"), record.pid, started)


def up(
    home: Home,
    *,
    worker: bool = True,
    mlflow: bool = True,
    dashboard: bool = True,
    tell: Callable[[Change], None] = quiet,
) -> Machine:
    """Bring up the servers, deploy what `prefect.yaml` declares, and start the workers that run it on this machine.

    Landings that nobody has been told of are told now. Without workers a run asked for in the UI, or by `prefect
    deployment run`, would wait for ever.

    Args:
        worker: whether to start workers.
        mlflow: whether to start MLflow's server; without it runs use its database as a lone command does.
        dashboard: whether to start the dashboard, where its extra is installed.
        tell: is told of each change on the server, and of each part that was started, when it is well.

    Raises:
        ConfigError: when the files that say what to deploy cannot be used; nothing was started.
        ServiceError: when a part does not come up.
    """
    check_files(home)
    if worker:
        posts.check(home)
    if dashboard:
        dashboard_server.check(home)
    # MLflow takes as long as Prefect's server and the deploy together.
    with ThreadPoolExecutor(max_workers=1) as beside:
        coming = beside.submit(mlflow_server.ensure_mlflow, home, tell) if mlflow else None
        info = ensure_server(home)
        if info.started:
            tell(Change("started", "Prefect", info.ui_url))
        _deploy_for_nights(home, tell)
        tracking_uri = coming.result() if coming else ""
        page = beside.submit(dashboard_server.ensure_dashboard, home, tracking_uri, tell) if dashboard else None
        if worker:
            posts.ensure_workers(home, tracking_uri=tracking_uri, tell=tell)
        address = page.result() if page else ""
    from deployments.events import deliver

    deliver(home)
    return Machine(info, tracking_uri, address)


def down(home: Home) -> list[ProcessInfo]:
    """End what `up` and `ensure_server` started, and nothing else; returns what was ended.

    The workers go first, so that their runs can still tell the servers how they ended; all at once, since a run of the
    fleet on one of them waits for its batches on the others. Runs whose worker was killed end with them.
    """
    others = [record for record in processes.recorded(home) if record.name not in _SERVERS]
    ended = posts.stop_workers(home, [*others, *processes.orphans(home)], DOWN_GRACE_S)
    ended += dashboard_server.stop_dashboard(home)
    ended += mlflow_server.stop_mlflow(home)
    with lock.held(home, SERVER, wait=True):
        record = processes.read(home, SERVER)
        ended += processes.stop([record] if record else [])
        processes.forget(home, SERVER)
    for record in ended:
        if os.environ.get(API_VARIABLE) == record.url and record.url in _set_here:
            del os.environ[API_VARIABLE]
    return [_info(home, record, "ended") for record in ended]


def address(home: Home) -> str:
    """Return the API of the server that a command would use, "" when none runs; starts nothing.

    The user's own is named whether it answers or not.
    """
    record = processes.read(home, SERVER)
    return _users_choice(home) or (record.url if record is not None and processes.verified(record) else "")


def ps(home: Home) -> list[ProcessInfo]:
    """Return the recorded processes and how each is, the servers first; and runs that have outlived their worker."""
    order = {name: place for place, name in enumerate(_SERVERS)}
    records = sorted(processes.recorded(home), key=lambda r: (order.get(r.name, len(order)), r.name))
    found = [_info(home, record, _state(record)) for record in records]
    return found + [_info(home, record, "running, its worker has gone") for record in processes.orphans(home)]


def check_files(home: Home) -> None:
    """Read what `deploy` is to make of the server, before one is started for it.

    Raises:
        ConfigError: when the files cannot be used.
    """
    from deployments.apply import checked

    checked(home)


def deploy(home: Home, file: Path | None = None, tell: Callable[[Change], None] = quiet) -> tuple[Change, ...]:
    """Make the server as `prefect.yaml` and `configs/pools.yaml` say; returns what changed, nothing the second time.

    Args:
        file: another `prefect.yaml`.
        tell: is told of each change when it is made.

    Raises:
        ConfigError: when the files cannot be used.
        ServiceError: when Prefect refuses them.
    """
    from deployments.apply import deploy_all

    return deploy_all(home, file, tell)


def _deploy_for_nights(home: Home, tell: Callable[[Change], None]) -> None:
    """Deploy; that nobody can be told of a night is told here, and keeps no worker from starting."""
    from deployments.reactions import UnmetError

    try:
        deploy(home, tell=tell)
    except UnmetError as error:
        tell(Change("not declared", "what tells of trouble", str(error)))


def _users_choice(home: Home) -> str:
    """Return the `PREFECT_API_URL` that the user set, "" when there is none or it is our own server's."""
    url = os.environ.get(API_VARIABLE, "")
    record = processes.read(home, SERVER)
    ours = _set_here | {_PREFECT.last_address(home), record.url if record else ""}
    return "" if url in ours else url


def _running(home: Home) -> ProcessRecord | None:
    """Return the recorded server if it runs, listens and answers; a stale record is deleted."""
    record = processes.read(home, SERVER)
    if record is None:
        return None
    if processes.verified(record) is None:
        processes.forget(home, SERVER)
        return None
    # A caller that was killed while it waited leaves a server that is still coming up.
    _PREFECT.await_ready(home, record)
    return record


def _start(home: Home) -> ProcessRecord:
    home.prefect.mkdir(parents=True, exist_ok=True)
    return _PREFECT.start(home)


def _use(url: str) -> None:
    """Point this process and its children at a server."""
    _set_here.add(url)
    os.environ[API_VARIABLE] = url
    for name in ("NO_PROXY", "no_proxy"):
        if HOST not in os.environ.get(name, ""):
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), HOST)))
    if "prefect" in sys.modules:
        # Prefect reads its settings once, at import.
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def _state(record: ProcessRecord) -> str:
    """Return how a recorded process is, in words that begin with `running` if it is there."""
    if processes.verified(record) is None:
        return "not running"
    if record.name in _SERVERS:
        problem = _SERVERS[record.name](record.url)
        return f"running, does not answer: {problem}" if problem else "running"
    try:
        return "running, its server has not heard it" if posts.silent(record) else "running"
    except ServiceError:
        return "running, its server does not answer"


def _info(home: Home, record: ProcessRecord, state: str) -> ProcessInfo:
    started_at = datetime.fromtimestamp(record.created_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    log = str(home.root / record.log) if record.log else ""
    return ProcessInfo(record.name, record.pid, state.startswith("running"), state, started_at, record.url, log)
