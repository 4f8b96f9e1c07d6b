"""What a logistic trend stays between: said by the user in the sensor's unit, and held against what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nightshift.errors import ConfigError, nearest
from nightshift.families._forecast_series import Series
from nightshift.graphs.forecast_parameters import ProphetParameters


@dataclass(frozen=True)
class Bounds:
    """The values that a trend never leaves, in the sensor's unit."""

    floor: float
    cap: float


def bounds_of(model: ProphetParameters) -> Bounds | None:
    """Return what a fitted trend stays between; None where nothing bounds it."""
    return None if model.growth != "logistic" or model.cap is None else Bounds(model.floor, model.cap)


def check_caps(cap: Mapping[str, float], growth: str | None) -> None:
    """Hold caps against the growth.

    Args:
        cap: by sensor.
        growth: as configured; None where that is wrong itself.

    Raises:
        ValueError: for logistic growth without a cap, or a cap without logistic growth.
    """
    _check_finite(cap)
    if growth == "logistic" and not cap:
        raise ValueError("growth logistic needs the value that each sensor stays below, in its unit ({fill_level: 95})")
    if growth in ("linear", "flat") and cap:
        raise ValueError(f"growth {growth} has no cap; write growth: logistic, or leave the cap out")


def check_floors(floor: Mapping[str, float], cap: Mapping[str, float] | None) -> None:
    """Hold floors against the caps.

    Args:
        floor: by sensor.
        cap: by sensor; None where that is wrong itself.

    Raises:
        ValueError: for a floor of a sensor without a cap, or one that is not below its cap.
    """
    _check_finite(floor)
    if cap is None:
        return
    for sensor in floor:
        if sensor not in cap:
            raise ValueError(f"'{sensor}' has a floor and no cap; growth logistic needs both or the cap alone")
    for sensor, high in cap.items():
        low = floor.get(sensor, 0.0)
        if low >= high:
            raise ValueError(f"the floor of '{sensor}', {low:g}, is not below its cap, {high:g}")


def check_measured(series: Series, growth: str, cap: Mapping[str, float], floor: Mapping[str, float]) -> None:
    """Hold caps and floors against the sensors and what they measured.

    Raises:
        ConfigError: for a sensor that is not forecast or has no cap, or a value at or beyond cap or floor.
    """
    if growth != "logistic":
        return
    for name in cap:
        if name not in series.sensors:
            hint = f"{nearest(name, series.sensors)} `sensors` says what is forecast.".strip()
            raise ConfigError(f"cap names '{name}', which is not forecast.", hint=hint)
    missing = [name for name in series.sensors if name not in cap]
    if missing:
        raise ConfigError(
            f"growth is logistic and {_listed(missing)} has no cap.",
            hint=f"Add `cap: {{{missing[0]}: ...}}` in the sensor's unit, or name what to forecast in `sensors`.",
        )
    for i, name in enumerate(series.sensors):
        _check_sensor(name, series, i, Bounds(floor.get(name, 0.0), cap[name]))


def _check_sensor(name: str, series: Series, column: int, bounds: Bounds) -> None:
    low, high = float(np.nanmin(series.values[:, column])), float(np.nanmax(series.values[:, column]))
    if high >= bounds.cap:
        raise ConfigError(
            f"the cap of '{name}' is {bounds.cap:g}, and {high:g} was measured.",
            hint=f"Raise it above {high:g}, or choose another growth.",
        )
    if low < bounds.floor:
        said = f"the floor of '{name}' is {bounds.floor:g}, and {low:g} was measured."
        raise ConfigError(said, hint=f"Say a floor below {low:g} (`floor: {{{name}: ...}}`), or choose another growth.")


def _check_finite(values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"'{name}' is no finite number")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
