"""Signals along time: first-order lags and noise that remembers, for many units at once."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def stream(seed: Sequence[int], name: str) -> np.random.Generator:
    """Return the random numbers of one named process, so that a further sensor leaves the others as they are."""
    return np.random.default_rng([*seed, zlib.crc32(name.encode())])


def lag(target: Array, step_h: float, tau_h: float) -> Array:
    """Follow `target` with a first-order lag, from the steady state, `(units, steps)`.

    Source: exact discretisation of tau y' = u - y under a held input, a = exp(-dt / tau).
    """
    from scipy.signal import lfilter

    a = float(np.exp(-step_h / tau_h))
    out: Array = lfilter([1.0 - a], [1.0, -a], target, axis=1, zi=a * target[:, :1])[0]
    return out


def drift(rng: np.random.Generator, shape: tuple[int, int], spread: float, step_h: float, memory_h: float) -> Array:
    """Return stationary first-order autoregressive noise with standard deviation `spread`, `(units, steps)`.

    Source: exact discretisation of an Ornstein-Uhlenbeck process, phi = exp(-dt / memory).
    """
    from scipy.signal import lfilter

    phi = float(np.exp(-step_h / memory_h))
    before = spread * rng.standard_normal((shape[0], 1))
    shocks = rng.standard_normal(shape)
    shocks *= spread * np.sqrt(1.0 - phi**2)
    out: Array = lfilter([1.0], [1.0, -phi], shocks, axis=1, zi=phi * before)[0]
    return out
