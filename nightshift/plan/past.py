"""What earlier trainings of a model left behind: who is champion, on which data, and how long each took.

Read from the bundles' own notes and the register records. MLflow's alias alone says who is champion; what the gate
decided stands in the record too, and a plan of thousands of cells cannot open MLflow. Whoever changes the champion
later notes it in the records of this home.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nightshift.files import write_atomic
from nightshift.plan import lock
from nightshift.plan.records import STAGES
from nightshift.settings import Home

#: Versions that are looked at, newest first, where nobody asks for all: durations further back say little of the next.
MAX_VERSIONS = 10

_VERSION = re.compile(r"v(\d+)")
_CELL_KEY = re.compile(r"[0-9a-f]{64}")
_GATE_SAID = "; the gate said: "


@dataclass(frozen=True)
class Trained:
    """One registered version.

    Attributes:
        dataset: fingerprint of what it was trained on.
        at: when it was registered, UTC.
        promoted: it became champion, and none before it took its place again.
        seconds: of all stages.
        cell_key: of the cell that it was made by.
        bundle_id: SHA-256 of its `bundle.json`, "" where its record does not tell.
        metric: name of the primary metric, "" where its record does not tell.
        value: of that metric, on the headline part.
        baseline: the best baseline's value of it.
        baseline_name: of that baseline.
    """

    version: int
    dataset: str
    at: datetime
    promoted: bool
    seconds: float
    cell_key: str = ""
    bundle_id: str = ""
    metric: str = ""
    value: float | None = None
    baseline: float | None = None
    baseline_name: str = ""


@dataclass(frozen=True)
class Past:
    """A model's registered versions, newest first.

    Attributes:
        older: how many there are further back, that were not looked at.
    """

    versions: tuple[Trained, ...]
    older: int = 0

    @property
    def champion(self) -> Trained | None:
        """The newest version that was promoted, and not taken back since."""
        return next((v for v in self.versions if v.promoted), None)

    @property
    def reference(self) -> Trained | None:
        """What new data are compared with: the champion, else the newest version."""
        return self.champion or next(iter(self.versions), None)

    @property
    def median_s(self) -> float | None:
        """Median duration, None without any."""
        return statistics.median(v.seconds for v in self.versions) if self.versions else None


def past_of(home: Home, subject: str, family: str, target: str, most: int | None = MAX_VERSIONS) -> Past:
    """Return what is known of a model's versions: of its newest ones, and of its champion however old that is.

    Args:
        most: versions that are looked at; None = all. What cannot be read of them is left out.
    """
    folder = home.models / family / subject / target
    numbers = _numbers(folder)
    cut = len(numbers) if most is None else most
    found, older = list(_read(home, folder, numbers[:cut])), numbers[cut:]
    # A model that is hardly ever beaten has its champion behind many that were not better.
    missed = () if any(version.promoted for version in found) else _read(home, folder, older)
    champion = list(itertools.islice((version for version in missed if version.promoted), 1))
    return Past((*found, *champion), len(older) - len(champion))


def version_of(home: Home, subject: str, family: str, target: str, number: int) -> Trained | None:
    """Return what is known of one version, None where nothing is."""
    return _trained(home, home.models / family / subject / target / f"v{number}", number)


def _read(home: Home, folder: Path, numbers: list[int]) -> Iterator[Trained]:
    found = (_trained(home, folder / f"v{number}", number) for number in numbers)
    return (version for version in found if version)


def note_champion(home: Home, name: str, version: int) -> None:
    """Let the register records of a model say who is champion: the version, and none that is newer.

    Args:
        name: `<subject>.<family>.<target>`.
    """
    folder = _folder(home, name)
    for number in _numbers(folder):
        if number >= version:
            _rewrite(home, folder, number, {"champion": number == version})


def note_gate(home: Home, name: str, version: int, word: str) -> None:
    """Put a person's word before the gate's in the register record of a version, where this home has it."""
    _rewrite(home, _folder(home, name), version, {"gate": word})


def seconds_of(home: Home, cell_key: str) -> float | None:
    """Return what all stages of a cell took, None unless it was registered."""
    register = _record(home.work / cell_key, "register")
    try:
        return _seconds(home.work / cell_key) if register and register["status"] == "done" else None
    except (KeyError, TypeError, ValueError):
        return None


def utc(text: str) -> datetime:
    """Return the moment of an ISO 8601 text; without an offset it is UTC.

    Raises:
        ValueError: when it is no such text.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _folder(home: Home, name: str) -> Path:
    subject, family, target = name.rsplit(".", 2)
    return home.models / family / subject / target


