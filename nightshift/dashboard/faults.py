"""Errors as answers: problem+json (RFC 9457) below `/api`, a page elsewhere; one line that says what to do."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nightshift import errors
from nightshift.dashboard.auth import ForbiddenError
from nightshift.dashboard.pages.render import page

PROBLEM = "application/problem+json"

#: The first kind that an error is of gives its status.
_STATUS: tuple[tuple[type[errors.NightshiftError], HTTPStatus], ...] = (
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (errors.UnknownNameError, HTTPStatus.NOT_FOUND),
    (errors.TransientError, HTTPStatus.CONFLICT),
    (errors.ServiceError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.NightshiftError, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def install(app: FastAPI) -> None:
    """Let an app answer every error so."""
    app.add_exception_handler(errors.NightshiftError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NightshiftError)
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return answer(request, status, error.what, error.hint)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = answer(request, HTTPStatus(error.status_code), str(error.detail))
    found.headers.update(error.headers or {})
    return found


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(str(p) for p in e['loc'] if p != 'body') or 'body'}: {e['msg']}" for e in error.errors()]
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(said))


async def _unexpected(request: Request, _error: Exception) -> Response:
    return answer(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong that should not have.",
        "The dashboard's log holds what: `nightshift ps` names the file.",
    )


def answer(request: Request, status: HTTPStatus, what: str, hint: str = "") -> Response:
    """Return an error as whoever asks reads it."""
    if request.url.path.startswith("/api"):
        body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": what, "hint": hint}
        return JSONResponse(body, status, media_type=PROBLEM)
    return page(request, "error.html.j2", status=status, what=what, hint=hint, status_code=status.value)
