"""How the ego car moves: a kinematic bicycle about the middle of its rear axle, with actuators that lag.

Source: the two lags and the bicycle are those of nuPlan's closed-loop simulation (Karnchanachari et al., 2024,
arXiv 2403.04133); both lags are solved exactly over a step, so that a step of any length is as true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

#: Time constants of the first-order lags, s.
ACCEL_LAG_S = 0.2
STEER_LAG_S = 0.05
#: What the actuators can do.
ACCEL_MIN_MPS2, ACCEL_MAX_MPS2 = -6.0, 3.0
STEER_MAX_RAD = 0.6


@dataclass
class Ego:
    """The ego cars, `(envs,)` each, float64.

    Attributes:
        x, y, heading: m and rad, of the middle of the rear axle; the heading is never wrapped.
        speed: m/s, never negative.
        accel: m/s2, as the actuator has it.
        steer: rad, of the front wheels.
        jerk, yaw_rate, yaw_accel, steer_rate: m/s3, rad/s, rad/s2, rad/s, of the last step.
    """

    x: Any
    y: Any
    heading: Any
    speed: Any
    accel: Any
    steer: Any
    jerk: Any
    yaw_rate: Any
    yaw_accel: Any
    steer_rate: Any


def drive(xp: Any, ego: Ego, accel: Any, steer: Any, wheelbase_m: Any, dt: float) -> Any:
    """Move every ego car by one step, in place.

    Args:
        accel: `(envs,)` m/s2 asked for; what the actuators cannot do is cut off.
        steer: `(envs,)` rad asked for.
        wheelbase_m: `(envs,)`.
        dt: s.

    Returns:
        `(envs,)` metres driven.
    """
    accel = xp.minimum(xp.maximum(accel, ACCEL_MIN_MPS2), ACCEL_MAX_MPS2)
    steer = xp.minimum(xp.maximum(steer, -STEER_MAX_RAD), STEER_MAX_RAD)
    accel_kept, steer_kept = math.exp(-dt / ACCEL_LAG_S), math.exp(-dt / STEER_LAG_S)
    # Over a step a lag averages to what is asked for plus this share of what it still lacked.
    accel_share = ACCEL_LAG_S / dt * (1.0 - accel_kept)
    steer_share = STEER_LAG_S / dt * (1.0 - steer_kept)
    accel_lacked, steer_lacked = ego.accel - accel, ego.steer - steer
    reached = ego.speed + (accel + accel_lacked * accel_share) * dt
    stands = reached <= 0.0
    speed = xp.maximum(reached, 0.0)
    metres = (ego.speed + speed) * (0.5 * dt)
    turned = metres * xp.tan(steer + steer_lacked * steer_share) / wheelbase_m
    middle = ego.heading + 0.5 * turned
    ego.x, ego.y = ego.x + metres * xp.cos(middle), ego.y + metres * xp.sin(middle)
    ego.heading = ego.heading + turned
    got = accel + accel_lacked * accel_kept
    # A car that stands brakes no more: its next start is not held up by it.
    got = xp.where(stands, xp.maximum(got, 0.0), got)
    ego.jerk, ego.accel, ego.speed = (got - ego.accel) / dt, got, speed
    turned_to = steer + steer_lacked * steer_kept
    ego.steer_rate, ego.steer = (turned_to - ego.steer) / dt, turned_to
    yaw_rate = speed * xp.tan(ego.steer) / wheelbase_m
    ego.yaw_accel, ego.yaw_rate = (yaw_rate - ego.yaw_rate) / dt, yaw_rate
    return metres