def _numbers(folder: Path) -> list[int]:
    """Return the versions that a model's folder holds, newest first."""
    try:
        return sorted((int(m[1]) for p in folder.iterdir() if (m := _VERSION.fullmatch(p.name))), reverse=True)
    except OSError:
        return []


def _rewrite(home: Home, folder: Path, version: int, facts: dict[str, Any]) -> None:
    """Change facts of a version's register record; a cell that is being trained is left alone."""
    try:
        key = str(json.loads((folder / f"v{version}" / "bundle.json").read_bytes())["fingerprints"]["cell_key"])
        if not _CELL_KEY.fullmatch(key):
            return
        with lock.held(home, key):
            for work in _folders(home, key):
                register = _record(work, "register")
                if register and register["summary"].get("version") == version:
                    _write(work / "register.json", register, facts)
                    return
    except (OSError, ValueError, KeyError, TypeError, AttributeError, lock.BusyError):
        return


def _write(path: Path, register: dict[str, Any], facts: dict[str, Any]) -> None:
    summary = register["summary"]
    if "gate" in facts:
        said = str(summary.get("gate") or "nothing").rpartition(_GATE_SAID)[2]
        facts = {**facts, "gate": f"{facts['gate']}{_GATE_SAID}{said}"}
    changed = {**register, "summary": {**summary, **facts}}
    if changed != register:
        write_atomic(path, json.dumps(changed, indent=1, ensure_ascii=False).encode())


def _trained(home: Home, bundle: Path, version: int) -> Trained | None:
    try:
        made_from = json.loads((bundle / "bundle.json").read_bytes())["fingerprints"]
        key, dataset = str(made_from["cell_key"]), str(made_from["dataset"])
        if not _CELL_KEY.fullmatch(key):
            return None
        for work in _folders(home, key):
            register = _record(work, "register")
            if register and register["summary"].get("version") == version:
                return _noted(work, register["summary"], version, dataset, utc(register["started_at"]), key)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


def _noted(work: Path, registered: dict[str, Any], version: int, dataset: str, at: datetime, key: str) -> Trained:
    """Return a version as the records of its work folder tell of it."""
    judged = (_record(work, "evaluate") or {}).get("summary") or {}
    return Trained(
        version=version,
        dataset=dataset,
        at=at,
        promoted=registered.get("champion") is True,
        seconds=_seconds(work),
        cell_key=key,
        bundle_id=str(registered.get("bundle_sha256") or ""),
        metric=str(judged.get("primary") or ""),
        value=judged.get("value"),
        baseline=judged.get("best_baseline_value"),
        baseline_name=str(judged.get("best_baseline") or ""),
    )


def _seconds(work: Path) -> float:
    return sum(float(r["seconds"]) for name in STAGES if (r := _record(work, name)))


def _folders(home: Home, key: str) -> Iterator[Path]:
    """Yield a cell's work folder, then those that force has set aside."""
    yield home.work / key
    numbered = (home.work / f"{key}.{n}" for n in itertools.count(1))
    yield from itertools.takewhile(Path.is_dir, numbered)


def _record(work: Path, stage: str) -> dict[str, Any] | None:
    """Return a record as it stands; whether its files are still there does not matter to what has been."""
    try:
        found = json.loads((work / f"{stage}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
