"""Actions: learners act in [-1, 1] twice, the world takes acceleration and steering; few operators lie between.

What a learner adds to is a car that keeps its speed and follows the route, so that it has lanes to leave, not to find.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift.driving.bicycle import ACCEL_MAX_MPS2, ACCEL_MIN_MPS2, STEER_MAX_RAD
from nightshift.driving.scenario import EgoStart
from nightshift.driving.sight import AHEAD_M

#: Names and units of an action's two numbers.
ACTIONS = (("acceleration", "m/s2"), ("steering", "rad"))
#: Bounds of a physical action.
LOW = np.array([ACCEL_MIN_MPS2, -STEER_MAX_RAD])
HIGH = np.array([ACCEL_MAX_MPS2, STEER_MAX_RAD])
#: Full lock turns the car at most so hard: below what tyres hold, so that no action is suicide at speed.
LATERAL_MPS2 = 5.0
#: Wheelbase of the car that learners drive, m.
WHEELBASE_M = EgoStart(s_m=0.0).wheelbase_m
#: Who follows the route steers for its point so long ahead, s, and at least so far, m.
PURSUIT_S, PURSUIT_M = 1.0, 6.0


def steer_limit(xp: Any, speed: Any) -> Any:
    """Return the steering angle that full lock stands for at `(envs,)` m/s, rad."""
    speed = xp.maximum(speed, 1.0)
    return xp.minimum(xp.atan(WHEELBASE_M * LATERAL_MPS2 / (speed * speed)), STEER_MAX_RAD)


def route_steer(xp: Any, way_x: Any, way_y: Any, speed: Any, wheelbase_m: Any = WHEELBASE_M) -> Any:
    """Return the steering that follows the route, `(envs,)` rad.

    Args:
        xp: array library.
        way_x, way_y: `(envs, len(AHEAD_M))` points of the route, m ahead of the rear axle and to the left of it.
        speed: `(envs,)` m/s.
        wheelbase_m: of the cars.
    """
    far = xp.minimum(xp.maximum(speed * PURSUIT_S, PURSUIT_M), AHEAD_M[-1])
    x, y = way_x[:, 0], way_y[:, 0]
    for i in range(len(AHEAD_M) - 1):
        share = xp.minimum(xp.maximum((far - AHEAD_M[i]) * (1.0 / (AHEAD_M[i + 1] - AHEAD_M[i])), 0.0), 1.0)
        x = x + share * (way_x[:, i + 1] - way_x[:, i])
        y = y + share * (way_y[:, i + 1] - way_y[:, i])
    return pursuit(xp, x, y, wheelbase_m)


def pursuit(xp: Any, x: Any, y: Any, wheelbase_m: Any) -> Any:
    """Return the steering towards points x m ahead of the rear axles and y m to the left of them, `(envs,)` rad.

    Source:
        Coulter, "Implementation of the pure pursuit path tracking algorithm", CMU-RI-TR-92-01, 1992.
    """
    return xp.atan(2.0 * wheelbase_m * y / xp.maximum(x * x + y * y, 1.0))


def physical(xp: Any, squashed: Any, speed: Any, along: Any) -> Any:
    """Return `(envs, 2)` acceleration in m/s2 and steering in rad.

    Args:
        xp: array library.
        squashed: `(envs, 2)`, -1 to 1; what is beyond is cut off. 0 is neither gas nor brake, and along the route.
        speed: `(envs,)` m/s.
        along: `(envs,)` steering that follows the route (see `route_steer`), rad.
    """
    squashed = xp.minimum(xp.maximum(squashed, -1.0), 1.0)
    pedal = squashed[:, 0]
    accel = xp.maximum(pedal, 0.0) * ACCEL_MAX_MPS2 - xp.minimum(pedal, 0.0) * ACCEL_MIN_MPS2
    lock = steer_limit(xp, speed)
    return xp.stack([accel, xp.minimum(xp.maximum(along + squashed[:, 1] * lock, -lock), lock)], axis=1)


def squashed(xp: Any, action: Any, speed: Any, along: Any) -> Any:
    """Return what `physical` makes `action` of, `(envs, 2)`, cut off at -1 and 1."""
    accel = action[:, 0]
    pedal = xp.maximum(accel, 0.0) / ACCEL_MAX_MPS2 - xp.minimum(accel, 0.0) / ACCEL_MIN_MPS2
    both = xp.stack([pedal, (action[:, 1] - along) / steer_limit(xp, speed)], axis=1)
    return xp.minimum(xp.maximum(both, -1.0), 1.0)
