"""Drivers heed the ego car where its way meets theirs: by the route that it is on, and before it stands in theirs.

Who has to give way to whom is `yielding`'s matter. Here are those whose path the ego's crosses or joins, whoever has
right of way: where the ego can no longer stop, they brake so as not to be there before it is gone, as hard as it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.lanes import STEP_M, SUCCESSORS, point_at
from nightshift.driving.pack import Pack
from nightshift.driving.scenario import ACROSS
from nightshift.driving.traffic.leaders import Scene
from nightshift.driving.traffic.ways import Ways, plain

#: Paths whose middles are so near, m, meet: cars on both would touch.
_MEET_M = 2.3
#: Cars are looked at within this distance, m; their path in so many steps of so many metres, or of so many seconds.
_LOOK_M, _STEPS, _STEP_M, _STEP_S = 70.0, 24, 2.0, 0.17
#: The ego is taken to go on where it would have to brake harder than this, m/s2, to stay so far off, m.
_STOPS_MPS2, _OFF_M = 3.0, 2.0
#: Half of what a car that crosses takes up of the ego's way, m; a car stops so far before the ego's, m.
_ASIDE_M, _SHORT_M = 1.3, 1.0
#: Kept clear behind an ego that joins, m; and before and behind one that crosses, s.
_BEHIND_M, _CLEAR_S = 2.5, 0.3
#: Who stands could be off at this speed at once, m/s; and an ego that crawls is reckoned with this one.
_SETS_OFF_MPS, _CRAWLS_MPS = 2.0, 0.3
#: Directions are one within this angle (cosine); who is beside an ego that joins falls back so: 1/s, 1/s2.
_ALONG, _FALLS_BACK, _GAP = 0.8, 1.0, 0.3
_FREE_MPS2 = 100.0
#: More than all that is added to where an ego's way meets another, m.
_SPAN_M = 5.0


@dataclass(frozen=True)
class Heeding:
    """The routes of egos among the lanes; of made scenarios, each of which has tables of its map's points and lanes.

    Attributes:
        heeded: `(scenarios,)` bool, whether there is anything to heed.
        point_shift, lane_shift: `(scenarios,)` int64, from numbers of points and lanes to their places in the tables.
        metre: `(points of tables,)` float32, metre of the ego's route where it is near that point, -1 where it is not.
        turn: `(lanes of tables,)` int64, which successor the ego takes.
        begin, end: `(lanes of tables * SUCCESSORS + 1,)` float32, from where to where of the route one meets it from a
            lane by a turn; begin is behind end where one does not. The last place, `nowhere`, is for none.
        turns, any: whether any ego takes another than the first successor, and whether anything is heeded, anywhere.
    """

    heeded: Any
    point_shift: Any
    lane_shift: Any
    metre: Any
    turn: Any
    begin: Any
    end: Any
    turns: bool
    any: bool
    nowhere: int

    @classmethod
    def of(cls, xp: Any, pack: Pack, ways: Ways) -> Heeding:
        """Work out the tables; arrays of `xp` on the device of the pack's."""
        maps = _Maps(pack, ways)
        parts = [maps.part(k) for k in range(pack.scenarios)]
        points, lanes = ([len(part[i]) for part in parts] for i in (0, 1))
        device = getattr(pack.lanes.x, "device", None)

        def given(value: Any) -> Any:
            return value if xp is np else xp.asarray(value, device=device)

        return cls(
            heeded=given(np.array([bool(np.isfinite(part[2]).any()) for part in parts])),
            point_shift=given(np.cumsum([0, *points])[:-1] - maps.first[maps.lane_first]),
            lane_shift=given(np.cumsum([0, *lanes])[:-1] - maps.lane_first),
            metre=given(np.concatenate([*[part[0] for part in parts], [np.float32(-1.0)]])),
            turn=given(np.concatenate([part[1] for part in parts])),
            begin=given(np.concatenate([*[part[2].reshape(-1) for part in parts], [np.float32(np.inf)]])),
            end=given(np.concatenate([*[part[3].reshape(-1) for part in parts], [np.float32(-np.inf)]])),
            turns=any(part[1].any() for part in parts),
            any=any(np.isfinite(part[2]).any() for part in parts),
            nowhere=SUCCESSORS * sum(lanes),
        )

    def tell(self, scene: Scene, scenario: Any) -> None:
        """Let the others know which way the egos turn."""
        if not self.turns:
            return
        xp, cars = scene.xp, scene.cars
        lane = xp.maximum(cars.lane[:, 0] + self.lane_shift.take(scenario), 0)
        cars.turn[:, 0] = xp.where(cars.lane[:, 0] >= 0, self.turn.take(lane), 0)

    def heed(self, scene: Scene, scenario: Any, accel: Any) -> None:
        """Lower `(cars,)` accelerations, m/s2, of those whose way the ego's meets."""
        if not self.any:
            return
        xp, cars = scene.xp, scene.cars
        at = self._on_route(scene, scenario)
        dx, dy = cars.x - cars.x[:, :1], cars.y - cars.y[:, :1]
        near = (dx * dx + dy * dy < _LOOK_M * _LOOK_M) & (at >= 0.0)[:, None]
        # No car is looked at where the ego could stop before their ways meet, or has left that place behind.
        latest = at + cars.speed[:, 0] * cars.speed[:, 0] * (0.5 / _STOPS_MPS2) + (_SPAN_M + 0.5 * cars.length[:, 0])
        earliest = at - (_SPAN_M + 0.5 * cars.length[:, 0])
        lanes = cars.lane + self.lane_shift.take(scenario)[:, None]
        places = xp.where(near & (cars.lane >= 0), lanes * SUCCESSORS + cars.turn, self.nowhere)
        here = (self.begin.take(places) < latest[:, None]) & (self.end.take(places) > earliest[:, None])
        idx = xp.nonzero(scene.moves & here.reshape(-1))[0]
        if idx.shape[0]:
            accel[idx] = xp.minimum(accel[idx], self._most(scene, scenario, idx, at.take(scene.env[idx])))

    def _on_route(self, scene: Scene, scenario: Any) -> Any:
        """Return the metres of the routes at which the egos are, `(envs,)`; -1 where they are on none that counts."""
        xp, cars, ways = scene.xp, scene.cars, scene.ways
        on = cars.there[:, 0] & (cars.lane[:, 0] >= 0) & self.heeded.take(scenario)
        lane = xp.where(on, cars.lane[:, 0], 0)
        point, share = point_at(xp, cars.s[:, 0], ways.lanes.first.take(lane), ways.last.take(lane))
        metre = self.metre.take(xp.where(on, point + self.point_shift.take(scenario), 0))
        return xp.where(on & (metre >= 0.0), metre + share * STEP_M, -1.0)

    def _most(self, scene: Scene, scenario: Any, car: Any, at: Any) -> Any:
        """Return the most acceleration of cars, by number, that see the ego `at` metres of its route."""
        xp, columns = scene.xp, scene.cars.s.shape[1]
        ego = scene.env[car] * columns
        speed, half = scene.speed[car], scene.half[car]
        ego_speed, ego_half = scene.speed[ego], scene.half[ego]
        step = xp.maximum(_STEP_S * speed, _STEP_M)
        metre = self._ahead(scene, scenario, car, step)
        hit = metre >= 0.0
        numbers = xp.arange(_STEPS, dtype=car.dtype, device=car.device)
        first = xp.min(xp.where(hit, numbers, _STEPS), axis=1)
        then = xp.min(xp.where((numbers > first[:, None]) & ~hit, numbers, _STEPS), axis=1)
        rows = xp.arange(car.shape[0], dtype=car.dtype, device=car.device) * _STEPS
        begin = metre.reshape(-1).take(rows + xp.minimum(first, _STEPS - 1))
        end = metre.reshape(-1).take(rows + xp.maximum(then - 1, 0))
        joins = (then == _STEPS) | (end - begin > 2.0 * _MEET_M)
        # Where the ego comes into the other's way, and where it has left it.
        comes = xp.minimum(begin, end) - _ASIDE_M - ego_half - at
        leaves = xp.where(joins, begin + _BEHIND_M, xp.maximum(begin, end) + _ASIDE_M) + ego_half - at
        goes_on = (comes < ego_speed * ego_speed * (0.5 / _STOPS_MPS2) + _OFF_M) & ((ego_speed > 0.3) | (comes < 0.0))
        in_s = xp.maximum(comes, 0.0) / xp.maximum(ego_speed, _CRAWLS_MPS)
        out_s = xp.maximum(leaves, 0.0) / xp.maximum(ego_speed, _CRAWLS_MPS) + _CLEAR_S
        # The other reaches the place, and leaves it behind, where it goes on as it does.
        to_place = (first - 0.5) * step
        pace = xp.maximum(speed, _SETS_OFF_MPS)
        through = xp.where(joins, 0.0, (then - first) * step)
        ahead = (to_place + through + 2.0 * half) / pace + _CLEAR_S < in_s
        rest = xp.maximum(to_place - _SHORT_M, 0.1)
        needs = xp.where(
            speed * out_s > 2.0 * rest, speed * speed / (2.0 * rest), 2.0 * (speed * out_s - rest) / (out_s * out_s)
        )
        minds = goes_on & (leaves > 0.0) & ~ahead & (first > 0) & (first < _STEPS)
        beside = self._beside(scene, car, ego, metre[:, 0], at)
        return xp.minimum(xp.where(minds, -needs, _FREE_MPS2), beside)

    def _beside(self, scene: Scene, car: Any, ego: Any, front: Any, at: Any) -> Any:
        """Return the most acceleration of those beside an ego that joins their lane, and not ahead of it."""
        xp, heading = scene.xp, scene.of_driver("heading")
        along = xp.cos(heading[car] - heading[ego]) > _ALONG
        behind = (front >= 0.0) & along & (at > front - scene.half[car])
        gap = at - scene.half[ego] - front
        most = _FALLS_BACK * (scene.speed[ego] - scene.speed[car]) + _GAP * (gap - _BEHIND_M)
        return xp.where(behind & (gap < _LOOK_M), most, _FREE_MPS2)

    def _ahead(self, scene: Scene, scenario: Any, car: Any, step: Any) -> Any:
        """Return the metre of the ego's route at `(cars, _STEPS)` places of their paths, the front's first, or -1."""
        xp, ways, length = scene.xp, scene.ways, scene.ways.lanes.length_m
        lane, turn = scene.lane[car], scene.of_driver("turn")[car]
        numbers = xp.arange(_STEPS, dtype=step.dtype, device=step.device)
        s = (scene.s[car] + scene.half[car])[:, None] + step[:, None] * numbers
        place, beyond = xp.broadcast_to(lane[:, None], s.shape), s >= 0.0
        for _ in range(2):
            rest = length.take(xp.maximum(lane, 0))[:, None]
            lane = xp.where(lane >= 0, ways.after.take(xp.maximum(lane, 0) * SUCCESSORS + turn), -1)
            beyond = beyond & (s >= rest) & (place >= 0)
            place, s = xp.where(beyond, lane[:, None], place), xp.where(beyond, s - rest, s)
        there = xp.maximum(place, 0)
        point = xp.minimum(xp.astype(s * (1.0 / STEP_M), there.dtype), ways.last.take(there) + 1)
        shift = self.point_shift.take(scenario).take(scene.env[car])[:, None]
        return xp.where(place >= 0, self.metre.take(point + ways.lanes.first.take(there) + shift), -1.0)


