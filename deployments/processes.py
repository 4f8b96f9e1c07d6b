"""Processes that outlive the command that started them: recorded, verified before trusted, ended exactly."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

import nightshift
from deployments.api import HOST
from nightshift.errors import ServiceError
from nightshift.files import write_atomic
from nightshift.settings import HOME_VARIABLE, WORKER_VARIABLE, Home

# Prefect gives it to the process of a flow run.
_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
# A cold start took 7-23 s on two busy cores.
START_LIMIT_S = 180.0
#: The kernel's boot time, from which psutil reckons start times, moves by a second when the clock is set.
_CLOCK_SLACK_S = 2.0
#: A stage records its checkpoint within 20 s of SIGTERM.
GRACE_S = 25.0

# Handles of what this process started: an ended child is a zombie until its parent has asked for it.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ProcessRecord(BaseModel):
    """A started process: what is needed to know that a pid is still the same one.

    Attributes:
        name: `server`, `mlflow`, `worker-gpu`; also the record's file name.
        created_s: start time, seconds since the epoch.
        command: its arguments.
        log: path of its log relative to the home.
        log_offset: where this process's part of the log begins, bytes.
        port: that it listens on, 0 for none.
        url: its address, or its server's, "" for none.
        settings: of what it was started with beside its command, as a hash: addresses may bear a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pid: int
    created_s: float
    command: tuple[str, ...]
    log: str
    log_offset: int = 0
    port: int = 0
    url: str = ""
    settings: str = ""


def record_path(home: Home, name: str) -> Path:
    """Return where a process's record lies."""
    return home.run / f"{name}.json"


def read(home: Home, name: str) -> ProcessRecord | None:
    """Return a record, None when there is none or it cannot be read."""
    try:
        return ProcessRecord.model_validate_json(record_path(home, name).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded(home: Home) -> list[ProcessRecord]:
    """Return every record of the home, those of ended processes too."""
    return [record for path in sorted(home.run.glob("*.json")) if (record := read(home, path.stem))]


def forget(home: Home, name: str) -> None:
    """Delete a record."""
    record_path(home, name).unlink(missing_ok=True)


def verified(record: ProcessRecord | None) -> psutil.Process | None:
    """Return the recorded process if it still runs: same pid, start time and command; None otherwise."""
    if record is None:
        return None
    child = _children.get(record.pid)
    if child is not None and child.poll() is not None:
        return None
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - record.created_s) > _CLOCK_SLACK_S:
            return None
        return process if tuple(process.cmdline()[1:]) == record.command[1:] else None
    except psutil.Error:
        return None


def start(
    home: Home,
    name: str,
    command: Sequence[str],
    *,
    port: int = 0,
    url: str = "",
    variables: Mapping[str, str] | None = None,
) -> ProcessRecord:
    """Start a process as its own session, its output appended to `logs/<name>.log`, and record it.

    The record is written before the process is ready, so that a killed caller leaves nothing unrecorded.

    Args:
        url: its address; a worker's is that of the Prefect server, which it is told.
        variables: of its environment, beside those of `environment`.
    """
    log = home.logs / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    home.tmp.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        offset = out.tell()
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=home.machinery,
            env={**environment(home, url), **(variables or {})},
            start_new_session=True,
        )
    _children[child.pid] = child
    record = ProcessRecord(
        name=name,
        pid=child.pid,
        created_s=_created_s(child.pid),
        command=tuple(command),
        log=log.relative_to(home.root).as_posix(),
        log_offset=offset,
        port=port,
        url=url,
        settings=settings_hash(variables or {}),
    )
    write_atomic(record_path(home, name), record.model_dump_json(indent=1).encode())
    return record


def settings_hash(variables: Mapping[str, str]) -> str:
    """Return what a record keeps of the variables that a process was started with."""
    return hashlib.sha256(json.dumps(dict(variables), sort_keys=True).encode()).hexdigest()[:16]


def listens(process: psutil.Process, port: int) -> bool:
    """Whether a process, or one that it has started, holds a listening socket on a port."""
    return any(_holds(one, port) for one in (process, *_descendants(process)))


def _holds(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found)


def await_ready(home: Home, record: ProcessRecord, what: str, problem_of: Callable[[], str]) -> None:
    """Wait until a started server itself holds its port and is well.

    Args:
        what: what people call it.
        problem_of: asks it, and returns "" when it is well, else what is wrong.

    Raises:
        ServiceError: when it has ended, or takes too long; with the end of its log.
    """
    deadline = time.monotonic() + START_LIMIT_S
    problem = "it did not listen"
    while time.monotonic() < deadline:
        process = verified(record)
        if process is None:
            problem = "it ended"
            break
        if listens(process, record.port):
            problem = problem_of()
            if not problem:
                return
        time.sleep(0.1)
    raise ServiceError(f"{what} did not come up on port {record.port}: {problem}.", hint=end_of_log(home, record))


