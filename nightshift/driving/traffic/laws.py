"""One step of drivers on lanes, whatever law they follow: what they heed besides the car ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import SUCCESSORS, Lanes, point_at
from nightshift.driving.traffic.heeding import Heeding
from nightshift.driving.traffic.leaders import Ahead, Order, Scene, order
from nightshift.driving.traffic.motion import HARDEST_MPS2, move, stopping
from nightshift.driving.traffic.ways import AHEAD_MPS2, Ways
from nightshift.driving.traffic.yielding import giving_way

#: So far before the end of a lane one stops, m.
_SHORT_M = 1.0
#: Who is too fast slows down by so much more than the law has it, to keep up with limits that fall before a bend.
BRISKLY = 4.0
#: The gap that is divided by is never below this, m.
LEAST_M = 0.5


@dataclass(frozen=True)
class Drivers:
    """What `(n,)` cars' drivers are like, as laws read it; `wanted2` is the square of the speed they want, m2/s2."""

    speed: Any
    wanted2: Any
    headway: Any
    gap: Any
    accel: Any
    decel: Any

    @classmethod
    def of(cls, scene: Scene) -> Drivers:
        """Take the drivers of all cars."""
        names = ("headway", "gap", "accel_max", "decel")
        return cls(scene.speed, wanted2(scene), *(scene.of_driver(name) for name in names))

    def some(self, idx: Any) -> Drivers:
        """Take the drivers of some cars by number."""
        values = (self.speed, self.wanted2, self.headway, self.gap, self.accel, self.decel)
        return Drivers(*(value.take(idx) for value in values))


@dataclass(frozen=True)
class Egos:
    """Where the egos are to go: the routes of all scenarios, and `(envs,)` the scenario of each environment."""

    heeding: Heeding
    scenario: Any


class Law(Protocol):
    """How drivers follow and change lanes."""

    def follow(self, xp: Any, drivers: Drivers, ahead: Ahead) -> tuple[Any, Any]:
        """Return the `(n,)` accelerations, m/s2, on a free road, and behind what is ahead."""

    def change(self, near: Order, drivers: Drivers, ahead: Ahead, free: Any, accel: Any, noise: Any) -> None:
        """Change lanes.

        Args:
            near: all cars.
            drivers: of all cars.
            ahead: what they have ahead.
            free: `(cars,)` accelerations that they wish for, m/s2.
            accel: those that they take, m/s2; lowered where the new lane asks for it.
            noise: `(envs, n)` uniform numbers.
        """

    def waver(self, near: Order, drivers: Drivers, accel: Any, noise: Any) -> Any:
        """Return the accelerations as drivers carry them out, m/s2."""


def step_by(
    law: Law, xp: Any, lanes: Lanes | Ways, cars: Cars, dt: float, noise: Any, egos: Egos | None = None
) -> None:
    """Move the cars in columns 1 and up that are on lanes and on no track, in place.

    Args:
        law: of their drivers.
        xp: `numpy` or `array_api_compat.torch`.
        lanes: the map; `Ways.of(xp, lanes)`, made once, saves working it out in every step.
        cars: of all environments.
        dt: s.
        noise: `(envs, n)` uniform numbers, 0 to 1.
        egos: where the egos are to go, None where nobody knows.
    """
    ways = lanes if isinstance(lanes, Ways) else Ways.of(xp, lanes)
    if cars.s.shape[1] < 2:
        return
    scene = Scene.of(xp, ways, cars)
    if egos is not None:
        egos.heeding.tell(scene, egos.scenario)
    drivers = Drivers.of(scene)
    near = order(scene)
    ahead, free, accel = on_lanes(law, near, drivers)
    if egos is not None:
        egos.heeding.heed(scene, egos.scenario, accel)
    if ways.changes:
        law.change(near, drivers, ahead, free, accel, noise)
    accel = law.waver(near, drivers, accel, noise)
    move(scene, xp.maximum(accel, -HARDEST_MPS2), dt)


