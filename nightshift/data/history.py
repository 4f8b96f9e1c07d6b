"""How a subject's dataset changed: its stored versions, and what differs between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from nightshift.data.dataset import Dataset, reimport_hint
from nightshift.data.drift import SensorDrift, drift_between
from nightshift.data.schema import PARTS, Metadata, Sensor
from nightshift.data.sketch import Sketch
from nightshift.data.store import SKETCH, current, open_dataset, subjects, versions
from nightshift.errors import DataError, UnknownNameError, UsageError
from nightshift.settings import Home

_SHOWN_SENSORS = 12

#: Categories of a column that a message names.
_SHOWN = 8


class VersionTable(NamedTuple):
    """The stored versions, ready to print; newest first, the present one marked."""

    headers: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Change:
    """What differs between two versions.

    Attributes:
        before, after: 12 digits of each fingerprint.
        rows: part -> (before, after).
        added, removed: columns.
        altered: column -> what about it.
        drifted: sensors of train, worst first; all that both have.
    """

    subject: str
    before: str
    after: str
    rows: dict[str, tuple[int, int]]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    altered: dict[str, str]
    drifted: tuple[SensorDrift, ...]

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.before} -> {self.after}"]
        for part, (old, new) in self.rows.items():
            lines.append(f"  {part:5} {old:,} -> {new:,} rows ({new - old:+,})")
        lines.append(
            f"  columns added: {', '.join(self.added) or 'none'}; removed: {', '.join(self.removed) or 'none'}"
        )
        lines += [f"  {name}: {what}" for name, what in self.altered.items()]
        marked = [d for d in self.drifted if d.drifted]
        lines.append(f"  drift of train: {len(marked)} of {len(self.drifted)} sensors")
        for d in (marked or list(self.drifted))[:_SHOWN_SENSORS]:
            figures = f"PSI {d.psi:.3f}, KS {d.ks:.3f}, p {d.p_value:.2g}, missing {d.missing_change:+.1%}"
            lines.append(f"    {d.name}: {figures}, {'drifted' if d.drifted else 'steady'}")
        return "\n".join(lines)


def log(home: Home, subject: str) -> VersionTable:
    """Return the stored versions of a subject's dataset, newest first.

    Raises:
        UnknownNameError: for a subject without data; names the nearest.
    """
    now = current(home, subject)
    rows = []
    for name in reversed(versions(home, subject)):
        metadata = open_dataset(home, subject, name).metadata
        rows.append(
            (
                name + (" *" if now.startswith(name) else ""),
                metadata.created_at,
                *(f"{metadata.parts[part].rows:,}" for part in PARTS),
                str(len(metadata.sensors)),
                metadata.provenance.source,
            )
        )
    return VersionTable(("version (* = present)", "landed", *PARTS, "columns", "from"), rows)


def diff(home: Home, subject: str, before: str | None = None, after: str | None = None) -> Change:
    """Compare two versions: by default the present one with the one landed before it.

    Args:
        before, after: beginnings of fingerprints.

    Raises:
        UnknownNameError: for a subject or version that is not stored.
        UsageError: for a beginning that fits two versions, or when there is nothing to compare with.
    """
    new = open_dataset(home, subject, _version(home, subject, after or current(home, subject)[:12]))
    old = open_dataset(home, subject, _version(home, subject, before or _one_before(home, subject, new)))
    return Change(
        subject=subject,
        before=old.fingerprint[:12],
        after=new.fingerprint[:12],
        rows={p: (old.metadata.parts[p].rows, new.metadata.parts[p].rows) for p in PARTS},
        added=tuple(c for c in _columns(new.metadata) if c not in _columns(old.metadata)),
        removed=tuple(c for c in _columns(old.metadata) if c not in _columns(new.metadata)),
        altered=_altered(old.metadata, new.metadata),
        drifted=drift_between(read_sketch(old), read_sketch(new)),
    )


def read_sketch(data: Dataset) -> Sketch:
    """Return a dataset's sketch.

    Raises:
        DataError: when it cannot be read.
    """
    try:
        return Sketch.model_validate_json((data.folder / SKETCH).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{SKETCH} of '{data.subject}' cannot be read.", hint=reimport_hint(data.subject)) from error


def _version(home: Home, subject: str, start: str) -> str:
    if subject not in subjects(home):
        raise UnknownNameError("machine", subject, subjects(home))
    stored = versions(home, subject)
    fitting = [name for name in stored if name.startswith(start[:12].lower())]
    if not fitting:
        raise UnknownNameError(f"version of '{subject}'", start, stored)
    if len(fitting) > 1:
        raise UsageError(f"'{start}' fits {len(fitting)} versions.", hint=f"Give more digits: {', '.join(fitting)}.")
    return fitting[0]


def _one_before(home: Home, subject: str, data: Dataset) -> str:
    stored = versions(home, subject)
    place = stored.index(data.fingerprint[:12])
    if place == 0:
        raise UsageError(
            f"'{subject}' has no version before {data.fingerprint[:12]}.",
            hint="Land newer data first, or name two versions (`nightshift data log` lists them).",
        )
    return stored[place - 1]


def _columns(metadata: Metadata) -> tuple[str, ...]:
    return (*metadata.columns, *(["rul"] if metadata.has_rul else []))


def _altered(old: Metadata, new: Metadata) -> dict[str, str]:
    before = {s.name: s for s in old.sensors}
    found = {s.name: _changes(before[s.name], s) for s in new.sensors if s.name in before}
    for name in ("label_source", "horizon", "sampling_s", "timezone", "time_kind"):
        if getattr(old, name) != getattr(new, name):
            found[name] = f"{getattr(old, name)} -> {getattr(new, name)}"
    return {name: what for name, what in found.items() if what}


def _changes(old: Sensor, new: Sensor) -> str:
    fields = [f for f in Sensor.model_fields if getattr(old, f) != getattr(new, f)]
    return "; ".join(f"{f} {_shown(getattr(old, f))} -> {_shown(getattr(new, f))}" for f in fields)


def _shown(value: object) -> str:
    """Return a value for a message; of many categories only the first."""
    if not isinstance(value, tuple) or len(value) <= _SHOWN:
        return str(value)
    return f"({', '.join(repr(v) for v in value[:_SHOWN])} and {len(value) - _SHOWN} more)"
