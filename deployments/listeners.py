"""A server of the home's own on the loopback: started where it last was, or elsewhere when that port is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deployments import processes
from deployments.processes import ProcessRecord
from nightshift.errors import ServiceError
from nightshift.files import write_atomic
from nightshift.settings import Home

_TRIES = 3
#: As uvicorn and Prefect say it, far above the tracebacks of a server that lets go of what it had begun.
_IN_USE = "already in use"
_WHOLE_LOG = 1000


@dataclass(frozen=True)
class Listener:
    """A kind of server.

    Attributes:
        name: of its record and its log.
        title: what people call it.
        port: preferred where it has not run before.
        address_file: keeps its last address, which a shell may still export after `down`.
        command: that starts it on a port.
        url: of it on a port.
        health: asks at an address; "" when it is well, else what is wrong.
    """

    name: str
    title: str
    port: int
    address_file: str
    command: Callable[[int], tuple[str, ...]]
    url: Callable[[int], str]
    health: Callable[[str], str]

    def last_address(self, home: Home) -> str:
        """Return the address of the home's last server of this kind, "" when there was none."""
        path = home.run / self.address_file
        return path.read_text(encoding="ascii").strip() if path.is_file() else ""

    def start(self, home: Home, variables: Mapping[str, str] | None = None) -> ProcessRecord:
        """Start it and wait until it answers.

        Args:
            variables: of its environment.

        Raises:
            ServiceError: when it does not come up.
        """
        preferred = urlsplit(self.last_address(home)).port or self.port
        for attempt in range(_TRIES):
            port = processes.free_port(preferred if attempt == 0 else 0)
            url = self.url(port)
            record = processes.start(home, self.name, self.command(port), port=port, url=url, variables=variables or {})
            try:
                self.await_ready(home, record)
            except ServiceError:
                # Another program took the port between our look and the server's bind; it may have ended since.
                taken = _IN_USE in processes.last_lines(home, record, _WHOLE_LOG)
                processes.stop([record])
                processes.forget(home, self.name)
                if not (taken or processes.bound(port) == 0) or attempt + 1 == _TRIES:
                    raise
            else:
                write_atomic(home.run / self.address_file, url.encode())
                return record
        raise AssertionError("the last attempt returns or raises")

    def await_ready(self, home: Home, record: ProcessRecord) -> None:
        """Wait until a started one answers.

        Raises:
            ServiceError: when it does not.
        """
        processes.await_ready(home, record, self.title, lambda: self.health(record.url))
