"""The fleet at a glance, and each model of it."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
