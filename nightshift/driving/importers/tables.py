"""Scenarios as tables of the processed layout, and back; what cannot be is refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.importers.layout import AGAIN, Columns
from nightshift.driving.lanes import STEP_M, SUCCESSORS, YIELDS, Lanes
from nightshift.driving.scenario import ACROSS, Route, Scenario, Tracks
from nightshift.errors import DataError

Floats = NDArray[np.float64]
_LINE = {"x": "x_m", "y": "y_m", "heading": "heading_rad", "curvature": "curvature_1_m"}
_POSE = {"x": "x_m", "y": "y_m", "heading": "heading_rad", "speed_mps": "speed_mps"}
_OF_LANE = ("width_m", "limit_mps", "left", "right", "left_shift_m", "right_shift_m")
_LISTS = {
    "successor": ("successor", SUCCESSORS),
    "yields_to": ("yields_to", YIELDS),
    "yield_at_m": ("yield_at_m", YIELDS),
    "yield_their_m": ("yield_their_m", YIELDS),
}
_OF_ROUTE = ("left_m", "right_m", "flow_left_m", "flow_right_m", "limit_mps", "width_m")
_OFFSETS = range(-ACROSS, ACROSS + 1)
#: Neighbouring points of a line are so far apart, m: lanes side by side on a bend and short ones less evenly.
_NEAREST_M, _FARTHEST_M = 0.0, 3.0


def ego_of(scenario: Scenario) -> Columns:
    """Return the rows of `ego.parquet`."""
    tracks = scenario.tracks
    assert tracks is not None
    asked = np.vstack([scenario.details["actions"], np.zeros((1, 2))])
    rows: Columns = {name: getattr(tracks, field)[:, 0] for field, name in _POSE.items()}
    return {
        "step": np.arange(len(tracks.x)),
        **rows,
        "acceleration_mps2": asked[:, 0],
        "steering_rad": asked[:, 1],
    }


def agents_of(scenario: Scenario) -> Columns:
    """Return the rows of `agents.parquet`: car by car."""
    tracks = scenario.tracks
    assert tracks is not None
    car, step = np.nonzero(tracks.there[:, 1:].T)
    rows: Columns = {name: getattr(tracks, field)[step, car + 1] for field, name in _POSE.items()}
    return {"car": car + 1, "step": step, **rows}


def tracks_of(ego: Columns, agents: Columns, cars: int, where: str) -> tuple[Tracks, Floats]:
    """Return the tracks of all cars, and the expert's actions `(t - 1, 2)`.

    Raises:
        DataError: when steps are missing, or a car is unknown or stands twice in one.
    """
    steps = len(ego["step"])
    if steps < 2 or not np.array_equal(ego["step"], np.arange(steps)):
        raise DataError(f"{where}/ego.parquet: its steps are not 0, 1, 2, ….", hint=AGAIN)
    car, step = agents["car"].astype(np.int64), agents["step"].astype(np.int64)
    if ((car < 1) | (car > cars) | (step < 0) | (step >= steps)).any():
        raise DataError(f"{where}/agents.parquet has a car or a step that the scenario does not have.", hint=AGAIN)
    if len(np.unique(car * steps + step)) != len(car):
        raise DataError(f"{where}/agents.parquet has a car twice in one step.", hint=AGAIN)
    there = np.zeros((steps, 1 + cars), bool)
    there[:, 0] = True
    there[step, car] = True
    made = {}
    for field, name in _POSE.items():
        values = np.zeros((steps, 1 + cars))
        values[:, 0] = ego[name]
        values[step, car] = agents[name]
        made[field] = _held(values, there)
    asked = np.column_stack([ego["acceleration_mps2"], ego["steering_rad"]])[:-1]
    return Tracks(**made, there=there), asked.astype(np.float64)


def _held(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """An absent car holds the pose of the nearest step at which it was seen."""
    steps = np.arange(len(values))
    for column in np.flatnonzero(~there.all(axis=0) & there.any(axis=0)):
        seen = np.flatnonzero(there[:, column])
        values[:, column] = values[np.clip(steps, seen[0], seen[-1]), column]
    return values


def map_of(lanes: Lanes) -> Columns:
    """Return the rows of `map.parquet`."""
    of = np.repeat(np.arange(len(lanes.count)), lanes.count)
    lists = {f"{name}_{i}": getattr(lanes, field)[of, i] for field, (name, n) in _LISTS.items() for i in range(n)}
    points: Columns = {name: getattr(lanes, field) for field, name in _LINE.items()}
    return {"lane": of, **points, **{name: getattr(lanes, name)[of] for name in _OF_LANE}, **lists}


def lanes_of(rows: Columns, where: str) -> Lanes:
    """Return the lanes of `map.parquet`.

    Raises:
        DataError: when lanes are not one after the other, have one point, or name a lane that there is not.
    """
    of = rows["lane"].astype(np.int64)
    count = np.bincount(of) if len(of) and of.min() >= 0 and of.max() < len(of) else np.zeros(1, np.int64)
    if count.min() < 2 or not np.array_equal(of, np.repeat(np.arange(len(count)), count)):
        raise DataError(f"{where}/map.parquet: its lanes are not one after the other, of 2 points or more.", hint=AGAIN)
    first = np.cumsum(count) - count
    lists = {
        field: np.stack([rows[f"{name}_{i}"][first] for i in range(n)], axis=1) for field, (name, n) in _LISTS.items()
    }
    of_lane = {name: rows[name][first] for name in _OF_LANE}
    numbers = np.concatenate([of_lane["left"], of_lane["right"], *lists["successor"], *lists["yields_to"]])
    if numbers.min() < -1 or numbers.max() >= len(count):
        raise DataError(f"{where}/map.parquet names a lane that there is not.", hint=AGAIN)
    if of_lane["width_m"].min() <= 0 or of_lane["limit_mps"].min() <= 0:
        raise DataError(f"{where}/map.parquet has a lane without width or speed limit.", hint=AGAIN)
    lengths = (count - 1) * STEP_M
    points = {field: rows[name] for field, name in _LINE.items()}
    _check_line(points["x"], points["y"], np.diff(of) == 0, f"{where}/map.parquet")
    return Lanes(**points, first=first, count=count, length_m=lengths, **of_lane, **lists)


def rows_of_route(route: Route) -> Columns:
    """Return the rows of `route.parquet`."""
    across = {f"lane_{k:+d}": route.lane[:, k + ACROSS] for k in _OFFSETS}
    metres = {f"lane_s_m_{k:+d}": route.lane_s_m[:, k + ACROSS] for k in _OFFSETS}
    points: Columns = {name: getattr(route, field) for field, name in _LINE.items()}
    return {**points, **{name: getattr(route, name) for name in _OF_ROUTE}, **across, **metres}


def route_of(rows: Columns, goal_m: float, lanes: int, where: str) -> Route:
    """Return the route of `route.parquet`.

    Raises:
        DataError: when it is shorter than its goal, or names a lane that there is not.
    """
    points = {field: rows[name] for field, name in _LINE.items()}
    n = len(points["x"])
    if n < 2 or goal_m > (n - 1) * STEP_M + 1e-6:
        raise DataError(f"{where}/route.parquet has {n} points; its goal lies at {goal_m:.1f} m.", hint=AGAIN)
    _check_line(points["x"], points["y"], np.ones(n - 1, bool), f"{where}/route.parquet")
    across = np.stack([rows[f"lane_{k:+d}"] for k in _OFFSETS], axis=1)
    if across.min() < -1 or across.max() >= lanes:
        raise DataError(f"{where}/route.parquet leaves the map: it names a lane that there is not.", hint=AGAIN)
    metres = np.stack([rows[f"lane_s_m_{k:+d}"] for k in _OFFSETS], axis=1)
    sides = {name: rows[name] for name in _OF_ROUTE}
    return Route(**points, **sides, lane=across, lane_s_m=metres, length_m=goal_m)


def _check_line(x: Columns | object, y: object, joined: NDArray[np.bool_], where: str) -> None:
    steps = np.hypot(np.diff(np.asarray(x, float)), np.diff(np.asarray(y, float)))[joined]
    if len(steps) and not (steps.min() > _NEAREST_M and steps.max() < _FARTHEST_M):
        raise DataError(
            f"{where}: neighbouring points are {steps.min():.2f} to {steps.max():.2f} m apart; expected about "
            f"{STEP_M:g} m.",
            hint=AGAIN,
        )