#: See `_Maps.part`.
_Part = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]


class _Maps:
    """The maps of a pack as NumPy arrays, and the tables of each of its scenarios."""

    def __init__(self, pack: Pack, ways: Ways) -> None:
        lanes = pack.lanes
        self.first, self.count = plain(lanes.first), plain(lanes.count)
        self.x, self.y, self.heading = plain(lanes.x), plain(lanes.y), plain(lanes.heading)
        self.lane_first, self.lane_count = plain(pack.lane_first), plain(pack.lane_count)
        self.after = plain(ways.after).reshape(-1, SUCCESSORS)
        self.busy = plain(ways.touching) | plain(ways.gives_way)
        self.line, self.lane = plain(pack.line), plain(pack.lane)
        self.route_first, self.route_count = plain(pack.first), plain(pack.count)
        self.made = plain(pack.track_count) == 0

    def part(self, scenario: int) -> _Part:
        """Return a scenario's metres by point, turns by lane, and begins and ends by lane and turn."""
        first, count = int(self.lane_first[scenario]), int(self.lane_count[scenario])
        lanes = slice(first, first + count)
        after = np.where(self.after[lanes] >= 0, self.after[lanes] - first, -1)
        rows = slice(int(self.route_first[scenario]), int(self.route_first[scenario] + self.route_count[scenario]))
        under = self.lane[rows, ACROSS].astype(np.int64) - first
        turn, on_route = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        on_route[under] = True
        for k in np.flatnonzero(np.diff(under)).tolist():
            turn[under[k]] = int(np.argmax(after[under[k]] == under[k + 1]))
        # From where to where of the route, and the same for none.
        spans = np.full((2, count, SUCCESSORS), np.float32(np.inf))
        if not self.made[scenario] or not self.busy[lanes].any():
            return np.zeros(0, np.float32), turn, spans[0], -spans[1]
        points = slice(int(self.first[first]), int(self.first[first + count - 1] + self.count[first + count - 1]))
        metre, firsts = self._metres(points, self.line[rows]), self.first[lanes] - points.start
        # The end counts negative, so that the least is sought of both.
        for span, values in zip(spans, (metre, -metre), strict=True):
            span[:] = np.minimum.reduceat(np.where(metre >= 0.0, values, np.inf), firsts)[:, None]
            span[on_route] = np.inf
            for _ in range(2):
                # As seen from the lane before, and from the one before that.
                further = np.where(after >= 0, np.take_along_axis(span, np.maximum(after, 0), axis=0), np.inf)
                span[:] = np.minimum(span, further)
                span[on_route] = np.inf
        return metre, turn, spans[0], -spans[1]

    def _metres(self, points: slice, route: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the metre of a route where it is nearest to points, and -1 where it is not near."""
        from scipy.spatial import cKDTree

        far, index = cKDTree(route[:, :2]).query(
            np.column_stack([self.x[points], self.y[points]]), distance_upper_bound=_MEET_M
        )
        return np.where(np.isfinite(far), index * STEP_M, -1.0).astype(np.float32)
