"""The API's description, to read and to try."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from nightshift.dashboard.pages.render import page

router = APIRouter(include_in_schema=False)


@router.get("/api/docs")
async def reference(request: Request) -> Response:
    """Show the API; its scripts are files, since pages run no others."""
    return page(request, "reference.html.j2")
