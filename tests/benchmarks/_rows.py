"""One figure as `build/bench.json` holds it."""

from __future__ import annotations

from typing import Any, Literal

Row = dict[str, Any]


def row(
    issue: str,
    name: str,
    value: float | None,
    unit: str,
    limit: float | None = None,
    better: Literal["lower", "higher"] = "lower",
) -> Row:
    """Return a row; without a limit it is only reported, and a value that could not be had misses every limit."""
    met = value is not None and limit is not None and (value >= limit if better == "higher" else value <= limit)
    return {
        "issue": issue,
        "name": name,
        "value": value,
        "unit": unit,
        "limit": limit,
        "better": better,
        "ok": limit is None or met,
    }
