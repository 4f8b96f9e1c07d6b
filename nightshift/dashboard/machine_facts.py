"""What a machine's data say of it, and by which stamps one can tell that nothing of it has changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from nightshift.data.groups import MACHINE
from nightshift.data.store import METADATA, current, folder_of
from nightshift.errors import NightshiftError
from nightshift.settings import Home, find_config, packaged_configs

if TYPE_CHECKING:
    from nightshift.dashboard.matrix import Machine

_TYPE = re.compile(rb"^machine_type:\s*['\"]?(\w+)", re.MULTILINE)


class Facts(BaseModel):
    """What a machine's data say.

    Attributes:
        group: which families the data are for.
        type: of the machine, where its profile tells, "" elsewhere.
        fingerprint: of its present data, "" without any.
        rows: of all parts, None where nothing tells.
        landed_at: ISO 8601, "" where nothing tells.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = MACHINE
    title: str = ""
    type: str = ""
    fingerprint: str = ""
    rows: int | None = None
    landed_at: str = ""


def facts_of(home: Home, subject: str) -> Facts:
    """Read a machine's facts; what cannot be read is left out."""
    kind = _type(home, subject)
    try:
        fingerprint = current(home, subject)
    except NightshiftError:
        return Facts(type=kind)
    try:
        text = json.loads((folder_of(home, subject, fingerprint) / METADATA).read_bytes())
    except (OSError, ValueError):
        text = {}
    about: dict[str, Any] = text if isinstance(text, dict) else {}
    parts = about.get("parts") or {}
    return Facts(
        group=str(about.get("group") or MACHINE),
        title=str(about.get("title") or ""),
        type=kind,
        fingerprint=fingerprint,
        rows=sum(int(part["rows"]) for part in parts.values()) if parts else None,
        landed_at=str(about.get("created_at") or ""),
    )


def _type(home: Home, subject: str) -> str:
    """Return the type of machine that a profile names; read as text, since parsing a thousand of them takes seconds."""
    path = find_config(home, "machines", subject)
    try:
        found = _TYPE.search(path.read_bytes()) if path else None
    except OSError:
        return ""
    return found[1].decode() if found else ""


def stamp(home: Home, machine: Machine, names: tuple[str, ...]) -> tuple[int, ...]:
    """Return when each file and folder that says where a machine stands was changed, in ns; 0 = it is not there.

    A record is renamed into its folder: the folder's own stamp tells.
    """
    return tuple(_changed_ns(path) for path in _watched(home, machine, names))


def _watched(home: Home, machine: Machine, names: tuple[str, ...]) -> Iterator[str]:
    # Text, not Path: a fleet has tens of thousands of these.
    work, models, subject = str(home.work), str(home.models), machine.id
    yield f"{home.data}/current/{subject}"
    yield f"{home.configs}/machines/{subject}.yaml"
    for name in names:
        yield f"{work}/newest/{name}"
    for cell in machine.cells:
        place = f"{models}/{cell.family}/{subject}/{cell.target}"
        yield place
        if cell.cell_key:
            yield f"{work}/{cell.cell_key}"
        for version in cell.versions:
            yield f"{place}/v{version.version}"
            if version.cell_key != cell.cell_key:
                yield f"{work}/{version.cell_key}"


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def stamp_of_configs(home: Home) -> tuple[int, ...]:
    """Return when each config that concerns more than one machine was changed, in ns."""
    folders = [root / kind for root in (home.configs, packaged_configs()) for kind in ("", "families", "targets")]
    return tuple(_changed_ns(str(path)) for folder in folders for path in _yaml(folder))


def _yaml(folder: Path) -> list[Path]:
    return [folder, *sorted(folder.glob("*.yaml"))]
