"""The expert of made scenarios: drives as their traffic does, by IDM and MOBIL, and knows what that knows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.driving.action import PURSUIT_M, PURSUIT_S, pursuit
from nightshift.driving.cars import Cars
from nightshift.driving.drivers import IdmDriver, route_steering
from nightshift.driving.lanes import SUCCESSORS, spots
from nightshift.driving.scenario import STEP_S
from nightshift.driving.traffic import Following
from nightshift.driving.traffic.changes import NOBODY_M, chances, change
from nightshift.driving.traffic.heeding import Heeding
from nightshift.driving.traffic.idm_mobil import SAFE_MPS2, Idm
from nightshift.driving.traffic.laws import Drivers, on_lanes
from nightshift.driving.traffic.leaders import Ahead, Order, Scene, order
from nightshift.driving.traffic.ways import Ways

if TYPE_CHECKING:
    from nightshift.driving.world import World

#: A change of lanes takes so long, s, and the next one begins no sooner than this after it began, s.
_CHANGE_S, _NEXT_S = 3.5, 6.0
#: Steps since the last change where there was none.
_LONG_AGO = 10_000
#: Numbers that traffic reads as "look to the left" and "look to the right".
_LEFT, _RIGHT = 0.0, 0.75 / 64
#: Lanes that follow each other are looked into for that point.
_HOPS = 3
#: The least gain that is worth a change, m/s2; one is not seen at once, s, and the follower keeps so far behind, s.
_GAIN_MPS2, _UNSEEN_S, _BEHIND_S, _BESIDE_S = 0.3, 3.0, 0.4, 0.5
#: The time to collision that is kept, and how fast, s.
_TTC_S, _EASES_S = 1.6, 0.5
#: Bends that are taken slower than this are corners, m/s.
_CORNER_MPS = 3.3
#: By so much one speeds up or brakes more within a step, m/s2.
_STEP_MPS2 = 1.2


@dataclass
class _Course:
    """What the expert keeps of a world, `(envs,)` each: which lane it is on or going to, since when, and from where.

    Attributes:
        world: whose it is.
        ways, heeding: its map.
        lane: int64.
        since: int64, steps since the last change began.
        from_m: m to the left of that lane's middle at which it began.
    """

    world: Any
    ways: Ways
    heeding: Heeding
    lane: Any
    since: Any
    from_m: Any


@dataclass(frozen=True)
class _Moment:
    """All cars of a moment, by number: their order and drivers, what they would do, m/s2; `ego`: the egos' numbers."""

    near: Order
    drivers: Drivers
    ego: Any
    free: Any
    accel: Any


