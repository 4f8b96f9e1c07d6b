"""Cars move along their lanes: speed, metre, the next lane at a lane's end, back to its middle, and the pose."""

from __future__ import annotations

from typing import Any

from nightshift.driving.lanes import SUCCESSORS, spots
from nightshift.driving.traffic.leaders import Scene

#: Nobody brakes harder, m/s2.
HARDEST_MPS2 = 8.0
#: A car that has changed lanes goes to the middle at so many m/s sideways, and at most so much for a metre per second.
_SIDEWAYS_MPS = 1.0
_SIDEWAYS_SHARE = 0.25
#: How one brakes for a line: evenly, so soon after the speed, s, and at most, m/s2.
_STOPS_MPS2, _LAG_S, _STOPS_HARD_MPS2 = 2.0, 0.6, 5.0


def move(scene: Scene, accel: Any, dt: float) -> None:
    """Move the cars by one step of `dt` s with `(cars,)` accelerations, m/s2; writes into `scene.cars`."""
    xp, cars = scene.xp, scene.cars
    speed = xp.maximum(scene.speed + accel * dt, 0.0)
    metres = (0.5 * dt) * (scene.speed + speed)
    sideways = xp.minimum(_SIDEWAYS_SHARE * metres, _SIDEWAYS_MPS * dt)
    d = xp.where(scene.d > 0, xp.maximum(scene.d - sideways, 0.0), xp.minimum(scene.d + sideways, 0.0))
    turned = (d - scene.d) / xp.maximum(metres, 1e-6)
    s = scene.s + metres
    there = _next_lanes(scene, s)
    _place(scene, s, d, turned)
    for name, value in (
        ("s", s),
        ("d", d),
        ("lane", scene.lane),
        ("speed", speed),
        ("accel", (speed - scene.speed) / dt),
    ):
        write(scene, name, value)
    if there is not None:
        cars.there.reshape(-1)[there] = False


def stopping(xp: Any, speed: Any, rest: Any, then: Any = 0.0) -> Any:
    """Return the most acceleration, `(n,)` m/s2, with which one is as slow as `then` m/s at a line `rest` m ahead."""
    allowed = xp.sqrt(then * then + 2.0 * _STOPS_MPS2 * xp.maximum(rest, 0.0))
    brakes = _STOPS_MPS2 * xp.minimum(speed / (allowed + 0.5), 1.0)
    return xp.maximum((allowed - speed) * (1.0 / _LAG_S) - brakes, -_STOPS_HARD_MPS2)


def write(scene: Scene, name: str, value: Any) -> None:
    """Write `(cars,)` values into a field of the cars that traffic moves."""
    field = getattr(scene.cars, name)
    field[...] = scene.xp.where(scene.moves, value, field.reshape(-1)).reshape(field.shape)


def _next_lanes(scene: Scene, s: Any) -> Any:
    """Take cars beyond their lane's end into the next one; returns the numbers of those that have none, or None."""
    xp, ways = scene.xp, scene.ways
    idx = xp.nonzero(scene.moves & (s >= ways.lanes.length_m.take(scene.lane)))[0]
    if idx.shape[0] == 0:
        return None
    lane = scene.lane[idx]
    following = ways.after.take(lane * SUCCESSORS + scene.of_driver("turn")[idx])
    s[idx] = xp.where(following >= 0, s[idx] - ways.lanes.length_m.take(lane), s[idx])
    scene.lane[idx] = xp.where(following >= 0, following, lane)
    return idx[following < 0]


def _place(scene: Scene, s: Any, d: Any, turned: Any) -> None:
    """Write x, y and heading of places on lanes; `turned` rad against the lane."""
    xp, lanes = scene.xp, scene.ways.lanes
    at = spots(xp, lanes.x, lanes.y, s, lanes.first.take(scene.lane), scene.ways.last.take(scene.lane))
    heading = lanes.heading.take(at.point)
    write(scene, "x", at.x - d * at.left)
    write(scene, "y", at.y + d * at.ahead)
    write(scene, "heading", heading + at.share * (lanes.heading.take(at.point + 1) - heading) + turned)
