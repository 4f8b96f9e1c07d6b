"""How figures read: numbers, sizes and durations as people write them."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 4) -> str:
    """A figure with so many digits that matter; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{int(value):,}"
    magnitude = abs(value)
    if 1e-3 <= magnitude < 1e6:
        decimals = digits - 1 - math.floor(math.log10(magnitude))
        return f"{value:,.{min(max(decimals, 0), digits)}f}"
    return f"{value:.3g}"


def size(n_bytes: float) -> str:
    """A file's size in decimal units."""
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes:.0f} B"


def seconds(duration_s: float) -> str:
    """A duration."""
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, rest = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
