"""Plain requests to Prefect's server: what it says while it is busy, and what is not Prefect at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from support.away import Answer, answering

from nightshift.dashboard.prefect_api import PrefectApi, RefusedError
from nightshift.errors import ServiceError


def ask(url: str, path: str, body: object = None) -> Any:
    async def asked() -> Any:
        api = PrefectApi(url)
        try:
            return await api.ask(path, body)
        finally:
            await api.close()

    return asyncio.run(asked())


@pytest.mark.parametrize("body", [None, {"limit": 1}])
def test_a_server_whose_database_is_locked_is_asked_again(body: object) -> None:
    said: Iterator[Answer] = iter([(503, {}), (503, {}), (200, [1])])
    with answering(lambda _: next(said)) as url:
        assert ask(url, "flow_runs/filter", body) == [1]


def test_a_server_that_stays_busy_is_told_of() -> None:
    asked: list[str] = []

    def answer(path: str) -> Answer:
        asked.append(path)
        return 503, {}

    with answering(answer) as url, pytest.raises(RefusedError, match="503"):
        ask(url, "flows/count", {})
    assert len(asked) == 3


def test_a_companys_proxy_is_not_asked_for_this_machines_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(lambda _: (200, {"a": 1})) as url:
        assert ask(url, "anything") == {"a": 1}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_page_in_prefects_place_is_one_line() -> None:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with pytest.raises(ServiceError, match="is not Prefect: it sends no JSON") as caught:
            ask(f"http://127.0.0.1:{server.server_port}/api", "health")
        server.shutdown()
    assert "PREFECT_API_URL" in caught.value.hint
