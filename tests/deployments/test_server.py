"""A real standalone server on a port of its own, in a home of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import psutil
import pytest
from support.homes import a_home
from support.servers import KeptDatabase

from deployments import processes, server
from deployments.api import RefusedError, ask
from deployments.server import ServerInfo, down, ensure_server, ps
from nightshift.errors import EXIT_UNREACHABLE, ServiceError
from nightshift.settings import Home

ROOT = Path(__file__).resolve().parents[2]
CALLER = """
import json, sys
from pathlib import Path
from nightshift.settings import use_home
home = use_home(Path(sys.argv[1]))
from deployments.server import ensure_server
info = ensure_server(home)
print(json.dumps([info.pid, info.api_url, info.started]))
"""


@dataclass(frozen=True)
class Served:
    """The server that two callers at once have brought up, and what each was told."""

    home: Home
    answers: list[tuple[int, str, bool]]
    info: ServerInfo


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_prefect: KeptDatabase) -> Iterator[Served]:
    with a_home(tmp_path_factory.mktemp("served")) as home:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", CALLER, str(home.root)]
        try:
            callers = [
                subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=home.root, text=True)
                for _ in range(2)
            ]
            answers = [tuple(json.loads(caller.communicate(timeout=200)[0])) for caller in callers]
            info = ensure_server(home)
            empty_prefect.keep(home)
            yield Served(home, answers, info)
        finally:
            down(home)


@pytest.fixture
def at_home(served: Served, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The served home, with its environment; what a test changes there is put back."""
    for key, value in served.home.environment().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PREFECT_API_URL", served.info.api_url)
    return served.home


def settings_of_server(served: Served) -> dict[str, object]:
    with urllib.request.urlopen(f"{served.info.api_url}/admin/settings", timeout=20) as reply:
        return dict(json.load(reply))


def test_two_callers_at_once_start_one_server(served):
    assert len({(pid, url) for pid, url, _ in served.answers}) == 1
    assert sorted(started for _, _, started in served.answers) == [False, True]


def test_a_later_call_finds_the_same_server(served):
    assert (served.info.pid, served.info.api_url) == served.answers[0][:2]
    assert not served.info.started


def test_the_server_keeps_to_its_home_to_the_loopback_and_to_itself(served):
    found = settings_of_server(served)
    assert found["home"] == str(served.home.prefect)
    assert found["server"]["analytics_enabled"] is False
    listening = [c.laddr.ip for c in psutil.Process(served.info.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]
    assert os.getsid(served.info.pid) == served.info.pid


def test_workers_that_ask_for_runs_at_once_do_not_stop_the_server(served, at_home):
    """On SQLite it answered nothing for 60 s, within a second of three workers: see `deployments.prefect_server`."""
    pools = ("at-once-a", "at-once-b", "at-once-c")
    for pool in pools:
        ask("work_pools/", {"name": pool, "type": "process"})
    end = time.monotonic() + 6

    def asks(pool: str) -> list[float]:
        took = []
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                ask(f"work_pools/{pool}/workers/heartbeat", {"name": "worker"})
                ask(f"work_pools/{pool}/get_scheduled_flow_runs", {})
            except RefusedError as error:
                # Its database was locked for a moment, on a busy machine: Prefect's workers ask again.
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
            took.append(time.monotonic() - begin)
        return took

    with ThreadPoolExecutor(max_workers=6) as workers:
        took = [found for one in workers.map(asks, pools * 2) for found in one]
    assert len(took) > 20
    assert max(took) < 30


def test_ps_names_the_server_its_address_and_its_log(served):
    (line,) = ps(served.home)
    assert (line.name, line.pid, line.running, line.url) == ("server", served.info.pid, True, served.info.api_url)
    assert Path(line.log).is_file()


def test_a_server_that_the_user_names_is_used_and_nothing_is_started(served, tmp_path, monkeypatch):
    other = Home(tmp_path / "other")
    monkeypatch.setenv("PREFECT_API_URL", served.info.api_url)
    monkeypatch.setattr(server, "_set_here", set())
    info = ensure_server(other)
    assert (info.api_url, info.ui_url, info.pid) == (served.info.api_url, served.info.ui_url, None)
    assert ps(other) == []


def test_a_named_server_that_does_not_answer_is_one_readable_error(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9") as caught:
        ensure_server(home)
    assert caught.value.exit_code == EXIT_UNREACHABLE
    assert "unset PREFECT_API_URL" in caught.value.hint
    assert ps(home) == []


def test_a_stale_record_is_replaced_by_the_truth(served, at_home, monkeypatch):
    """A pid that belongs to somebody else now is neither trusted nor ended."""
    record = processes.read(served.home, "server")
    stale = record.model_copy(update={"pid": os.getpid(), "created_s": record.created_s - 3600})
    path = processes.record_path(served.home, "server")
    kept = path.read_bytes()
    try:
        path.write_text(stale.model_dump_json())
        assert [line.running for line in ps(served.home)] == [False]
        assert server._running(served.home) is None
        assert not path.exists()
    finally:
        path.write_bytes(kept)


def test_a_server_that_does_not_come_up_says_why(home, monkeypatch):
    nowhere = home.root / "no" / "such" / "folder" / "prefect.db"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{nowhere}")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ServiceError, match="did not come up") as caught:
        ensure_server(home)
    assert "unable to open database file" in caught.value.hint
    assert "server.log" in caught.value.hint
    assert ps(home) == []


def test_down_ends_it_once_and_the_address_is_remembered(served, at_home):
    """The last test: it ends the server of this file."""
    monitored = psutil.Process(served.info.pid)
    ended = down(served.home)
    assert [p.name for p in ended] == ["server"]
    assert not monitored.is_running() or monitored.status() == psutil.STATUS_ZOMBIE
    assert down(served.home) == []
    assert ps(served.home) == []
    # A shell may still export the address; it is not the user's own server, and the port is preferred next time.
    os.environ["PREFECT_API_URL"] = served.info.api_url
    assert server._users_choice(served.home) == ""


def test_a_port_taken_between_the_look_and_the_bind_is_given_up_for_another(
    home: Home, monkeypatch: pytest.MonkeyPatch, empty_prefect: KeptDatabase
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    empty_prefect.into(home)
    look = processes.free_port
    with socket.socket() as other:
        other.bind((server.HOST, 0))
        other.listen()
        held = other.getsockname()[1]
        looks = iter([held])
        monkeypatch.setattr(processes, "free_port", lambda preferred: next(looks, None) or look(preferred))
        try:
            info = ensure_server(home)
            assert info.started
            assert f":{held}/" not in info.api_url
            assert [p.running for p in ps(home)] == [True]
        finally:
            down(home)
