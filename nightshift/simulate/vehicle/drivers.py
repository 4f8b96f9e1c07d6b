"""Who drives: styles as distributions that overlap, and stretches of dangerous driving."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.vehicle.columns import KINDS, Floats

#: Parameter -> (value of each style in the order of BEHAVIOURS, spread within a style as a share).
#: Accelerations of everyday drivers: about 1 to 1.5 m/s2 speeding up, 1 to 2 m/s2 slowing down, twice that when
#: driving hard. Source: orders of size from naturalistic studies, e.g. A. K. Maurya, P. S. Bokare, "Study of
#: deceleration behaviour of different vehicle types", 2012; lateral comfort near 2 m/s2: G. Reymond et al., "Role of
#: lateral acceleration in curve driving", 2001. Styles as groups follow E. Romera et al., "UAH-DriveSet", 2016.
_STYLES: dict[str, tuple[tuple[float, float, float, float], float]] = {
    "speeding_up": ((1.05, 1.55, 2.60, 1.35), 0.16),
    "slowing_down": ((1.10, 1.75, 2.90, 2.00), 0.16),
    "coasting": ((0.45, 0.22, 0.05, 0.12), 0.40),
    "speed": ((0.95, 1.00, 1.09, 0.98), 0.035),
    "response": ((0.50, 0.60, 0.78, 0.45), 0.10),
    "bends": ((1.25, 1.85, 2.90, 1.75), 0.16),
    "shift_rpm": ((1950.0, 2350.0, 3100.0, 2300.0), 0.08),
    "wander": ((0.012, 0.014, 0.018, 0.050), 0.25),
    "weave": ((0.10, 0.13, 0.20, 0.55), 0.25),
    "weave_s": ((7.0, 6.0, 5.0, 11.0), 0.15),
    "pumping": ((0.05, 0.08, 0.16, 0.13), 0.25),
}
#: A driver keeps to their own ways on all trips of a car: spread of that share.
_OWN_WAYS = 0.07
#: Lengths of dangerous stretches and of the time between them, s.
_DANGEROUS_S, _BETWEEN_S = (200, 600), (150, 420)


@dataclass(frozen=True)
class Drivers:
    """How each trip is driven, every field `(n,)`.

    Attributes:
        kind: place of the style in BEHAVIOURS.
        speeding_up, slowing_down: accelerations that are chosen, m/s2.
        coasting: deceleration while the car rolls towards something slower, m/s2.
        speed: share of the traffic's speed that is aimed at.
        response: share of a wanted change of acceleration that is there within a second.
        bends: lateral acceleration that is taken in a full bend, m/s2.
        shift_rpm: engine speed of shifting up under low load.
        wander: spread of the speed that is held, as a share.
        weave, weave_s: lateral acceleration by wandering within the lane, m/s2, and its period.
        pumping: spread of small movements of the pedal, m/s2.
    """

    kind: NDArray[np.int8]
    speeding_up: Floats
    slowing_down: Floats
    coasting: Floats
    speed: Floats
    response: Floats
    bends: Floats
    shift_rpm: Floats
    wander: Floats
    weave: Floats
    weave_s: Floats
    pumping: Floats


def draw_drivers(kind: NDArray[np.int8], vehicle: NDArray[np.int64], rng: np.random.Generator) -> Drivers:
    """Draw how each trip is driven.

    Args:
        kind: style of each trip, `(n,)`.
        vehicle: car of each trip, `(n,)`; its driver has ways of their own, whatever the style of a day.
        rng: of the draws.
    """
    cars, at = np.unique(vehicle, return_inverse=True)
    columns: dict[str, Floats] = {}
    for name, (values, spread) in _STYLES.items():
        # Ways change the speed least of all: the traffic sets it.
        own = min(_OWN_WAYS, spread / 2) * rng.standard_normal(len(cars)).clip(-2, 2)
        drawn = np.asarray(values)[kind] * np.exp(spread * rng.standard_normal(len(kind)).clip(-2.5, 2.5) + own[at])
        columns[name] = drawn.astype(np.float32)
    columns["response"] = columns["response"].clip(0.3, 0.95)
    return Drivers(kind=kind, **columns)


def take(drivers: Drivers, which: slice) -> Drivers:
    """Return the drivers of some trips."""
    return Drivers(**{f.name: getattr(drivers, f.name)[which] for f in fields(drivers)})


@dataclass(frozen=True)
class Danger:
    """Dangerous stretches of trips, each array `(trips, seconds)`.

    Attributes:
        kind: place in KINDS, 0 where nothing is planned.
        push: acceleration on top of what the driver's model wants, m/s2.
        hurry: factor on the speed that is aimed at.
        swerve: lateral acceleration on top of what the driver takes in bends, m/s2.
    """

    kind: NDArray[np.int8]
    push: Floats
    hurry: Floats
    swerve: Floats


def plan_danger(dangerous: NDArray[np.bool_], seconds: int, rng: np.random.Generator) -> Danger:
    """Plan the dangerous stretches of some trips; kinds and severities are drawn for each stretch.

    Args:
        dangerous: which trips have such stretches, `(trips,)`.
        seconds: of a trip.
        rng: of the draws.
    """
    shape = (len(dangerous), seconds)
    kind, severity = np.zeros(shape, np.int8), np.zeros(shape, np.float32)
    for trip in np.flatnonzero(dangerous):
        at = int(rng.integers(min(60, seconds // 4), max(_BETWEEN_S[0], 61)))
        while at < seconds - 30:
            end = at + int(rng.integers(*_DANGEROUS_S))
            kind[trip, at:end] = rng.integers(1, len(KINDS))
            severity[trip, at:end] = rng.uniform(0.7, 1.2)
            at = end + int(rng.integers(*_BETWEEN_S))
    push, swerve = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _brake_hard(kind == KINDS.index("harsh_braking"), severity, push, rng)
    _surge(kind == KINDS.index("tailgating"), severity, push, rng)
    _sideways(kind == KINDS.index("swerving"), severity, swerve, (4.2, 4.5, 8.0), rng)
    fast = kind == KINDS.index("curve_speeding")
    # The road winds there, and is taken too fast.
    _sideways(fast, severity, swerve, (4.6, 11.0, 20.0), rng)
    hurry = np.where(fast, 1 + 0.25 * severity, 1).astype(np.float32)
    return Danger(kind, push, hurry, swerve)


def _brake_hard(where: NDArray[np.bool_], severity: Floats, push: Floats, rng: np.random.Generator) -> None:
    """Add full brakings of two to three seconds every nine seconds or so, and the hard start after each."""
    trips, seconds = np.nonzero(where)
    begins = rng.uniform(size=len(trips)) < 1 / 9
    trips, seconds = trips[begins], seconds[begins]
    strength: Floats = -7.0 * severity[trips, seconds] * rng.uniform(0.8, 1.2, len(trips))
    last = push.shape[1] - 1
    for later, share in ((0, 0.7), (1, 1.0), (2, 0.6), (3, -0.2), (4, -0.35), (5, -0.3)):
        at = np.minimum(seconds + later, last)
        push[trips, at] = np.where(where[trips, at], share * strength, 0)


def _surge(where: NDArray[np.bool_], severity: Floats, push: Floats, rng: np.random.Generator) -> None:
    """Add the to and fro of a car that closes up and falls back, with a period that wanders."""
    trips, seconds = np.nonzero(where)
    period: Floats = rng.uniform(5.0, 8.0, size=(push.shape[0],))
    phase = 2 * np.pi * seconds / period[trips] + 0.8 * np.sin(seconds / 17.0)
    push[trips, seconds] = 3.4 * severity[trips, seconds] * np.sin(phase)


def _sideways(
    where: NDArray[np.bool_],
    severity: Floats,
    swerve: Floats,
    wave: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    """Add a to and fro across the road: a slalom between lanes, or bends; `wave` is its height and its periods, s."""
    height, shortest_s, longest_s = wave
    trips, seconds = np.nonzero(where)
    period: Floats = rng.uniform(shortest_s, longest_s, size=(swerve.shape[0],))
    phase = 2 * np.pi * seconds / period[trips] + 0.8 * np.sin(seconds / 13.0)
    swerve[trips, seconds] = height * severity[trips, seconds] * np.sin(phase)


def balanced(n: int, classes: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Return `n` class codes, as many of each as can be, in random order."""
    return rng.permutation(np.arange(n) % classes).astype(np.int8)


#: Share of trips that have dangerous stretches at all. They are far rarer on the road; a detector whose threshold
#: lets 5 % of normal windows through cannot reach F1 0.85 below 12.4 % of odd windows, however good it is.
DANGEROUS_TRIPS = 0.5
