"""Makes the rows that land: generated units, then seed units that nobody has seen, on one calendar.

The train part are units of the chosen generator, near 70 % of the rows; val and test are the seed's own `val` and
`test` units, so that a model is always judged on lives that no generator has learned from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.schema import PARTS
from nightshift.data.splits import CUTS, split_by_given_runs
from nightshift.errors import NightshiftError, UsageError
from nightshift.simulate.physics.clock import CENSORED_AT, Lives, lives, step_ns
from nightshift.simulate.physics.roll import Rolled, roll
from nightshift.simulate.profile import MIN_RUNS, Profile
from nightshift.simulate.units import draw_units

if TYPE_CHECKING:
    import pandas as pd

#: Units in reserve: lives vary, and generators may make them shorter than the profile's.
_RESERVE = 1.3
_RESERVE_UNITS = 8
#: Sets the extra val and test units of a large dataset apart from the seed units.
_VAL_STREAM, _TEST_STREAM = 101, 102


@dataclass(frozen=True)
class Composed:
    """The parts of the dataset.

    Attributes:
        parts: part -> rows.
        units: part -> how many units it took.
        rolled: the whole history that the parts were cut from.
        table: every unit that was at hand for it.
    """

    parts: dict[str, pd.DataFrame]
    units: dict[str, int]
    rolled: Rolled
    table: pd.DataFrame


def units_needed(profile: Profile, rows: int) -> int:
    """Return how many generated units the train part of so many rows may take."""
    return _enough(profile, CUTS[0] * rows)


def compose(
    profile: Profile,
    generated: pd.DataFrame,
    val: pd.DataFrame,
    test: pd.DataFrame,
    *,
    rows: int,
    seed: int,
    embargo_s: float,
) -> Composed:
    """Roll the units out one after the other, and cut the rows by unit; exactly `rows` remain after the embargo.

    Args:
        profile: of the machine.
        generated: units of the chosen generator, `units_needed` or more.
        val: seed units of the val part; more are drawn from the profile where they are too few.
        test: as `val`.
        rows: in all three parts together.
        seed: of the roll-out.
        embargo_s: rows of a part that begin within so many seconds after the part before are left out.

    Raises:
        NightshiftError: when the units do not last, as when a generator makes them far too short.
        UsageError: when they live so long that there are fewer than `MIN_RUNS`; names enough rows.
    """
    val = _lengthened(profile, val, _enough(profile, (CUTS[1] - CUTS[0]) * rows), seed, _VAL_STREAM)
    test = _lengthened(
        profile, test, _enough(profile, (1 - CUTS[1]) * rows + 2 * embargo_s / profile.sampling_s), seed, _TEST_STREAM
    )
    # Which units are censored is drawn by their place, out of so many: the number of units stays as it is.
    n = len(generated) + len(val) + len(test)
    first = _border(profile, [generated, val, test], n, seed, CUTS[0] * rows, len(generated))
    second = _border(profile, [generated[:first], val, test], n, seed, CUTS[1] * rows, first + len(val))
    second = max(second, first + 1)
    pieces = [generated[:first], val[: second - first], test]
    units = _padded(pieces, n)
    plan = lives(profile, units["life_h"].to_numpy(np.float64), seed=seed, rows=None, start=None)
    whole = rows + _dropped(plan, (first, second), profile, embargo_s)
    if whole > int(plan.shown[: second + len(test)].sum()):
        raise NightshiftError(
            f"{n} units do not last for {rows:,} rows.", hint="Ask for fewer rows, or for more seed units."
        )
    rolled = roll(profile, units, seed=seed, rows=whole)
    part_of = {run: PARTS[int(i)] for run, i in enumerate(np.digitize(np.arange(n), [first, second]))}
    parts = split_by_given_runs(rolled.frame, part_of, embargo_s=embargo_s)
    units_of = {name: int(part["run"].nunique()) for name, part in parts.items()}
    if (runs := sum(units_of.values())) < MIN_RUNS:
        raise UsageError(
            f"{rows:,} rows hold {runs} runs of these units, at least {MIN_RUNS} are needed.",
            hint=f"Ask for --rows {math.ceil(1.1 * rows * MIN_RUNS / runs)}.",
        )
    return Composed(parts, units_of, rolled, _padded([generated, val, test], n))


def _enough(profile: Profile, rows: float) -> int:
    """Return a number of units that lasts for so many rows, with a reserve."""
    per_life = profile.life.mean_h * 3600 / profile.sampling_s
    shown = 1 - profile.rates.censored * (1 - sum(CENSORED_AT) / 2)
    return math.ceil(_RESERVE * rows / (per_life * shown)) + _RESERVE_UNITS


def _lengthened(profile: Profile, units: pd.DataFrame, n: int, seed: int, stream: int) -> pd.DataFrame:
    """Return `n` units: the first of those given, then new draws of the profile that nothing else uses."""
    import pandas as pd

    if len(units) >= n:
        return units[:n]
    own_seed = int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
    return pd.concat([units, draw_units(profile, n - len(units), own_seed)], ignore_index=True)


def _padded(pieces: list[pd.DataFrame], n: int) -> pd.DataFrame:
    """Return the pieces one after the other, brought to `n` units by repeating the last piece's."""
    import pandas as pd

    missing = n - sum(map(len, pieces))
    last = pieces[-1]
    repeated = last.iloc[np.arange(missing) % len(last)]
    return pd.concat([*pieces, repeated], ignore_index=True)


def _border(profile: Profile, pieces: list[pd.DataFrame], n: int, seed: int, rows: float, most: int) -> int:
    """Return the number of units whose rows come nearest to `rows`, at least one and at most `most`.

    Raises:
        NightshiftError: when `most` units are far too few.
    """
    life_h = _padded(pieces, n)["life_h"].to_numpy(np.float64)
    ends = np.cumsum(lives(profile, life_h, seed=seed, rows=None, start=None).shown)
    if ends[most - 1] < 0.9 * rows:
        raise NightshiftError(
            f"{most} units last for {ends[most - 1]:,} rows, and {rows:,.0f} are asked of them.",
            hint="The generator makes lives far shorter than the profile's; ask for fewer rows.",
        )
    return int(np.argmin(np.abs(ends[:most] - rows))) + 1


def _dropped(plan: Lives, borders: tuple[int, int], profile: Profile, embargo_s: float) -> int:
    """Return how many rows the embargo takes from the parts that begin at the borders."""
    step = step_ns(profile)
    last = plan.start_ns + (plan.shown - 1) * step
    dropped = 0
    for begin, end in zip(borders, (borders[1], len(last)), strict=True):
        until = last[begin - 1] + int(embargo_s * 1e9)
        within: NDArray[np.int64] = (until - plan.start_ns[begin:end]) // step + 1
        dropped += int(np.clip(within, 0, plan.shown[begin:end]).sum())
    return dropped
