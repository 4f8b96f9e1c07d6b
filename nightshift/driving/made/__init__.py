"""Made scenarios: a kind and a seed give a map, a route and cars, the same bytes each time."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import get_args

from nightshift.driving.made.drivers import expert_metres
from nightshift.driving.scenario import Kind, Scenario
from nightshift.errors import UnknownNameError, UsageError

#: Kinds that can be made.
MADE: tuple[Kind, ...] = ("highway", "merge", "curve", "roundabout", "intersection")
#: Rises whenever a seed would give another scenario than before, or another expert drives it.
VERSION = 2


def make(kind: str, seed: int, *, expert: bool = True) -> Scenario:
    """Make the scenario of a kind and a seed.

    Args:
        kind: one of `MADE`.
        seed: from 0.
        expert: estimate how far an expert gets (see `estimated`); without, `expert_m` is 0: it costs a quarter of the
            time, and is for nothing where a driver's own metres take its place.

    Raises:
        UnknownNameError: for a kind that cannot be made.
        UsageError: for a negative seed.
    """
    if kind not in MADE:
        raise UnknownNameError("kind of scenario", kind, [k for k in get_args(Kind) if k in MADE])
    if seed < 0:
        raise UsageError(f"a scenario's seed is 0 or more, got {seed}.", hint="Give a whole number from 0.")
    made: Scenario = import_module(f"nightshift.driving.made.{kind}").make(seed)
    return estimated(made) if expert else made


def estimated(scenario: Scenario) -> Scenario:
    """Return a scenario with an estimate of the metres that an expert covers in it."""
    lanes, route, ego, traffic = scenario.lanes, scenario.route, scenario.ego, scenario.traffic
    return replace(scenario, expert_m=expert_metres(lanes, route, ego, traffic, scenario.duration_s))
