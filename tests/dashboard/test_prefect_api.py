"""Plain requests to Prefect's server: what it says while it is busy, and what is not Prefect at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.away import Answer, answering

from nightshift.dashboard.prefect_api import PrefectApi, RefusedError


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
