"""Small simulations for tests: a few short trips in made traffic."""

from __future__ import annotations

from functools import cache

import numpy as np

from nightshift.simulate.vehicle.cycles import Cycles, made_cycles
from nightshift.simulate.vehicle.episodes import Plan, Trips, simulate


@cache
def traffic() -> Cycles:
    return made_cycles(12)


def plan(*, episodes: int = 16, seconds: int = 900, seed: int = 7) -> Plan:
    return Plan(episodes, seconds, seed, traffic())


@cache
def driven() -> tuple[Trips, ...]:
    """48 trips of a quarter of an hour; every test looks at the same ones and changes nothing."""
    return tuple(simulate(plan(episodes=48)))


def column(name: str) -> np.ndarray:
    """A column of all parts, `(trips, seconds)`."""
    return np.concatenate([t.columns[name] for t in driven()])
