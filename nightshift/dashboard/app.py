"""The app: what it is made of, at a glance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.staticfiles import StaticFiles

from nightshift.dashboard import faults
from nightshift.dashboard.api import health, jobs, live, machines, models, predict, profiles
from nightshift.dashboard.auth import Gate
from nightshift.dashboard.config import DashboardConfig, tokens
from nightshift.dashboard.downloads import ONNX
from nightshift.dashboard.guard import Guard
from nightshift.dashboard.pages import (
    driving,
    entrance,
    fleet,
    predictions,
    reference,
    running,
    settings,
    training,
    wizard,
)
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.service import Service
from nightshift.settings import Home

_STATIC = Path(__file__).parent / "static"
PARTS = (
    *(health, jobs, live, machines, models, predict, profiles),
    *(entrance, wizard, fleet, training, running, predictions, driving, settings, reference),
)


def create_app(home: Home, config: DashboardConfig, prefect_url: str) -> FastAPI:
    """Return the app over a home and its Prefect server.

    Args:
        home: whose machines and models are shown.
        config: how it is served.
        prefect_url: of the API of the Prefect server.

    Raises:
        ConfigError: for a token that can be guessed.
    """
    service = Service(home, config, PrefectApi(prefect_url))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app: FastAPI = FastAPIOffline(
        title="Nightshift",
        version=version("nightshift"),
        description="Starts training, watches it, and hands out what came of it.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        static_url="/api/docs-static",
        responses=faults.RESPONSES,
        # No telemetry: not even where the environment names a collector.
        telemetry=dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False),
    )
    app.state.service = service
    app.state.gate = gate = Gate(config, tokens())
    faults.install(app)
    for part in PARTS:
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    packed = (*DEFAULT_EXCLUDED_CONTENT_TYPES, ONNX)
    app.add_middleware(GZipMiddleware, minimum_size=1000, exclude_content_types=packed)
    app.add_middleware(Guard, config=config, gate=gate)
    return app
