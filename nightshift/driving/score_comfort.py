"""Comfort: six limits on what a passenger feels, smoothed as nuPlan's devkit smooths it.

The devkit's histories have steps of 0.1 s, ours of 0.2 s: the windows of the filter span about the same time
(acceleration 1.0 s where it has 0.8, jerk 1.4 where it has 1.5, yaw rate 0.6 and yaw acceleration 1.0 where it has 0.5,
which are the shortest windows that hold the polynomial). Sideways acceleration is speed times yaw rate, what a
passenger feels; the devkit's simulated ego has none but what turning about its middle adds.

Source:
    motional/nuplan-devkit 1.2, `ego_is_comfortable.py`, `metrics/utils/state_extractors.py`; limits from
    `script/config/common/simulation_metric/low_level/`, 90 % or more of people's driving in the data.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nightshift.driving.history import History
from nightshift.driving.scenario import STEP_S
from nightshift.driving.score_geometry import Floats

#: Lowest and highest of each, m/s2, rad/s, rad/s2 and m/s3.
LIMITS: dict[str, tuple[float, float]] = {
    "acceleration_mps2": (-4.05, 2.40),
    "sideways_mps2": (-4.89, 4.89),
    "yaw_rate_radps": (-0.95, 0.95),
    "yaw_acceleration_radps2": (-1.93, 1.93),
    "jerk_along_mps3": (-4.13, 4.13),
    "jerk_mps3": (-8.37, 8.37),
}
_ACCELERATION, _JERK, _YAW, _YAW_ACCELERATION = 5, 7, 3, 5


def felt(history: History) -> dict[str, Floats]:
    """Return what a passenger feels at every moment, `(t,)` each, by the names of `LIMITS`."""
    heading = np.unwrap(history.heading)
    yaw_rate = smoothed(heading, _YAW, 2, 1)
    along = smoothed(history.accel_mps2, _ACCELERATION, 2)
    sideways = smoothed(history.speed_mps * yaw_rate, _ACCELERATION, 2)
    whole = smoothed(np.hypot(history.accel_mps2, history.speed_mps * yaw_rate), _ACCELERATION, 2)
    return {
        "acceleration_mps2": along,
        "sideways_mps2": sideways,
        "yaw_rate_radps": yaw_rate,
        "yaw_acceleration_radps2": smoothed(heading, _YAW_ACCELERATION, 3, 2),
        "jerk_along_mps3": smoothed(along, _JERK, 2, 1),
        "jerk_mps3": smoothed(whole, _JERK, 2, 1),
    }


def comfort(history: History) -> tuple[float, tuple[str, ...]]:
    """Return 1 where nothing was ever beyond its limits, else 0, and the names of what was."""
    beyond = tuple(
        name
        for name, values in felt(history).items()
        if values.min() < LIMITS[name][0] or values.max() > LIMITS[name][1]
    )
    return float(not beyond), beyond


def smoothed(values: NDArray[np.floating], samples: int, order: int, derivative: int = 0) -> Floats:
    """Return a Savitzky-Golay fit of values or of their derivative, units a second (squared).

    Args:
        values: `(t,)`, `STEP_S` apart.
        samples: of the window; fewer where the episode is shorter.
        order: of the polynomial; lower where there are too few samples.
        derivative: 0, 1 or 2.

    Source:
        Savitzky, Golay, "Smoothing and differentiation of data by simplified least squares procedures", 1964; ends as
        in `scipy.signal.savgol_filter(mode="interp")`, of which this is the part that is needed, ten times as fast.
    """
    window = min(samples, len(values))
    order = min(order, window - 1)
    if order < derivative:
        return np.zeros(len(values))
    fit, half = _fit(window, order, derivative), window // 2
    if len(values) == window:
        return fit @ values
    # Within, the fit's value in the middle of each window; at both ends, the values of the outermost windows.
    within = np.lib.stride_tricks.sliding_window_view(values, window) @ fit[half]
    return np.concatenate([fit[:half] @ values[:window], within, fit[half + 1 :] @ values[-window:]])


@cache
def _fit(window: int, order: int, derivative: int) -> Floats:
    """Return `(window, window)`: samples -> the fitted polynomial's derivative at each of them."""
    time = np.arange(window) * STEP_S
    polynomial = np.linalg.pinv(np.vander(time, order + 1, increasing=True))
    powers = np.arange(order + 1)
    factor = np.prod([powers - n for n in range(derivative)], axis=0) * np.ones(order + 1)
    raised = time[:, None] ** np.maximum(powers - derivative, 0)
    return np.asarray((raised * factor) @ polynomial, dtype=np.float64)
