"""The dashboard behind a real socket, in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import uvicorn
from fastapi import FastAPI

from nightshift.dashboard.app import create_app
from nightshift.dashboard.config import load_config
from nightshift.settings import Home


def serve(home: Home, prefect_url: str = "http://127.0.0.1:9/api") -> AbstractContextManager[str]:
    """Serve a home's dashboard while the body runs; gives its address. Without `prefect_url` no Prefect answers."""
    return listening(create_app(home, load_config(home), prefect_url))


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve an app while the body runs; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not come up"
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(20)
