"""Intelligent drivers (IDM) who change lanes where that helps them and harms nobody much (MOBIL).

Source: Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations",
2000 (IDM); Kesting, Treiber, Helbing, "General lane-changing model MOBIL for car-following models", 2007.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import Lanes
from nightshift.driving.traffic.changes import NOBODY_M, chances, change
from nightshift.driving.traffic.laws import BRISKLY, Drivers, Egos, pressed2, step_by
from nightshift.driving.traffic.leaders import Ahead, Order
from nightshift.driving.traffic.ways import Ways

#: MOBIL: least gain that is worth a change, and how hard others, or oneself, may have to brake for it, m/s2.
THRESHOLD_MPS2 = 0.2
SAFE_MPS2 = 3.0
#: The same where one has to leave one's lane.
PRESSED_MPS2 = 4.0


def step(xp: Any, lanes: Lanes | Ways, cars: Cars, dt: float, noise: Any, egos: Egos | None = None) -> None:
    """Move the cars, see `laws.step_by`; `noise` says who looks for another lane."""
    step_by(Idm(), xp, lanes, cars, dt, noise, egos)


class Idm:
    """The law."""

    def follow(self, xp: Any, drivers: Drivers, ahead: Ahead) -> tuple[Any, Any]:
        """See `laws.Law`."""
        speed = drivers.speed
        share2 = speed * speed / drivers.wanted2
        short = 1.0 - share2 * share2
        # Above the speed that is wanted, such as before a bend, drivers brake, and as they like to.
        free = xp.maximum(drivers.accel * xp.minimum(short, BRISKLY * short), -drivers.decel)
        root = xp.sqrt(drivers.accel * drivers.decel)
        return free, free - drivers.accel * pressed2(xp, speed, ahead, (drivers.headway, drivers.gap), root)

    def change(self, near: Order, drivers: Drivers, ahead: Ahead, free: Any, accel: Any, noise: Any) -> None:
        """Change lanes where one gains more than others lose by one's politeness, and nobody has to brake hard."""
        scene, xp = near.scene, near.scene.xp
        wants = scene.moves & ((free - accel > THRESHOLD_MPS2) | scene.ways.leave.take(scene.lane))
        found = chances(near, wants, noise)
        if found is None:
            return
        car, speed = found.car, scene.speed[found.car]
        _, new = self.follow(xp, drivers.some(car), found.ahead)
        _, behind = self.follow(xp, judged(near, drivers, found.behind, car), Ahead(found.behind_gap, speed))
        gap = found.after_gap + 2.0 * scene.half[car] + ahead.gap[car]
        _, after = self.follow(xp, judged(near, drivers, found.after, car), Ahead(gap, ahead.speed[car]))
        loss = xp.where(found.behind_gap < NOBODY_M, _gain(near, accel, found.behind, behind), 0.0)
        relief = xp.where(found.after_gap < NOBODY_M, _gain(near, accel, found.after, after), 0.0)
        gain = new - accel[car] + scene.of_driver("politeness")[car] * (loss + relief)
        least = xp.where(found.must, -PRESSED_MPS2, -SAFE_MPS2)
        safe = (new > least) & ((behind > least) | (found.behind_gap >= NOBODY_M))
        chosen = safe & ((gain > THRESHOLD_MPS2) | found.must)
        accel[car] = xp.where(chosen, xp.minimum(accel[car], new), accel[car])
        change(near, found, chosen)

    def waver(self, near: Order, drivers: Drivers, accel: Any, noise: Any) -> Any:
        """Do as they decided."""
        return accel


def judged(near: Order, drivers: Drivers, other: Any, car: Any) -> Drivers:
    """Return the other drivers as a driver judges them; of the ego it thinks as of itself."""
    scene, xp = near.scene, near.scene.xp
    ego = other % scene.cars.s.shape[1] == 0
    return replace(drivers.some(xp.where(ego, car, other)), speed=scene.speed[other])


def _gain(near: Order, accel: Any, other: Any, then: Any) -> Any:
    """Return by how much others would gain, m/s2; the ego is taken to roll on as it is, and to lose at most."""
    scene, xp = near.scene, near.scene.xp
    ego = other % scene.cars.s.shape[1] == 0
    return xp.where(ego, xp.minimum(then, 0.0), then - accel[other])
