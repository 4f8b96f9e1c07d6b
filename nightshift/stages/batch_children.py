"""The batch's side of its fork server: starts it, asks it for processes, and hears how they ended."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import nightshift
from nightshift.errors import ServiceError
from nightshift.plan.batch import GRACE_S
from nightshift.settings import Home
from nightshift.stages.batch_job import CellJob, Reply, Request

_LOG = "batch.log"
_LOAD_LIMIT_S = 300.0
# Each library of number crunching has a name of its own for this.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Child:
    """A cell's process.

    Attributes:
        pid: 0 until it has started.
        code: how it ended: the exit code, or the signal's number below zero; None when nobody knows, because the fork
            server has gone too.
        cpu_s: processor seconds of one that has ended, 0.0 when nobody knows.
    """

    def __init__(self, number: int, server: Children) -> None:
        self.number = number
        self.pid = 0
        self.code: int | None = None
        self.cpu_s = 0.0
        self._server = server
        self._ended = threading.Event()

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end for so long; returns whether it has ended."""
        return self._ended.wait(seconds)

    def signal(self, number: int) -> None:
        """Signal the process and its helpers; nothing happens when it has ended."""
        with suppress(OSError):
            self._server.send(Request(number=self.number, signal=number))

    def end(self, code: int | None, cpu_s: float = 0.0) -> None:
        """Note its end."""
        self.code, self.cpu_s = code, cpu_s
        self._ended.set()


class Children:
    """The processes of a batch; they end when this does, and when this process does.

    Args:
        home: where everything is kept.
        families: whose libraries are loaded once for all cells.
        threads: processor threads of each cell.
    """

    def __init__(self, home: Home, families: Sequence[str], threads: int) -> None:
        ours, theirs = socket.socketpair()
        self._channel = ours
        self._children: dict[int, Child] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._gone = False
        command = [sys.executable, "-m", "nightshift.stages.batch_fork", str(theirs.fileno()), *families]
        home.logs.mkdir(parents=True, exist_ok=True)
        with theirs, (home.logs / _LOG).open("ab") as log:
            self._server = subprocess.Popen(
                command,
                env=_environment(home, threads),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
            )
        self._thread = threading.Thread(target=self._listen, name="batch-children", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether more can be started."""
        return not self._gone

    def start(self, job: CellJob) -> Child:
        """Start the process of a job.

        Raises:
            ServiceError: when the fork server does not come up, or has gone.
        """
        in_time = self._ready.wait(_LOAD_LIMIT_S)
        child = Child(next(self._numbers), self)
        with self._lock:
            if self._gone or not in_time:
                raise ServiceError(
                    "the process that cells are forked from did not come up.", hint=f"See .nightshift/logs/{_LOG}."
                )
            self._children[child.number] = child
        with suppress(OSError):  # it has gone a moment ago: `_listen` ends the child
            self.send(Request(number=child.number, job=job))
        return child

    def send(self, request: Request) -> None:
        """Send a line to the fork server."""
        with self._lock:
            self._channel.sendall(request.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        """End all that still runs, first so that it can keep what it has."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        try:
            self._server.wait(GRACE_S + 5.0)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._thread.join(timeout=5.0)
        self._channel.close()

    def _listen(self) -> None:
        try:
            with suppress(OSError), self._channel.makefile("rb") as lines:
                for line in lines:
                    self._hear(Reply.model_validate_json(line))
        finally:
            # Whatever went wrong, nobody waits for ever.
            with self._lock:
                self._gone = True
                left, self._children = list(self._children.values()), {}
            self._ready.set()
            for child in left:
                child.end(None)

    def _hear(self, reply: Reply) -> None:
        if reply.what == "ready":
            self._ready.set()
        elif reply.what == "started":
            self._children[reply.number].pid = reply.pid
        else:
            with self._lock:
                child = self._children.pop(reply.number)
            child.end(reply.code, reply.cpu_s)


def _environment(home: Home, threads: int) -> dict[str, str]:
    """This process's environment, held to this home, with our packages importable and the threads bounded."""
    packages = str(Path(nightshift.__file__).resolve().parent.parent)
    path = [packages, *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != packages)]
    bounded = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return {**os.environ, **home.environment(), **bounded, "PYTHONPATH": os.pathsep.join(path)}
