"""How long a cell will take: from past runs of it, else of its family, else a stated default."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import cached_property

from nightshift.plan.past import seconds_of
from nightshift.plan.records import StageRecord
from nightshift.plan.state import newest, newest_names
from nightshift.settings import Home

#: For a family that has never been trained here: what the demo's slower models take on two cores.
DEFAULT_S = 300.0
#: However much of a cell is done, finding that out takes this long.
LEAST_S = 5.0
# So many models of a family give a median.
_SAMPLE = 40


class Durations:
    """Durations of one plan."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._of_family: dict[str, float | None] = {}

    def estimate_s(self, family: str, own_s: float | None, records: Mapping[str, StageRecord]) -> float:
        """Return what is still to be expected of a cell.

        Args:
            own_s: median of the cell's past runs, None without any.
            records: of the stages that are done already.
        """
        whole = own_s if own_s is not None else self.of_family(family)
        done = sum(r.seconds for r in records.values() if r.status == "done")
        return round(max(whole - done, LEAST_S), 1)

    def of_family(self, family: str) -> float:
        """Return the median of a family's models in this home, the default without any."""
        known = self.known_of_family(family)
        return DEFAULT_S if known is None else known

    def known_of_family(self, family: str) -> float | None:
        """Return the median of a family's models in this home, None without any."""
        if family not in self._of_family:
            names = [n for n in self._names if n.split(".")[1:2] == [family]]
            step = max(1, len(names) // _SAMPLE)
            known = [s for name in names[::step] if (s := self._seconds(name)) is not None]
            self._of_family[family] = statistics.median(known) if known else None
        return self._of_family[family]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return newest_names(self._home)

    def _seconds(self, name: str) -> float | None:
        cell = newest(self._home, name)
        return seconds_of(self._home, cell.key) if cell else None
