"""Cars that stand in another lane too: they reach over into it, or lanes join, part or cross where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightshift.driving.traffic.leaders import Scene

#: A car reaches over when its side is so far beyond the border of its lane, m.
_OVER_M = 0.3
#: Slower than this one is held up, m/s.
_STANDS_MPS = 2.0


@dataclass(frozen=True)
class Guests:
    """Cars in lanes that are not theirs, `(guests,)` each.

    Attributes:
        car: number of the car.
        lane, s: where it is seen.
        slack: m that its box is shorter at either end.
        along: share of its speed that runs along that lane: 1, or 0 where it crosses.
        minds: int64; -1 where it does not follow those ahead of it there; else a number from 0 that no two guests of
            one car share.
    """

    car: Any
    lane: Any
    s: Any
    slack: Any
    along: Any
    minds: Any


def guests(scene: Scene) -> Guests:
    """Find all guests."""
    xp = scene.xp
    car, lane, s = _reaching_over(scene)
    found = Guests(car, lane, s, xp.zeros_like(s), xp.ones_like(s), xp.zeros_like(car))
    if not scene.ways.touches:
        return found
    more = _touching(scene)
    return Guests(
        car=xp.concat([car, more.car]),
        lane=xp.concat([lane, more.lane]),
        s=xp.concat([s, more.s]),
        slack=xp.concat([found.slack, more.slack]),
        along=xp.concat([found.along, more.along]),
        minds=xp.concat([found.minds, more.minds]),
    )


def _reaching_over(scene: Scene) -> tuple[Any, Any, Any]:
    xp, lanes = scene.xp, scene.ways.lanes
    width = scene.of_driver("width") - lanes.width_m.take(scene.lane)
    idx = xp.nonzero(scene.on & (xp.abs(scene.d) + 0.5 * width > _OVER_M))[0]
    own, to_left = scene.lane[idx], scene.d[idx] > 0
    lane = xp.where(to_left, lanes.left.take(own), lanes.right.take(own))
    s = scene.s[idx] + xp.where(to_left, lanes.left_shift_m.take(own), lanes.right_shift_m.take(own))
    sound = xp.nonzero((lane >= 0) & (s >= 0) & (s <= lanes.length_m.take(xp.maximum(lane, 0))))[0]
    return idx[sound], lane[sound], s[sound]


def _touching(scene: Scene) -> Guests:
    xp, ways = scene.xp, scene.ways
    car = xp.nonzero(scene.on & ways.touching.take(scene.lane))[0]
    most = ways.most_touches
    # Each car with each place at which its lane may touch another one.
    places = scene.lane[car][:, None] * most + xp.arange(most, dtype=car.dtype, device=car.device)
    car = xp.broadcast_to(car[:, None], places.shape).reshape(-1)
    places = places.reshape(-1)
    s, half = scene.s[car], scene.half[car]
    lane = ways.touch_lane.take(places)
    there = ways.touch_base.take(places) + ways.touch_slope.take(places) * s
    inside = (s + half > ways.touch_begin.take(places)) & (s - half < ways.touch_end.take(places))
    inside = inside & ~(ways.touch_stands.take(places) & (scene.speed[car] > _STANDS_MPS))
    sound = xp.nonzero((lane >= 0) & inside & (there >= 0))[0]
    places, car, lane, s, there = places[sound], car[sound], lane[sound], s[sound], there[sound]
    return Guests(
        car=car,
        lane=lane,
        s=there,
        slack=ways.touch_slack.take(places) * (ways.lanes.length_m.take(scene.lane[car]) - s),
        along=ways.touch_slope.take(places),
        minds=ways.touch_minds.take(places),
    )
