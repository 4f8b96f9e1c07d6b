"""The settings, to be read: they are changed in files, which are under nobody's control but yours."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from nightshift.dashboard import about
from nightshift.dashboard.auth import Viewer
from nightshift.dashboard.pages.render import page
from nightshift.dashboard.service import Svc
from nightshift.errors import ServiceError

router = APIRouter(include_in_schema=False)


@router.get("/settings")
async def settings(request: Request, service: Svc, user: Viewer) -> Response:
    """Show every setting, what runs, and what was done; that Prefect is down keeps nothing else back."""
    content = await run_in_threadpool(about.of_files, service, whole=user.may_act)
    pools, trouble = None, ""
    try:
        pools = await about.pools(service.prefect)
    except ServiceError as error:
        trouble = str(error)
    return page(request, "settings.html.j2", pools=pools, trouble=trouble, **content)
