"""When units live, what is asked of them, and what air is around them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import UsageError
from nightshift.simulate.physics.series import Array, drift, stream
from nightshift.simulate.profile import Profile
from nightshift.simulate.profile_parts import DAYS, Schedule

if TYPE_CHECKING:
    import pandas as pd

#: A preventive replacement comes at this share of life.
CENSORED_AT = (0.5, 0.95)
_WEEK_MIN = 7 * 24 * 60
#: How long a shift takes to come up and to go down (logistic scale).
_EDGE_H = 0.2
_ORDERS_MEMORY_H = 6.0
_WEATHER_MEMORY_H = 40.0
_HOTTEST_HOUR = 15.0
_YEAR_DAYS = 365.2425
_DAY_NS, _HOUR_NS = 86_400_000_000_000, 3_600_000_000_000
_LOAD = (0.03, 1.3)
#: 64-bit nanoseconds since 1970 end in 2262; a day is left for time zones.
_LAST_NS = np.iinfo(np.int64).max - _DAY_NS


@dataclass(frozen=True)
class Lives:
    """The units' lives on one calendar, in order.

    Attributes:
        steps: from overhaul to failure, `(units,)`.
        shown: of these, how many were recorded, `(units,)`.
        start_ns: first row, UTC, `(units,)`.
        offset: row in the table at which each begins, `(units,)`.
        censored: ended before failure, `(units,)`.
    """

    steps: NDArray[np.int64]
    shown: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    offset: NDArray[np.int64]
    censored: NDArray[np.bool_]


def step_ns(profile: Profile) -> int:
    """Return the time between two rows in whole nanoseconds."""
    return round(profile.sampling_s * 1e9)


def lives(profile: Profile, life_h: Array, *, seed: int, rows: int | None, start: datetime | None) -> Lives:
    """Lay the units' lives one after the other, an overhaul between each two.

    Args:
        profile: of the machine.
        life_h: hours from overhaul to failure, `(units,)`.
        seed: of what is censored and how long overhauls take.
        rows: cut the table to so many; the run that is cut is still running.
        start: of the first run; the profile's when None.

    Raises:
        UsageError: when the units do not last for that many rows, or the calendar ends before they do.
    """
    rng = np.random.default_rng([seed, 2])
    step_h = profile.sampling_s / 3600
    steps = np.maximum(2, np.round(life_h / step_h)).astype(np.int64)
    censored = rng.random(len(steps)) < profile.rates.censored
    cut = np.maximum(1, (steps * rng.uniform(*CENSORED_AT, len(steps))).astype(np.int64))
    shown = np.where(censored, cut, steps)
    pause = np.maximum(1, np.round(rng.uniform(*profile.rates.overhaul_h, len(steps)) / step_h)).astype(np.int64)
    ends = np.cumsum(shown)
    if rows is not None:
        have = int(ends[-1]) if len(ends) else 0
        if not 0 < rows <= have:
            raise UsageError(
                f"{len(steps)} units last for {have} rows; {rows} are asked for.",
                hint="Give more units, or fewer rows.",
            )
        last = int(np.searchsorted(ends, rows))
        surplus = int(ends[last]) - rows
        shown[last] -= surplus
        censored[last] |= surplus > 0
        steps, shown, pause, censored = steps[: last + 1], shown[: last + 1], pause[: last + 1], censored[: last + 1]
    begins = np.concatenate([[0], np.cumsum(shown + pause)[:-1]]).astype(np.int64)
    at = start or profile.start
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    first = int(at.timestamp()) * 1_000_000_000
    last_ns = first + (int(begins[-1]) + int(shown[-1])) * step_ns(profile)
    if last_ns > _LAST_NS:
        raise UsageError(
            f"the calendar would end in {1970 + last_ns / 1e9 / 86_400 / _YEAR_DAYS:.0f}; it holds up to 2262.",
            hint="Ask for fewer rows, or sample faster.",
        )
    offset = np.concatenate([[0], np.cumsum(shown)[:-1]]).astype(np.int64)
    return Lives(steps, shown, first + begins * step_ns(profile), offset, censored)


def local_ns(time_ns: NDArray[np.int64], timezone: str) -> NDArray[np.int64]:
    """Return civil local time as nanoseconds since 1970 on that clock, in the shape of `time_ns` (UTC)."""
    import pandas as pd

    utc = pd.DatetimeIndex(time_ns.ravel().view("datetime64[ns]")).tz_localize("UTC")
    local = utc.tz_convert(timezone).tz_localize(None)
    return np.asarray(local, dtype="datetime64[ns]").view(np.int64).reshape(time_ns.shape)


@lru_cache(maxsize=32)
def week_profile(schedule: Schedule) -> Array:
    """Return the share of the load level that is asked for in each minute of the local week, `(10080,)`.

    Outside of shifts it is the idle load; edges are smooth. Monday 00:00 comes first.
    """
    at = (np.arange(_WEEK_MIN) + 0.5) / 60
    over_idle = np.zeros(_WEEK_MIN)
    for shift in schedule.shifts:
        begin, end = shift.hours
        length = (end - begin) % 24 or 24.0
        for day in shift.days:
            # Hours since the shift's middle, wrapped around the week.
            middle = 24 * DAYS.index(day) + begin + length / 2
            away = np.abs((at - middle + 84) % 168 - 84)
            inside = 1 / (1 + np.exp(np.clip((away - length / 2) / _EDGE_H, -50, 50)))
            over_idle = np.maximum(over_idle, (shift.load - schedule.idle_load) * inside)
    profile: Array = schedule.idle_load + over_idle
    profile.setflags(write=False)
    return profile


def load(profile: Profile, local: NDArray[np.int64], level: Array, swing: Array, seed: tuple[int, ...]) -> Array:
    """Return the share of rated power that is asked for, `(units, steps)`.

    A unit follows the week's shifts by its `swing`, around the same mean; orders drift on top of it.

    Args:
        profile: of the machine.
        local: local time in nanoseconds, `(units, steps)`.
        level, swing: of the units, `(units, 1)`.
        seed: of the block.
    """
    week = week_profile(profile.schedule)
    # 1970-01-01 was a Thursday.
    minute = (local // 60_000_000_000 + 3 * 24 * 60) % _WEEK_MIN
    share = week.mean() + swing * (week - week.mean())[minute]
    step_h = profile.sampling_s / 3600
    orders = drift(stream(seed, "orders"), local.shape, profile.schedule.load_noise, step_h, _ORDERS_MEMORY_H)
    asked: Array = np.clip(level * share * (1 + orders), *_LOAD)
    return asked


def ambient(profile: Profile, local: NDArray[np.int64], offset_k: Array, seed: tuple[int, ...]) -> Array:
    """Return the air's temperature around the units, degC, `(units, steps)`: season, day and weather."""
    season = profile.schedule.season
    day = local / _DAY_NS
    year = np.cos((day - season.hottest_day) * (2 * np.pi / _YEAR_DAYS))
    hour = (local % _DAY_NS) / _HOUR_NS
    daily = np.cos((hour - _HOTTEST_HOUR) * (2 * np.pi / 24))
    step_h = profile.sampling_s / 3600
    weather = drift(stream(seed, "weather"), local.shape, season.weather_k, step_h, _WEATHER_MEMORY_H)
    air: Array = season.mean_c + season.yearly_swing_k * year + season.daily_swing_k * daily + weather + offset_k
    return air


def table_rows(chosen: NDArray[np.intp], lives: Lives) -> NDArray[np.int64]:
    """Return where the recorded rows of some units lie in the table, unit after unit."""
    shown = lives.shown[chosen]
    within = np.arange(int(shown.sum())) - np.repeat(np.cumsum(shown) - shown, shown)
    return np.repeat(lives.offset[chosen], shown) + within


def utc_index(time_ns: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Return times as pandas holds them, UTC."""
    import pandas as pd

    return pd.DatetimeIndex(time_ns.view("datetime64[ns]")).tz_localize("UTC")
