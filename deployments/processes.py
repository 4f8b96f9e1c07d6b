"""Processes that outlive the command that started them: recorded, verified before trusted, ended exactly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

import nightshift
from nightshift.files import write_atomic
from nightshift.settings import Home

#: The kernel's boot time, from which psutil reckons start times, moves by a second when the clock is set.
_CLOCK_SLACK_S = 2.0
#: A stage records its checkpoint within 20 s of SIGTERM.
GRACE_S = 25.0

# Handles of what this process started: an ended child is a zombie until its parent has asked for it.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ProcessRecord(BaseModel):
    """A started process: what is needed to know that a pid is still the same one.

    Attributes:
        name: `server`, `worker`; also the record's file name.
        created_s: start time, seconds since the epoch.
        command: its arguments.
        log: path of its log relative to the home.
        log_offset: where this process's part of the log begins, bytes.
        port: that it listens on, 0 for none.
        url: its address, "" for none.
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


def record_path(home: Home, name: str) -> Path:
    """Return where a process's record lies."""
    return home.run / f"{name}.json"


def read(home: Home, name: str) -> ProcessRecord | None:
    """Return a record, None when there is none or it cannot be read."""
    try:
        return ProcessRecord.model_validate_json(record_path(home, name).read_bytes())
    except (OSError, ValidationError):
        return None


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


def start(home: Home, name: str, command: Sequence[str], *, port: int = 0, url: str = "") -> ProcessRecord:
    """Start a process as its own session, its output appended to `logs/<name>.log`, and record it.

    The record is written before the process is ready, so that a killed caller leaves nothing unrecorded.
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
            env=environment(home, url),
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
    )
    write_atomic(record_path(home, name), record.model_dump_json(indent=1).encode())
    return record


def listens(process: psutil.Process, port: int) -> bool:
    """Whether a process holds a listening socket on a port."""
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found)


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

    A worker's flow runs have sessions of their own, so that the process tree is asked, not the group. Only the leaders
    of sessions are told to end: what a stage has started is the stage's to end, while it records its checkpoint.
    """
    ended = [(record, process) for record in records if (process := verified(record))]
    tree = {p.pid: p for _, process in ended for p in [process, *_descendants(process)]}
    for process in tree.values():
        if _leads(process):
            _signal(process, force=False)
    _, alive = psutil.wait_procs(list(tree.values()), timeout=grace_s)
    for process in alive:
        _signal(process, force=True)
    psutil.wait_procs(alive, timeout=5)
    for record, _ in ended:
        child = _children.pop(record.pid, None)
        if child is not None:
            child.wait(timeout=5)
    return [record for record, _ in ended]


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
