"""Scenarios made by hand, for tests that need a road and nothing of the makers."""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.driving.lanes import STEP_M, SUCCESSORS, YIELDS, Lanes
from nightshift.driving.scenario import ACROSS, EgoStart, Route, Scenario, Traffic

WIDTH_M = 3.5


def line(length_m: float, *, curvature: float = 0.0, d_m: float = 0.0) -> dict[str, Any]:
    """Points of the lane that runs `d_m` to the left of a line from the origin, one metre of its own apart."""
    radius = np.inf if curvature == 0 else 1.0 / curvature - d_m
    s = np.arange(int(length_m / STEP_M) + 1) * STEP_M
    if curvature == 0:
        return {"x": s, "y": np.full(len(s), d_m), "heading": np.zeros(len(s)), "curvature": np.zeros(len(s))}
    heading = s / radius
    return {
        "x": radius * np.sin(heading),
        "y": 1.0 / curvature - radius * np.cos(heading),
        "heading": heading,
        "curvature": np.full(len(s), 1.0 / radius),
    }


def two_lanes(length_m: float = 400.0, *, curvature: float = 0.0, limit_mps: float = 20.0) -> Lanes:
    """Two lanes side by side that run the same way, straight or along a circle; lane 1 is to the left of lane 0."""
    parts = [line(length_m, curvature=curvature), line(length_m, curvature=curvature, d_m=WIDTH_M)]
    count = np.array([len(p["x"]) for p in parts])
    return Lanes(
        **{name: np.concatenate([p[name] for p in parts]) for name in ("x", "y", "heading", "curvature")},
        first=np.cumsum(count) - count,
        count=count,
        length_m=(count - 1) * STEP_M,
        width_m=np.full(2, WIDTH_M),
        limit_mps=np.full(2, limit_mps),
        left=np.array([1, -1]),
        right=np.array([-1, 0]),
        left_shift_m=np.zeros(2),
        right_shift_m=np.zeros(2),
        successor=np.full((2, SUCCESSORS), -1),
        yields_to=np.full((2, YIELDS), -1),
        yield_at_m=np.zeros((2, YIELDS)),
        yield_their_m=np.zeros((2, YIELDS)),
    )


def straight_ahead(lanes: Lanes, *, limit_mps: float = 20.0, goal_m: float | None = None) -> Route:
    """The route along lane 0 of `two_lanes`, the other lane beside it."""
    n = int(lanes.count[0])
    across = np.full((n, 2 * ACROSS + 1), -1)
    across[:, ACROSS], across[:, ACROSS + 1] = 0, 1
    along = np.repeat(np.arange(n)[:, None] * STEP_M, 2 * ACROSS + 1, 1)
    full = np.full
    return Route(
        **{name: getattr(lanes, name)[:n] for name in ("x", "y", "heading", "curvature")},
        left_m=full(n, 1.5 * WIDTH_M),
        right_m=full(n, 0.5 * WIDTH_M),
        flow_left_m=full(n, 1.5 * WIDTH_M),
        flow_right_m=full(n, 0.5 * WIDTH_M),
        limit_mps=full(n, limit_mps),
        lane=across,
        lane_s_m=along,
        width_m=full(n, WIDTH_M),
        length_m=(n - 1) * STEP_M if goal_m is None else goal_m,
    )


def cars_at(places: list[tuple[int, float]], *, speed_mps: float = 15.0, desired_mps: float = 15.0) -> Traffic:
    """Cars on (lane, metre), all alike."""
    n = len(places)
    return Traffic(
        lane=np.array([p[0] for p in places], np.int64),
        s_m=np.array([p[1] for p in places], np.float64),
        d_m=np.zeros(n),
        speed_mps=np.full(n, speed_mps),
        length_m=np.full(n, 4.5),
        width_m=np.full(n, 1.8),
        desired_mps=np.full(n, desired_mps),
        headway_s=np.full(n, 1.5),
        gap_m=np.full(n, 2.0),
        accel_mps2=np.full(n, 1.5),
        decel_mps2=np.full(n, 2.0),
        politeness=np.full(n, 0.2),
        turn=np.zeros(n, np.int64),
    )


def scenario(
    name: str = "straight_0",
    *,
    cars: int = 6,
    curvature: float = 0.0,
    length_m: float = 400.0,
    duration_s: float = 20.0,
    goal_m: float | None = None,
    speed_mps: float = 15.0,
    ego_s_m: float = 60.0,
    traffic: Traffic | None = None,
) -> Scenario:
    """Two lanes, the ego on the right one at 60 m, cars around it every 25 m, nearest 25 m ahead."""
    lanes = two_lanes(length_m, curvature=curvature)
    places = [(i % 2, 10.0 + 25.0 * (i + (i >= 2) + (i % 2) * 0.4)) for i in range(cars)]
    return Scenario(
        name=name,
        kind="curve" if curvature else "highway",
        seed=0,
        duration_s=duration_s,
        lanes=lanes,
        route=straight_ahead(lanes, goal_m=goal_m),
        ego=EgoStart(s_m=ego_s_m, speed_mps=speed_mps),
        traffic=cars_at(places, speed_mps=speed_mps) if traffic is None else traffic,
    )


class Still:
    """Traffic that keeps its lane and its speed on straight lanes; no model, no randomness."""

    def step(self, cars: Any, dt: float, noise: Any, scenario: Any, moment: Any) -> None:
        cars.x[:, 1:] += cars.speed[:, 1:] * dt
        cars.s[:, 1:] += cars.speed[:, 1:] * dt
