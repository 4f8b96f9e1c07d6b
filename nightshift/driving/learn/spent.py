"""How long a training's phases before its loop have taken, all its processes together: one ceiling holds for all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nightshift.files import write_atomic

#: In the folder that a training keeps when it is interrupted.
SPENT_FILE = "spent.json"


class Spent:
    """Seconds by phase, in a file."""

    def __init__(self, place: Path) -> None:
        """Read what earlier processes spent.

        Args:
            place: of the file; one that is damaged counts as none.
        """
        self._place = place
        self._phases: dict[str, float] = {}
        self._now: tuple[str, float] | None = None
        with suppress(OSError, ValueError, TypeError, AttributeError):
            self._phases = {str(k): float(v) for k, v in json.loads(place.read_bytes()).items()}

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Count what happens inside as a phase's, however it ends; no phase lies in another."""
        self._now = phase, time.monotonic()
        try:
            yield
        finally:
            self.keep()
            self._now = None

    def keep(self) -> None:
        """Write what was spent so far, so that a kill forgets little of it."""
        if self._now is None:
            return
        phase, since = self._now
        now = time.monotonic()
        self._phases[phase] = self._phases.get(phase, 0.0) + now - since
        self._now = phase, now
        self._place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._place, json.dumps(self._phases).encode())

    def seconds(self, *, but: str = "") -> float:
        """Return the sum over phases.

        Args:
            but: a phase that is left out: one that counts its own.
        """
        return sum(seconds for phase, seconds in self._phases.items() if phase != but)
