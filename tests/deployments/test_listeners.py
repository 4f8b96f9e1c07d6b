"""A server that comes up elsewhere where its port is taken: small servers, so that it takes no time."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from deployments import processes
from deployments.api import HOST
from deployments.listeners import Listener
from deployments.server import down
from nightshift.errors import ServiceError
from nightshift.settings import Home

SERVES = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', PORT), http.server.SimpleHTTPRequestHandler)"
#: Whoever held the port has gone again by now, and a long end of the log hides what was said of it.
TOO_LATE = "print('[Errno 98] address already in use'); print('Traceback\\n' * 50); raise SystemExit(1)"
BROKEN = "print('no such module'); raise SystemExit(1)"


@pytest.fixture
def at_home(home: Home) -> Iterator[Home]:
    yield home
    down(home)


def health(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return ""
    except OSError as error:
        return str(error)


def listener(*codes: str) -> tuple[Listener, list[int]]:
    """A server whose tries run these programs, and the ports that they were given."""
    ports: list[int] = []

    def command(port: int) -> tuple[str, ...]:
        ports.append(port)
        return processes.python("-c", codes[len(ports) - 1].replace("PORT", str(port)))

    made = Listener("small", "The small server", 0, "small-address", command, lambda p: f"http://{HOST}:{p}", health)
    return made, ports


def test_a_port_that_was_taken_for_a_moment_only_is_given_up_for_another(at_home: Home) -> None:
    small, ports = listener(TOO_LATE, f"{SERVES}.serve_forever()")
    record = small.start(at_home)
    assert record.port == ports[1]
    assert small.last_address(at_home) == record.url
    assert health(record.url) == ""


def test_a_server_that_ends_for_another_reason_is_not_tried_again(at_home: Home) -> None:
    small, ports = listener(BROKEN, f"{SERVES}.serve_forever()")
    with pytest.raises(ServiceError, match="The small server did not come up") as caught:
        small.start(at_home)
    assert "no such module" in caught.value.hint
    assert len(ports) == 1
    assert processes.recorded(at_home) == []
