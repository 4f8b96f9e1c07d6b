"""Machines, and where each of their models stands."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api", tags=["machines"])
