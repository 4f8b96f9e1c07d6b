"""How episodes begin, worked out once: an environment that begins one copies a row."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from nightshift.driving.bicycle import Ego
from nightshift.driving.cars import Cars
from nightshift.driving.observe import Observer
from nightshift.driving.pack import Pack
from nightshift.driving.sight import AHEAD_M, Eyes, Ride, Sight

#: Scenarios that are looked at at once.
_AT_ONCE = 1024


@dataclass
class Starts:
    """States in which episodes begin, `(starts, ...)`; the first ones are those of the scenarios, by their numbers.

    Attributes:
        ride, ego, cars: as an environment holds them; column 0 of the cars is the ego.
        sight: what the ego sees.
        observation: what its policy is given, float32.
        step: int64, decisions that were taken before.
    """

    ride: Ride
    ego: Ego
    cars: Cars
    sight: Sight
    observation: Any
    step: Any

    @classmethod
    def of(cls, pack: Pack, eyes: Eyes, observer: Observer, xp: Any) -> Starts:
        """Work out the starts of a pack, whose arrays are of `xp`."""
        zero, of = pack.ego.x * 0.0, pack.ego
        still = {f.name: zero + 0.0 for f in fields(Ego)}
        moving = {"x": of.x, "y": of.y, "heading": of.heading, "speed": of.speed_mps, "steer": of.steer_rad}
        ahead = [zero + metres for metres in AHEAD_M]
        ride = Ride(
            scenario=xp.astype(zero, xp.int64) + xp.arange(len(zero), device=getattr(zero, "device", None)),
            first=pack.first,
            last=pack.count - 1,
            route_m=pack.route_m,
            reach_m=xp.stack([of.length_m - of.rear_m, -of.rear_m, 0.5 * of.length_m - of.rear_m, *ahead], axis=1),
            **{name: getattr(of, name) for name in ("length_m", "width_m", "wheelbase_m", "rear_m")},
        )
        ego = Ego(**{**still, **moving})
        cars = Cars(**{f.name: xp.asarray(getattr(pack.cars, f.name), copy=True) for f in fields(Cars)})
        parts = []
        for begin in range(0, pack.scenarios, _AT_ONCE):
            rows = slice(begin, begin + _AT_ONCE)
            some = [taken(part, rows) for part in (ride, ego, cars)]
            sight = eyes.look(some[0], some[1], some[2], of.s_m[rows])
            parts.append((sight, observer(some[0], some[1], sight)))
        sights = [sight for sight, _ in parts]
        sight = Sight(**{f.name: xp.concat([getattr(s, f.name) for s in sights], axis=0) for f in fields(Sight)})
        put_ego(cars, ride, ego, sight, ride.first >= 0)
        observation = xp.concat([seen for _, seen in parts], axis=0)
        return cls(ride, ego, cars, sight, observation, pack.steps * 0)


def put_ego(cars: Cars, ride: Ride, ego: Ego, sight: Sight, there: Any) -> None:
    """Show the egos to the traffic, as column 0 of the cars, where `there`."""
    to_middle = ride.length_m * 0.5 - ride.rear_m
    cars.there[:, 0] = there
    cars.lane[:, 0], cars.s[:, 0], cars.d[:, 0] = sight.lane, sight.lane_s_m, sight.lane_offset_m
    cars.speed[:, 0], cars.accel[:, 0], cars.heading[:, 0] = ego.speed, ego.accel, ego.heading
    cars.x[:, 0], cars.y[:, 0] = ego.x + to_middle * sight.cos, ego.y + to_middle * sight.sin
    cars.length[:, 0], cars.width[:, 0] = ride.length_m, ride.width_m


def taken(part: Any, rows: Any) -> Any:
    """Return some rows of all arrays of a dataclass."""
    return type(part)(**{f.name: _taken(getattr(part, f.name), rows) for f in fields(part)})


def _taken(value: Any, rows: Any) -> Any:
    return taken(value, rows) if is_dataclass(value) else value[rows]


def put(part: Any, rows: Any, new: Any) -> None:
    """Put rows into all arrays of a dataclass, in place."""
    for field in fields(part):
        array, value = getattr(part, field.name), getattr(new, field.name)
        if is_dataclass(array):
            put(array, rows, value)
        else:
            array[rows] = value


def put_anew(xp: Any, part: Any, rows: Any, new: Any) -> None:
    """Put rows into copies of the arrays of a dataclass: what else holds them, such as facts, keeps what it told."""
    for field in fields(part):
        array = xp.asarray(getattr(part, field.name), copy=True)
        array[rows] = getattr(new, field.name)
        setattr(part, field.name, array)
