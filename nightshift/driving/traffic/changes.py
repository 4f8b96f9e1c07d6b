"""Changes of lanes: who may look for one, what it would meet there, and the change itself.

In one step the cars of an environment look to one side only, so that no two reach for the same gap from two sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nightshift.driving.traffic.leaders import FREE_M, SEEN_M, Ahead, Order
from nightshift.driving.traffic.ways import PREDECESSORS

#: Share of the steps in which a driver looks beside; half of those to either side.
LOOKS = 0.5
#: A car further from its lane's middle than this is still on its way there, m.
SETTLED_M = 0.3
_DRAWS = 64
#: A gap from here on is one to nobody, m.
NOBODY_M = FREE_M - SEEN_M


@dataclass(frozen=True)
class Chances:
    """Lanes that `(n,)` cars could change to.

    Attributes:
        car: number of the car.
        lane, s: the lane beside it, and its metre there.
        to_left: bool.
        must: bool, the car has to leave its lane.
        ahead: what it would have ahead there.
        behind, behind_gap: number of the car that would follow, its gap in m; `FREE_M` where nobody would.
        after, after_gap: of the car that follows now.
    """

    car: Any
    lane: Any
    s: Any
    to_left: Any
    must: Any
    ahead: Ahead
    behind: Any
    behind_gap: Any
    after: Any
    after_gap: Any


def chances(near: Order, wants: Any, noise: Any) -> Chances | None:
    """Return what the cars that want another lane, `(cars,)` bool, find beside theirs; None for nobody.

    Args:
        near: all cars.
        wants: who would like to.
        noise: `(envs, n)` uniform numbers.
    """
    scene, xp = near.scene, near.scene.xp
    ways, lanes = scene.ways, scene.ways.lanes
    looks = xp.zeros_like(scene.cars.there)
    looks[:, 1:] = noise < LOOKS
    looking = looks.reshape(-1) | ways.leave.take(scene.lane)
    car = xp.nonzero(wants & looking & (xp.abs(scene.d) < SETTLED_M))[0]
    # More digits of the first number: which of them it was that looked says nothing about the side.
    draws = noise[:, 0] * _DRAWS
    to_left = ((draws - xp.floor(draws)) < 0.5).take(scene.env[car])
    own = scene.lane[car]
    lane = xp.where(to_left, lanes.left.take(own), lanes.right.take(own))
    s = scene.s[car] + xp.where(to_left, lanes.left_shift_m.take(own), lanes.right_shift_m.take(own))
    there = xp.maximum(lane, 0)
    sound = xp.nonzero((lane >= 0) & (s >= 0) & (s < lanes.length_m.take(there)) & ~ways.leave.take(there))[0]
    if sound.shape[0] == 0:
        return None
    car, lane, s, to_left, own = car[sound], lane[sound], s[sound], to_left[sound], own[sound]
    env, half = scene.env[car], scene.half[car]
    place = xp.searchsorted(near.keys, near.key(env, lane, s))
    group = (env << near.lane_bits) | lane
    behind, behind_gap = _behind(near, group, place - 1, lane, s)
    here = near.place[car]
    after, after_gap = near.back(near.group[here], here - 1, scene.s[car])
    return Chances(
        car=car,
        lane=lane,
        s=s,
        to_left=to_left,
        must=ways.leave.take(own),
        ahead=_ahead(near, group, place, lane, s, car),
        behind=behind,
        behind_gap=behind_gap - half,
        after=after,
        after_gap=after_gap - half,
    )


def _ahead(near: Order, group: Any, place: Any, lane: Any, s: Any, car: Any) -> Ahead:
    scene, xp = near.scene, near.scene.xp
    found = near.group.take(place) == group
    gap = xp.where(found, near.rear.take(place) - s, FREE_M)
    speed = xp.where(found, near.speed.take(place), scene.speed[car])
    rest = scene.ways.lanes.length_m.take(lane) - s
    idx = xp.nonzero(~found & (rest < SEEN_M))[0]
    if idx.shape[0]:
        who = car[idx]
        more = near.following(scene.env[who], lane[idx], rest[idx], scene.of_driver("turn")[who])
        gap[idx], speed[idx] = more.gap, more.speed
    return Ahead(gap - scene.half[car], speed)


def _behind(near: Order, group: Any, place: Any, lane: Any, s: Any) -> tuple[Any, Any]:
    """Return who is next behind, on the lane or on those that lead into it, and its gap to metre `s`."""
    scene, xp = near.scene, near.scene.xp
    other, gap = near.back(group, place, s)
    idx = xp.nonzero((gap >= FREE_M) & (s < SEEN_M))[0]
    if idx.shape[0] == 0:
        return other, gap
    env = group[idx] >> near.lane_bits
    for k in range(PREDECESSORS):
        before = scene.ways.before.take(lane[idx] * PREDECESSORS + k)
        theirs = (env << near.lane_bits) | before
        last = xp.searchsorted(near.keys, (theirs + 1) << near.low_bits) - 1
        there = xp.maximum(before, 0)
        one, far = near.back(theirs, last, s[idx] + scene.ways.lanes.length_m.take(there))
        nearer = (before >= 0) & (far < gap[idx])
        other[idx], gap[idx] = xp.where(nearer, one, other[idx]), xp.where(nearer, far, gap[idx])
    return other, gap


def change(near: Order, found: Chances, chosen: Any) -> None:
    """Put cars, `(n,)` bool of the chances, into their new lanes: at once, and beside the middle where they are."""
    scene, xp = near.scene, near.scene.xp
    idx = xp.nonzero(chosen)[0]
    if idx.shape[0] == 0:
        return
    car, to_left = found.car[idx], found.to_left[idx]
    own = scene.lane[car]
    apart = xp.where(to_left, -scene.ways.apart_left.take(own), scene.ways.apart_right.take(own))
    d = scene.d + 0.0
    d[car] = d[car] + apart
    scene.d = d
    scene.lane[car] = found.lane[idx]
    scene.s[car] = found.s[idx]
