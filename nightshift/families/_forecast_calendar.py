"""What a user may tell a forecast of the calendar: holidays, and regressors that follow from weekday and hour."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nightshift.errors import nearest
from nightshift.graphs.forecast_calendar import HOLIDAY_YEARS, Mode, WeekPattern

if TYPE_CHECKING:
    import pandas as pd

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: The name under which all holidays of a country have one effect.
PUBLIC_HOLIDAY = "public_holiday"
#: What Prophet, and our own table for it, call by these names already.
_TAKEN = frozenset(
    {"additive_terms", "cap", "cap_scaled", "daily", "daily_weekend", "daily_workday", "ds"}
    | {"extra_regressors_additive", "extra_regressors_multiplicative", "floor", "holidays", "multiplicative_terms"}
    | {"t", "trend", "weekend", "weekly", "workday", "y", "y_scaled", "yearly", "yhat", "zeros"}
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HolidayConfig(_Frozen):
    """Days that are unlike others of their weekday.

    Attributes:
        country: ISO 3166-1 code (`DE`), "" = none.
        subdivision: of the country (`BY`), "" = its national holidays alone.
        dates: own holidays by name (`{works_shutdown: [2026-12-28, 2026-12-29]}`), past and coming.
        days_before, days_after: days beside each holiday that have an effect of their own.
        each: every holiday of the country has its own effect, which takes years of history to learn; else one is
            learned for all of them.
        prior_scale: how large effects may be, as in Prophet.
        mode: whether effects add to the trend or scale with it; None = as the patterns do.
    """

    country: str = ""
    subdivision: str = ""
    dates: dict[str, tuple[date, ...]] = Field(default_factory=dict)
    days_before: int = Field(default=0, ge=0, le=14)
    days_after: int = Field(default=0, ge=0, le=14)
    each: bool = False
    prior_scale: float = Field(default=10.0, gt=0)
    mode: Mode | None = None

    @property
    def used(self) -> bool:
        """Whether any holiday is named."""
        return bool(self.country or self.dates)

    @field_validator("dates")
    @classmethod
    def _named_dates(cls, dates: dict[str, tuple[date, ...]]) -> dict[str, tuple[date, ...]]:
        check_names(dates)
        if PUBLIC_HOLIDAY in dates:
            raise ValueError(f"'{PUBLIC_HOLIDAY}' is what the country's own holidays are called")
        empty = sorted(name for name, days in dates.items() if not days)
        if empty:
            raise ValueError(f"'{empty[0]}' has no date")
        return dates

    @model_validator(mode="after")
    def _known_country(self) -> Self:
        if self.subdivision and not self.country:
            raise ValueError(f"subdivision '{self.subdivision}' needs its country")
        if self.country:
            check_country(self.country, self.subdivision)
        return self


class RegressorConfig(_Frozen):
    """A regressor known ahead, such as a shift: 1 in its hours on its weekdays, 0 elsewhere.

    Attributes:
        weekdays: on which the hours begin.
        hours: from and to, local time; `[22, 6]` runs into the next day.
        prior_scale: how large the effect may be, as in Prophet.
        mode: whether it adds to the trend or scales with it; None = as the patterns do.
    """

    weekdays: tuple[Weekday, ...] = Field(default=WEEKDAYS, min_length=1)
    hours: tuple[tuple[float, float], ...] = Field(default=((0.0, 24.0),), min_length=1)
    prior_scale: float = Field(default=10.0, gt=0)
    mode: Mode | None = None

    @field_validator("hours")
    @classmethod
    def _within_a_day(cls, hours: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for start, end in hours:
            if not (0 <= start < 24 and 0 <= end <= 24 and start != end):
                raise ValueError(f"hours go from 0..24 to another hour in 0..24, got [{start:g}, {end:g}]")
        return hours

    def pattern(self) -> WeekPattern:
        """Return the spans of the week that are on."""
        found = []
        for weekday in self.weekdays:
            midnight = WEEKDAYS.index(weekday) * 24.0
            for start, end in self.hours:
                until = end if end > start else end + 24.0
                found.append((round((midnight + start) * 3600), round((midnight + until) * 3600)))
        return WeekPattern.of(found)


def check_names(names: Iterable[str]) -> None:
    """Refuse names that Prophet cannot take.

    Raises:
        ValueError: says which, and why.
    """
    for name in names:
        if not _NAME.fullmatch(name) or "_delim_" in name:
            raise ValueError(f"'{name}' is no name: letters, digits and _ are")
        if name in _TAKEN or name.removesuffix("_lower").removesuffix("_upper") in _TAKEN:
            raise ValueError(f"the name '{name}' is taken")


def check_country(country: str, subdivision: str) -> None:
    """Refuse a country or subdivision without known holidays; says nothing where the package is not installed.

    Raises:
        ValueError: names the nearest.
    """
    try:
        import holidays
    except ImportError:
        return
    try:
        found = holidays.country_holidays(country)
    except NotImplementedError:
        from holidays.registry import EntityLoader

        known = EntityLoader.get_country_codes(include_aliases=False)
        raise ValueError(f"no holidays are known of country '{country}'. {nearest(country, known)}") from None
    if subdivision and subdivision not in (*found.subdivisions, *found.subdivisions_aliases):
        hint = nearest(subdivision, found.subdivisions) if found.subdivisions else "It has none; leave it out."
        raise ValueError(f"no holidays are known of '{subdivision}' in '{country}'. {hint}")


def holiday_table(config: HolidayConfig, first_year: int, newest_year: int) -> pd.DataFrame | None:
    """Return Prophet's table of holidays from `first_year` to ten years beyond `newest_year`, or None without any.

    Own dates are in it whatever their year.
    """
    import pandas as pd

    if not config.used:
        return None
    rows = [(pd.Timestamp(day), name) for name, days in config.dates.items() for day in days]
    if config.country:
        days_of_country = _country(config.country, config.subdivision, first_year, newest_year + HOLIDAY_YEARS)
        rows += [(pd.Timestamp(day), name if config.each else PUBLIC_HOLIDAY) for day, name in days_of_country]
    table = pd.DataFrame(sorted(set(rows)), columns=["ds", "holiday"])
    return table.assign(lower_window=-config.days_before, upper_window=config.days_after)


@lru_cache(maxsize=32)
def _country(country: str, subdivision: str, first_year: int, last_year: int) -> tuple[tuple[date, str], ...]:
    """Return the holidays of whole years with their English names, a day with two of them twice."""
    import holidays

    found = holidays.country_holidays(
        country,
        subdiv=subdivision or None,
        years=range(first_year, last_year + 1),
        language="en_US",
        expand=False,
    )
    return tuple((day, name.replace("_delim_", " ")) for day in sorted(found) for name in found.get_list(day))
