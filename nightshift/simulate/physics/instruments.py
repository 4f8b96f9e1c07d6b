"""From what is to what is shown: offset, noise, slow sampling, faults, lost readings, range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.physics.series import Array, stream
from nightshift.simulate.profile import Profile
from nightshift.simulate.profile_parts import SensorSpec

_STUCK, _DROP_OUT, _SPIKE = 0, 1, 2
_SPIKE_SIZE = (0.15, 0.5)
#: A fault does not last longer than this many mean lengths.
_LONGEST_FAULT = 4.0


def reading(
    profile: Profile, sensor: SensorSpec, clean: Array, bias: Array, noise_scale: Array, seed: tuple[int, ...]
) -> Array:
    """Return what an instrument shows, `(units, steps)`, NaN where the reading is lost.

    Args:
        profile: of the machine.
        sensor: the instrument.
        clean: the quantity itself, `(units, steps)`.
        bias: the mounting's offset, `(units, 1)`.
        noise_scale: factor on the noise, `(units, 1)`.
        seed: of the block.
    """
    low, high = limits(sensor)
    if sensor.quantity.role == "age":
        return np.clip(clean, low, high)
    rng = stream(seed, f"instrument {sensor.name}")
    shown = rng.standard_normal(clean.shape)
    shown *= sensor.noise * noise_scale
    shown += clean
    shown += bias
    if sensor.sampling_s is not None:
        every = max(1, round(sensor.sampling_s / profile.sampling_s))
        shown = shown[:, np.arange(clean.shape[1]) // every * every]
    np.clip(shown, low, high, out=shown)
    _break(profile, sensor, shown, rng)
    if profile.rates.missing > 0:
        shown[rng.random(clean.shape, dtype=np.float32) < profile.rates.missing] = np.nan
    return shown


def limits(sensor: SensorSpec) -> tuple[float, float]:
    """Return the range of an instrument such that it holds in single precision too, as which data is stored."""
    low, high = (np.float32(v) for v in sensor.range)
    if float(low) < sensor.range[0]:
        low = np.nextafter(low, np.float32(np.inf))
    if float(high) > sensor.range[1]:
        high = np.nextafter(high, np.float32(-np.inf))
    return float(low), float(high)


def _break(profile: Profile, sensor: SensorSpec, shown: Array, rng: np.random.Generator) -> None:
    """Let the instrument stick, drop out or spike at the stated rate; changes `shown`, which is the caller's own."""
    rates, step_h = profile.rates, profile.sampling_s / 3600
    units, steps = shown.shape
    faults = rng.poisson(rates.sensor_faults_per_1000_h / 1000 * step_h * units * steps)
    unit, first = rng.integers(0, units, faults), rng.integers(0, steps, faults)
    kind = rng.integers(0, 3, faults)
    hours = np.minimum(rng.exponential(rates.sensor_fault_h, faults), _LONGEST_FAULT * rates.sensor_fault_h)
    length = np.minimum(np.maximum(1, np.round(hours / step_h)).astype(np.int64), steps - first)
    size = rng.uniform(*_SPIKE_SIZE, faults) * rng.choice([-1.0, 1.0], faults)
    low, high = limits(sensor)
    for which, value in ((_STUCK, shown[unit, first]), (_DROP_OUT, np.full(faults, np.nan))):
        mine = kind == which
        rows = _stretches(first[mine], length[mine])
        shown[np.repeat(unit[mine], length[mine]), rows] = np.repeat(value[mine], length[mine])
    at = kind == _SPIKE
    shown[unit[at], first[at]] = np.clip(shown[unit[at], first[at]] + size[at] * (high - low), low, high)


def _stretches(first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `first .. first + length - 1` of each stretch, one after the other."""
    within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(first, length) + within