def end_of_log(home: Home, record: ProcessRecord) -> str:
    """Return the hint that shows how a process's log ends."""
    lines = last_lines(home, record)
    return f"Its log {record.log} ends with:\n{lines}" if lines else f"Its log {record.log} is empty."


def free_port(preferred: int) -> int:
    """Return the preferred port where it is free, else any; 0 prefers none.

    Raises:
        ServiceError: when there is none.
    """
    for port in (preferred, 0):
        found = bound(port)
        if found:
            return found
    raise ServiceError("No free port on the loopback address.", hint="End some programs and try again.")


def bound(port: int) -> int:
    """Bind a port for a moment and return its number; 0 when somebody else holds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server binds: a port whose last connections are still in TIME_WAIT is free, a listener's is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])


def last_lines(home: Home, record: ProcessRecord, count: int = 12) -> str:
    """Return the last lines that this process wrote to its log."""
    try:
        with (home.root / record.log).open("rb") as file:
            file.seek(record.log_offset)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def stop(records: Iterable[ProcessRecord], grace_s: float = GRACE_S) -> list[ProcessRecord]:
    """End recorded processes with everything they started; returns those that ran.

    A worker's flow runs have sessions of their own, so that the process tree is asked, not the group. They are told
    first, while the worker can still tell the server of them. Only the leaders of sessions are told to end: what a
    stage has started is the stage's to end, while it records its checkpoint.

    Args:
        grace_s: that runs have, and their workers after them, before they are killed.
    """
    ended = [(record, process) for record in records if (process := verified(record))]
    roots = [process for _, process in ended]
    _end(_trees([p for root in roots for p in _descendants(root) if _leads(p)]), grace_s)
    _end(_trees(roots), grace_s)
    for record, _ in ended:
        child = _children.pop(record.pid, None)
        if child is not None:
            child.wait(timeout=5)
    return [record for record, _ in ended]


def _trees(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    return list({p.pid: p for root in roots for p in [root, *_descendants(root)]}.values())


def _end(found: Sequence[psutil.Process], grace_s: float) -> None:
    for process in found:
        if _leads(process):
            _signal(process, force=False)
    for process in _outlasting(found, grace_s):
        _signal(process, force=True)
    _outlasting(found, 5)


def _outlasting(found: Sequence[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; returns those that have not. One that its parent has yet to ask for has."""
    deadline = time.monotonic() + limit_s
    while alive := [process for process in found if _alive(process)]:
        if time.monotonic() >= deadline:
            return alive
        time.sleep(0.05)
    return []


def _alive(process: psutil.Process) -> bool:
    child = _children.get(process.pid)
    if child is not None:
        child.poll()
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def orphans(home: Home) -> list[ProcessRecord]:
    """Return the flow runs of this home's workers that have outlived their worker.

    A worker that is killed leaves them in sessions of their own, and Prefect lets them end. They are known by the
    environment that it has given them.
    """
    ours: dict[int, tuple[psutil.Process, Mapping[str, str]]] = {}
    for process in psutil.process_iter():
        environment = _environment_of(process)
        if environment.get(HOME_VARIABLE) == str(home.root) and WORKER_VARIABLE in environment:
            ours[process.pid] = (process, environment)
    return [
        _run_record(process, environment[_RUN_VARIABLE])
        for process, environment in ours.values()
        if _RUN_VARIABLE in environment and _leads(process) and not ours.keys() & set(_ancestors(process))
    ]


def _run_record(process: psutil.Process, run_id: str) -> ProcessRecord:
    try:
        command = tuple(process.cmdline())
    except psutil.Error:
        command = ()
    created_s = _created_s(process.pid)
    return ProcessRecord(name=f"run-{run_id[:8]}", pid=process.pid, created_s=created_s, command=command, log="")


def _environment_of(process: psutil.Process) -> Mapping[str, str]:
    """Return what a process was started with; nothing for another user's, or one that has ended."""
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _ancestors(process: psutil.Process) -> list[int]:
    try:
        return [parent.pid for parent in process.parents()]
    except psutil.Error:
        return []


def at_s(text: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        if force:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return


def _created_s(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return time.time()


def environment(home: Home, url: str) -> Mapping[str, str]:
    """The caller's environment, held to this home, with our packages importable from a plain checkout too."""
    packages = str(Path(nightshift.__file__).resolve().parent.parent)
    path = [packages, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != packages)]
    environment = {**os.environ, **home.environment(), "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
    environment.pop("PREFECT_API_URL", None)
    return environment | ({"PREFECT_API_URL": url} if url else {})


def python(*arguments: str) -> tuple[str, ...]:
    """Return a command that this interpreter runs."""
    return (sys.executable, *arguments)
