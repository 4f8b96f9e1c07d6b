"""The fork server of a batch: loads the libraries once, then forks a process for each cell.

A server of our own, because multiprocessing's loads the caller's main module anew in every child (for a flow run that
is Prefect, seconds), and because a pool of workers breaks whole when one of them dies. Run as a program:
`python -m nightshift.stages.batch_fork FD FAMILY...`; FD is one end of a socket that speaks JSON lines.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress

from nightshift.plan.batch import GRACE_S
from nightshift.settings import Home, use_home
from nightshift.stages import batch_cell
from nightshift.stages.batch_job import CellJob, Reply, Request
from nightshift.stages.batch_preload import preload

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the other end of the socket is closed."""
    home = use_home()
    channel = socket.socket(fileno=int(sys.argv[1]))
    ForkServer(channel).serve(sys.argv[2:], home)


class ForkServer:
    """One thread that forks, signals and reaps; forking beside other threads could copy a lock that is held."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pids: dict[int, int] = {}
        self._text = b""
        self._libc = ctypes.CDLL(None)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def serve(self, chosen: list[str], home: Home) -> None:
        """Load what the chosen families need, then do what is asked for."""
        # A signal to the whole group is for the batch, which tells what it means.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        preload(chosen, home)
        self._send(Reply(what="ready"))
        with selectors.DefaultSelector() as ready:
            ready.register(self._channel, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while self._turn(ready):
                pass
        self._end_all()

    def _turn(self, ready: selectors.BaseSelector) -> bool:
        """Wait for something to do and do it; false when the batch has gone."""
        here = True
        for key, _ in ready.select():
            if key.fileobj is self._channel:
                here = self._receive()
            else:
                os.read(self._woken, 4096)
        self._reap()
        return here

    def _receive(self) -> bool:
        try:
            data = self._channel.recv(65536)
        except ConnectionError:
            return False
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            request = Request.model_validate_json(line)
            if request.job is not None:
                self._start(request.number, request.job)
            elif request.number in self._pids:
                _signal_group(self._pids[request.number], request.signal)
        return bool(data)

    def _start(self, number: int, job: CellJob) -> None:
        server = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"{job.cell.name}: no process could be made: {error}", file=sys.stderr, flush=True)  # noqa: T201
            self._send(Reply(what="ended", number=number, code=os.EX_OSERR))
            return
        if not pid:
            try:
                self._become_cell(server)
                batch_cell.main(job)
            finally:
                os._exit(1)  # whatever happens, one server is enough
        with suppress(OSError):
            # Both sides do this: whichever comes first, the group is there when it is signalled.
            os.setpgid(pid, pid)
        self._pids[number] = pid
        self._send(Reply(what="started", number=number, pid=pid))

    def _become_cell(self, server: int) -> None:
        """Let go of what is the server's, and end when it does, however it ends."""
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != server:
            os._exit(1)
        self._channel.close()
        os.close(self._wake)
        os.close(self._woken)

    def _reap(self) -> None:
        for number, pid in list(self._pids.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                del self._pids[number]
                # Helpers that a library has started go with the cell that they helped; until it is reaped, nobody else
                # can have its number.
                _signal_group(pid, signal.SIGKILL)
                _, status, used = os.wait4(pid, 0)
                code = os.waitstatus_to_exitcode(status)
                cpu_s = used.ru_utime + used.ru_stime
                self._send(Reply(what="ended", number=number, pid=pid, code=code, cpu_s=cpu_s))

    def _send(self, reply: Reply) -> None:
        with suppress(OSError):
            self._channel.sendall(reply.model_dump_json().encode() + b"\n")

    def _end_all(self) -> None:
        """End the cells of a batch that has gone: first so that they can keep what they have."""
        for pid in self._pids.values():
            _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while self._pids and time.monotonic() < deadline:
            time.sleep(0.1)
            self._reap()
        for pid in self._pids.values():
            _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


if __name__ == "__main__":
    main()
