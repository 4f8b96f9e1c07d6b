"""Laws that every simulated history obeys, checked on its hidden states and on its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import LABEL, RUL, RUN, TIME
from nightshift.simulate.physics.machine import synchronous_rpm
from nightshift.simulate.physics.roll import CLEAN, Rolled
from nightshift.simulate.profile import Profile
from nightshift.simulate.units import unit_columns

if TYPE_CHECKING:
    import pandas as pd

Bools = NDArray[np.bool_]
_STEP_TOLERANCE_H = 1e-6
_COOLER_K = 0.5
_FASTER = 1.02
_WARM = ("winding_temperature", "bearing_temperature", "oil_temperature", "discharge_temperature")
_NOT_NEGATIVE = ("stator_current", "input_power")
_SHAKING = ("vibration_drive_end", "vibration_non_drive_end", "vibration_acceleration")


def violations(profile: Profile, rolled: Rolled, units: pd.DataFrame | None = None) -> dict[str, int]:
    """Return for each law how many rows (of the last one: units) break it; 0 everywhere for a sound history.

    Args:
        profile: of the machine.
        rolled: its history.
        units: the table that was rolled; its law is left out when None.
    """
    counts = {law: int(np.count_nonzero(broken(profile, rolled))) for law, broken in _LAWS.items()}
    if units is not None:
        counts["units within their limits"] = int(np.count_nonzero(_units_outside(profile, units)))
    return counts


def rate(profile: Profile, rolled: Rolled, units: pd.DataFrame | None = None) -> float:
    """Return violations per row, all laws together."""
    return sum(violations(profile, rolled, units).values()) / max(1, len(rolled.frame))


def _same_run(rolled: Rolled) -> Bools:
    """Whether a row and the one before it are of one run; False for the first, `(rows,)`."""
    run = rolled.frame[RUN].to_numpy()
    return np.concatenate([[False], run[1:] == run[:-1]])


def _hidden(rolled: Rolled, name: str) -> NDArray[np.float64]:
    return rolled.hidden[name].to_numpy(np.float64)


def _damage(profile: Profile, rolled: Rolled) -> Bools:
    damage = _hidden(rolled, "damage")
    falls = np.concatenate([[False], damage[1:] < damage[:-1]]) & _same_run(rolled)
    outside = ~((damage >= 0) & (damage <= 1))
    starts_worn = ~_same_run(rolled) & (damage != 0)
    return np.asarray(falls | outside | starts_worn)


def _remaining(profile: Profile, rolled: Rolled) -> Bools:
    """Remaining life, hidden and shown, is above zero, falls by the step, and both agree where both are known."""
    true = _hidden(rolled, "true_rul_h")
    step_h = profile.sampling_s / 3600
    fall = -np.diff(true, prepend=true[:1])
    broken = (true <= 0) | (_same_run(rolled) & (np.abs(fall - step_h) > _STEP_TOLERANCE_H))
    if RUL in rolled.frame:
        shown = rolled.frame[RUL].to_numpy(np.float64)
        broken |= ~np.isnan(shown) & (np.abs(shown - true) > _STEP_TOLERANCE_H)
    return np.asarray(broken)


def _label(profile: Profile, rolled: Rolled) -> Bools:
    if LABEL not in rolled.frame:
        return np.zeros(len(rolled.frame), dtype=bool)
    label = rolled.frame[LABEL].to_numpy(np.float64)
    within = _hidden(rolled, "true_rul_h") <= profile.labels.horizon_h
    return np.asarray(~np.isnan(label) & ((label == 1) != within))


def _readings(profile: Profile, rolled: Rolled) -> Bools:
    broken = np.zeros(len(rolled.frame), dtype=bool)
    for sensor in profile.sensors:
        shown = rolled.frame[sensor.name].to_numpy(np.float64)
        broken |= (shown < sensor.range[0]) | (shown > sensor.range[1])
    return broken


def _clean(profile: Profile, rolled: Rolled, quantities: tuple[str, ...]) -> list[NDArray[np.float64]]:
    return [_hidden(rolled, CLEAN + s.name) for s in profile.sensors if s.measures in quantities]


def _any(rolled: Rolled, broken: list[Bools]) -> Bools:
    return np.asarray(np.logical_or.reduce([np.zeros(len(rolled.frame), dtype=bool), *broken]))


def _cold(profile: Profile, rolled: Rolled) -> Bools:
    """Second law: what makes heat is not colder than what takes it. NaN breaks it too, as in every law here."""
    least = _hidden(rolled, "ambient_c") - _COOLER_K
    return _any(rolled, [~(t >= least) for t in _clean(profile, rolled, _WARM)])


def _speed(profile: Profile, rolled: Rolled) -> Bools:
    most = _FASTER * synchronous_rpm(profile.nameplate.rated_speed_rpm)
    return _any(rolled, [~((n > 0) & (n <= most)) for n in _clean(profile, rolled, ("shaft_speed",))])


def _electrics(profile: Profile, rolled: Rolled) -> Bools:
    return _any(rolled, [~(v >= 0) for v in _clean(profile, rolled, _NOT_NEGATIVE)])


def _still(profile: Profile, rolled: Rolled) -> Bools:
    return _any(rolled, [~(v > 0) for v in _clean(profile, rolled, _SHAKING)])


def _overlap(profile: Profile, rolled: Rolled) -> Bools:
    """Rows of which the one before is not earlier: of one run by the step, of two by more."""
    time = rolled.frame[TIME].to_numpy("datetime64[ns]").astype(np.int64)
    step = round(profile.sampling_s * 1e9)
    gap = np.diff(time, prepend=time[:1] - 2 * step)
    return np.where(_same_run(rolled), gap != step, gap <= step)


def _units_outside(profile: Profile, units: pd.DataFrame) -> Bools:
    broken = np.zeros(len(units), dtype=bool)
    for column in unit_columns(profile):
        if column.name not in units:
            return np.ones(len(units), dtype=bool)
        if column.discrete:
            broken |= ~units[column.name].astype(str).isin(column.categories).to_numpy()
        else:
            value = units[column.name].to_numpy(np.float64)
            broken |= ~((value >= column.low) & (value <= column.high))
    return broken


_LAWS: dict[str, Callable[[Profile, Rolled], Bools]] = {
    "damage only grows": _damage,
    "rul falls by the step": _remaining,
    "label agrees with rul": _label,
    "readings within range": _readings,
    "nothing that heats is colder than the air": _cold,
    "speed up to synchronous": _speed,
    "current and power not negative": _electrics,
    "vibration above zero": _still,
    "runs follow each other": _overlap,
}
