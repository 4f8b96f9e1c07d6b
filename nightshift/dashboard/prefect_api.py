"""The Prefect server as the dashboard needs it: plain HTTP, since importing Prefect takes seconds."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx

from nightshift.dashboard.config import LOOPBACK
from nightshift.errors import ServiceError, without_credentials

_PATIENCE_S = 10.0
#: What it answers while its SQLite is locked is asked again after these.
_PAUSES_S = (0.2, 0.8)
#: A server gives out so many things at most at once.
PAGE = 200


class RefusedError(ServiceError):
    """A Prefect server that answers, and does not do what it was asked.

    Attributes:
        status: its answer's.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"Prefect answers {status}: {without_credentials(' '.join(text.split())[:300])}")
        self.status = status


def is_missing(error: ServiceError) -> bool:
    """Whether a server has said that there is no such thing."""
    return isinstance(error, RefusedError) and error.status == httpx.codes.NOT_FOUND


class PrefectApi:
    """A Prefect server.

    Args:
        url: of its API, such as `http://127.0.0.1:4200/api`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        headers, auth = {}, None
        if os.environ.get("PREFECT_API_KEY"):
            headers["Authorization"] = f"Bearer {os.environ['PREFECT_API_KEY']}"
        elif os.environ.get("PREFECT_API_AUTH_STRING"):
            user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
            auth = httpx.BasicAuth(user, password)
        # A company's proxy has nothing to do with this machine's own server.
        elsewhere = httpx.URL(self.url).host not in LOOPBACK
        self._client = httpx.AsyncClient(
            base_url=f"{self.url}/", headers=headers, auth=auth, timeout=_PATIENCE_S, trust_env=elsewhere
        )

    async def ask(self, path: str, body: object = None, *, method: str = "") -> Any:
        """Send a request below the API's address and return its JSON answer, None where there is none.

        Raises:
            ServiceError: when the server does not answer, or is not Prefect's.
            RefusedError: when it refuses.
        """
        try:
            answer = await self._send(method or ("GET" if body is None else "POST"), path, body)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"Prefect does not answer at {self.url}: {type(error).__name__}.",
                hint="`nightshift ps` tells what runs, `nightshift up` starts what does not.",
            ) from error
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise RefusedError(answer.status_code, answer.text)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise ServiceError(
                f"What answers at {self.url} is not Prefect: it sends no JSON.",
                hint="PREFECT_API_URL names its API, such as http://127.0.0.1:4200/api.",
            ) from error

    async def _send(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a request, and again while the server says that it is busy.

        Nothing is done twice by that: runs are asked for under a key, and a state is set to what it is.
        """
        for pause_s in _PAUSES_S:
            answer = await self._send_once(method, path, body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            await asyncio.sleep(pause_s)
        return await self._send_once(method, path, body)

    async def _send_once(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a request; once more where the server has closed a connection that was kept, as it does soon."""
        try:
            return await self._client.request(method, path, json=body)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            return await self._client.request(method, path, json=body)

    async def all(self, path: str, body: dict[str, Any], most: int = 10_000) -> list[Any]:
        """Return all that a filter finds, page by page.

        Raises:
            ServiceError: as `ask` does.
        """
        found: list[Any] = []
        while len(found) < most:
            page = await self.ask(path, {**body, "limit": PAGE, "offset": len(found)})
            found += page
            if len(page) < PAGE:
                break
        return found

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()
