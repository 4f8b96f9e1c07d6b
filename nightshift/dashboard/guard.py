"""What stands before every route: which name was asked for, who asks, from where, how often and how much.

One plain ASGI layer, so that streams pass through and a poll costs microseconds.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import limits
from fastapi import Request, Response
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightshift.dashboard import faults
from nightshift.dashboard.auth import ForbiddenError, Gate, UnknownUserError, User, bearer, is_address
from nightshift.dashboard.config import LOOPBACK, DashboardConfig

LOGIN, HEALTH, DOCS, STATIC = "/login", "/api/health", "/api/docs", "/static/"
_SAFE = ("GET", "HEAD", "OPTIONS")
_MB = 1024 * 1024
#: A token and an address.
_LOGIN_BYTES = 16 * 1024

_POLICY = (
    b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    b"object-src 'none'"
)
#: Swagger's page sets styles of its own; scripts are files there, too.
_DOCS_POLICY = _POLICY + b"; style-src 'self' 'unsafe-inline'"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

_log = logging.getLogger("nightshift.dashboard")


class Guard:
    """The layer.

    Args:
        app: what it stands before.
        config: what is allowed.
        gate: knows who asks.
    """

    def __init__(self, app: ASGIApp, config: DashboardConfig, gate: Gate) -> None:
        self._app, self._config, self._gate = app, config, gate
        own = socket.gethostname().lower()
        self._names = {*LOOPBACK, own, own.partition(".")[0], *(name.lower() for name in config.allowed_hosts)}
        self._names.add(config.host.lower())
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        rates = config.rates
        self._actions, self._predictions = limits.parse(rates.actions), limits.parse(rates.predictions)
        self._logins = limits.parse(rates.logins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        sender = _Sender(send, scope["path"], https=self._gate.is_https(request))
        refusal = self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, sender)
            return
        limit = self._body_limit(request)
        try:
            await self._app(scope, _counted(receive, limit), sender)
        except ClientDisconnect:
            # Whoever hung up in the middle reads no answer.
            return
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if sender.begun:
                raise
            await faults.unexpected(request)(scope, receive, sender)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that does not pass; `request.state.user` of one that does."""
        name = _host_name(request.headers.get("host", ""))
        if not self._goes_by(name):
            return faults.answer(
                request,
                HTTPStatus.BAD_REQUEST,
                f"This dashboard does not go by the name '{name[:100]}'.",
                "Add it to allowed_hosts in configs/dashboard.yaml, or ask for its address in numbers.",
            )
        if self._guesses(request):
            return self._slowed(request, self._logins, "token", self._gate.address(request))
        try:
            user = self._user(request)
        except ForbiddenError as error:
            return faults.answer(request, HTTPStatus.FORBIDDEN, error.what, error.hint)
        except UnknownUserError as error:
            return faults.unknown_user(request, error, login=self._gate.has_tokens)
        request.state.user = user
        if request.method in _SAFE:
            return None
        return self._foreign(request, user) or self._too_often(request, user) or self._too_large(request)

    def _guesses(self, request: Request) -> bool:
        """Whether a token comes from where too many were wrong: not even a right one is told apart then."""
        shown = bearer(request.headers) is not None
        return shown and not self._limiter.test(self._logins, "token", self._gate.address(request))

    def _user(self, request: Request) -> User | None:
        try:
            return self._gate.user(request)
        except UnknownUserError as error:
            if error.wrong:
                address = self._gate.address(request)
                _log.warning("a wrong token from %s", address)
                self._limiter.hit(self._logins, "token", address)
            path = request.scope["path"]
            if path in (LOGIN, HEALTH) or path.startswith(STATIC):
                return None
            raise

    def _foreign(self, request: Request, user: User | None) -> Response | None:
        """Return the answer to a request that another site made a browser send.

        Source: https://words.filippo.io/csrf/ (Go's `http.CrossOriginProtection`).
        """
        if user is not None and user.how == "token":
            return None
        headers = request.headers
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is not None:
            ours = site in ("same-origin", "none")
        else:
            ours = origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower()
        if ours:
            return None
        hint = "Open the dashboard itself and do it there; programs send the header Authorization: Bearer <token>."
        return faults.answer(request, HTTPStatus.FORBIDDEN, "Another site asked for this.", hint)

    def _too_often(self, request: Request, user: User | None) -> Response | None:
        path, address = request.scope["path"], self._gate.address(request)
        if path == LOGIN:
            return self._held_up(request, self._logins, "login", address)
        rate, kind = self._actions, "act"
        if path.startswith("/api/predict/") or path == "/predict":
            rate, kind = self._predictions, "predict"
        return self._held_up(request, rate, kind, f"{user.name if user else ''}@{address}")

    def _held_up(self, request: Request, rate: limits.RateLimitItem, kind: str, who: str) -> Response | None:
        return None if self._limiter.hit(rate, kind, who) else self._slowed(request, rate, kind, who)

    def _slowed(self, request: Request, rate: limits.RateLimitItem, kind: str, who: str) -> Response:
        wait_s = max(1, math.ceil(self._limiter.get_window_stats(rate, kind, who).reset_time - time.time()))
        hint = f"Try again in {wait_s} s; `rates` in configs/dashboard.yaml says how often."
        found = faults.answer(request, HTTPStatus.TOO_MANY_REQUESTS, f"More than {rate}.", hint)
        found.headers["Retry-After"] = str(wait_s)
        return found

    def _body_limit(self, request: Request) -> int:
        """Return how many bytes a request may bring; whoever logs in is nobody yet."""
        limit = int(self._config.max_body_mb * _MB)
        return min(limit, _LOGIN_BYTES) if request.scope["path"] == LOGIN else limit

    def _too_large(self, request: Request) -> Response | None:
        said = request.headers.get("content-length", "0")
        limit = self._body_limit(request)
        if said.isdigit() and int(said) <= limit:
            return None
        hint = "" if request.scope["path"] == LOGIN else _LESS
        found = faults.answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_much(limit), hint)
        # What still comes is not read.
        found.headers["Connection"] = "close"
        return found

    def _goes_by(self, name: str) -> bool:
        """Whether a name is ours: else a page of another site could point its own name here and read answers.

        An address in numbers cannot be pointed elsewhere.
        """
        return name in self._names or is_address(name)


_LESS = "Send less at once, or raise max_body_mb in configs/dashboard.yaml."


def _too_much(limit: int) -> str:
    allowed = f"{limit / _MB:g} MB" if limit >= _MB else f"{limit / 1024:g} kB"
    return f"The request brings more than the {allowed} that are allowed."


def _counted(receive: Receive, limit: int) -> Receive:
    """Return a receiver that stops a body which is longer than it was said to be, or did not say."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_much(limit), {"Connection": "close"})
        return message

    return counted


class _Sender:
    """Sends answers with the headers that keep browsers from doing more than they should.

    Attributes:
        begun: whether an answer has begun.
    """

    def __init__(self, send: Send, path: str, *, https: bool) -> None:
        self._send, self._path, self._https = send, path, https
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in self._added() if pair[0] not in given)]
        await self._send(message)

    def _added(self) -> Iterator[tuple[bytes, bytes]]:
        yield from _HEADERS
        yield b"content-security-policy", _DOCS_POLICY if self._path == DOCS else _POLICY
        if not self._path.startswith((STATIC, "/api/docs-static/")):
            yield b"cache-control", b"no-store"
        if self._https:
            yield b"strict-transport-security", b"max-age=31536000"


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port; "" for what is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") if not set(host) & set("/?#@\\ ") else ""
    except ValueError:
        return ""