@dataclass
class Expert:
    """Follows, gives way and changes lanes as the traffic of made scenarios does, on the ego's route.

    It is no baseline: it reads the world's true state. Where a car's box is on its path it heeds that too, as the IDM
    driver does. On recorded scenarios, whose cars keep to no lanes, it is an IDM driver.

    Attributes:
        headway_s, gap_m, accel_mps2, decel_mps2, politeness: of its driver, as in `scenario.Traffic`.
        hardest_mps2: it brakes no harder.
        idm: says how fast the road allows, and heeds boxes on the path.
        corners: says how fast it takes the corners of junctions, where others stand close by.
        xp: NumPy or torch, as the world's.
    """

    headway_s: float = 1.0
    gap_m: float = 2.0
    accel_mps2: float = 1.5
    decel_mps2: float = 2.0
    politeness: float = 0.3
    hardest_mps2: float = 3.5
    idm: IdmDriver = field(default_factory=lambda: IdmDriver(accel_mps2=1.5, headway_s=1.0))
    corners: IdmDriver = field(default_factory=lambda: IdmDriver(sideways_mps2=0.6))
    xp: Any = np
    _course: _Course | None = None

    def __post_init__(self) -> None:
        """Have its parts reckon with the same library."""
        self.idm, self.corners = replace(self.idm, xp=self.xp), replace(self.corners, xp=self.xp)

    def act(self, world: World) -> Any:
        """Return `(envs, 2)` acceleration in m/s2 and steering in rad."""
        course = self._on(world)
        s, d = self._settle(world, course)
        scene = self._scene(world, course, s, d)
        rows, columns = scene.cars.s.shape
        ego = self.xp.arange(rows, dtype=scene.lane.dtype, device=scene.s.device) * columns + (columns - 1)
        accel = self._accel(world, course, scene, ego)
        steer = self._steer(world, course, scene.s[ego])
        course.since = course.since + 1
        return self.xp.stack([accel, steer], axis=1)

    def _on(self, world: World) -> _Course:
        if self._course is None or self._course.world is not world:
            model, pack, xp = world.traffic, world.pack, self.xp
            if isinstance(model, Following):
                ways, heeding = model.ways, model.heeding
            else:
                ways = Ways.of(xp, pack.lanes)
                heeding = Heeding.of(xp, pack, ways)
            lane, zero = world.cars.lane[:, 0], world.cars.s[:, 0] * 0.0
            self._course = _Course(world, ways, heeding, lane + 0, lane * 0 + _LONG_AGO, zero)
        return self._course

    def _settle(self, world: World, course: _Course) -> tuple[Any, Any]:
        """See on which lane it is and to which it goes; returns metre there, and m to the left of its middle."""
        xp, ways, lanes = self.xp, course.ways, course.ways.lanes
        lane, s, d = (getattr(world.cars, name)[:, 0] + 0 for name in ("lane", "s", "d"))
        here, goal = xp.maximum(lane, 0), xp.maximum(course.lane, 0)
        begins = world.count.step == 0
        going = (course.since * STEP_S < _CHANGE_S) & ~begins & (lane >= 0)
        turn = self._turn(world, course, course.lane)
        then = ways.after.take(goal * SUCCESSORS + turn)
        there = (lane == course.lane) | (lane == then)
        target, metre, aside = lane, s, d
        for beside, shift, apart in (
            (lanes.left.take(here), lanes.left_shift_m.take(here), -ways.apart_left.take(here)),
            (lanes.right.take(here), lanes.right_shift_m.take(here), ways.apart_right.take(here)),
        ):
            to = going & ~there & (beside >= 0) & ((beside == course.lane) | (beside == then))
            target = xp.where(to, beside, target)
            metre, aside = xp.where(to, s + shift, metre), xp.where(to, d + apart, aside)
        off = begins | ~(there | (target != lane))
        course.lane = target
        course.since = xp.where(off, _LONG_AGO, course.since)
        return metre, aside

    def _turn(self, world: World, course: _Course, lane: Any) -> Any:
        scenario = world.ride.scenario
        place = self.xp.maximum(lane + course.heeding.lane_shift.take(scenario), 0)
        return self.xp.where(lane >= 0, course.heeding.turn.take(place), 0)

    def _scene(self, world: World, course: _Course, s: Any, d: Any) -> Scene:
        """Return the cars with the ego as the last one of each environment, the only one that moves."""
        xp, cars = self.xp, world.cars
        own = {f.name: getattr(cars, f.name)[:, :1] for f in fields(Cars)}
        one = cars.s[:, :1] * 0.0
        own |= {"lane": course.lane[:, None], "s": s[:, None], "d": d[:, None], "on_track": ~(cars.there[:, :1] | True)}
        own |= {"desired": self._desired(world)[:, None], "turn": self._turn(world, course, course.lane)[:, None]}
        own |= {"headway": one + self.headway_s, "gap": one + self.gap_m, "accel_max": one + self.accel_mps2}
        own |= {"decel": one + self.decel_mps2, "politeness": one + self.politeness}
        all_ = {f.name: xp.concat([getattr(cars, f.name), own[f.name]], axis=1) for f in fields(Cars)}
        all_["on_track"][:, :-1] = True
        all_["there"][:, 0] = False
        return Scene.of(xp, course.ways, Cars(**all_))

    def _desired(self, world: World) -> Any:
        """Return `(envs,)` m/s; slower round the corners of junctions, where others stand close by."""
        free, round_corners = self.idm.desired(world), self.corners.desired(world)
        return self.xp.where(round_corners < _CORNER_MPS, self.xp.minimum(free, round_corners), free)

    def _accel(self, world: World, course: _Course, scene: Scene, ego: Any) -> Any:
        """Return `(envs,)` m/s2; begins changes of lanes."""
        xp = self.xp
        drivers, near = Drivers.of(scene), order(scene)
        self._give_up(world, course, near, ego)
        _, free, accel = on_lanes(Idm(), near, drivers)
        if course.ways.changes:
            self._change(world, course, _Moment(near, drivers, ego, free, accel))
        boxes = self.idm.act(world)[:, 0]
        mine = xp.where(scene.on[ego], xp.minimum(accel[ego], boxes), boxes)
        # As slow as it takes to keep the time to collision, which counts straight on, even in a bend.
        ttc = world.sight.ttc_s
        mine = xp.where(ttc < _TTC_S, xp.minimum(mine, world.ego.speed * (ttc / _TTC_S - 1.0) * (1.0 / _EASES_S)), mine)
        # Smoothly, where there is time for that.
        now, gentle = world.ego.accel, ttc >= _TTC_S
        mine = xp.minimum(xp.where(gentle, xp.maximum(mine, now - _STEP_MPS2), mine), now + _STEP_MPS2)
        return xp.minimum(xp.maximum(mine, -self.hardest_mps2), self.accel_mps2)

    def _give_up(self, world: World, course: _Course, near: Order, ego: Any) -> None:
        """Turn back, as long as it is on its old lane, where somebody has come up in the new one."""
        xp, scene, cars = self.xp, near.scene, world.cars
        here = near.place[ego]
        other, gap = near.back(near.group[here], here - 1, scene.s[ego])
        closing = xp.maximum(scene.speed[other] - scene.speed[ego], 0.0)
        taken = gap - scene.half[ego] < self.gap_m + _BESIDE_S * closing
        back = taken & scene.on[ego] & (cars.lane[:, 0] >= 0) & (cars.lane[:, 0] != course.lane)
        course.lane = xp.where(back, cars.lane[:, 0], course.lane)
        course.from_m = xp.where(back, cars.d[:, 0], course.from_m)
        course.since = xp.where(back, 0, course.since)

    def _change(self, world: World, course: _Course, now: _Moment) -> None:
        """Begin changes of lanes where one gains by it (MOBIL), and nobody behind has to brake before it is seen."""
        xp, law, near, ego, accel = self.xp, Idm(), now.near, now.ego, now.accel
        scene, drivers = near.scene, now.drivers
        settled = course.since * STEP_S >= _NEXT_S
        noise = scene.cars.s[:, 1:] * 0.0
        noise[:, 0] = xp.where(world.count.step % 2 == 0, _LEFT, _RIGHT)
        wants = scene.moves & ((now.free - accel > _GAIN_MPS2) | scene.ways.leave.take(scene.lane))
        wants[ego] = wants[ego] & settled
        found = chances(near, wants, noise)
        if found is None:
            return
        car, speed = found.car, scene.speed[found.car]
        _, new = law.follow(xp, drivers.some(car), found.ahead)
        _, behind = law.follow(xp, drivers.some(found.behind), Ahead(found.behind_gap, speed))
        nobody = found.behind_gap >= NOBODY_M
        theirs = scene.speed[found.behind]
        room = found.behind_gap > _UNSEEN_S * xp.maximum(theirs - speed, 0.0) + _BEHIND_S * theirs + self.gap_m
        loss = xp.where(nobody, 0.0, xp.minimum(behind - accel[found.behind], 0.0))
        gains = new - accel[car] + self.politeness * loss > _GAIN_MPS2
        chosen = (new > -SAFE_MPS2) & (nobody | ((behind > -SAFE_MPS2) & room)) & (gains | found.must)
        accel[car] = xp.where(chosen, xp.minimum(accel[car], new), accel[car])
        change(near, found, chosen)
        changed = scene.lane[ego] != xp.maximum(course.lane, 0)
        course.from_m = xp.where(changed, scene.d[ego], course.from_m)
        course.since = xp.where(changed, 0, course.since)
        course.lane = xp.where(changed, scene.lane[ego], course.lane)

    def _steer(self, world: World, course: _Course, s: Any) -> Any:
        """Return `(envs,)` rad: towards a point of its lane, or between two lanes while it changes; from metre `s`."""
        xp, ways, ego = self.xp, course.ways, world.ego
        turn = self._turn(world, course, course.lane)
        lane = xp.maximum(course.lane, 0)
        far = xp.maximum(ego.speed * PURSUIT_S, PURSUIT_M)
        s = s - (0.5 * world.ride.length_m - world.ride.rear_m) + far
        for _ in range(_HOPS):
            then = ways.after.take(lane * SUCCESSORS + turn)
            beyond = (s >= ways.lanes.length_m.take(lane)) & (then >= 0)
            s = xp.where(beyond, s - ways.lanes.length_m.take(lane), s)
            lane = xp.where(beyond, then, lane)
            turn = self._turn(world, course, lane)
        at = spots(xp, ways.lanes.x, ways.lanes.y, s, ways.lanes.first.take(lane), ways.last.take(lane))
        done = xp.minimum((course.since * STEP_S + far / xp.maximum(ego.speed, 1.0)) * (1.0 / _CHANGE_S), 1.0)
        aside = course.from_m * (1.0 - done * done * (3.0 - 2.0 * done))
        dx, dy = at.x - aside * at.left - ego.x, at.y + aside * at.ahead - ego.y
        cos, sin = world.sight.cos, world.sight.sin
        steer = pursuit(xp, dx * cos + dy * sin, dy * cos - dx * sin, world.ride.wheelbase_m)
        return xp.where(course.lane >= 0, steer, route_steering(xp, world))
