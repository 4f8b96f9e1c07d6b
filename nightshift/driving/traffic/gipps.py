"""Drivers who keep to a speed that is safe after their reaction time (Gipps), who dawdle, and take gaps that do.

Source: Gipps, "A behavioural car-following model for computer simulation", 1981; Gipps, "A model for the structure of
lane-changing decisions", 1986; Krauss, "Microscopic modeling of traffic flow", 1998 (dawdling).
"""

from __future__ import annotations

from typing import Any

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import Lanes
from nightshift.driving.traffic.changes import NOBODY_M, chances, change
from nightshift.driving.traffic.idm_mobil import judged
from nightshift.driving.traffic.laws import BRISKLY, Drivers, Egos, step_by
from nightshift.driving.traffic.leaders import Ahead, Order
from nightshift.driving.traffic.ways import Ways

#: Reaction time as a share of the headway that drivers like.
_REACTION = 0.4
#: Dawdling takes up to this share of the greatest acceleration; the mean of it is made up for on a free road.
_DAWDLES = 1.6
#: A lane is worth a change where one could drive faster by this much, m/s; nobody may have to brake harder, m/s2.
_FASTER_MPS, _SAFE_MPS2 = 1.5, 2.5
#: Digits of the noise that say how much a driver dawdles; the first ones say whether it looks beside.
_DRAWS = 1024


def step(xp: Any, lanes: Lanes | Ways, cars: Cars, dt: float, noise: Any, egos: Egos | None = None) -> None:
    """Move the cars, see `laws.step_by`; `noise` says who looks for another lane, and how much drivers dawdle."""
    step_by(Gipps(), xp, lanes, cars, dt, noise, egos)


class Gipps:
    """The law."""

    def follow(self, xp: Any, drivers: Drivers, ahead: Ahead) -> tuple[Any, Any]:
        """See `laws.Law`."""
        share = drivers.speed / xp.sqrt(drivers.wanted2)
        short = xp.minimum(1.0 - share, BRISKLY * (1.0 - share))
        free = drivers.accel * (2.5 * short * xp.sqrt(0.025 + share) + (0.5 * _DAWDLES) * share)
        free = xp.maximum(free, -drivers.decel)
        return free, xp.minimum(free, (_safe(xp, drivers, ahead) - drivers.speed) / (_REACTION * drivers.headway))

    def change(self, near: Order, drivers: Drivers, ahead: Ahead, free: Any, accel: Any, noise: Any) -> None:
        """Change lanes where the gap does, and one would get on faster or has to leave."""
        scene, xp = near.scene, near.scene.xp
        wants = scene.moves & ((accel < free) | scene.ways.leave.take(scene.lane))
        found = chances(near, wants, noise)
        if found is None:
            return
        car, speed = found.car, scene.speed[found.car]
        own = drivers.some(car)
        wanted = xp.sqrt(own.wanted2)
        here = xp.minimum(_safe(xp, own, Ahead(ahead.gap[car], ahead.speed[car])), wanted)
        there = xp.minimum(_safe(xp, own, found.ahead), wanted)
        _, new = self.follow(xp, own, found.ahead)
        _, behind = self.follow(xp, judged(near, drivers, found.behind, car), Ahead(found.behind_gap, speed))
        safe = (new > -_SAFE_MPS2) & ((behind > -_SAFE_MPS2) | (found.behind_gap >= NOBODY_M))
        room = (found.ahead.gap > own.gap) & (found.behind_gap > own.gap)
        chosen = safe & room & ((there - here > _FASTER_MPS) | found.must)
        accel[car] = xp.where(chosen, xp.minimum(accel[car], new), accel[car])
        change(near, found, chosen)

    def waver(self, near: Order, drivers: Drivers, accel: Any, noise: Any) -> Any:
        """Dawdle: never more than they decided where somebody is ahead, since `accel` is what is safe."""
        scene, xp = near.scene, near.scene.xp
        draws = noise * _DRAWS
        dawdle = xp.zeros_like(scene.cars.s)
        dawdle[:, 1:] = draws - xp.floor(draws)
        return accel - _DAWDLES * drivers.accel * dawdle.reshape(-1) * xp.minimum(0.2 * drivers.speed, 1.0)


def _safe(xp: Any, drivers: Drivers, ahead: Ahead) -> Any:
    """Return the speed, m/s, from which one could still stop behind the car ahead if that braked as one does."""
    reaction = drivers.decel * (_REACTION * drivers.headway)
    room = 2.0 * (ahead.gap - drivers.gap) * drivers.decel - drivers.speed * reaction + ahead.speed * ahead.speed
    return xp.sqrt(xp.maximum(reaction * reaction + room, 0.0)) - reaction
