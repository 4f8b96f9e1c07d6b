"""From a new machine's nameplate to data that models are trained on."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
