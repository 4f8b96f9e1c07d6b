"""A small HTTP server in the place of Prefect's, which loses answers as one does that is started again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal

Answer = tuple[int, object]
Loss = Literal["nothing", "half", "no status", "busy"]


@contextmanager
def answering(answer: Callable[[str], Answer], losses: list[Loss] | None = None) -> Iterator[str]:
    """Serve answers by path below `/api/` and yield the API's address.

    Args:
        answer: (status, JSON values) of a path.
        losses: how the first requests are lost instead; each is taken out when it has been.
    """
    lost = losses if losses is not None else []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if lost:
                self._lose(lost.pop(0))
                return
            status, values = answer(self.path.removeprefix("/api/"))
            text = json.dumps(values).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def _lose(self, how: Loss) -> None:
            if how == "half":
                self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"a":')
            elif how == "no status":
                self.wfile.write(b"what is this\r\n\r\n")
            elif how == "busy":
                self.wfile.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
