"""What a policy is given: fixed scales, no statistics of the data, everything in the frame of the ego."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from nightshift.driving.bicycle import ACCEL_MIN_MPS2, STEER_MAX_RAD, Ego
from nightshift.driving.facts import NOBODY_M
from nightshift.driving.pack import NEAR
from nightshift.driving.sight import AHEAD_M, MEETS_S, SEEN_X_M, SEEN_Y_M, Ride, Sight

#: What is seen of the scale of an entry at most, to either side.
CLIP = 1.5


@dataclass(frozen=True)
class Entry:
    """One number of an observation: `value / scale`, cut off at `CLIP`.

    Attributes:
        name: unique.
        unit: of the value, "" of a number without one.
        scale: what it is divided by.
        meaning: in words.
    """

    name: str
    unit: str
    scale: float
    meaning: str


_EGO: tuple[tuple[str, str, float, str], ...] = (
    ("speed", "m/s", 40.0, "of the ego"),
    ("accel", "m/s2", -ACCEL_MIN_MPS2, "as the actuator has it"),
    ("steer", "rad", STEER_MAX_RAD, "angle of the front wheels as the actuator has it"),
    ("yaw_rate", "rad/s", 1.0, "of the ego"),
    ("limit", "m/s", 40.0, "speed limit here"),
    ("over_limit", "m/s", 10.0, "speed less the speed limit"),
    ("route_cos", "", 1.0, "cosine of the heading against the route"),
    ("route_sin", "", 1.0, "sine of the heading against the route, positive to the left of it"),
    ("route_d", "m", 10.0, "of the rear axle to the left of the route's line"),
    ("lane_offset", "m", 2.0, "of the ego's middle to the left of the middle of its lane"),
    ("lane_left", "", 1.0, "1 where a lane that runs the same way lies to the left of its own, else 0"),
    ("lane_right", "", 1.0, "1 where such a lane lies to the right, else 0"),
    ("room_left", "m", 10.0, "from the ego's middle to the left edge of the drivable road"),
    ("room_right", "m", 10.0, "to the right edge"),
    ("flow_left", "m", 10.0, "from the ego's middle to the left edge of the part on which traffic runs its way"),
    ("flow_right", "m", 10.0, "to the right edge of that part"),
    ("curvature", "1/m", 0.1, "of the route here, positive to the left"),
    ("to_goal", "m", 100.0, "along the route to its end"),
    ("lead_gap", "m", NOBODY_M, "bumper to bumper to the car ahead on its path, the scale where there is none"),
    ("lead_closing", "m/s", 20.0, "speed at which that gap closes, 0 where there is none"),
    # Of a gap of 5 m and one of 10 m the scale of 200 m shows nearly nothing, and there everything is decided.
    ("lead_time", "s", 4.0, "that gap at the ego's speed, or at 1 m/s where it is slower"),
    ("over_pace", "m/s", 10.0, "speed less what limits and bends allow here and, easing off at 1.5 m/s2, farther on"),
    ("to_line", "m", 100.0, "to the line before which it has to give way, the scale where there is none ahead"),
    ("lead_press", "1/s", 0.5, "closing speed over the gap or over 1 m: the inverse of the time until it is closed"),
)
_WAY: tuple[tuple[str, str, float, str], ...] = (
    ("x", "m", 100.0, "ahead of the rear axle"),
    ("y", "m", 50.0, "to the left of it"),
    ("cos", "", 1.0, "cosine of the route's heading there against the ego's"),
    ("sin", "", 1.0, "sine of it"),
    ("limit", "m/s", 40.0, "speed limit there"),
    ("left", "m", 10.0, "from the route's line to the left edge of the drivable road"),
    ("right", "m", 10.0, "to the right edge"),
)
_NEAR: tuple[tuple[str, str, float, str], ...] = (
    ("there", "", 1.0, "1 where a car stands at this place of the list, else 0 and zeros behind it"),
    ("x", "m", SEEN_X_M, "of its middle ahead of the ego's"),
    ("y", "m", SEEN_Y_M, "to the left of it"),
    ("vx", "m/s", 20.0, "its speed less the ego's along the ego's heading"),
    ("vy", "m/s", 10.0, "its speed to the left of the ego's heading"),
    ("cos", "", 1.0, "cosine of its heading against the ego's"),
    ("sin", "", 1.0, "sine of it"),
    ("length", "m", 10.0, "of it"),
    ("width", "m", 5.0, "of it"),
    ("route_s", "m", SEEN_X_M, "along the route from the ego's middle"),
    ("route_d", "m", 20.0, "to the left of the route's line"),
    ("meets", "s", MEETS_S, "until the two are nearest if both keep their velocity, the scale where they part"),
    ("misses", "m", 20.0, "how far their middles are from each other then"),
)
#: Where an entry's value stands in `Sight`, if not under its own name.
_OF_SIGHT = {
    "limit": "way_limit_mps",
    "left": "way_left_m",
    "right": "way_right_m",
    "near_route_s": "near_s_m",
    "near_route_d": "near_d_m",
    "near_meets": "near_meets_s",
    "near_misses": "near_misses_m",
}


def _layout() -> tuple[Entry, ...]:
    entries = [Entry(f"ego_{name}", unit, scale, f"ego: {meaning}") for name, unit, scale, meaning in _EGO]
    for metres in AHEAD_M:
        where = f"the route's point {metres:g} m on"
        entries += [Entry(f"way{metres:g}_{n}", unit, scale, f"{where}: {meaning}") for n, unit, scale, meaning in _WAY]
    for place in range(NEAR):
        where = f"car {place + 1} by nearness"
        entries += [
            Entry(f"car{place + 1}_{n}", unit, scale, f"{where}: {meaning}") for n, unit, scale, meaning in _NEAR
        ]
    return tuple(entries)


#: Every number of an observation in its order.
LAYOUT: tuple[Entry, ...] = _layout()
N_OBS = len(LAYOUT)
#: Place of the ego's speed, and its scale: `observation[..., SPEED] * SPEED_SCALE` is m/s, never cut off below 60.
SPEED, SPEED_SCALE = 0, _EGO[0][2]
#: Places and scales of the route's points ahead, x and y: `observation[..., places] * scale` is m.
WAY = tuple((slice(len(_EGO) + i, len(_EGO) + len(_WAY) * len(AHEAD_M), len(_WAY)), _WAY[i][2]) for i in (0, 1))


def fingerprint() -> str:
    """Return a hash of the layout; policies of another one cannot be used."""
    text = "\n".join(f"{e.name} {e.unit} {e.scale:g}" for e in LAYOUT)
    return hashlib.sha256(f"{text}\nclip {CLIP:g}".encode()).hexdigest()[:16]


def table() -> str:
    """Return the layout as a Markdown table, for the docs."""
    lines = ["| entry | name | unit | scale | meaning |", "|---|---|---|---|---|"]
    lines += [f"| {i} | `{e.name}` | {e.unit or '–'} | {e.scale:g} | {e.meaning} |" for i, e in enumerate(LAYOUT)]
    return "\n".join(lines)


class Observer:
    """Writes observations; keeps the scales on the device."""

    def __init__(self, xp: Any, device: Any = None) -> None:
        self._xp, self._device = xp, device
        self._scale = xp.asarray([e.scale for e in LAYOUT], dtype=xp.float32, device=device)

    def __call__(self, ride: Ride, ego: Ego, sight: Sight) -> Any:
        """Return observations `(envs, N_OBS)`, float32, in memory of their own."""
        xp = self._xp
        out = xp.empty((len(ego.speed), N_OBS), dtype=xp.float32, device=self._device)
        begin = 0
        for value in self._own(ride, ego, sight):
            out[:, begin] = value
            begin += 1
        after = begin + len(_WAY) * len(AHEAD_M)
        for place, (name, *_) in enumerate(_WAY):
            out[:, begin + place : after : len(_WAY)] = getattr(sight, _OF_SIGHT.get(name, f"way_{name}"))
        for place, (name, *_) in enumerate(_NEAR):
            value = getattr(sight, _OF_SIGHT.get(f"near_{name}", f"near_{name}"))
            out[:, after + place :: len(_NEAR)] = xp.where(sight.near_there, value, 0)
        out /= self._scale
        return xp.clip(out, -CLIP, CLIP, out=out)

    def _own(self, ride: Ride, ego: Ego, sight: Sight) -> tuple[Any, ...]:
        xp = self._xp
        closing = xp.where(sight.lead_gap_m < NOBODY_M, ego.speed - sight.lead_speed_mps, 0.0)
        return (
            ego.speed,
            ego.accel,
            ego.steer,
            ego.yaw_rate,
            sight.limit_mps,
            ego.speed - sight.limit_mps,
            xp.cos(sight.heading_rad),
            xp.sin(sight.heading_rad),
            sight.d_m,
            sight.lane_offset_m,
            sight.lane_left,
            sight.lane_right,
            sight.left_m,
            sight.right_m,
            sight.flow_left_m,
            sight.flow_right_m,
            sight.curvature,
            ride.route_m - sight.s_m,
            sight.lead_gap_m,
            closing,
            sight.lead_gap_m / xp.maximum(ego.speed, 1.0),
            ego.speed - sight.pace_mps,
            sight.to_line_m,
            closing / xp.maximum(sight.lead_gap_m, 1.0),
        )
