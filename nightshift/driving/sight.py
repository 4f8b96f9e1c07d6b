"""What an ego car sees: where it is on its route, the road ahead, and the cars near it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nightshift.driving.bicycle import Ego
from nightshift.driving.cars import Cars
from nightshift.driving.collide import Boxes, faults, may_be_met, time_to_overlap
from nightshift.driving.facts import NEVER_S, NOBODY_M
from nightshift.driving.pack import COLUMNS, NEAR, Pack
from nightshift.driving.scenario import ACROSS

#: Points of the route that are seen, m ahead of the rear axle.
AHEAD_M = (5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0)
#: A car is seen within so many metres ahead or behind, and to either side.
SEEN_X_M, SEEN_Y_M = 120.0, 60.0
#: A car may come nearest within so many s; farther on nobody keeps a velocity.
MEETS_S = 6.0
#: What lies ahead counts as this much nearer than what lies behind or beside.
_AHEAD_WEIGHT = 0.4
#: A corner may be so far beyond the drivable road (nuPlan's drivable area compliance), m.
_BEYOND_M = 0.3
#: A car this far from its own foot point on the route is not beside the route at all, m.
_NO_FOOT_M = 2.0
#: Room to the side within which a car ahead is in the way, m.
_IN_THE_WAY_M = 0.2
_FINEST = 1.0 / 64.0
_FARTHEST = 1e8


@dataclass
class Ride:
    """What the episode of each environment is about, `(envs,)` each; names as in `Pack`.

    Attributes:
        scenario: int64, its number.
        first, last: int64, the route's first point in the pack, and the number of its last point from there.
        length_m, width_m, wheelbase_m, rear_m: of the ego.
        reach_m: `(envs, 3 + len(AHEAD_M))` m ahead of its rear axle of its front, rear and middle, and of `AHEAD_M`.
    """

    scenario: Any
    first: Any
    last: Any
    route_m: Any
    length_m: Any
    width_m: Any
    wheelbase_m: Any
    rear_m: Any
    reach_m: Any


@dataclass
class Sight:
    """What is seen of one moment: `(envs,)`, of the road ahead `(envs, len(AHEAD_M))`, of cars `(envs, NEAR)`.

    Attributes:
        cos, sin: of the ego's heading on the map.
        s_m, d_m: of the rear axle along and to the left of the route.
        heading_rad: against the route, -pi to pi.
        curvature: of the route there, 1/m.
        limit_mps: there.
        lane, lane_s_m: int64 and m, of the middle of the car on the world's lanes, -1 beside all of them.
        middle_d_m, lane_offset_m: m of that middle to the left of the route, and of its lane's middle.
        left_m, right_m, flow_left_m, flow_right_m: from the middle of the car to the edges of the drivable road, and
            of that part of it on which traffic runs the route's way; negative beyond.
        pace_mps: that limits and bends allow here and farther on (see `pack.pace`).
        to_line_m: to the line before which one has to give way, `pack.NO_LINE_M` where there is none ahead.
        lane_left, lane_right: bool; whether there is a lane beside its own.
        off_road, straddles: bool (see `facts.Facts`).
        lead_gap_m, lead_speed_mps: to the car ahead on its path (see `facts.Facts`).
        ttc_s: until that car or any other one that is minded would be met (see `facts.Facts`).
        collided, at_fault: bool.
        way_x, way_y: points of the route ahead, m in the frame of the rear axle.
        way_cos, way_sin: of the route's heading there against the ego's.
        way_limit_mps, way_left_m, way_right_m: there, edges from the route's line.
        near_there: bool; a car is seen at this place of the list, which is sorted by nearness.
        near_column: int64, its column in `Cars`.
        near_x, near_y, near_cos, near_sin: of its middle in the frame of the ego's middle.
        near_vx, near_vy: its velocity less the ego's, m/s, in the ego's frame.
        near_speed, near_length, near_width: m/s and m.
        near_meets_s, near_misses_m: until they are nearest to the ego if both keep their velocity, and how far apart
            the two middles are then; `MEETS_S` and as far as they are now for those that part.
        near_s_m, near_d_m: along the route, from the ego's middle, and to the left of the route's line.
    """

    cos: Any
    sin: Any
    s_m: Any
    d_m: Any
    heading_rad: Any
    curvature: Any
    limit_mps: Any
    lane: Any
    lane_s_m: Any
    middle_d_m: Any
    lane_offset_m: Any
    left_m: Any
    right_m: Any
    flow_left_m: Any
    flow_right_m: Any
    pace_mps: Any
    to_line_m: Any
    lane_left: Any
    lane_right: Any
    off_road: Any
    straddles: Any
    lead_gap_m: Any
    lead_speed_mps: Any
    ttc_s: Any
    collided: Any
    at_fault: Any
    way_x: Any
    way_y: Any
    way_cos: Any
    way_sin: Any
    way_limit_mps: Any
    way_left_m: Any
    way_right_m: Any
    near_there: Any
    near_column: Any
    near_x: Any
    near_y: Any
    near_cos: Any
    near_sin: Any
    near_vx: Any
    near_vy: Any
    near_speed: Any
    near_length: Any
    near_width: Any
    near_meets_s: Any
    near_misses_m: Any
    near_s_m: Any
    near_d_m: Any


class Eyes:
    """Looks at the world of `pack` for `rows` environments; keeps the constants that this takes."""

    def __init__(self, pack: Pack, xp: Any, device: Any) -> None:
        self._pack, self._xp = pack, xp
        self._columns = pack.columns
        self._numbers = xp.arange(pack.columns, dtype=xp.int64, device=device)
        self._device = device
        self._bases: dict[int, Any] = {}

    def look(self, ride: Ride, ego: Ego, cars: Cars, guess_m: Any) -> Sight:
        """Return what the egos see.

        Args:
            ride: their episodes.
            ego: their state.
            cars: of the same environments; column 0 is not read.
            guess_m: `(envs,)` about where on the route each ego is; the foot point is sought from there.
        """
        made: dict[str, Any] = {}
        cos, sin = self._xp.cos(ego.heading), self._xp.sin(ego.heading)
        made["cos"], made["sin"] = cos, sin
        self._near(made, ride, ego, cars)
        self._on_route(made, ride, ego, guess_m)
        self._road(made, ride, ego)
        self._lead(made, ride, ego)
        self._hits(made, ride, ego)
        return Sight(**made)

    def _near(self, made: dict[str, Any], ride: Ride, ego: Ego, cars: Cars) -> None:
        xp, cos, sin = self._xp, made["cos"][:, None], made["sin"][:, None]
        to_middle = ride.length_m * 0.5 - ride.rear_m
        dx = cars.x - (ego.x + to_middle * made["cos"])[:, None]
        dy = cars.y - (ego.y + to_middle * made["sin"])[:, None]
        x = dx * cos + dy * sin
        y = dy * cos - dx * sin
        weighted = xp.maximum(x * _AHEAD_WEIGHT, -x)
        far = xp.minimum(weighted * weighted + y * y, _FARTHEST)
        far = xp.where(cars.there, far, _FARTHEST)
        # Distance in small steps, the column below it: one sort gives both, and equal distances stand by column.
        order = xp.astype(far * (1.0 / _FINEST), xp.int64) * COLUMNS + self._numbers
        order[:, 0] = int(2 * _FARTHEST / _FINEST) * COLUMNS
        column = xp.sort(order, axis=1)[:, :NEAR] & (COLUMNS - 1)
        at = column + self._base(len(column))
        x, y = x.take(at), y.take(at)
        there = cars.there.take(at) & (xp.abs(x) < SEEN_X_M) & (xp.abs(y) < SEEN_Y_M)
        turned, speed = cars.heading.take(at) - ego.heading[:, None], cars.speed.take(at)
        made["near_there"], made["near_column"], made["near_x"], made["near_y"] = there, column, x, y
        made["near_cos"], made["near_sin"], made["near_speed"] = xp.cos(turned), xp.sin(turned), speed
        made["near_vx"] = speed * made["near_cos"] - ego.speed[:, None]
        made["near_vy"] = speed * made["near_sin"]
        made["near_meets_s"], made["near_misses_m"] = self._nearest(x, y, made["near_vx"], made["near_vy"])
        made["near_length"], made["near_width"] = cars.length.take(at), cars.width.take(at)

    def _nearest(self, x: Any, y: Any, vx: Any, vy: Any) -> tuple[Any, Any]:
        xp = self._xp
        meets = -(x * vx + y * vy) / xp.maximum(vx * vx + vy * vy, 0.01)
        parts = meets <= 0.0
        meets = xp.minimum(xp.maximum(meets, 0.0), MEETS_S)
        there_x, there_y = x + vx * meets, y + vy * meets
        return xp.where(parts, MEETS_S, meets), xp.sqrt(there_x * there_x + there_y * there_y)

    def _on_route(self, made: dict[str, Any], ride: Ride, ego: Ego, guess_m: Any) -> None:
        """Foot points on the route of the ego, column 0, and of the cars near it."""
        xp, cos, sin = self._xp, made["cos"], made["sin"]
        x, y = made["near_x"] + (ride.length_m * 0.5 - ride.rear_m)[:, None], made["near_y"]
        on_map_x = x * cos[:, None] - y * sin[:, None] + ego.x[:, None]
        on_map_y = x * sin[:, None] + y * cos[:, None] + ego.y[:, None]
        x = xp.concat([ego.x[:, None], on_map_x], axis=1)
        y = xp.concat([ego.y[:, None], on_map_y], axis=1)
        guess = xp.concat([guess_m[:, None], guess_m[:, None] + made["near_x"]], axis=1)
        first, last = ride.first[:, None], ride.last[:, None]
        for _ in range(2):
            point = xp.minimum(xp.astype(xp.maximum(guess + 0.5, 0.0), xp.int64), last)
            line = _rows(xp, self._pack.line, point + first)
            tangent_x, tangent_y, curvature = line[..., 2], line[..., 3], line[..., 4]
            dx, dy = x - line[..., 0], y - line[..., 1]
            along, left = dx * tangent_x + dy * tangent_y, dy * tangent_x - dx * tangent_y
            guess = point + along / xp.maximum(1.0 - curvature * left, 0.2)
        beside = left - 0.5 * curvature * xp.minimum(along * along, 1.0)
        made["s_m"], made["d_m"], made["curvature"] = guess[:, 0], beside[:, 0], curvature[:, 0] + 0.0
        route_cos, route_sin = tangent_x[:, 0], tangent_y[:, 0]
        turned = xp.atan2(sin * route_cos - cos * route_sin, cos * route_cos + sin * route_sin)
        made["heading_rad"] = turned - curvature[:, 0] * along[:, 0]
        ahead = (guess - guess[:, :1])[:, 1:]
        made["near_s_m"], made["near_d_m"] = ahead - (ride.length_m * 0.5 - ride.rear_m)[:, None], beside[:, 1:]
        # What `_lead` needs of the same points: whether they have a foot, and the cars' headings against the route's.
        near_cos = made["near_cos"] * cos[:, None] - made["near_sin"] * sin[:, None]
        near_sin = made["near_sin"] * cos[:, None] + made["near_cos"] * sin[:, None]
        made["_foot"] = xp.abs(along[:, 1:]) < _NO_FOOT_M
        made["_near_cos"] = near_cos * tangent_x[:, 1:] + near_sin * tangent_y[:, 1:]
        made["_near_sin"] = near_sin * tangent_x[:, 1:] - near_cos * tangent_y[:, 1:]

    def _road(self, made: dict[str, Any], ride: Ride, ego: Ego) -> None:
        xp, s = self._xp, made["s_m"]
        at = s[:, None] + ride.reach_m
        at = xp.minimum(xp.maximum(at, 0.0), xp.astype(ride.last, xp.float64)[:, None])
        point = xp.astype(at, xp.int64)
        share = (at - point)[:, 3:]
        point = point + ride.first[:, None]
        road, way = _rows(xp, self._pack.road, point), _rows(xp, self._pack.line, point[:, 3:])
        self._edges(made, ride, road)
        self._lane(made, point[:, 2], at[:, 2], road[:, 2, 5])
        cos, sin = made["cos"][:, None], made["sin"][:, None]
        way_cos, way_sin = way[..., 2], way[..., 3]
        dx, dy = way[..., 0] + share * way_cos - ego.x[:, None], way[..., 1] + share * way_sin - ego.y[:, None]
        made["way_x"], made["way_y"] = dx * cos + dy * sin, dy * cos - dx * sin
        made["way_cos"], made["way_sin"] = way_cos * cos + way_sin * sin, way_sin * cos - way_cos * sin
        made["way_limit_mps"], made["way_left_m"] = road[:, 3:, 4], road[:, 3:, 0]
        made["way_right_m"] = road[:, 3:, 1]

    def _edges(self, made: dict[str, Any], ride: Ride, road: Any) -> None:
        xp, along, turned = self._xp, ride.reach_m[:, :3], made["heading_rad"]
        half = (0.5 * ride.width_m * xp.abs(xp.cos(turned)))[:, None]
        # Of the car's front, rear and middle: to the left of the route, whose line bends away meanwhile.
        d = made["d_m"][:, None] + along * (xp.sin(turned)[:, None] - along * (0.5 * made["curvature"])[:, None])
        left, right, middle = road[:, :3, 0] - d, road[:, :3, 1] + d, d[:, 2] + 0.0
        beyond = half - xp.minimum(left, right) > _BEYOND_M
        made["off_road"] = beyond[:, 0] | beyond[:, 1]
        made["middle_d_m"], made["limit_mps"] = middle, road[:, 2, 4] + 0.0
        made["to_line_m"], made["pace_mps"] = road[:, 2, 6] + 0.0, road[:, 2, 7] + 0.0
        made["left_m"], made["right_m"] = left[:, 2], right[:, 2]
        made["flow_left_m"], made["flow_right_m"] = road[:, 2, 2] - middle, road[:, 2, 3] + middle
        aside = 0.5 * road[:, 2, 5] - half[:, 0]
        made["_within"] = xp.max(d, axis=1) - aside, xp.min(d, axis=1) + aside

    def _lane(self, made: dict[str, Any], point: Any, at: Any, width: Any) -> None:
        xp, d = self._xp, made["middle_d_m"]
        across = xp.floor(d / width + 0.5)
        middle = across * width
        made["lane_offset_m"] = d - middle
        above, below = made.pop("_within")
        made["straddles"] = (above > middle) | (below < middle)
        place = point * (2 * ACROSS + 1) + ACROSS
        column = xp.astype(xp.minimum(xp.maximum(across, -ACROSS + 1.0), ACROSS - 1.0), xp.int64)
        own = place + column
        lane = self._pack.lane.take(own)
        made["lane"] = xp.where(xp.abs(across) < ACROSS, lane, -1)
        made["lane_s_m"] = self._pack.lane_s_m.take(own) + (at - xp.floor(at))
        made["lane_left"] = self._pack.lane.take(own + 1) >= 0
        made["lane_right"] = self._pack.lane.take(own - 1) >= 0

    def _lead(self, made: dict[str, Any], ride: Ride, ego: Ego) -> None:
        """The car ahead on the ego's own path: at its distance from the route's line, whatever that path's bends."""
        xp, cos, sin = self._xp, made.pop("_near_cos"), made.pop("_near_sin")
        long, broad = xp.abs(cos), xp.abs(sin)
        half = 0.5 * (long * made["near_length"] + broad * made["near_width"])
        wide = 0.5 * (broad * made["near_length"] + long * made["near_width"])
        aside = xp.abs(made["near_d_m"] - made["middle_d_m"][:, None])
        ahead = made["near_there"] & made.pop("_foot") & (made["near_s_m"] > 0.0)
        ahead = ahead & (aside < wide + (0.5 * ride.width_m + _IN_THE_WAY_M)[:, None])
        gap = made["near_s_m"] - half - (0.5 * ride.length_m)[:, None]
        gap = xp.where(ahead, xp.maximum(gap, 0.0), NOBODY_M)
        nearest = xp.min(gap, axis=1)
        of_it = ahead & (gap == nearest[:, None])
        speed = xp.min(xp.where(of_it, made["near_speed"] * cos, _FARTHEST), axis=1)
        speed = xp.where(speed < _FARTHEST, speed, ego.speed)
        closing = ego.speed - speed
        made["lead_gap_m"], made["lead_speed_mps"] = nearest, speed
        ttc = nearest / xp.maximum(closing, 1e-6)
        made["ttc_s"] = xp.where(nearest < NOBODY_M, xp.minimum(ttc, NEVER_S), NEVER_S)

    def _hits(self, made: dict[str, Any], ride: Ride, ego: Ego) -> None:
        xp, names = self._xp, ("x", "y", "cos", "sin", "length", "width", "speed")
        boxes = Boxes(**{name: made[f"near_{name}"] for name in names})
        length, width = ride.length_m[:, None], ride.width_m[:, None]
        ttc = time_to_overlap(xp, boxes, (made["near_vx"], made["near_vy"]), length, width, NEVER_S)
        hit = (ttc <= 0.0) & made["near_there"]
        axle, straddles = 0.5 * length - ride.rear_m[:, None], made["straddles"][:, None]
        made["collided"] = made["at_fault"] = xp.any(hit, axis=1)
        if xp.any(hit):
            fault = faults(xp, boxes, hit, length, ego.speed[:, None], straddles, axle)
            made["at_fault"] = xp.any(fault, axis=1)
        minded = made["near_there"] & may_be_met(xp, boxes, axle, straddles)
        made["ttc_s"] = xp.minimum(made["ttc_s"], xp.min(xp.where(minded, ttc, NEVER_S), axis=1))

    def _base(self, rows: int) -> Any:
        if rows not in self._bases:
            numbers = self._xp.arange(rows, dtype=self._xp.int64, device=self._device)
            self._bases[rows] = (numbers * self._columns)[:, None]
        return self._bases[rows]


def _rows(xp: Any, table: Any, at: Any) -> Any:
    # Twice as fast as `table[at]`, and not what torch calls `take`.
    return table.take(at, 0) if xp is np else table[at]
