"""Drivers by rule, which every policy is measured against, and the policy as a driver."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nightshift.driving.action import route_steer
from nightshift.driving.facts import NOBODY_M
from nightshift.driving.lanes import STEP_M
from nightshift.driving.observe import Observer
from nightshift.driving.pack import LINE, ROAD
from nightshift.driving.scenario import STEP_S
from nightshift.driving.traffic.laws import pressed2
from nightshift.driving.traffic.leaders import Ahead
from nightshift.errors import UsageError

if TYPE_CHECKING:
    from nightshift.driving.world import World

#: The IDM driver looks at the road ahead in so many steps of so many metres.
_LOOK, _LOOK_STEP_M = 42, 4.0


class Driver(Protocol):
    """Drives the ego cars of a world."""

    def act(self, world: World) -> Any:
        """Return `(envs, 2)` acceleration in m/s2 and steering in rad."""


def route_steering(xp: Any, world: World) -> Any:
    """Return the steering by which the egos follow their routes' lines, `(envs,)` rad."""
    sight = world.sight
    return route_steer(xp, sight.way_x, sight.way_y, world.ego.speed, world.ride.wheelbase_m)


@dataclass(frozen=True)
class IdmDriver:
    """Follows the route's line behind whoever is ahead: nuPlan's IDM planner, but with the road's own desired speed.

    nuPlan's drives 10 m/s wherever it is, which is no driver on a motorway. It looks 40 m ahead, this one as far as the
    policy sees. Before bends and lower limits it slows down, which nuPlan's need not at 10 m/s. It changes no lanes
    and yields to nobody who is not on its own path.

    Attributes:
        gap_m, headway_s: to the car ahead, m and s.
        accel_mps2, decel_mps2: most that it speeds up and brakes.
        sideways_mps2: most in bends.
        ease_mps2: how it brakes ahead of bends and lower limits.
        settle_s: within this time what is above the desired speed is gone.
        xp: NumPy or torch, as the world's.

    Source:
        Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations",
        Phys. Rev. E 62, 2000; constants: motional/nuplan-devkit, `script/config/simulation/planner/idm_planner.yaml`.
    """

    gap_m: float = 1.0
    headway_s: float = 1.5
    accel_mps2: float = 1.0
    decel_mps2: float = 3.0
    sideways_mps2: float = 2.5
    ease_mps2: float = 1.5
    settle_s: float = 0.5
    xp: Any = np

    def act(self, world: World) -> Any:
        """Return `(envs, 2)` acceleration in m/s2 and steering in rad."""
        xp, sight, speed = self.xp, world.sight, world.ego.speed
        desired = xp.maximum(self.desired(world), 0.1)
        free = self.accel_mps2 * (1.0 - (speed / desired) ** 4)
        # Above the desired speed IDM brakes late and then hard: it is given up within a time instead.
        free = xp.where(speed > desired, (desired - speed) / self.settle_s, free)
        lead, root = Ahead(sight.lead_gap_m, sight.lead_speed_mps), math.sqrt(self.accel_mps2 * self.decel_mps2)
        held2 = pressed2(xp, speed, lead, (self.headway_s, self.gap_m), root, least_m=self.gap_m)
        accel = free - self.accel_mps2 * xp.where(sight.lead_gap_m < NOBODY_M, held2, 0.0)
        accel = xp.minimum(xp.maximum(accel, -self.decel_mps2), self.accel_mps2)
        return xp.stack([accel, route_steering(xp, world)], axis=1)

    def desired(self, world: World) -> Any:
        """Return the speed that the road here and ahead allows, `(envs,)` m/s."""
        xp, pack, ride = self.xp, world.pack, world.ride
        far = xp.arange(_LOOK, dtype=xp.float64, device=world.ego.speed.device) * _LOOK_STEP_M
        at = xp.maximum(world.sight.s_m[:, None] + far, 0.0) / STEP_M
        at = ride.first[:, None] + xp.minimum(xp.astype(at, xp.int64), ride.last[:, None])
        heading = pack.line[:, LINE.index("heading")][at]
        bend = xp.abs(heading[:, 2:] - heading[:, :-2]) / (2.0 * _LOOK_STEP_M)
        limit = pack.road[:, ROAD.index("limit_mps")][at[:, :-2]]
        allowed = xp.minimum(limit * limit, self.sideways_mps2 / xp.maximum(bend, 1e-4))
        # What lies farther ahead allows as much more as is lost by easing off until there.
        allowed = allowed + 2.0 * self.ease_mps2 * far[:-2]
        return xp.min(allowed, axis=1) ** 0.5


@dataclass(frozen=True)
class ConstantSpeed:
    """Keeps the speed it has and follows the route's line, whatever is in the way."""

    xp: Any = np

    def act(self, world: World) -> Any:
        """Return `(envs, 2)`: no acceleration, and steering in rad."""
        steer = route_steering(self.xp, world)
        return self.xp.stack([steer * 0.0, steer], axis=1)


@dataclass(frozen=True)
class PolicyDriver:
    """A policy as a driver; on NumPy's worlds.

    Attributes:
        answer: `(envs, N_OBS)` float32 observations -> `(envs, 2)` acceleration in m/s2 and steering in rad.
    """

    answer: Callable[[Any], Any]

    def act(self, world: World) -> Any:
        """Return what the policy answers."""
        return np.asarray(self.answer(Observer(np, None)(world.ride, world.ego, world.sight)), dtype=np.float64)


class LogReplay:
    """Puts the ego where its recording has it, step by step; on NumPy's worlds of recorded scenarios.

    The world is told no action but a place: see `begin_step` and `end_step`, between which it advances.
    """

    def act(self, world: World) -> Any:
        """Return `(envs, 2)`, nothing: where it drives is what the recording says.

        Raises:
            UsageError: a scenario was not recorded.
        """
        # A world begins without acceleration: what was recorded would seem to begin with a jerk.
        begun = (self._recorded(world, "speed_mps", 1) - self._recorded(world, "speed_mps", 0)) / STEP_S
        world.ego.accel = np.where(world.count.step == 0, begun, world.ego.accel)
        return np.zeros((world.n_envs, 2))

    def begin_step(self, world: World) -> None:
        """Put the egos where they are after the step, standing, so that the bicycle leaves them there."""
        ego = world.ego
        ego.x, ego.y, ego.heading = (self._recorded(world, name, 1) for name in ("x", "y", "heading"))
        ego.speed, ego.accel, ego.steer = ego.speed * 0.0, ego.accel * 0.0, ego.steer * 0.0

    def end_step(self, world: World) -> None:
        """Give them the speeds that were recorded."""
        ego, cars = world.ego, world.cars
        now, before = self._recorded(world, "speed_mps", 0), self._recorded(world, "speed_mps", -1)
        ego.speed, ego.accel = now, (now - before) / STEP_S
        cars.speed[:, 0], cars.accel[:, 0] = ego.speed, ego.accel

    def _recorded(self, world: World, name: str, ahead: int) -> Any:
        """Return the ego's recorded `name` so many steps from now, `(envs,)`; the last one after the end."""
        pack, scenario = world.pack, world.ride.scenario
        count = pack.track_count[scenario]
        if pack.tracks is None or (count == 0).any():
            raise UsageError("a made scenario has no recording to replay.", hint="Replay recorded scenarios.")
        step = np.minimum(world.count.step + ahead, count - 1)
        return getattr(pack.tracks, name)[pack.track_first[scenario] + step, 0] + 0.0
