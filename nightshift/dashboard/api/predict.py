"""Answers of registered models, by the edge runtime."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api/predict", tags=["predictions"])
