"""Runs: how far they are, what they say, what came of them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
