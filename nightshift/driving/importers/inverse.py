"""What the recorded driver asked of the car: actions that drive the world's bicycle along a recorded track.

The bicycle is inverted in closed form first, as if nothing lagged; then least squares through the world's own bicycle,
lags included, takes out what that leaves, since an open-loop drive adds its errors up. What is left over is told.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nightshift.driving import bicycle
from nightshift.driving.bicycle import Ego
from nightshift.driving.scenario import STEP_S

Floats = NDArray[np.float64]
#: Weights of what is asked to be even, against metres: per m/s2 and per rad of change from step to step.
_EVEN = np.array([0.01, 0.3])
#: Of heading and speed, m per rad and m per m/s: positions rule, these keep the ends straight.
_HEADING_M, _SPEED_M = 0.5, 0.05
_ROUNDS = 12
#: What can be asked for: m/s2 and rad.
_LOWEST = np.array([bicycle.ACCEL_MIN_MPS2, -bicycle.STEER_MAX_RAD])
_HIGHEST = np.array([bicycle.ACCEL_MAX_MPS2, bicycle.STEER_MAX_RAD])
#: Small changes by which the slopes are measured: m/s2 and rad.
_NUDGE = np.array([1e-4, 1e-6])
#: Below this speed steering is not to be told from a track, m/s.
_SLOW_MPS = 0.5


@dataclass(frozen=True)
class Path:
    """A track of the rear axle at `STEP_S` steps, `(t,)` each: m, rad, m/s."""

    x: Floats
    y: Floats
    heading: Floats
    speed_mps: Floats


@dataclass(frozen=True)
class Actions:
    """Expert actions, and how well they drive.

    Attributes:
        asked: `(t - 1, 2)` acceleration m/s2 and steering rad.
        rmse_m, worst_m: distance of the open-loop drive from the track.
    """

    asked: Floats
    rmse_m: float
    worst_m: float


def actions_of(track: Path, wheelbase_m: float) -> Actions:
    """Return the actions that drive a bicycle along a track, from its first pose, without acceleration and steering."""
    asked = _by_inversion(track, wheelbase_m)
    damping, (cost, left) = 1e-3, _judged(track, asked, wheelbase_m)
    for _ in range(_ROUNDS):
        slopes = _slopes(track, asked, left, wheelbase_m)
        normal, pull = slopes.T @ slopes, slopes.T @ left
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -pull).reshape(asked.shape)
        tried = _bounded(asked + step)
        new_cost, new_left = _judged(track, tried, wheelbase_m)
        if new_cost < cost:
            settled = cost - new_cost < 1e-6 * cost
            asked, cost, left, damping = tried, new_cost, new_left, damping / 3
            if settled:
                break
        else:
            damping *= 10
    return measured(track, asked, wheelbase_m)


def measured(track: Path, asked: Floats, wheelbase_m: float) -> Actions:
    """Return actions with the distance of their open-loop drive from a track."""
    x, y, _, _ = drive_open_loop(track, asked, wheelbase_m)
    off = np.hypot(x - track.x, y - track.y)
    return Actions(asked, float(np.sqrt(np.mean(off**2))), float(off.max()))


def drive_open_loop(track: Path, asked: Floats, wheelbase_m: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Drive the world's bicycle from a track's first pose, without acceleration and steering at first.

    Args:
        track: where it starts.
        asked: `(..., t - 1, 2)` acceleration m/s2 and steering rad.
        wheelbase_m: of the car.

    Returns:
        x, y, heading and speed, `(..., t)`, the start among them.
    """
    steps, shape = asked.shape[-2], asked.shape[:-2]
    flat = asked.reshape(-1, steps, 2)
    start = {"x": track.x[0], "y": track.y[0], "heading": track.heading[0], "speed": track.speed_mps[0]}
    ego = Ego(**{f.name: np.full(len(flat), start.get(f.name, 0.0)) for f in fields(Ego)})
    states = [(ego.x.copy(), ego.y.copy(), ego.heading.copy(), ego.speed.copy())]
    for i in range(steps):
        bicycle.drive(np, ego, flat[:, i, 0], flat[:, i, 1], wheelbase_m, STEP_S)
        states.append((ego.x.copy(), ego.y.copy(), ego.heading.copy(), ego.speed.copy()))
    x, y, heading, speed = (np.stack(values, axis=-1).reshape(*shape, -1) for values in zip(*states, strict=True))
    return x, y, heading, speed


def _by_inversion(track: Path, wheelbase_m: float) -> Floats:
    """Differences of speed and heading as actions."""
    accel = np.diff(track.speed_mps) / STEP_S
    speed = 0.5 * (track.speed_mps[1:] + track.speed_mps[:-1])
    turn = np.diff(np.unwrap(track.heading)) / STEP_S
    steer = np.where(speed > _SLOW_MPS, np.arctan(wheelbase_m * turn / np.maximum(speed, _SLOW_MPS)), 0.0)
    return _bounded(np.column_stack([accel, steer]))


def _bounded(asked: Floats) -> Floats:
    return np.clip(asked, _LOWEST, _HIGHEST)


def _judged(track: Path, asked: Floats, wheelbase_m: float) -> tuple[float, Floats]:
    left = _residuals(track, asked[None], wheelbase_m)[0]
    return float(left @ left), left


def _residuals(track: Path, asked: Floats, wheelbase_m: float) -> Floats:
    """Return what is to be small, `(tries, n)`, of `(tries, t - 1, 2)` actions."""
    x, y, heading, speed = drive_open_loop(track, asked, wheelbase_m)
    parts = [
        x - track.x,
        y - track.y,
        (heading - np.unwrap(track.heading)) * _HEADING_M,
        (speed - track.speed_mps) * _SPEED_M,
    ]
    changes = np.diff(asked, axis=1, prepend=0.0) * _EVEN
    return np.concatenate([*parts, changes[..., 0], changes[..., 1]], axis=1)


def _slopes(track: Path, asked: Floats, left: Floats, wheelbase_m: float) -> Floats:
    """Return how the residuals change with every action, `(n, 2 (t - 1))`: all of them nudged in one batch."""
    n = asked.size
    tries = np.repeat(asked.reshape(1, n), n, axis=0)
    nudge = np.tile(_NUDGE, len(asked))
    # Nudged inwards: at its bound an action would not move.
    nudge = np.where(asked.reshape(n) + nudge > np.tile(_HIGHEST, len(asked)), -nudge, nudge)
    tries[np.arange(n), np.arange(n)] += nudge
    moved = _residuals(track, tries.reshape(n, *asked.shape), wheelbase_m)
    slopes: Floats = ((moved - left) / nudge[:, None]).T
    return slopes
