"""Traffic as it was recorded (`log`), or along the same paths with an eye on who is ahead (`log_reactive`).

The reactive cars keep their recorded times as long as they can: a car that waited at a light waits, and one that was
held up makes up for it. They brake for whatever lies on their path, the ego car included.
"""

from __future__ import annotations

from typing import Any

from nightshift.driving.cars import Cars
from nightshift.driving.lanes import STEP_M, point_at
from nightshift.driving.pack import Pack
from nightshift.driving.traffic import idm_mobil
from nightshift.driving.traffic.corridor import ahead_on_paths, free_places
from nightshift.driving.traffic.heeding import Heeding
from nightshift.driving.traffic.laws import Egos, calmed, pressed2
from nightshift.driving.traffic.leaders import Ahead
from nightshift.driving.traffic.motion import HARDEST_MPS2
from nightshift.driving.traffic.tracks import Recorded, play
from nightshift.driving.traffic.ways import Ways
from nightshift.errors import UsageError

#: IDM of the reactive cars: closer than most people say they drive, as recorded traffic does; s and m.
_HEADWAY_S, _GAP_M = 0.4, 0.7
#: How they keep to their times: 1/s2 for a metre late, 1/s for a metre per second slow; never faster than this share of
#: their greatest recorded speed, nor than that and so much, m/s; and the most they pull away, and brake to wait, m/s2.
_LATE, _SLOW, _FASTEST, _FASTER_MPS, _PULLS_MPS2, _WAITS_MPS2 = 0.5, 1.5, 1.2, 1.0, 3.5, 4.0


class Log:
    """Cars on their tracks, whatever the ego does; those of made scenarios drive by IDM."""

    def __init__(self, xp: Any, pack: Pack) -> None:
        """Take the tracks of scenarios.

        Raises:
            UsageError: none of them was recorded.
        """
        recorded = Recorded.of(xp, pack)
        if recorded is None:
            raise UsageError(
                "none of these scenarios was recorded, so no log can be replayed.",
                hint="Take the traffic model `idm` or `gipps`, or a set that was imported.",
            )
        self._xp, self._recorded, self._ways = xp, recorded, Ways.of(xp, pack.lanes)
        self._all = bool((pack.track_count > 0).all())
        self._heeding = None if self._all else Heeding.of(xp, pack, self._ways)

    def step(self, cars: Cars, dt: float, noise: Any, scenario: Any, moment: Any) -> None:
        """Move them, see `Model`."""
        xp = self._xp
        tracked = xp.broadcast_to((self._recorded.count.take(scenario) > 0)[:, None], cars.there.shape) & True
        tracked[:, 0] = False
        cars.on_track[...] = cars.on_track | tracked
        cars.lane[...] = xp.where(tracked, -1, cars.lane)
        if self._heeding is not None:
            idm_mobil.step(xp, self._ways, cars, dt, noise, Egos(self._heeding, scenario))
        self._replay(cars, dt, scenario, moment, cars.on_track.reshape(-1))

    def _replay(self, cars: Cars, dt: float, scenario: Any, moment: Any, which: Any) -> None:
        play(self._xp, self._recorded, cars, scenario, moment, which)


