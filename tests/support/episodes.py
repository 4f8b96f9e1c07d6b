"""Episodes made by hand on the straight road of `support.driving`, for tests of what is read from histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nightshift.driving.history import History
from nightshift.driving.scenario import STEP_S, Scenario, Tracks
from support.driving import cars_at, scenario


@dataclass(frozen=True)
class Car:
    """Another car on a straight path; x and y of its middle at the start."""

    x: float
    y: float = 0.0
    speed: float = 0.0
    heading: float = 0.0
    length: float = 4.6
    width: float = 1.8


def road(**changes: Any) -> Scenario:
    """The straight road: right lane about y = 0, left lane about y = 3.5; 240 m are the expert's in 20 s."""
    route = {name[6:]: changes.pop(name) for name in tuple(changes) if name.startswith("route_")}
    made = scenario(cars=0, duration_s=20.0)
    arrays = {k: np.full(len(made.route.x), v) for k, v in route.items()}
    return replace(made, **{"expert_m": 240.0, "route": replace(made.route, **arrays)} | changes)


def episode(
    *,
    speed: float | Sequence[float] = 12.0,
    steps: int = 100,
    y: float | Sequence[float] = 0.0,
    heading: float | Sequence[float] = 0.0,
    start: float = 60.0,
    accel: float | Sequence[float] = 0.0,
    cars: Sequence[Car] = (),
    on: Scenario | None = None,
    **changes: Any,
) -> History:
    """An ego that drives along x with the speeds given, `steps + 1` moments; x follows from speed and heading."""
    n = steps + 1
    v, h = np.broadcast_to(speed, n).astype(float), np.broadcast_to(heading, n).astype(float)
    x = start + np.concatenate([[0.0], np.cumsum(v[:-1] * np.cos(h[:-1]) * STEP_S)])
    at = np.arange(n)[:, None] * STEP_S
    speeds = np.array([c.speed for c in cars])
    headings = np.array([c.heading for c in cars])
    given: dict[str, Any] = {
        "scenario": on or road(),
        "traffic": "idm",
        "x": x,
        "y": np.broadcast_to(y, n).astype(float),
        "heading": h,
        "speed_mps": v,
        "accel_mps2": np.broadcast_to(accel, n).astype(float),
        "steer_rad": np.zeros(n),
        "s_m": x,
        "d_m": np.broadcast_to(y, n).astype(float),
        "action": np.zeros((steps, 2)),
        "observation": np.zeros((0, 4), np.float32),
        "cars_x": np.array([c.x for c in cars]) + at * speeds * np.cos(headings),
        "cars_y": np.array([c.y for c in cars]) + at * speeds * np.sin(headings),
        "cars_heading": np.tile(headings, (n, 1)),
        "cars_speed_mps": np.tile(speeds, (n, 1)),
        "cars_length_m": np.array([c.length for c in cars]),
        "cars_width_m": np.array([c.width for c in cars]),
        "reward": np.zeros(steps),
        "ending": "timed_out",
    }
    return History(**given | changes)


def recorded(steps: int = 50) -> Scenario:
    """The straight road as someone drove it, speeding up along the right lane behind another car."""
    made = scenario(traffic=cars_at([(0, 120.0)]), duration_s=steps * STEP_S, length_m=600.0)
    time = np.arange(steps + 1) * STEP_S
    own, ahead = 15.0 + 0.2 * time, np.full(len(time), 15.0)
    x = [60.0 + 15.0 * time + 0.1 * time**2, 120.0 + 15.0 * time]
    still = np.zeros((len(time), 2))
    tracks = Tracks(np.stack(x, 1), still, still, np.stack([own, ahead], 1), np.ones((len(time), 2), bool))
    return replace(made, name="recorded_0", kind="replay", tracks=tracks, expert_m=float(x[0][-1] - 60.0))
