"""What lies on a car's path ahead, by geometry alone: for traffic that keeps to recorded paths, with a map or not."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import spots
from nightshift.driving.traffic.leaders import FREE_M, Ahead
from nightshift.driving.traffic.tracks import Recorded

#: One looks so far ahead, and for paths that bend so far aside, m.
_SEEN_M, _ASIDE_M = 60.0, 15.0
#: Room to either side of a car that passes, m.
_ROOM_M = 0.2
#: Environments whose pairs are looked at together: as many as the cache holds.
_AT_ONCE = 32
#: A place is free where no car's middle is nearer than this, m.
_FREE_PLACE_M = 8.0


def ahead_on_paths(xp: Any, recorded: Recorded, cars: Cars, paths: Any, which: Any) -> Ahead:
    """Return what the cars `which`, `(cars,)` bool, have ahead on their `paths`; all others have nobody.

    All pairs of an environment are looked at: its cars are few, and most pairs fall out at once.
    """
    rows, columns = cars.there.shape
    if rows <= _AT_ONCE:
        return _ahead(xp, recorded, cars, paths, which)
    parts = []
    for first in range(0, rows, _AT_ONCE):
        here = slice(first, first + _AT_ONCE)
        flat = slice(first * columns, (first + _AT_ONCE) * columns)
        some = Cars(**{field.name: getattr(cars, field.name)[here] for field in fields(Cars)})
        parts.append(_ahead(xp, recorded, some, paths[flat], which[flat]))
    return Ahead(xp.concat([part.gap for part in parts]), xp.concat([part.speed for part in parts]))


def _ahead(xp: Any, recorded: Recorded, cars: Cars, paths: Any, which: Any) -> Ahead:
    rows, columns = cars.there.shape
    cos, sin = xp.cos(cars.heading), xp.sin(cars.heading)
    dx, dy = cars.x[:, None, :] - cars.x[:, :, None], cars.y[:, None, :] - cars.y[:, :, None]
    ahead = dx * cos[:, :, None] + dy * sin[:, :, None]
    aside = dy * cos[:, :, None] - dx * sin[:, :, None]
    near = (ahead > 0.0) & (ahead < _SEEN_M) & (xp.abs(aside) < _ASIDE_M)
    near = near & which.reshape(rows, columns)[:, :, None] & cars.there[:, None, :]
    pairs = xp.nonzero(near.reshape(-1))[0]
    one = pairs // columns
    other = (one // columns) * columns + pairs % columns
    ahead, one_path = ahead.reshape(-1)[pairs], paths[one]
    half, beside, slant = _box_on_path(xp, recorded, cars, one_path, other, cars.s.reshape(-1)[one] + ahead)
    gap = ahead - half - 0.5 * cars.length.reshape(-1)[one]
    inside = xp.abs(beside) < 0.5 * cars.width.reshape(-1)[one] + slant + _ROOM_M
    table = xp.full_like(dx, FREE_M).reshape(-1)
    table[pairs] = xp.where(inside, gap, FREE_M)
    table = table.reshape(rows * columns, columns)
    first = xp.argmin(table, axis=1)
    numbers = xp.arange(rows * columns, dtype=paths.dtype, device=paths.device)
    gap = table.reshape(-1).take(numbers * columns + first)
    leader = (numbers // columns) * columns + first
    # Its speed along one's own direction: what crosses stands, as it were.
    turned = xp.cos(cars.heading.reshape(-1).take(leader) - cars.heading.reshape(-1))
    speed = xp.maximum(cars.speed.reshape(-1).take(leader) * turned, 0.0)
    return Ahead(gap, xp.where(gap < FREE_M, speed, cars.speed.reshape(-1)))


def _box_on_path(xp: Any, recorded: Recorded, cars: Cars, path: Any, other: Any, s: Any) -> tuple[Any, Any, Any]:
    """Return, for `(pairs,)` places on paths, half of the other's length along them, its offset, and half its width."""
    of_path = recorded.path_first.take(path), recorded.path_last.take(path)
    at = spots(xp, recorded.path_x, recorded.path_y, s, *of_path)
    ex, ey = cars.x.reshape(-1)[other] - at.x, cars.y.reshape(-1)[other] - at.y
    turned = cars.heading.reshape(-1)[other] - recorded.path_heading.take(at.point)
    cos, sin = xp.abs(xp.cos(turned)), xp.abs(xp.sin(turned))
    length, width = 0.5 * cars.length.reshape(-1)[other], 0.5 * cars.width.reshape(-1)[other]
    return cos * length + sin * width, ey * at.ahead - ex * at.left, sin * length + cos * width


def free_places(xp: Any, cars: Cars, which: Any, x: Any, y: Any) -> Any:
    """Return whether places, `(n,)` m, for the cars of numbers `which` are free of other cars, `(n,)` bool."""
    row = which // cars.there.shape[1]
    dx, dy = cars.x[row] - x[:, None], cars.y[row] - y[:, None]
    taken = cars.there[row] & (dx * dx + dy * dy < _FREE_PLACE_M * _FREE_PLACE_M)
    return ~xp.any(taken, axis=1)