def on_lanes(law: Law, near: Order, drivers: Drivers) -> tuple[Ahead, Any, Any]:
    """Return what cars have ahead, and their accelerations on a free road and as they follow, stop and give way."""
    scene, xp = near.scene, near.scene.xp
    ahead = near.own()
    free, accel = law.follow(xp, drivers, ahead)
    mind_guests(law, near, drivers, ahead, accel)
    if scene.ways.stops:
        stop_at_ends(scene, accel)
    if scene.ways.yields:
        car, most = giving_way(near, drivers.wanted2, accel)
        if car.shape[0]:
            accel[car] = xp.minimum(accel[car], most)
    return ahead, free, accel


def wanted2(scene: Scene) -> Any:
    """Return the square of the speed that each driver wants here, m2/s2: own wish, limit, bends, the lane ahead."""
    xp, ways = scene.xp, scene.ways
    at, _ = point_at(xp, scene.s, ways.lanes.first.take(scene.lane), ways.last.take(scene.lane))
    here = ways.pace2.take(at)
    rest = ways.lanes.length_m.take(scene.lane) - scene.s
    entry = ways.entry2.take(scene.lane * SUCCESSORS + scene.of_driver("turn"))
    entry = entry + (2 * AHEAD_MPS2) * xp.maximum(rest, 0.0)
    own = scene.of_driver("desired")
    return xp.minimum(xp.minimum(own * own, here), entry)


def mind_guests(law: Law, near: Order, drivers: Drivers, ahead: Ahead, accel: Any) -> None:
    """Let drivers take a short gap calmly, in `(cars,)` accelerations, where others join their lane, or they do."""
    xp = near.scene.xp
    if near.guests.car.shape[0] == 0:
        return
    car = near.behind_guests()
    accel[car] = _calm(xp, drivers.some(car), Ahead(ahead.gap[car], ahead.speed[car]), accel[car])
    for car, beside in near.of_guests():
        some = drivers.some(car)
        _, follows = law.follow(xp, some, beside)
        accel[car] = xp.minimum(accel[car], _calm(xp, some, beside, follows))


def pressed2(xp: Any, speed: Any, ahead: Ahead, keeps: tuple[Any, Any], root: Any, least_m: float = LEAST_M) -> Any:
    """Return the square of IDM's wanted gap over the gap that there is: as a share of the greatest acceleration.

    A car ahead that drives away asks for no braking: the published model, where nuPlan's devkit squares that too.

    Args:
        xp: array library.
        speed: m/s.
        ahead: what they have ahead.
        keeps: headway, s, and gap, m, that are kept.
        root: of greatest acceleration by comfortable braking, m/s2.
        least_m: the gap that is divided by is never below this.
    """
    headway, gap = keeps
    want = speed * (headway + 0.5 * (speed - ahead.speed) / root)
    press = (gap + xp.maximum(want, 0.0)) / xp.maximum(ahead.gap, least_m)
    return press * press


def _calm(xp: Any, drivers: Drivers, ahead: Ahead, accel: Any) -> Any:
    return calmed(xp, drivers.speed, drivers.decel, ahead, accel)


def calmed(xp: Any, speed: Any, decel: Any, ahead: Ahead, accel: Any) -> Any:
    """Return accelerations of drivers who reckon that the one ahead keeps its speed, and no more.

    Source: Kesting, Treiber, Helbing, "Enhanced intelligent driver model to access the impact of driving strategies",
    2010; with x / (1 + |x|) in place of tanh.
    """
    closing = xp.maximum(speed - ahead.speed, 0.0)
    needed = closing * closing * -0.5 / xp.maximum(ahead.gap, LEAST_M)
    more = (accel - needed) / decel
    # Where `more` is positive the other branch holds; its sign keeps the quotient finite there.
    return xp.where(accel < needed, needed + decel * more / (1.0 + xp.abs(more)), accel)


def stop_at_ends(scene: Scene, accel: Any) -> None:
    """Have drivers stop, in `(cars,)` accelerations, where their lane ends and the road goes on beside it."""
    xp, ways = scene.xp, scene.ways
    car = xp.nonzero(scene.moves & ways.ends.take(scene.lane))[0]
    if car.shape[0]:
        rest = ways.lanes.length_m.take(scene.lane[car]) - scene.s[car] - scene.half[car] - _SHORT_M
        accel[car] = xp.minimum(accel[car], stopping(xp, scene.speed[car], rest))
