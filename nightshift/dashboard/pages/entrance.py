"""The login page, for people with a token; and the way out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from nightshift.dashboard.auth import COOKIE, SESSION_S, Gate, own_path
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.service import Svc

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def login_page(request: Request, next: Annotated[str, Query()] = "/") -> Response:
    """Ask for a token; whoever is known already goes on."""
    if request.state.user is not None:
        return RedirectResponse(own_path(next), HTTPStatus.SEE_OTHER)
    return _asked(request, next)


@router.post("/login")
async def login(
    request: Request, service: Svc, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """Give whoever has a token a cookie."""
    gate: Gate = request.app.state.gate
    role = gate.role_of(token.strip())
    if role is None:
        service.audit.note("nobody", "failed to log in", gate.address(request))
        return _asked(request, next, "The token is not one of this dashboard's: ask who runs it for one.")
    service.audit.note(role, "logged in", gate.address(request))
    found = RedirectResponse(own_path(next), HTTPStatus.SEE_OTHER)
    found.set_cookie(
        COOKIE,
        gate.session(role),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=gate.is_https(request),
    )
    return found


@router.post("/logout")
async def logout() -> Response:
    """Take the cookie back."""
    found = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    found.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return found


def _asked(request: Request, next: str, wrong: str = "") -> Response:
    status = HTTPStatus.UNAUTHORIZED if wrong else HTTPStatus.OK
    gate: Gate = request.app.state.gate
    content = {"next": own_path(next), "wrong": wrong, "has_tokens": gate.has_tokens}
    return page(request, "login.html.j2", status_code=status, **content)
