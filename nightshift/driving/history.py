"""One episode as it was driven: what scores, pictures and imitation read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.scenario import Scenario

Floats = NDArray[np.float64]
Ending = Literal["arrived", "collision", "off_road", "timed_out"]


@dataclass(frozen=True)
class History:
    """An episode of `t` moments, `STEP_S` apart, the start among them.

    Attributes:
        scenario: that was driven.
        traffic: model of the other cars: `idm`, `gipps`, `log` or `log_reactive`.
        x, y, heading, speed_mps, accel_mps2, steer_rad: `(t,)` of the ego's rear axle.
        s_m, d_m: `(t,)` along and to the left of the route.
        action: `(t - 1, 2)` acceleration m/s2 and steering rad that were asked for.
        observation: `(t - 1, n)` float32 before each action; empty `(0, n)` where it was not kept.
        cars_x, cars_y, cars_heading, cars_speed_mps: `(t, n)` of the other cars' middles; NaN while absent.
        cars_length_m, cars_width_m: `(n,)`.
        reward: `(t - 1,)`.
        ending: how it ended.
    """

    scenario: Scenario
    traffic: str
    x: Floats
    y: Floats
    heading: Floats
    speed_mps: Floats
    accel_mps2: Floats
    steer_rad: Floats
    s_m: Floats
    d_m: Floats
    action: Floats
    observation: NDArray[np.float32]
    cars_x: Floats
    cars_y: Floats
    cars_heading: Floats
    cars_speed_mps: Floats
    cars_length_m: Floats
    cars_width_m: Floats
    reward: Floats
    ending: Ending
