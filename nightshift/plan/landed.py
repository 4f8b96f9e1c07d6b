"""What has landed and was not tried yet: read from pointers, records and locks alone, no data frame and no Prefect."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift import families
from nightshift.data.store import current, subjects
from nightshift.errors import EXIT_BLOCKED, EXIT_CELL_FAILED, DataError, NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.config import resolve
from nightshift.plan.lock import is_held
from nightshift.plan.outcome import MachineOutcome
from nightshift.plan.records import STAGES
from nightshift.settings import Home

log = logging.getLogger("nightshift")

GROUP = "machine"


@dataclass(frozen=True)
class Landed:
    """A subject with data that some families have not been tried on.

    Attributes:
        fingerprint: of its present data.
        families: those left, by name.
    """

    subject: str
    fingerprint: str
    families: tuple[str, ...]


class LandedOutcome(BaseModel):
    """How the machines of one run ended, in the order in which they were tried."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    machines: tuple[MachineOutcome, ...]


class MachinesFailedError(NightshiftError):
    """Some machines' cells failed or were blocked, after all machines were tried."""

    def __init__(self, outcome: LandedOutcome) -> None:
        bad = [m for m in outcome.machines if any(c.ending in ("failed", "blocked") for c in m.cells)]
        cells = [c for m in bad for c in m.cells if c.ending in ("failed", "blocked")]
        told = "; ".join(f"{c.subject} {c.family} {c.ending}: {c.reason}" for c in cells)
        super().__init__(
            f"{len(bad)} of {len(outcome.machines)} machines did not end well: {told}",
            hint="The others are done; `nightshift train-machine --machine ID` tries one again.",
        )
        self.outcome = outcome
        codes = {m.exit_code for m in bad}
        self.exit_code = EXIT_CELL_FAILED if EXIT_CELL_FAILED in codes else EXIT_BLOCKED

    def __reduce__(self) -> tuple[object, ...]:
        return (MachinesFailedError, (self.outcome,))


@dataclass
class _Tries:
    """What the work folder says of one subject's present data, families by name."""

    ended: set[str] = field(default_factory=set)
    cut_off: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)


class _Unmade(BaseModel):
    """A try that could not even make its cell, as its config cannot be used.

    Attributes:
        fingerprint: of the data it was for.
        error: what was wrong with the config.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    error: str


def note_unmade(home: Home, landed: Landed, family: str, target: str, error: str) -> None:
    """Remember a try that left no cell, so that it is not tried again until its config or its data change.

    Any other failure has left its cell, and nothing is noted.
    """
    if _config_error(home, landed.subject, family, target) != error:
        return
    note = _Unmade(fingerprint=landed.fingerprint, error=error)
    write_atomic(_unmade_path(home, landed.subject, family, target), note.model_dump_json().encode())


def _was_unmade(home: Home, subject: str, fingerprint: str, family: str, target: str) -> bool:
    """Whether a try of these data left no cell, and the next one would fail in the same way."""
    try:
        note = _Unmade.model_validate_json(_unmade_path(home, subject, family, target).read_bytes())
    except (OSError, ValidationError):
        return False
    return note.fingerprint == fingerprint and note.error == _config_error(home, subject, family, target)


def _config_error(home: Home, subject: str, family: str, target: str) -> str:
    """Return why a family's config cannot be used, "" when it can."""
    try:
        resolve(home, subject, family, target)
    except NightshiftError as error:
        return error.what
    return ""


def _unmade_path(home: Home, subject: str, family: str, target: str) -> Path:
    return home.work / "unmade" / f"{subject}.{family}.{target}.json"


def busy(home: Home, target: str = "pi") -> tuple[str, ...]:
    """Return the subjects of which a process trains some family now that would be left otherwise, sorted."""
    tries = _tries(home, target, _present(home))
    return tuple(sorted(subject for subject, found in tries.items() if found.busy - found.ended))


def landed(home: Home, target: str = "pi") -> tuple[Landed, ...]:
    """Return the subjects whose present data some family of machines has not been tried on, for a target.

    Tried is a family with a cell of these data that ended, whatever the config and however it ended: trained, failed,
    blocked, refused or not applicable; what has failed waits for its config, code or data to change. A family that a
    process trains now is left to that process (`busy` tells). First come those that nobody has begun, longest landed
    first; last those whose training was cut off, so that one that kills its worker keeps nobody waiting.
    """
    present = _present(home)
    tries = _tries(home, target, present)
    wanted = [name for name in families.names() if families.get(name).group == GROUP]
    left = []
    for subject, fingerprint in present.items():
        found = tries.get(subject, _Tries())
        open_ = (name for name in wanted if name not in found.ended | found.busy)
        names = tuple(name for name in open_ if not _was_unmade(home, subject, fingerprint, name, target))
        if names:
            left.append((bool(found.cut_off), _landed_ns(home, subject), Landed(subject, fingerprint, names)))
    return tuple(entry for _, _, entry in sorted(left, key=lambda e: (e[0], e[1], e[2].subject)))


def _present(home: Home) -> dict[str, str]:
    """Return subject -> fingerprint; a pointer that cannot be read keeps no other subject waiting."""
    found = {}
    for subject in subjects(home):
        try:
            found[subject] = current(home, subject)
        except (DataError, OSError) as error:
            log.warning("%s is left out: %s", subject, error)
    return found


def _landed_ns(home: Home, subject: str) -> int:
    try:
        return (home.data / "current" / subject).stat().st_mtime_ns
    except OSError:
        return 0


def _tries(home: Home, target: str, present: dict[str, str]) -> dict[str, _Tries]:
    found: dict[str, _Tries] = {}
    for folder, cell in _cells(home):
        if cell.target != target or present.get(cell.subject) != cell.dataset:
            continue
        tries = found.setdefault(cell.subject, _Tries())
        if is_held(home, cell.key):
            tries.busy.add(cell.family)
        (tries.ended if _has_ended(folder) else tries.cut_off).add(cell.family)
    return found


def _cells(home: Home) -> Iterator[tuple[Path, Cell]]:
    """Yield every cell that was ever worked on, with its folder; those set aside by force too."""
    for path in sorted(home.work.glob("*/cell.json")):
        try:
            yield path.parent, Cell.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue


def _has_ended(folder: Path) -> bool:
    """Whether a cell was registered (or waits for MLflow), or a stage has refused it or failed.

    The records' files are not looked at: a model that somebody has deleted was tried all the same.
    """
    return any(name == "register" or status != "done" for name, status in _statuses(folder))


def _statuses(folder: Path) -> Iterator[tuple[str, str]]:
    for name in STAGES:
        try:
            yield name, str(json.loads((folder / f"{name}.json").read_bytes())["status"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
