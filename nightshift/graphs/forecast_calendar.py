"""What a forecast knows of the calendar: holidays, and patterns of weekday and hour such as shifts.

Both follow from civil time alone, so a device knows them as far ahead as it likes; holidays as far as their dates were
written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mode = Literal["additive", "multiplicative"]

DAY_S = 86_400
WEEK_S = 7 * DAY_S
#: Holidays are written down this many whole years beyond the year of the newest row.
HOLIDAY_YEARS = 10


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WeekPattern(_Frozen):
    """Times of the week that are on: `spans` of seconds since Monday 00:00, ascending, apart, end not included."""

    spans: tuple[tuple[int, int], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        edges = [edge for span in self.spans for edge in span]
        if any(after <= before for before, after in pairwise(edges)):
            raise ValueError(f"spans of the week must ascend and lie apart, got {self.spans}")
        if not (edges[0] >= 0 and edges[-1] <= WEEK_S):
            raise ValueError(f"spans of the week lie within 0 and {WEEK_S} s, got {self.spans}")
        return self

    @classmethod
    def of(cls, spans: Sequence[tuple[int, int]]) -> Self:
        """Put spans in order and join them; one that ends after the week goes on at its beginning."""
        within = [(start, min(end, WEEK_S)) for start, end in spans]
        within += [(0, end - WEEK_S) for _, end in spans if end > WEEK_S]
        joined: list[tuple[int, int]] = []
        for start, end in sorted(within):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        return cls(spans=tuple(joined))

    def on(self, time_s: Ints) -> NDArray[np.bool_]:
        """Return whether civil seconds of any shape are on."""
        # An odd number of edges passed: within a span.
        edges = np.array([edge for span in self.spans for edge in span], dtype=np.int64)
        return np.asarray(np.searchsorted(edges, second_of_week(time_s), side="right") % 2 == 1)


class HolidayEffect(_Frozen):
    """What one holiday, or a day beside it, adds to every moment of its days.

    Attributes:
        name: the holiday's, with the day beside it (`christmas -1`).
        days: civil days since 1970-01-01, ascending.
        beta: the effect, scaled as Prophet's.
        mode: added to the trend, or a share of it.
    """

    name: str
    days: tuple[int, ...]
    beta: float
    mode: Mode = "additive"

    def values(self, time_s: Ints) -> Floats:
        """Return the effect at civil seconds of any shape."""
        return np.where(np.isin(time_s // DAY_S, self.days), self.beta, 0.0)


class PatternEffect(_Frozen):
    """What a pattern of weekday and hour adds while it is on, and while it is off; scaled as Prophet's."""

    name: str
    pattern: WeekPattern
    on: float
    off: float = 0.0
    mode: Mode = "additive"

    def values(self, time_s: Ints) -> Floats:
        """Return the effect at civil seconds of any shape."""
        return np.where(self.pattern.on(time_s), self.on, self.off)


def second_of_week(time_s: Ints) -> Ints:
    """Return the civil seconds since Monday 00:00 (1970-01-01 was a Thursday)."""
    return np.asarray((time_s + 3 * DAY_S) % WEEK_S)
