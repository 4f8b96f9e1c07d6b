"""Registered models: versions, champion, lineage, download."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api/models", tags=["models"])
