"""A dashboard over an empty home, with routes that show what stands before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient

from nightshift import errors
from nightshift.dashboard.app import create_app
from nightshift.dashboard.auth import Operator, Viewer
from nightshift.dashboard.config import DashboardConfig, load_config
from nightshift.plan import lock
from nightshift.settings import Home

OPERATOR, VIEWER = "operator-token-of-a-test-0123456789", "viewer-token-of-a-test-0123456789"
#: Where no Prefect server listens.
NO_SERVER = "http://127.0.0.1:9/api"
ADDRESS = "http://127.0.0.1:8700"

_ERRORS: dict[str, Exception] = {
    "busy": lock.BusyError("press-1 is being trained.", hint="Try again later."),
    "unknown": errors.UnknownNameError("machine", "pres", ["press"]),
    "service": errors.ServiceError("Prefect does not answer at http://me:secret@host/api."),
    "data": errors.DataError("the table has no rows."),
    "columns": errors.ColumnError("'temp' is missing."),
    "corrupt": errors.CorruptFileError("model.onnx is not what the bundle says."),
    "unexpected": RuntimeError("password of postgresql://me:secret@host/x"),
}


def with_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set both tokens."""
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_OPERATOR_TOKEN", OPERATOR)
    monkeypatch.setenv("NIGHTSHIFT_DASHBOARD_VIEWER_TOKEN", VIEWER)


@contextmanager
def asking(home: Home) -> Iterator[Callable[..., TestClient]]:
    """Return what opens clients of dashboards over a home: `opened({"host": ...}, peer="10.0.0.5")`."""
    with ExitStack() as open_ones:

        def opened(values: dict[str, Any] | None = None, peer: str = "127.0.0.1") -> TestClient:
            config = DashboardConfig.model_validate(values) if values else load_config(home)
            app = create_app(home, config, NO_SERVER)
            _add_asked(app)
            _add_brought(app)
            _add_told(app)
            return open_ones.enter_context(TestClient(app, base_url=ADDRESS, client=(peer, 50000)))

        yield opened


def _add_asked(app: FastAPI) -> None:
    @app.get("/asked/who", include_in_schema=False)
    async def who(user: Viewer) -> PlainTextResponse:
        return PlainTextResponse(f"{user.name} {user.role}")

    @app.post("/asked/act", include_in_schema=False)
    async def act(user: Operator) -> PlainTextResponse:
        return PlainTextResponse("done")

    @app.post("/api/predict/of-a-test", include_in_schema=False)
    async def predict(user: Viewer) -> PlainTextResponse:
        return PlainTextResponse("done")


def _add_brought(app: FastAPI) -> None:
    @app.post("/api/asked/bring", include_in_schema=False)
    async def bring(request: Request, user: Operator) -> int:
        return len(await request.body())

    @app.post("/api/asked/upload", include_in_schema=False)
    async def upload(file: UploadFile, name: Annotated[str, Form()], user: Operator) -> int:
        return len(await file.read())

    @app.post("/api/asked/json", include_in_schema=False)
    async def json_body(body: DashboardConfig, user: Operator) -> str:
        return "done"


def _add_told(app: FastAPI) -> None:
    @app.get("/api/asked/stream", include_in_schema=False)
    async def stream(user: Viewer) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0)

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/api/asked/error/{name}", include_in_schema=False)
    @app.get("/asked/error/{name}", include_in_schema=False)
    async def error(name: str, user: Viewer) -> None:
        raise _ERRORS[name]
