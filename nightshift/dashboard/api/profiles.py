"""Profiles of machines, and the data made from them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api", tags=["profiles"])
