"""Who drives ahead of whom and behind whom: one sort of all cars along their lanes, read by number from then on.

A car that reaches over into the lane beside it stands there too, as a guest: those behind it see it, and it minds whom
it would hit there. So nobody is overrun while it changes lanes, the ego car included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import SUCCESSORS
from nightshift.driving.traffic.guests import Guests, guests
from nightshift.driving.traffic.ways import AHEAD_M, FINE, Ways
from nightshift.errors import UsageError

#: Cars ahead are seen so far, m, and into so many lanes that follow.
SEEN_M = 120.0
HOPS = 2
#: Gap where nobody drives ahead, m.
FREE_M = 1000.0


@dataclass
class Scene:
    """The cars of a step, flat: car `c` of environment `e` is number `e * columns + c`, `(cars,)` arrays.

    Attributes:
        xp: array library.
        ways: the map.
        cars: as they stood, `(envs, columns)`.
        env: int64.
        on: bool, there and on a lane; `moves`: bool, of those the ones that traffic moves.
        lane: int64, 0 where `on` is False.
        s, d, speed, half: m, m, m/s, and half the length in m.
    """

    xp: Any
    ways: Ways
    cars: Cars
    env: Any
    on: Any
    moves: Any
    lane: Any
    s: Any
    d: Any
    speed: Any
    half: Any

    @classmethod
    def of(cls, xp: Any, ways: Ways, cars: Cars) -> Scene:
        """Flatten the cars of a step."""
        rows, columns = cars.s.shape
        lane = cars.lane.reshape(-1)
        env = xp.arange(rows, dtype=cars.lane.dtype, device=cars.s.device)
        env = xp.broadcast_to(env[:, None], (rows, columns)).reshape(-1)
        on = cars.there.reshape(-1) & (lane >= 0)
        moves = on & ~cars.on_track.reshape(-1)
        moves.reshape(rows, columns)[:, 0] = False
        return cls(
            xp=xp,
            ways=ways,
            cars=cars,
            env=env,
            on=on,
            moves=moves,
            lane=xp.where(on, lane, 0),
            s=xp.where(on, cars.s.reshape(-1), 0.0),
            d=cars.d.reshape(-1),
            speed=cars.speed.reshape(-1),
            half=0.5 * cars.length.reshape(-1),
        )

    def of_driver(self, name: str) -> Any:
        """Return a field of `Cars`, flat."""
        return getattr(self.cars, name).reshape(-1)


@dataclass(frozen=True)
class Ahead:
    """What `(n,)` cars have in front: the gap bumper to bumper in m, `FREE_M` for none, and its speed in m/s."""

    gap: Any
    speed: Any


@dataclass(frozen=True)
class Order:
    """All cars sorted by environment, lane and metre; guests among them.

    Attributes:
        keys: `(entries + 1,)` int64, sorted; the last one stands behind all.
        group: `(entries + 1,)` int64, environment and lane of each.
        car: `(entries + 1,)` number of the car of each; 0 for the last one.
        rear, front: `(entries + 1,)` m on that lane, of its bumpers; nearer to each other where it is a guest on a
            lane that its own will join only further on.
        speed: `(entries + 1,)` m/s along that lane.
        crosses: `(entries + 1,)` bool; a guest that crosses that lane.
        place: `(entries,)` place in the sorted arrays, of the cars by number, then of the guests.
        lane_bits, low_bits: of the keys: those of the lane, and those below it.
        entry_bits: those below the metre.
    """

    scene: Scene
    guests: Guests
    keys: Any
    group: Any
    car: Any
    rear: Any
    front: Any
    speed: Any
    crosses: Any
    place: Any
    lane_bits: int
    low_bits: int
    entry_bits: int

    def key(self, env: Any, lane: Any, s: Any) -> Any:
        """Return the keys below which all lies that is behind metre `s`, `(n,)` each."""
        xp = self.scene.xp
        fine = xp.astype((s + AHEAD_M) * FINE, self.keys.dtype)
        return (((env << self.lane_bits) | lane) << self.low_bits) | (fine << self.entry_bits)

    def own(self) -> Ahead:
        """Return what each car, `(cars,)`, has ahead on its lane and on those that follow by its turn."""
        scene = self.scene
        place = self.place[: scene.s.shape[0]]
        ahead, found = self._next(place, place + 1)
        return self._beyond(ahead, found)

    def of_guests(self) -> Iterator[tuple[Any, Ahead]]:
        """Yield guests that traffic moves, by number of the car and no car twice at once, with what they mind there."""
        scene, others = self.scene, self.guests
        mine = scene.xp.where(scene.moves[others.car], others.minds, -1)
        for kind in range(scene.ways.most_minded + 1):
            idx = scene.xp.nonzero(mine == kind)[0]
            if idx.shape[0]:
                car, place = others.car[idx], self.place[scene.s.shape[0] :][idx]
                ahead, _ = self._next(place, place + 1)
                # What crosses that lane does not cross this one there.
                yield car, Ahead(scene.xp.where(self.crosses.take(place + 1), FREE_M, ahead.gap), ahead.speed)

    def behind_guests(self) -> Any:
        """Return the cars that traffic moves, by number, and that have a guest ahead of them on their own lane."""
        scene = self.scene
        place = self.place[scene.s.shape[0] :]
        before = scene.xp.maximum(place - 1, 0)
        car = self.car.take(before)
        own = (self.place.take(car) == before) & (self.group.take(before) == self.group.take(place)) & (place > 0)
        return car[scene.xp.nonzero(own & scene.moves[car])[0]]

    def _next(self, here: Any, there: Any) -> tuple[Ahead, Any]:
        """Return the gaps from places to places, and whether both are on one lane."""
        xp = self.scene.xp
        found = self.group.take(here) == self.group.take(there)
        gap = self.rear.take(there) - self.front.take(here)
        # Of nobody ahead the speed is one's own: what stands next in the order may be of another environment.
        speed = xp.where(found, self.speed.take(there), self.speed.take(here))
        return Ahead(xp.where(found, gap, FREE_M), speed), found

    def _beyond(self, ahead: Ahead, found: Any) -> Ahead:
        """Look into the lanes that follow, for the cars that have nobody ahead on their own."""
        xp, scene = self.scene.xp, self.scene
        rest = scene.ways.lanes.length_m.take(scene.lane) - scene.s
        needs = scene.moves & ~found & (rest < SEEN_M)
        idx = xp.nonzero(needs)[0]
        if idx.shape[0] == 0:
            return ahead
        more = self.following(scene.env[idx], scene.lane[idx], rest[idx], scene.of_driver("turn")[idx])
        ahead.gap[idx] = more.gap - scene.half[idx]
        ahead.speed[idx] = more.speed
        return ahead

    def back(self, group: Any, place: Any, s: Any) -> tuple[Any, Any]:
        """Return the cars at places, `(n,)`, and the gap from their front bumper to metre `s`.

        The gap is `FREE_M` where the car there is of another group.
        """
        xp = self.scene.xp
        none, place = place < 0, xp.maximum(place, 0)
        found = (self.group.take(place) == group) & ~none
        return self.car.take(place), xp.where(found, s - self.front.take(place), FREE_M)

    def following(self, env: Any, lane: Any, rest: Any, turn: Any) -> Ahead:
        """Return the first cars on the lanes that follow `lane`, `(n,)`; gaps count from `rest` m before its end."""
        xp, scene = self.scene.xp, self.scene
        gap = xp.full_like(rest, FREE_M)
        speed = xp.zeros_like(rest)
        found = rest > SEEN_M
        for _ in range(HOPS):
            lane = scene.ways.after.take(xp.maximum(lane, 0) * SUCCESSORS + turn)
            group = (env << self.lane_bits) | lane
            place = xp.searchsorted(self.keys, group << self.low_bits)
            hit = (self.group.take(place) == group) & (lane >= 0) & ~found
            gap = xp.where(hit, rest + self.rear.take(place), gap)
            speed = xp.where(hit, self.speed.take(place), speed)
            found = found | hit | (lane < 0)
            rest = rest + scene.ways.lanes.length_m.take(xp.maximum(lane, 0))
        return Ahead(gap, speed)


def order(scene: Scene) -> Order:
    """Sort the cars of a step along their lanes.

    Raises:
        UsageError: so many environments, lanes and cars that their numbers do not fit into 63 bits.
    """
    xp, ways = scene.xp, scene.ways
    n_lanes, rows = int(ways.lanes.length_m.shape[0]), int(scene.cars.s.shape[0])
    others = guests(scene)
    n_cars, n_guests = scene.s.shape[0], others.car.shape[0]
    entries = n_cars + n_guests
    lane_bits, entry_bits = n_lanes.bit_length(), entries.bit_length()
    low_bits = ways.metre_bits + entry_bits
    if rows.bit_length() + lane_bits + low_bits > 63:
        raise UsageError(
            f"{rows} environments on {n_lanes} lanes are too many to be sorted at once.",
            hint="Take fewer environments, or fewer scenarios.",
        )
    number = xp.arange(entries, dtype=scene.lane.dtype, device=scene.s.device)
    lane = xp.where(scene.on, scene.lane, n_lanes)
    at, speed, env, car, half = scene.s, scene.speed, scene.env, number[:n_cars], scene.half
    crosses = xp.zeros_like(scene.moves)
    if n_guests:
        lane, at = xp.concat([lane, others.lane]), xp.concat([at, others.s])
        env, car = xp.concat([env, env[others.car]]), xp.concat([car, others.car])
        speed = xp.concat([speed, others.along * scene.speed[others.car]])
        half = xp.concat([half, half[others.car] - others.slack])
        crosses = xp.concat([crosses, others.along == 0.0])
    fine = xp.astype((at + AHEAD_M) * FINE, number.dtype)
    keys = xp.sort((((env << lane_bits) | lane) << low_bits) | (fine << entry_bits) | number)
    entry = keys & ((1 << entry_bits) - 1)
    place = xp.empty_like(number)
    place[entry] = number
    none = number[:1]
    return Order(
        scene=scene,
        guests=others,
        keys=xp.concat([keys, none + (2**63 - 1)]),
        group=xp.concat([keys >> low_bits, none - 1]),
        car=xp.concat([car.take(entry), none]),
        rear=xp.concat([(at - half).take(entry), at[:1]]),
        front=xp.concat([(at + half).take(entry), at[:1]]),
        speed=xp.concat([speed.take(entry), at[:1]]),
        crosses=xp.concat([crosses.take(entry), crosses[:1]]),
        place=place,
        lane_bits=lane_bits,
        low_bits=low_bits,
        entry_bits=entry_bits,
    )
