"""Which sensors of a machine have drifted since the data that a model was trained on: from the landing sketches."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError

from nightshift.data.drift import MARKED_PSI, SensorDrift, drift_between
from nightshift.data.sketch import Sketch
from nightshift.data.store import SKETCH, folder_of
from nightshift.errors import NightshiftError
from nightshift.findings import Finding, finding
from nightshift.settings import Home

# As many as one line of a report shows.
_SHOWN = 5


class DriftMeter:
    """Compares datasets; the families of one machine ask for the same pair one after the other."""

    def __init__(self, home: Home) -> None:
        self._home = home
        # A sketch takes megabytes: only those of the machine at hand are kept.
        self._sketch = lru_cache(maxsize=4)(self._read)
        self._compared = lru_cache(maxsize=8)(self._compare)

    def drifted(self, subject: str, before: str, now: str) -> tuple[SensorDrift, ...]:
        """Return the sensors whose train parts differ by more than chance, worst first; () where a sketch is gone."""
        return self._compared(subject, before, now) if before != now else ()

    def _compare(self, subject: str, before: str, now: str) -> tuple[SensorDrift, ...]:
        old, new = self._sketch(subject, before), self._sketch(subject, now)
        if old is None or new is None:
            return ()
        try:
            return tuple(d for d in drift_between(old, new) if d.drifted)
        except (KeyError, ValueError):
            return ()

    def _read(self, subject: str, fingerprint: str) -> Sketch | None:
        try:
            return Sketch.model_validate_json((folder_of(self._home, subject, fingerprint) / SKETCH).read_bytes())
        except (OSError, ValidationError, NightshiftError):
            return None


def drift_reason(found: tuple[SensorDrift, ...]) -> str:
    """Return the reason in a few words, sensors by name, worst first."""
    names = ", ".join(d.name for d in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"drift ({names}{more})"


def drift_finding(found: tuple[SensorDrift, ...]) -> Finding:
    """Return the remark with the figures."""
    told = ", ".join(f"{d.name} (PSI {d.psi:.2f})" for d in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return finding(
        "D022",
        f"{len(found)} of the sensors lie elsewhere than when the model in use was trained (PSI above "
        f"{MARKED_PSI:g}): {told}{more}.",
        columns=[d.name for d in found],
    )
