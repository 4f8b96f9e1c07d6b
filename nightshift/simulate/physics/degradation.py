"""Hidden wear: what effort costs life, how damage shows, and what services take back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.catalogue import Mode
from nightshift.simulate.physics.series import Array, stream
from nightshift.simulate.profile import Profile
from nightshift.simulate.profile_parts import InsulationAgeing

#: Part of the symptom that grows evenly before the defect begins.
EVEN_PART = 0.22
#: How sharply the symptom grows after it.
CONVEXITY = 2.5
#: A mode that does not kill wears at this share of `secondary_wear`, unit by unit.
_SECONDARY_SHARE = (0.4, 0.95)
#: Shape per hour of the gamma process: shocks come and go, on top of the load.
_SHOCKS_PER_H = 3.0
_MIN_SHAPE = 0.02


@dataclass(frozen=True)
class Units:
    """The parameters of a block of units that physics needs, each `(units, 1)`; `mode` is the one that kills."""

    mode: NDArray[np.object_]
    load_level: Array
    load_swing: Array
    wear_rate: Array
    onset: Array
    severity: Array
    secondary_wear: Array
    ambient_offset_k: Array
    noise_scale: Array


@dataclass(frozen=True)
class Wear:
    """Hidden states of a block, each `(units, steps)`.

    Attributes:
        damage: of the mode that kills, 0 at the overhaul, 1 at failure.
        symptom: what of it can show.
        secondary: greatest wear of the other modes, which services take back.
        by_mode: symptom of every mode of the profile.
        since_service_h: hours since the last service or overhaul.
        service: whether a service was done since the row before.
    """

    damage: Array
    symptom: Array
    secondary: Array
    by_mode: dict[Mode, Array]
    since_service_h: Array
    service: NDArray[np.bool_]


def effort(
    profile: Profile, units: Units, load: Array, winding_c: Array, steps: NDArray[np.int64], seed: tuple[int, ...]
) -> Array:
    """Return what each step costs, up to a factor per unit; 0 after the unit's failure, `(units, steps)`.

    Source: damage adds up (Palmgren 1924, Miner 1945). Load counts by the mode's exponent: 3 for ball bearings and
    10/3 for rollers after ISO 281. Windings age by Montsinger's rule (1930): twice as fast for every `halving_k`
    kelvin, the engineer's form of Arrhenius' law in IEC 60216. The gamma process is the usual model of monotone wear
    under shocks (van Noortwijk 2009, Reliability Engineering & System Safety 94).

    Args:
        profile: of the machine.
        units: of the block.
        load: share of rated power.
        winding_c: temperature of the sound winding, degC.
        steps: of each life.
        seed: of the block.
    """
    exponent = np.ones(units.mode.shape)
    for spec in profile.failure_modes:
        exponent[units.mode == spec.mode] = profile.load_exponent(spec)
    cost = load**exponent
    for spec in profile.failure_modes:
        if isinstance(spec, InsulationAgeing):
            mine = (units.mode == spec.mode)[:, 0]
            cost[mine] *= np.exp2(np.clip((winding_c[mine] - 100.0) / spec.halving_k, -300.0, 300.0))
    shape = max(_MIN_SHAPE, _SHOCKS_PER_H * profile.sampling_s / 3600)
    cost *= stream(seed, "shocks").standard_gamma(shape, load.shape)
    # A step without a shock costs a little all the same.
    cost += 1e-3 * cost.mean(axis=1, keepdims=True) + 1e-300
    cost[np.arange(load.shape[1]) >= steps[:, None]] = 0.0
    return cost


def wear(profile: Profile, units: Units, cost: Array, steps: NDArray[np.int64], seed: tuple[int, ...]) -> Wear:
    """Cumulate effort to damage, and damage to symptoms.

    Source: Miner's sum, D = sum of cost / cost of the whole life, so that failure is D = 1.
    """
    total = np.cumsum(cost, axis=1)
    # What was spent before each row: shifted, not subtracted, or rounding would let damage fall.
    damage = np.concatenate([np.zeros_like(total[:, :1]), total[:, :-1]], axis=1) / total[:, -1:]
    since, service = _services(profile, damage.shape)
    symptom = units.severity * shape_of(damage, units.onset)
    by_mode: dict[Mode, Array] = {}
    secondary = np.zeros_like(damage)
    pace = stream(seed, "secondary").uniform(*_SECONDARY_SHARE, (len(steps), len(profile.failure_modes)))
    for i, spec in enumerate(profile.failure_modes):
        kills = units.mode == spec.mode
        rate_h = units.secondary_wear * pace[:, i : i + 1] / (steps[:, None] * profile.sampling_s / 3600)
        other = np.where(kills, 0.0, _taken_back(profile, rate_h, damage.shape[1]))
        secondary = np.maximum(secondary, other)
        by_mode[spec.mode] = np.where(kills, symptom, units.severity * shape_of(other, np.full_like(pace[:, :1], 0.6)))
    return Wear(damage, symptom, secondary, by_mode, since, service)


def shape_of(wear: Array, onset: Array) -> Array:
    """Return how much of full wear shows, 0 to 1: little before the onset, then convexly more.

    Source: the P-F curve of reliability-centred maintenance (SAE JA1011; Moubray 1997), here an exponential after P.
    """
    past = np.clip((wear - onset) / (1 - onset), 0.0, 1.0)
    shown: Array = EVEN_PART * wear + (1 - EVEN_PART) * np.expm1(CONVEXITY * past) / np.expm1(CONVEXITY)
    return shown


def _services(profile: Profile, shape: tuple[int, int]) -> tuple[Array, NDArray[np.bool_]]:
    """Return hours since the last service, and where one was done."""
    at = np.arange(shape[1]) * (profile.sampling_s / 3600)
    every = profile.rates.maintenance_interval_h
    if every is None:
        return np.broadcast_to(at, shape), np.zeros(shape, dtype=bool)
    done = np.floor(at / every)
    new = np.diff(done, prepend=0.0) > 0
    return np.broadcast_to(at - done * every, shape), np.broadcast_to(new, shape)


def _taken_back(profile: Profile, rate_h: Array, steps: int) -> Array:
    """Return wear that grows evenly and of which each service leaves a share, `(units, steps)`.

    After m services at interval M with k left over, r M (k + k^2 + ... + k^m) remains.
    """
    at = np.arange(steps) * (profile.sampling_s / 3600)
    every, left = profile.rates.maintenance_interval_h, 1 - profile.rates.maintenance_restores
    if every is None:
        return rate_h * at
    done = np.floor(at / every)
    remains = done if left >= 1 else left * (1 - left**done) / (1 - left)
    wear: Array = rate_h * (every * remains + at - done * every)
    return np.minimum(wear, 1.0)
