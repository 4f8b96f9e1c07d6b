"""What stands before every route: the name asked for, other sites, how often, how much, and headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboards import OPERATOR, VIEWER, asking, with_tokens

from nightshift.dashboard.predictions import MAX_BYTES
from nightshift.settings import Home

Opened = Callable[..., TestClient]
MB = 1024 * 1024


@pytest.fixture
def opened(home: Home) -> Iterator[Opened]:
    with asking(home) as found:
        yield found


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8700", "localhost:9", "LOCALHOST", "[::1]:8700", "192.0.2.9", "localhost."]
)
def test_it_goes_by_its_own_names_and_by_addresses_in_numbers(opened: Opened, host: str) -> None:
    assert opened().get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8700", "", "a@localhost", "[::1", "x/y", "1.2"]
)
def test_a_name_that_another_site_pointed_here_is_told_nothing(opened: Opened, host: str) -> None:
    told = opened().get("/api/openapi.json", headers={"Host": host})
    assert (told.status_code, told.headers["content-type"]) == (400, "application/problem+json")
    assert "allowed_hosts" in told.json()["hint"]


def test_a_name_that_the_config_allows_is_ours(opened: Opened) -> None:
    client = opened({"allowed_hosts": ["Fleet.example.org"]})
    assert client.get("/api/health", headers={"Host": "fleet.example.org"}).status_code == 200
    assert client.get("/api/health", headers={"Host": "x.fleet.example.org"}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8700"}, False),
        ({"Origin": "http://127.0.0.1:8700"}, True),
        ({"Origin": "http://127.0.0.1:9"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "http://["}, False),
    ],
)
def test_another_site_cannot_make_a_browser_act(opened: Opened, headers: dict[str, str], passes: bool) -> None:
    client = opened()
    assert client.post("/asked/act", headers=headers).status_code == (200 if passes else 403)
    assert client.get("/asked/who", headers=headers).status_code == 200


def test_a_cookie_does_not_help_another_site_and_a_bearer_token_needs_no_origin(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    client = opened()
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/login", data={"token": OPERATOR}, headers=foreign).status_code == 403
    client.post("/login", data={"token": OPERATOR})
    assert client.post("/asked/act").text == "done"
    assert client.post("/asked/act", headers=foreign).status_code == 403
    told = opened().post("/asked/act", headers=foreign | {"Authorization": f"Bearer {OPERATOR}"})
    assert told.text == "done"


def test_a_body_that_says_it_is_too_long_is_not_read(opened: Opened) -> None:
    """A gigabyte is refused by what its header says: it is not waited for."""
    begin = time.monotonic()
    told = opened().post("/api/asked/bring", content=b"", headers={"Content-Length": str(1024 * MB)})
    assert time.monotonic() - begin < 1
    assert (told.status_code, told.headers["connection"]) == (413, "close")
    assert told.json()["detail"] == "The request brings more than the 4 MB that are allowed."
    assert "max_body_mb" in told.json()["hint"]


def _sent(client: TestClient, receive: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """What is answered to an upload that comes piece by piece."""
    sent: list[dict[str, Any]] = []

    async def received() -> dict[str, Any]:
        return receive()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/asked/bring", "raw_path": b"/api/asked/bring", "scheme": "http",
        "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 5), "server": ("x", 1),
        "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "",
    }  # fmt: skip
    asyncio.run(client.app(scope, received, send))  # type: ignore[arg-type]
    return sent


def test_of_a_body_that_does_not_say_its_length_no_more_is_read_than_allowed(opened: Opened) -> None:
    given = 0

    def bring() -> dict[str, Any]:
        nonlocal given
        given += MB // 4
        return {"type": "http.request", "body": b"x" * (MB // 4), "more_body": True}

    sent = _sent(opened({"max_body_mb": 1}), bring)
    assert sent[0]["status"] == 413
    assert dict(sent[0]["headers"])[b"connection"] == b"close"
    assert given <= 2 * MB


def test_whoever_hangs_up_in_the_middle_leaves_no_traceback(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    pieces = iter([{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}])
    assert _sent(opened(), lambda: next(pieces)) == []
    assert not caplog.records


def test_files_may_be_no_larger_than_other_bodies(opened: Opened) -> None:
    client = opened()
    assert client.post("/api/asked/bring", content=b"x" * 4 * MB).json() == 4 * MB
    for kind in ("application/json", "text/csv", "application/octet-stream"):
        told = client.post("/api/asked/bring", content=b"x" * (4 * MB + 1), headers={"Content-Type": kind})
        assert told.status_code == 413, kind
    files = {"file": ("a.csv", b"x" * MAX_BYTES)}
    assert client.post("/api/asked/upload", files=files, data={"name": "a"}).json() == MAX_BYTES
    too_large = client.post("/api/asked/upload", files={"file": ("a.csv", b"x" * 4 * MB)}, data={"name": "a"})
    assert too_large.status_code == 413


def test_a_login_brings_no_more_than_a_token(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened()
    assert client.post("/login", data={"token": OPERATOR, "next": "/" + "x" * 9_000}).status_code != 413
    told = client.post("/login", data={"token": "x" * 17_000})
    assert told.status_code == 413
    assert "16 kB" in told.text
    assert "max_body_mb" not in told.text


def test_who_acts_too_often_is_told_when_to_try_again_and_others_are_not(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens(monkeypatch)
    client = opened({"rates": {"actions": "3/minute", "predictions": "5/minute"}})
    operator, viewer = ({"Authorization": f"Bearer {token}"} for token in (OPERATOR, VIEWER))
    assert [client.post("/asked/act", headers=operator).status_code for _ in range(4)] == [200, 200, 200, 429]
    told = client.post("/api/asked/bring", headers=operator)
    assert (told.status_code, told.headers["content-type"]) == (429, "application/problem+json")
    assert 1 <= int(told.headers["retry-after"]) <= 60
    assert client.post("/asked/act", headers=viewer).status_code == 403
    asked = [client.post("/api/predict/of-a-test", headers=operator).status_code for _ in range(6)]
    assert asked == [200] * 5 + [429]


def test_reading_is_not_counted_and_a_thousand_reads_take_no_second_each(opened: Opened) -> None:
    client = opened({"rates": {"actions": "1/minute"}})
    begin = time.monotonic()
    assert {client.get("/api/health").status_code for _ in range(300)} == {200}
    assert time.monotonic() - begin < 10


def test_guessing_tokens_is_slow(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened({"rates": {"logins": "3/minute"}})
    asked = [client.get("/asked/who", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(5)]
    assert asked == [401, 401, 401, 429, 429]
    right = {"Authorization": f"Bearer {OPERATOR}"}
    told = client.get("/asked/who", headers=right)
    assert told.status_code == 429, "a right one is not told apart"
    assert 1 <= int(told.headers["retry-after"]) <= 60
    assert [client.post("/login", data={"token": "x"}).status_code for _ in range(4)] == [401, 401, 401, 429]
    assert client.get("/login").status_code == 200
    assert opened(peer="192.0.2.8").get("/asked/who", headers=right).status_code == 200


@pytest.mark.parametrize("address", ["/login", "/api/health", "/static/app.css"])
def test_tokens_are_not_guessed_where_none_is_needed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    with_tokens(monkeypatch)
    client = opened({"rates": {"logins": "3/minute"}})
    asked = [client.get(address, headers={"Authorization": f"Bearer {n}"}).status_code for n in range(4)]
    assert asked == [200, 200, 200, 429]


def test_behind_a_proxy_each_is_counted_alone(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with_tokens(monkeypatch)
    client = opened({"trusted_proxies": ["10.0.0.0/24"], "rates": {"logins": "1/minute"}}, peer="10.0.0.5")

    def asked(came_by: str, token: str = "x") -> int:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": came_by}
        return client.get("/asked/who", headers=headers).status_code

    assert [asked("203.0.113.1"), asked("203.0.113.1"), asked("203.0.113.2")] == [401, 429, 401]
    assert asked("203.0.113.9, 203.0.113.1, 10.0.0.6") == 429, "what a client puts before it changes nothing"
    assert [asked("203.0.113.3", OPERATOR), asked("no address"), asked("")] == [200, 401, 429]


@pytest.mark.parametrize(
    "address", ["/login", "/nothing", "/api/health", "/api/nothing", "/static/app.css", "/asked/error/unexpected"]
)
def test_every_answer_bears_the_headers_that_keep_browsers_in(opened: Opened, address: str) -> None:
    told = opened().get(address).headers
    policy = told["content-security-policy"]
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
        assert rule in policy
    assert "unsafe" not in policy
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "DENY"
    assert ("no-store" in told.get("cache-control", "")) != address.startswith("/static")
    assert "server" not in told


def test_the_docs_run_scripts_of_files_alone(opened: Opened) -> None:
    told = opened().get("/api/docs")
    assert "script-src" not in told.headers["content-security-policy"]
    assert "style-src 'self' 'unsafe-inline'" in told.headers["content-security-policy"]
    assert "<script>" not in told.text
    assert opened().get("/api/docs-static/swagger-ui-bundle.js").status_code == 200


def test_streams_pass_through_unchanged(opened: Opened) -> None:
    with opened().stream("GET", "/api/asked/stream", headers={"Accept-Encoding": "gzip"}) as told:
        assert told.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in told.headers
        assert list(told.iter_lines()) == ["data: 0", "", "data: 1", "", "data: 2", ""]
