"""Units: the parameters of one life each, from overhaul to failure. Generators learn this table; physics rolls it out.

Load, wear rate and life hang together: a unit that is used hard wears faster and lives shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.simulate.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

USAGE, FAILURE = "usage_mode", "failure_mode"
#: Load within a usage mode and wear rate move together by this much.
_LOAD_WEAR_CORRELATION = 0.4
#: Shares of the seed units, in the order of `SeedUnits`.
_SPLIT = (0.6, 0.2, 0.1, 0.1)
_REFERENCE_DRAWS = 20_000
_REFERENCE_SEED = 20_240


@dataclass(frozen=True)
class UnitColumn:
    """One parameter of a unit.

    Attributes:
        name: its column.
        categories: the values of a discrete parameter; () for a continuous one.
        low, high: physical limits of a continuous one; what lies outside is a violation.
    """

    name: str
    categories: tuple[str, ...] = ()
    low: float = -np.inf
    high: float = np.inf

    @property
    def discrete(self) -> bool:
        """Whether it is a category."""
        return bool(self.categories)


@dataclass(frozen=True)
class SeedUnits:
    """Seed units, split before anything is fitted on them.

    Attributes:
        train: what generators learn.
        judge: held out; what generators are judged by.
        val, test: seen by nothing; the val and test parts of the dataset that lands.
    """

    train: pd.DataFrame
    judge: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame


def split_units(units: pd.DataFrame) -> SeedUnits:
    """Split independent draws in order, 60, 20, 10 and 10 %."""
    edges = np.round(np.cumsum(_SPLIT)[:-1] * len(units)).astype(int)
    parts = [units.iloc[rows].reset_index(drop=True) for rows in np.split(np.arange(len(units)), edges)]
    return SeedUnits(*parts)


def unit_columns(profile: Profile) -> tuple[UnitColumn, ...]:
    """Return the parameters of a machine's units, in table order."""
    mean = profile.life.mean_h
    step_h = profile.sampling_s / 3600
    biases = tuple(
        UnitColumn(f"bias_{s.name}", low=-5 * s.bias, high=5 * s.bias) for s in profile.sensors if s.bias > 0
    )
    return (
        UnitColumn(USAGE, tuple(m.name for m in profile.usage_modes)),
        UnitColumn(FAILURE, tuple(str(m.mode) for m in profile.failure_modes)),
        UnitColumn("load_level", low=0.1, high=1.2),
        UnitColumn("load_swing", low=0.0, high=1.0),
        UnitColumn("wear_rate", low=0.1, high=10.0),
        UnitColumn("life_h", low=max(0.1 * mean, 20 * step_h), high=6 * mean),
        UnitColumn("onset", low=0.05, high=0.95),
        UnitColumn("severity", low=0.3, high=3.0),
        UnitColumn("secondary_wear", low=0.0, high=1.0),
        UnitColumn("ambient_offset_k", low=-10.0, high=10.0),
        UnitColumn("noise_scale", low=0.3, high=3.0),
        *biases,
    )


def draw_units(profile: Profile, n: int, seed: int) -> pd.DataFrame:
    """Draw seed units from the profile, `(n, columns)`, continuous ones in float64.

    Args:
        profile: of the machine.
        n: how many.
        seed: of everything random.
    """
    import pandas as pd

    rng = np.random.default_rng([seed, 1])
    table = _drawn(profile, n, rng)
    table["life_h"] = table["life_h"].astype(np.float64) * (profile.life.mean_h / _reference_life(profile))
    out = {}
    for column in unit_columns(profile):
        values = table[column.name]
        out[column.name] = values if column.discrete else np.clip(values, column.low, column.high)
    return pd.DataFrame(out)


@lru_cache(maxsize=32)
def _reference_life(profile: Profile) -> float:
    """Return the mean of the unscaled lives, so that `life.mean_h` is the mean over all units."""
    rng = np.random.default_rng(_REFERENCE_SEED)
    return float(_drawn(profile, _REFERENCE_DRAWS, rng)["life_h"].mean())


def mean_load(profile: Profile) -> float:
    """Return the units' mean load level."""
    return float(sum(m.share * m.load for m in profile.usage_modes))


def _drawn(profile: Profile, n: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    modes = profile.usage_modes
    used = rng.choice(len(modes), n, p=_shares([m.share for m in modes]))
    pick = {k: np.array([getattr(m, k) for m in modes])[used] for k in _USAGE_FIELDS}
    load_z, wear_z = _correlated(rng, n, _LOAD_WEAR_CORRELATION)
    load = np.clip(pick["load"] + pick["load_spread"] * load_z, 0.12, 1.19)
    wear = pick["wear_rate"] * np.exp(pick["wear_spread"] * wear_z)
    stress = load / mean_load(profile)
    failing = _failing(profile, stress, rng)
    exponent = np.array([profile.load_exponent(m) for m in profile.failure_modes])[failing]
    # Half of the exponent: the schedule's idle hours thin the effect of the load level.
    life = stress ** (-exponent / 2) / wear * np.exp(profile.life.spread * rng.standard_normal(n))
    onset = np.array([m.onset for m in profile.failure_modes])[failing]
    drawn: dict[str, NDArray[np.generic]] = {
        USAGE: np.array([m.name for m in modes], dtype=object)[used],
        FAILURE: np.array([str(m.mode) for m in profile.failure_modes], dtype=object)[failing],
        "load_level": load,
        "load_swing": np.clip(pick["swing"] + 0.06 * rng.standard_normal(n), 0.02, 0.98),
        "wear_rate": wear,
        "life_h": life,
        # Fast wear shows late: the window between potential and functional failure shrinks.
        "onset": np.clip(onset + 0.08 * wear_z * 0.5 + 0.06 * rng.standard_normal(n), 0.08, 0.93),
        "severity": np.exp(0.08 * rng.standard_normal(n)),
        "secondary_wear": rng.beta(2.0, 3.0, n),
        "ambient_offset_k": 1.2 * rng.standard_normal(n),
        "noise_scale": np.exp(0.1 * rng.standard_normal(n)),
    }
    for sensor in profile.sensors:
        if sensor.bias > 0:
            drawn[f"bias_{sensor.name}"] = sensor.bias * rng.standard_normal(n)
    return drawn


_USAGE_FIELDS = ("load", "load_spread", "swing", "wear_rate", "wear_spread")


def _failing(profile: Profile, stress: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw which mode ends each life: one with a high load exponent wins at high load, `(n,)`."""
    exponents = np.array([profile.load_exponent(m) for m in profile.failure_modes])
    weights = np.array([m.share for m in profile.failure_modes]) * stress[:, None] ** exponents
    edges = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    chosen: NDArray[np.intp] = (rng.random(len(stress))[:, None] > edges[:, :-1]).sum(axis=1)
    return chosen


def _correlated(rng: np.random.Generator, n: int, rho: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, other = rng.standard_normal(n), rng.standard_normal(n)
    return first, rho * first + np.sqrt(1 - rho**2) * other


def _shares(shares: list[float]) -> NDArray[np.float64]:
    array = np.array(shares)
    return np.asarray(array / array.sum(), dtype=np.float64)
