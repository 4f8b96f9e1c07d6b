"""Boxes that overlap, and whose fault it was, in the frame of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Below it the car at the origin stands, and one of the others, m/s: as nuPlan's score has it.
EGO_STANDS_MPS, CAR_STANDS_MPS = 0.05, 0.005
_WITHIN_30, _WITHIN_20 = 3.0**0.5, 0.36397
#: Cosine of 45 degrees: a box turned farther lies across.
_ACROSS = 0.7071
#: Slower than this, a place does not change in any time that counts.
_STILL_MPS = 1e-6


@dataclass(frozen=True)
class Boxes:
    """Boxes of other cars as one car sees them, arrays that broadcast with that car's.

    Attributes:
        x, y: of their middles, m ahead of and to the left of the middle of the one.
        cos, sin: of their headings against its.
        length, width: m.
        speed: m/s.
    """

    x: Any
    y: Any
    cos: Any
    sin: Any
    length: Any
    width: Any
    speed: Any


def overlaps(xp: Any, boxes: Boxes, length: Any, width: Any) -> Any:
    """Return where a box overlaps one of `length` and `width` at the origin: by the four axes that could part them.

    Touching is no overlap, and a box with a NaN overlaps nothing.

    Source: the separating axis theorem for oriented rectangles.
    """
    reach = _reaches(xp, boxes, length, width)
    along, across = _turned(boxes, boxes.x, boxes.y)
    return (
        (xp.abs(boxes.x) < reach[0])
        & (xp.abs(boxes.y) < reach[1])
        & (xp.abs(along) < reach[2])
        & (xp.abs(across) < reach[3])
    )


def is_behind(xp: Any, boxes: Boxes, axle: Any) -> Any:
    """Return which boxes have their middle within 30 degrees of straight behind a rear axle `axle` m behind."""
    return boxes.x + axle < -_WITHIN_30 * xp.abs(boxes.y)


def may_be_met(xp: Any, boxes: Boxes, axle: Any, straddles: Any) -> Any:
    """Return which boxes are minded as a time to collision is sought, by nuPlan's rule.

    Those within 20 degrees of straight ahead of the rear axle; and all that are not behind while the one at the origin
    is in more than one lane, or at a crossing: which is where a box lies across.
    """
    aside = straddles | (xp.abs(boxes.cos) < _ACROSS)
    return (xp.abs(boxes.y) < _WITHIN_20 * (boxes.x + axle)) | (aside & ~is_behind(xp, boxes, axle))


def faults(xp: Any, boxes: Boxes, hit: Any, length: Any, speed: Any, straddles: Any, axle: Any = 1.3) -> Any:
    """Return which of the hit boxes were hit by the fault of the one at the origin.

    Args:
        hit: bool, what `overlaps` said.
        length, speed: of the one at the origin.
        straddles: bool, whether it is in more than one lane.
        axle: how far its rear axle lies behind its middle, m.

    Source: at-fault rules of nuPlan's closed-loop score: a car that stood, or was hit by the front bumper; one hit
    beside where the ego is not in one lane; none while the ego stands, none whose middle lies within 30 degrees of
    straight behind its rear axle.
    """
    reach = xp.abs(boxes.cos) * boxes.length * 0.5 + xp.abs(boxes.sin) * boxes.width * 0.5
    long = length * 0.5
    front = (boxes.x - reach < long) & (boxes.x + reach > long) & (boxes.x > 0.0)
    behind = is_behind(xp, boxes, axle)
    stood = xp.abs(boxes.speed) <= CAR_STANDS_MPS
    return hit & (speed > EGO_STANDS_MPS) & (stood | front | (straddles & ~behind))


def time_to_overlap(xp: Any, boxes: Boxes, speeds: tuple[Any, Any], length: Any, width: Any, never: float) -> Any:
    """Return after how long boxes will overlap one of `length` and `width` at the origin, s; `never` if not before.

    Headings stay as they are: by each of the four axes that could part two boxes there is a time at which they begin
    to overlap and one at which they end; they touch while they overlap by all of them.

    Args:
        xp: array library.
        boxes: see there.
        speeds: their velocity against the one at the origin, m/s along and to the left of it.
        length, width: of that one.
        never: the longest time that counts.
    """
    # The four axes are the first dimension: fewer, larger operations.
    vx, vy = speeds
    place = xp.stack([boxes.x, boxes.y, *_turned(boxes, boxes.x, boxes.y)])
    speed = xp.stack([vx, vy, *_turned(boxes, vx, vy)])
    reach = xp.stack(_reaches(xp, boxes, length, width))
    pace = 1.0 / xp.maximum(xp.abs(speed), _STILL_MPS)
    middle, around = -xp.sign(speed) * place * pace, reach * pace
    # Of what moves neither way the place alone decides: it overlaps by this axis always or never.
    still = (speed == 0.0) & (xp.abs(place) >= reach)
    begins = xp.maximum(xp.max(xp.where(still, never, middle - around), axis=0), 0.0)
    ends = xp.minimum(xp.min(middle + around, axis=0), never)
    return xp.where(begins < ends, begins, never)


def _reaches(xp: Any, boxes: Boxes, length: Any, width: Any) -> list[Any]:
    """Return how near two middles have to be along each of the four axes for the boxes to overlap by it, m.

    Ahead and to the left of the one at the origin, then of the other.
    """
    cos, sin = xp.abs(boxes.cos), xp.abs(boxes.sin)
    half, wide, long, broad = boxes.length * 0.5, boxes.width * 0.5, length * 0.5, width * 0.5
    across, along = half * sin + wide * cos, half * cos + wide * sin
    return [long + along, broad + across, half + long * cos + broad * sin, wide + long * sin + broad * cos]


def _turned(boxes: Boxes, x: Any, y: Any) -> tuple[Any, Any]:
    """Return x and y along and across boxes."""
    return x * boxes.cos + y * boxes.sin, y * boxes.cos - x * boxes.sin
