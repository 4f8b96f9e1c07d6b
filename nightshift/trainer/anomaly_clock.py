"""Measures the members of an anomaly vote, and holds their training to its time and to a wish to stop."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nightshift.errors import InterruptedTraining
from nightshift.family import RunContext
from nightshift.findings import cost_remedy, finding


class MemberClock:
    """Told of each member before its fit: reports progress, measures, and leaves out what there is no time for.

    The time limit is looked at between members: the first is always fitted, and none is broken off.

    Attributes:
        seconds: member -> time that its fit took.
        left_out: members that came after the time was over.
    """

    def __init__(self, ctx: RunContext, members: tuple[str, ...]) -> None:
        self.seconds: dict[str, float] = {}
        self.left_out: list[str] = []
        self._ctx, self._total = ctx, len(members) + 1
        self._began = time.perf_counter()
        self._now: tuple[str, float] | None = None

    def __call__(self, name: str) -> bool:
        """Close the last member's time; return whether this one may be fitted.

        Raises:
            InterruptedTraining: when asked to stop.
        """
        self._close(name)
        if self.seconds and time.perf_counter() - self._began > self._ctx.time_limit_s:
            self.left_out.append(name)
            return False
        self._now = (name, time.perf_counter())
        return True

    def end(self, keys: Mapping[str, float]) -> None:
        """Close the last member's time, and remark on a limit that was passed.

        Args:
            keys: config keys that cost time, with their present values.

        Raises:
            InterruptedTraining: when asked to stop.
        """
        self._close("calibration")
        took_s, limit_s = time.perf_counter() - self._began, self._ctx.time_limit_s
        if not self.left_out and took_s <= limit_s:
            return
        what = f"Fitting took {took_s:.3g} s, the time limit is {limit_s:g} s"
        left_out = f"; left out of the vote: {', '.join(self.left_out)}" if self.left_out else ""
        remedy = f"Raise time_limit_s={limit_s:g}. {cost_remedy(keys, self.seconds, 's to fit')}"
        self._ctx.note(finding("T013", f"{what}{left_out}.", remedy=remedy))

    def _close(self, following: str) -> None:
        if self._now is not None:
            self.seconds[self._now[0]] = time.perf_counter() - self._now[1]
            self._now = None
        if self._ctx.should_stop():
            raise InterruptedTraining("training of the anomaly vote was stopped.", hint="It starts anew next time.")
        self._ctx.step(len(self.seconds) + len(self.left_out), self._total, following)
