"""What made scenarios share: winding roads and lanes side by side."""

from __future__ import annotations

import numpy as np

from nightshift.driving.roads import LaneMap, Line, Piece, Pose, bend, laid, offset

#: A road's heading stays within this of its first, rad: it never meets itself.
_MOST_TURNED = 1.3


def winding(
    rng: np.random.Generator,
    length_m: float,
    *,
    radius_m: tuple[float, float],
    angle: tuple[float, float],
    straight_m: tuple[float, float],
    transition_m: float,
    start: Pose,
) -> Line:
    """Draw a winding road: straights and bends in turn.

    Args:
        rng: of the draw.
        length_m: of the whole.
        radius_m, angle, straight_m: least and most of each bend (m, rad) and of each straight.
        transition_m: over which a bend begins and ends.
        start: where it begins.
    """
    pieces: list[Piece] = []
    turned, total = 0.0, 0.0
    while total < length_m:
        part = [Piece(float(rng.uniform(*straight_m)))]
        by = float(rng.uniform(*angle)) * (1.0 if rng.random() < 0.5 else -1.0)
        if abs(turned + by) > _MOST_TURNED:
            by = -by
        part += bend(float(rng.uniform(*radius_m)), by, transition_m)
        turned += by
        total += sum(p.length_m for p in part)
        pieces += part
    return laid(pieces, start).cut(0, int(length_m))


def side_by_side(road: LaneMap, middle: Line, n_lanes: int, width_m: float, limit_mps: float) -> list[int]:
    """Add lanes about a middle line; returns their numbers from right to left, linked."""
    places = (np.arange(n_lanes) - (n_lanes - 1) / 2) * width_m
    numbers = [road.add(offset(middle, float(d)), width_m=width_m, limit_mps=limit_mps) for d in places]
    road.abreast(numbers)
    return numbers
