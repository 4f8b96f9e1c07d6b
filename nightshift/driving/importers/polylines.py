"""Places on polylines of one metre steps, found by looking at all of a line: for conversion, not for driving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import Points, on_line

Floats = NDArray[np.float64]


def on_polyline(line: Points, px: Floats, py: Floats) -> tuple[Floats, Floats]:
    """Return metre `s` along and `d` to the left of a polyline, `(n,)`, of `(n,)` places.

    A place beyond an end has a metre below 0 or above the length, along the end's direction. The result is exact in
    that `lanes.on_line` gives the place again, wherever the line bends gently. Where a place is known about, there are
    cheaper ways: `score_geometry.on_route`, and, for both array libraries in two steps, `sight`.
    """
    s = np.argmin((px[:, None] - line.x) ** 2 + (py[:, None] - line.y) ** 2, axis=1).astype(np.float64)
    for _ in range(4):
        x, y, turned = on_line(line, s, 0.0)
        s = s + (px - x) * np.cos(turned) + (py - y) * np.sin(turned)
    x, y, turned = on_line(line, s, 0.0)
    return s, -(px - x) * np.sin(turned) + (py - y) * np.cos(turned)


def heading_at(heading: Floats, s: Floats) -> Floats:
    """Return the direction of a polyline at metres, `(n,)`."""
    return np.interp(s, np.arange(len(heading), dtype=np.float64), heading)
