"""Whether the dashboard answers: for `nightshift ps` and monitors, who need no login."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(prefix="/api", tags=["health"])


class Health(BaseModel):
    """That it answers.

    Attributes:
        service: tells it from another server at its address.
    """

    status: Literal["ok"] = "ok"
    service: Literal["nightshift-dashboard"] = "nightshift-dashboard"


@router.get("/health")
async def health() -> Health:
    """Say that the dashboard answers, and nothing more."""
    return Health()
