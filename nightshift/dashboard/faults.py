"""Errors as answers: problem+json (RFC 9457) below `/api`, a page elsewhere; one line that says what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from nightshift import errors
from nightshift.dashboard.auth import ForbiddenError, UnknownUserError
from nightshift.dashboard.pages.render import page
from nightshift.settings import Home, without_places

PROBLEM = "application/problem+json"

#: The first kind that an error is of gives its status. What a bundle's own files are to blame for is no bad request.
_STATUS: tuple[tuple[type[errors.NightshiftError], HTTPStatus], ...] = (
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (errors.UnknownNameError, HTTPStatus.NOT_FOUND),
    (errors.TransientError, HTTPStatus.CONFLICT),
    (errors.ServiceError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.CorruptFileError, HTTPStatus.CONFLICT),
    (errors.NewerFormatError, HTTPStatus.CONFLICT),
    (errors.UnknownOpError, HTTPStatus.CONFLICT),
    (errors.SignatureError, HTTPStatus.CONFLICT),
    (errors.NightshiftError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
#: What a person reads where the framework says but its status' name.
_WORDS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take that method.",
}


class Problem(BaseModel):
    """The body of an error.

    Attributes:
        type: always `about:blank`: the status says what it is.
        title: the status in words.
        detail: what is wrong, with what was expected and what was found.
        hint: what to do about it; "" where there is nothing.
    """

    type: str
    title: str
    status: int
    detail: str
    hint: str


def _described(what: str) -> dict[str, Any]:
    return {"description": what, "content": {PROBLEM: {"schema": Problem.model_json_schema()}}}


#: Of every route, in the API's description.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": _described("Refused, and why."),
    "503": _described("Prefect, MLflow or a store does not answer."),
}


def install(app: FastAPI) -> None:
    """Let an app answer every error so; what nobody expected is `guard`'s to log."""
    app.add_exception_handler(errors.NightshiftError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


def status_of(error: errors.NightshiftError) -> HTTPStatus:
    """Return the status that an error is answered with."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def fit_to_show(home: Home, said: str) -> str:
    """Return what an error says, on one line, without credentials and without places of this machine."""
    return without_places(home, errors.without_credentials(" ".join(said.split())))


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.NightshiftError)
    return answer(request, status_of(error), error.what, error.hint)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    said = str(error.detail)
    found = answer(request, status, _WORDS.get(status, said) if said == status.phrase else said)
    found.headers.update(error.headers or {})
    return found


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(_in_words(e) for e in error.errors()))


def _in_words(found: dict[str, Any]) -> str:
    """Return one thing that is wrong with a request: which field, what is expected."""
    place = [str(part) for part in found["loc"]]
    where = ".".join(place[1:] if len(place) > 1 else place) or "body"
    if found["type"] == "missing":
        return f"{where} is missing."
    if found["type"] == "extra_forbidden":
        return f"{where} is not known."
    if found["type"] == "json_invalid":
        return f"The body is no JSON: {found.get('ctx', {}).get('error', found['msg'])} at character {where}."
    return f"{where}: {str(found['msg']).removeprefix('Value error, ').rstrip('.')}."


def unexpected(request: Request) -> Response:
    """Return the answer to an error that nobody expected; what it was stands in the log alone."""
    return answer(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong that should not have.",
        "The dashboard's log holds what: `nightshift ps` names the file.",
    )


def unknown_user(request: Request, error: UnknownUserError, *, login: bool) -> Response:
    """Return the answer to somebody who is not known: the login page for people, 401 for programs.

    Args:
        login: whether there is a token to log in with.
    """
    path = request.url.path
    if login and not (error.wrong or _is_api(request) or _is_htmx(request)) and request.method == "GET":
        asked = quote(f"{path}?{request.url.query}" if request.url.query else path)
        return RedirectResponse(f"/login?next={asked}" if path != "/" else "/login", HTTPStatus.SEE_OTHER)
    found = answer(request, HTTPStatus.UNAUTHORIZED, error.what, error.hint)
    found.headers["WWW-Authenticate"] = 'Bearer realm="nightshift"'
    if login and _is_htmx(request):
        found.headers["HX-Redirect"] = "/login"
    return found


def answer(request: Request, status: HTTPStatus, what: str, hint: str = "") -> Response:
    """Return an error as whoever asks reads it: a program, a part of a page that htmx changes, or a person."""
    home = request.app.state.service.home
    what, hint = fit_to_show(home, what), fit_to_show(home, hint)
    if _is_htmx(request):
        found: Response = page(request, "_fault.html.j2", what=what, hint=hint, status_code=status.value)
        # Whatever part of an answer was asked for: of this one it is the whole.
        changes = {"HX-Retarget": "#said", "HX-Reswap": "innerHTML", "HX-Reselect": "unset", "HX-Push-Url": "false"}
        found.headers.update(changes)
        return found
    # A link to a download that fails was followed by a person.
    if _is_api(request) and "text/html" not in request.headers.get("accept", ""):
        said = Problem(type="about:blank", title=status.phrase, status=status.value, detail=what, hint=hint)
        return JSONResponse(said.model_dump(), status, media_type=PROBLEM)
    return page(request, "error.html.j2", status=status, what=what, hint=hint, status_code=status.value)


def _is_htmx(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _is_api(request: Request) -> bool:
    return request.url.path == "/api" or request.url.path.startswith("/api/")
