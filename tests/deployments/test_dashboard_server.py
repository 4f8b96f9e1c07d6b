"""The dashboard's own process: started where nothing is missing, found again, restarted for new settings, ended."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import psutil
import pytest
from support.dashboards import OPERATOR, with_tokens

from deployments import dashboard_server, processes
from deployments.changes import Change
from deployments.dashboard_server import DASHBOARD, ensure_dashboard, health, shown, stop_dashboard
from deployments.server import down, ps, up
from nightshift.errors import ConfigError, ServiceError
from nightshift.settings import Home

NO_SERVER = "http://127.0.0.1:9/api"


@pytest.fixture
def at_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("PREFECT_API_URL", NO_SERVER)
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_PORT", str(processes.free_port(0)))
    yield home
    stop_dashboard(home)


def listening(home: Home) -> set[str]:
    record = processes.read(home, DASHBOARD)
    assert record is not None
    return {c.laddr.ip for c in psutil.Process(record.pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_it_is_started_once_keeps_to_the_loopback_and_is_started_anew_for_new_settings(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Change] = []
    url = ensure_dashboard(at_home, tell=told.append)
    assert [str(change) for change in told] == [f"started the dashboard: {url}"]
    assert health(url) == ""
    assert listening(at_home) == {"127.0.0.1"}
    first = processes.read(at_home, DASHBOARD)
    assert ensure_dashboard(at_home, tell=told.append) == url
    assert processes.read(at_home, DASHBOARD) == first
    (line,) = ps(at_home)
    assert (line.name, line.state, line.url) == ("dashboard", "running", url)
    with_tokens(monkeypatch)
    assert ensure_dashboard(at_home, tell=told.append) == url
    second = processes.read(at_home, DASHBOARD)
    assert second is not None
    assert first is not None
    assert second.pid != first.pid
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/api/openapi.json", timeout=10)
    assert OPERATOR not in processes.record_path(at_home, DASHBOARD).read_text()
    assert OPERATOR not in " ".join(psutil.Process(second.pid).cmdline())
    assert [record.name for record in stop_dashboard(at_home)] == ["dashboard"]
    assert ps(at_home) == []


def test_a_gigabyte_is_refused_at_once_and_open_connections_do_not_keep_it_from_ending(at_home: Home) -> None:
    parts = urlsplit(ensure_dashboard(at_home))
    huge = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    huge.putrequest("POST", "/api/ml/train/anomaly")
    huge.putheader("Content-Length", str(1024**3))
    huge.endheaders()
    told = huge.getresponse()
    assert (told.status, json.loads(told.read())["status"]) == (413, 413)
    with socket.create_connection((parts.hostname, parts.port)) as idle:
        idle.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        begin = time.monotonic()
        stop_dashboard(at_home)
        assert time.monotonic() - begin < 6


def test_where_the_port_is_taken_it_comes_up_elsewhere_and_stays_there(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        held = other.getsockname()[1]
        monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_PORT", str(held))
        url = ensure_dashboard(at_home)
        assert urlsplit(url).port != held
    stop_dashboard(at_home)
    assert ensure_dashboard(at_home) == url
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_PORT", str(chosen := processes.free_port(0)))
    assert urlsplit(ensure_dashboard(at_home)).port == chosen


def test_on_all_addresses_it_asks_for_a_token(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_HOST", "0.0.0.0")
    url = ensure_dashboard(at_home)
    assert urlsplit(url).hostname == socket.gethostname().lower()
    assert listening(at_home) == {"0.0.0.0"}


def test_open_to_everybody_it_is_refused_before_anything_is_started(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_HOST", "0.0.0.0")
    with pytest.raises(ConfigError, match="everybody could start"):
        up(home)
    assert processes.recorded(home) == []


def test_without_its_extra_it_is_left_out_in_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_server, "_NEEDS", ("no_such_library",))
    told: list[Change] = []
    dashboard_server.check(home)
    assert ensure_dashboard(home, tell=told.append) == ""
    (line,) = map(str, told)
    assert line == "not started the dashboard: 'no_such_library' is missing: pip install 'nightshift[dashboard]'"


def test_one_that_cannot_serve_says_why(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_HOST", "192.0.2.1")
    with_tokens(monkeypatch)
    with pytest.raises(ServiceError, match="The dashboard did not come up") as caught:
        ensure_dashboard(at_home)
    assert "cannot assign requested address" in caught.value.hint


class Elsewhere(BaseHTTPRequestHandler):
    """A web server that is no dashboard."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"OK"')

    def log_message(self, *_: object) -> None:
        return


def test_another_web_server_is_not_taken_for_the_dashboard() -> None:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert health(f"http://127.0.0.1:{server.server_port}") == "it is no dashboard"
        server.shutdown()
    assert "refused" in health("http://127.0.0.1:9")


def test_more_connections_than_it_holds_are_turned_away_and_it_goes_on(at_home: Home) -> None:
    url = ensure_dashboard(at_home)
    address = urlsplit(url)
    with ExitStack() as held:
        for _ in range(510):
            held.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
        assert health(url) == "it answers 503"
    until = time.monotonic() + 10
    while health(url) and time.monotonic() < until:
        time.sleep(0.05)
    assert health(url) == ""


def test_down_ends_it_with_everything_else(at_home: Home) -> None:
    ensure_dashboard(at_home)
    assert [process.name for process in down(at_home)] == ["dashboard"]


def test_addresses_are_told_as_others_reach_them() -> None:
    assert shown("http://127.0.0.1:8700", "127.0.0.1") == "http://127.0.0.1:8700"
    assert shown("http://127.0.0.1:8700", "::") == f"http://{socket.gethostname()}:8700"
