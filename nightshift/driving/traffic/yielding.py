"""Giving way: who has to waits before the line until nobody who goes first would be at the meeting place meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nightshift.driving.lanes import SUCCESSORS
from nightshift.driving.traffic.leaders import Order
from nightshift.driving.traffic.motion import stopping

#: One looks from the distance in which one would stop at so many m/s2, and so many m more.
_STOPS_MPS2, _LOOKS_M = 2.0, 12.0
#: Who would have to brake harder than this drives on, m/s2.
_TOO_LATE_MPS2 = 4.5
#: One is in the way so far before the meeting place, m, or so far behind the line; one may set off with this share of
#: one's acceleration only.
_EARLY_M, _SOON_M, _LATE_SHARE = 3.0, 12.0, 0.8
#: Up to which speed one still waits at once, m/s.
_CRAWLS_MPS = 1.0
#: Nobody is reckoned to be there sooner than who passes the line at this speed, m/s.
_SLOWED_MPS = 7.0
#: Who goes first has passed when this share of its way would do.
_SURE = 0.85
#: Time kept clear before who goes first, s.
_AFTER_S = 1.0
#: Nearest cars upstream of the meeting place that are looked at.
_NEAREST = 2
#: How fast one comes to the line, m/s, unless the lanes join so far behind it, m; and how far before it one stops, m.
_AT_LINE_MPS, _UNBOUND_MPS, _LONG_M, _SHORT_M = 5.0, 100.0, 30.0, 0.3
#: Who is so far over the line, m, has gone.
_GONE_M = 1.5
#: Behind the meeting place a car is out of the way, m.
_CLEAR_M = 1.0


@dataclass(frozen=True)
class _Pairs:
    """Cars, `(n,)`, each with one lane that it gives way to, and when it would reach and leave the place, s.

    The other names are those of `touching.Conflict`.
    """

    car: Any
    lane: Any
    via: Any
    their_m: Any
    turns: Any
    early_s: Any
    late_s: Any


def giving_way(near: Order, wanted2: Any, accel: Any) -> tuple[Any, Any]:
    """Return the cars that come to a line before which one waits, by number, and the most they accelerate, m/s2.

    Args:
        near: all cars.
        wanted2: `(cars,)` squares of the speeds that drivers want, m2/s2.
        accel: `(cars,)` m/s2, that they would take if nobody gave way.
    """
    scene, xp = near.scene, near.scene.xp
    ways = scene.ways
    car = xp.nonzero(scene.moves & ways.gives_way.take(scene.lane))[0]
    lane = scene.lane[car]
    speed, rest = scene.speed[car], ways.line_m.take(lane) - scene.s[car] - scene.half[car]
    idx = xp.nonzero((rest > -_GONE_M) & (rest < speed * speed * (0.5 / _STOPS_MPS2) + _LOOKS_M))[0]
    if idx.shape[0] == 0:
        return car[idx], rest[idx]
    car, rest, speed, lane = car[idx], rest[idx], speed[idx], lane[idx]
    blocked = _blocked(near, _pairs(near, car, rest), wanted2, accel)
    waits = xp.zeros_like(scene.moves)
    waits[blocked] = True
    stops = (speed * speed < (2.0 * _TOO_LATE_MPS2) * (rest + _GONE_M)) | (speed < _CRAWLS_MPS)
    # One is slow enough at the line to stop there; where lanes run side by side before they join there is time.
    first = (lane * SUCCESSORS + scene.of_driver("turn")[car]) * ways.most_first
    at_line = xp.where(ways.first_beyond.take(first) < _LONG_M, _AT_LINE_MPS, _UNBOUND_MPS)
    at_line = xp.where(waits[car] & stops, 0.0, at_line)
    return car, stopping(xp, speed, rest - _SHORT_M, at_line)


def _pairs(near: Order, car: Any, rest: Any) -> _Pairs:
    scene, xp = near.scene, near.scene.xp
    ways = scene.ways
    first = (scene.lane[car] * SUCCESSORS + scene.of_driver("turn")[car]) * ways.most_first
    places = first[:, None] + xp.arange(ways.most_first, dtype=car.dtype, device=car.device)
    shape = places.shape
    places = places.reshape(-1)
    who = xp.broadcast_to(car[:, None], shape).reshape(-1)
    to_line = xp.broadcast_to(rest[:, None], shape).reshape(-1)
    lane = ways.first_lane.take(places)
    idx = xp.nonzero(lane >= 0)[0]
    places, who, to_line = places[idx], who[idx], to_line[idx]
    beyond = ways.first_beyond.take(places)
    way = xp.maximum(to_line + beyond, 0.0)
    speed = scene.speed[who]
    accel = scene.of_driver("accel_max")[who]
    to_place = to_line + xp.minimum(beyond - _EARLY_M, _SOON_M)
    early = _time(xp, speed, xp.maximum(to_place, 0.0), accel)
    slow = xp.minimum(speed, _SLOWED_MPS)
    late = _time(xp, slow, way + 2.0 * scene.half[who] + _CLEAR_M, _LATE_SHARE * accel) + _AFTER_S
    via, their_m, turns = (table.take(places) for table in (ways.first_via, ways.first_m, ways.first_turns))
    return _Pairs(who, lane[idx], via, their_m, turns, early, late)


def _time(xp: Any, speed: Any, way: Any, accel: Any) -> Any:
    return (xp.sqrt(speed * speed + 2.0 * accel * way) - speed) / accel


def _blocked(near: Order, pairs: _Pairs, wanted2: Any, accel: Any) -> Any:
    """Return the numbers of the cars, some of them more than once, that somebody who goes first is in the way of."""
    scene, xp = near.scene, near.scene.xp
    env = scene.env[pairs.car]
    group = (env << near.lane_bits) | pairs.lane
    beyond = pairs.their_m + 12.0
    last = xp.searchsorted(near.keys, near.key(env, pairs.lane, xp.minimum(beyond, scene.ways.longest_m))) - 1
    blocked = xp.zeros_like(pairs.car) > 0
    for k in range(_NEAREST):
        place = xp.maximum(last - k, 0)
        other = near.car.take(place)
        theirs = scene.ways.after.take(pairs.lane * SUCCESSORS + scene.of_driver("turn")[other])
        ours = (last >= k) & (near.group.take(place) == group) & ((pairs.via < 0) | (theirs == pairs.via))
        front = pairs.their_m - near.front.take(place)
        rear = pairs.their_m - near.rear.take(place) + _CLEAR_M
        speed = near.speed.take(place)
        gathers = 0.5 * xp.maximum(accel[other], 0.0) * pairs.late_s
        reach = pairs.late_s * xp.maximum(speed, xp.minimum(speed + gathers, xp.sqrt(wanted2[other])))
        slows = speed + 0.5 * xp.minimum(accel[other], 0.0) * pairs.early_s
        # Who turns off before will be slower; when it will be gone nobody knows.
        passed = xp.where(pairs.turns, 0.0, _SURE * xp.maximum(slows, 0.0) * pairs.early_s)
        blocked = blocked | (ours & (front < xp.maximum(reach, _CLEAR_M)) & (rear > passed))
    return pairs.car[xp.nonzero(blocked)[0]]
