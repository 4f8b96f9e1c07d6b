"""Roads as arrays: lanes are polylines of one metre steps, all of them in flat arrays; nothing is searched over.

Lanes of several maps may stand in one `Lanes` (see `joined`): what belongs to a lane is found by its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

#: Distance of neighbouring points of a lane or route, m.
STEP_M = 1.0
#: A lane's successors, at most.
SUCCESSORS = 3


@dataclass(frozen=True)
class Lanes:
    """Lanes of one or more maps. Arrays are NumPy's, or torch's where the world runs on a GPU.

    Attributes:
        x, y: `(points,)` m, of all lanes one after the other, `STEP_M` apart along each lane.
        heading: `(points,)` rad, continuous along a lane (never wrapped).
        curvature: `(points,)` 1/m, positive to the left.
        first: `(lanes,)` index of a lane's first point.
        count: `(lanes,)` its points, at least 2.
        length_m: `(lanes,)`, `(count - 1) * STEP_M`.
        width_m: `(lanes,)`.
        limit_mps: `(lanes,)` speed limit.
        left, right: `(lanes,)` the neighbour that runs the same way, -1 for none; its metre `s` is taken as one's own
            plus `left_shift_m`, `right_shift_m`.
        left_shift_m, right_shift_m: `(lanes,)`.
        successor: `(lanes, SUCCESSORS)` lanes that begin where it ends, -1 for none; the first ones are used first.
        yields_to: `(lanes, YIELDS)` lanes that cross or join it and go first, -1 for none.
        yield_at_m: `(lanes, YIELDS)` metre of this lane before which one waits.
        yield_their_m: `(lanes, YIELDS)` metre of the other lane at which they meet.
    """

    x: Any
    y: Any
    heading: Any
    curvature: Any
    first: Any
    count: Any
    length_m: Any
    width_m: Any
    limit_mps: Any
    left: Any
    right: Any
    left_shift_m: Any
    right_shift_m: Any
    successor: Any
    yields_to: Any
    yield_at_m: Any
    yield_their_m: Any


#: Lanes that one lane yields to, at most.
YIELDS = 4
_NUMBERS_OF_LANES = ("left", "right", "successor", "yields_to")


def joined(parts: Sequence[Lanes]) -> tuple[Lanes, list[int]]:
    """Put the lanes of several maps behind each other; returns them, and each map's first lane."""
    lanes_before = np.cumsum([0, *(len(p.first) for p in parts)])
    points_before = np.cumsum([0, *(len(p.x) for p in parts)])
    made: dict[str, Any] = {}
    for field in fields(Lanes):
        arrays = [getattr(p, field.name) for p in parts]
        if field.name == "first":
            arrays = [a + n for a, n in zip(arrays, points_before, strict=False)]
        elif field.name in _NUMBERS_OF_LANES:
            arrays = [np.where(a >= 0, a + n, -1) for a, n in zip(arrays, lanes_before, strict=False)]
        made[field.name] = np.concatenate(arrays)
    return Lanes(**made), [int(n) for n in lanes_before[:-1]]


class Points(Protocol):
    """One polyline, or many one after the other, of `STEP_M` steps: `Lanes`, a line, a route."""

    @property
    def x(self) -> Any:
        """`(points,)` m."""

    @property
    def y(self) -> Any:
        """`(points,)` m."""

    @property
    def heading(self) -> Any:
        """`(points,)` rad, never wrapped."""


@dataclass(frozen=True)
class Spots:
    """Places on polylines, `(n,)` each.

    Attributes:
        x, y: m.
        ahead, left: x and y of the step that they lie in: cosine and sine of the heading, nearly, and at no cost.
        point: int64, number of the point behind.
        share: of the step that lies behind.
    """

    x: Any
    y: Any
    ahead: Any
    left: Any
    point: Any
    share: Any


def point_at(xp: Any, s_m: Any, first: Any, last: Any) -> tuple[Any, Any]:
    """Return the number of the point behind metres `s_m` of polylines, and the share of the step that lies behind.

    Beyond either end it is the step there, and its share below 0 or above 1.

    Args:
        xp: array library.
        s_m: `(n,)`.
        first: int64, number of the polylines' first points.
        last: int64, of their last points but one, counted from the first.
    """
    along = s_m * (1.0 / STEP_M)
    point = xp.minimum(xp.maximum(xp.astype(along, first.dtype), 0), last)
    return point + first, along - point


def spots(xp: Any, x: Any, y: Any, s_m: Any, first: Any, last: Any) -> Spots:
    """Return the places at metres of polylines with points `x` and `y`, see `point_at`; for steps of a world."""
    point, share = point_at(xp, s_m, first, last)
    from_x, from_y = x.take(point), y.take(point)
    ahead, left = x.take(point + 1) - from_x, y.take(point + 1) - from_y
    return Spots(from_x + share * ahead, from_y + share * left, ahead, left, point, share)


def on_line(line: Points, s_m: Any, d_m: Any, first: Any = 0, last: Any = None) -> tuple[Any, Any, Any]:
    """Return x, y and heading, `(n,)`, of places `s_m` along and `d_m` to the left of polylines, on NumPy.

    Beyond an end they lie straight ahead. Where `spots` takes the step's own direction here it is the heading, so that
    places to the left of a bend lie on a smooth line too: a cosine and a sine more.
    """
    last = len(line.x) - 2 if last is None else last
    point, share = point_at(np, s_m, np.asarray(first, np.int64), last)
    x, y, turned = line.x[point], line.y[point], line.heading[point]
    turned = turned + (line.heading[point + 1] - turned) * np.clip(share, 0.0, 1.0)
    return (
        x + (line.x[point + 1] - x) * share - d_m * np.sin(turned),
        y + (line.y[point + 1] - y) * share + d_m * np.cos(turned),
        turned,
    )
