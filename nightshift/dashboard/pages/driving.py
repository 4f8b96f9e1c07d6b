"""Trainings of driving policies, with live curves."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
