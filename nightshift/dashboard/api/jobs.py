"""Trainings: asked for, watched, called off."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(prefix="/api/ml/train", tags=["training"])
