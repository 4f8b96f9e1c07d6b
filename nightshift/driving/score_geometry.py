"""Geometry that the score needs: the ego's box, boxes that overlap, and where a point lies on a route."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.driving import collide
from nightshift.driving.history import History
from nightshift.driving.lanes import STEP_M
from nightshift.driving.scenario import Route

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Boxes:
    """Oriented boxes of any common shape; m and rad, of their middles."""

    x: Floats
    y: Floats
    heading: Floats
    length: Floats
    width: Floats

    def at(self, *index: Ints | Bools | slice | None) -> Boxes:
        """Return the boxes chosen by an index; lengths and widths are chosen with them."""
        shape = np.shape(self.x)
        size = (np.broadcast_to(self.length, shape), np.broadcast_to(self.width, shape))
        return Boxes(self.x[index], self.y[index], self.heading[index], size[0][index], size[1][index])

    def moved(self, dx: Floats, dy: Floats) -> Boxes:
        """Return them elsewhere, heading as before."""
        return Boxes(self.x + dx, self.y + dy, self.heading, self.length, self.width)


def ego_boxes(history: History) -> Boxes:
    """Return the box of the ego car at every moment, `(t,)`."""
    ego = history.scenario.ego
    ahead = ego.length_m / 2.0 - ego.rear_m
    return Boxes(
        history.x + ahead * np.cos(history.heading),
        history.y + ahead * np.sin(history.heading),
        history.heading,
        np.full(len(history.x), ego.length_m),
        np.full(len(history.x), ego.width_m),
    )


def car_boxes(history: History) -> Boxes:
    """Return the boxes of the other cars at every moment, `(t, n)`; NaN while absent."""
    return Boxes(
        history.cars_x, history.cars_y, history.cars_heading, history.cars_length_m[None], history.cars_width_m[None]
    )


def overlap(a: Boxes, b: Boxes) -> Bools:
    """Return whether boxes on the map overlap, see `collide.overlaps`."""
    dx, dy, turned = b.x - a.x, b.y - a.y, b.heading - a.heading
    cos, sin = np.cos(a.heading), np.sin(a.heading)
    seen = collide.Boxes(
        x=dx * cos + dy * sin,
        y=dy * cos - dx * sin,
        cos=np.cos(turned),
        sin=np.sin(turned),
        length=b.length,
        width=b.width,
        speed=0.0,
    )
    return np.asarray(collide.overlaps(np, seen, a.length, a.width), dtype=np.bool_)


def corners(boxes: Boxes) -> tuple[Floats, Floats]:
    """Return x and y of the corners, `(..., 4)`: front left, front right, rear right, rear left."""
    along = np.array([0.5, 0.5, -0.5, -0.5]) * np.asarray(boxes.length)[..., None]
    across = np.array([0.5, -0.5, -0.5, 0.5]) * np.asarray(boxes.width)[..., None]
    cos, sin = np.cos(boxes.heading)[..., None], np.sin(boxes.heading)[..., None]
    return boxes.x[..., None] + along * cos - across * sin, boxes.y[..., None] + along * sin + across * cos


@dataclass(frozen=True)
class OnRoute:
    """Where points lie on a route.

    Attributes:
        index: of the route's point that is beside each.
        s: m along the route.
        d: m to the left of its reference line.
    """

    index: Ints
    s: Floats
    d: Floats


def on_route(route: Route, x: Floats, y: Floats, near_m: Floats) -> OnRoute:
    """Project points onto the route's reference line, from a metre that is known to be near.

    Args:
        route: what to project onto.
        x, y: of the points, m.
        near_m: metre of the route near each point, to within some metres.
    """
    s = np.asarray(near_m, dtype=np.float64)
    last = len(route.x) - 1
    for _ in range(3):
        index = np.clip(np.rint(s / STEP_M), 0, last).astype(np.int64)
        dx, dy = x - route.x[index], y - route.y[index]
        cos, sin = np.cos(route.heading[index]), np.sin(route.heading[index])
        s = index * STEP_M + dx * cos + dy * sin
    return OnRoute(index, s, dy * cos - dx * sin)