class LogReactive(Log):
    """Cars along their recorded paths, by IDM behind whoever is on them."""

    def _replay(self, cars: Cars, dt: float, scenario: Any, moment: Any, which: Any) -> None:
        xp, recorded = self._xp, self._recorded
        begins = xp.nonzero(moment == 1)[0]
        if begins.shape[0]:
            self._begin(cars, scenario, moment - 1, which)
        here = which & cars.there.reshape(-1)
        places = (scenario[:, None] * recorded.columns).reshape(-1, 1)
        paths = (places + xp.arange(recorded.columns, dtype=places.dtype, device=places.device)).reshape(-1)
        s, speed = cars.s.reshape(-1), cars.speed.reshape(-1)
        rows = recorded.rows(xp, scenario, moment)
        accel = self._keeps_time(cars, rows, paths, dt)
        ahead = ahead_on_paths(xp, recorded, cars, paths, here)
        accel = xp.minimum(accel, _behind(xp, cars, ahead))
        new = xp.maximum(speed + xp.maximum(accel, -HARDEST_MPS2) * dt, 0.0)
        on = s + (0.5 * dt) * (speed + new)
        x, y, heading = on_paths(xp, recorded, paths, on)
        values = {"s": on, "speed": new, "accel": (new - speed) / dt, "x": x, "y": y, "heading": heading}
        for name, value in values.items():
            field = getattr(cars, name)
            field[...] = xp.where(here, value, field.reshape(-1)).reshape(field.shape)
        # Gone where its track ended, once it has come there.
        gone = ~recorded.seen(xp, scenario, moment, rows) & (on > recorded.path_m.take(paths) - STEP_M)
        cars.there[...] = cars.there & ~(here & gone).reshape(cars.there.shape)
        self._appear(cars, scenario, moment, which & ~here)

    def _begin(self, cars: Cars, scenario: Any, moment: Any, which: Any) -> None:
        """Put the cars that are there at the start on their paths, in environments that begin."""
        xp, recorded = self._xp, self._recorded
        rows = recorded.rows(xp, scenario, moment)
        begins = xp.broadcast_to((moment == 0)[:, None], cars.there.shape).reshape(-1)
        here = xp.nonzero(which & begins & recorded.seen(xp, scenario, moment, rows))[0]
        self._put(cars, here, rows[here])

    def _appear(self, cars: Cars, scenario: Any, moment: Any, which: Any) -> None:
        """Put cars that come into sight where they were recorded, as soon as it is free there."""
        xp, recorded = self._xp, self._recorded
        rows = recorded.rows(xp, scenario, moment)
        new = xp.nonzero(which & recorded.seen(xp, scenario, moment, rows))[0]
        if new.shape[0]:
            at = rows[new]
            free = free_places(xp, cars, new, recorded.x[at], recorded.y[at])
            self._put(cars, new[free], at[free])

    def _put(self, cars: Cars, which: Any, at: Any) -> None:
        recorded = self._recorded
        values = {"s": recorded.along, "x": recorded.x, "y": recorded.y, "heading": recorded.heading}
        for name, value in {**values, "speed": recorded.speed, "accel": recorded.accel}.items():
            getattr(cars, name).reshape(-1)[which] = value[at]
        cars.there.reshape(-1)[which] = True

    def _keeps_time(self, cars: Cars, rows: Any, paths: Any, dt: float) -> Any:
        """Return the accelerations, m/s2, that bring cars to where they were recorded at the end of this step."""
        xp, recorded = self._xp, self._recorded
        speed = cars.speed.reshape(-1)
        wanted = recorded.speed.take(rows)
        late = recorded.along.take(rows) - cars.s.reshape(-1) - 0.5 * dt * (wanted + speed)
        slow = wanted - speed - recorded.accel.take(rows) * dt
        accel = recorded.accel.take(rows) + _LATE * late + _SLOW * slow
        most = recorded.path_mps.take(paths) * _FASTEST + _FASTER_MPS
        accel = xp.minimum(xp.minimum(accel, _PULLS_MPS2), most - speed)
        return xp.maximum(accel, -_WAITS_MPS2)


def on_paths(xp: Any, recorded: Recorded, paths: Any, s: Any) -> tuple[Any, Any, Any]:
    """Return x, y and heading, `(n,)`, at metre `s` of paths."""
    at, share = point_at(xp, s, recorded.path_first.take(paths), recorded.path_last.take(paths))
    tables = (recorded.path_x, recorded.path_y, recorded.path_heading)
    x, y, heading = ((1.0 - share) * table.take(at) + share * table.take(at + 1) for table in tables)
    return x, y, heading


def _behind(xp: Any, cars: Cars, ahead: Ahead) -> Any:
    """Return the most that cars accelerate behind what they have ahead, m/s2 (IDM without a wish of its own, calm)."""
    speed, decel = cars.speed.reshape(-1), cars.decel.reshape(-1)
    press2 = pressed2(xp, speed, ahead, (_HEADWAY_S, _GAP_M), xp.sqrt(_PULLS_MPS2 * decel))
    return calmed(xp, speed, decel, ahead, _PULLS_MPS2 * (1.0 - press2))
