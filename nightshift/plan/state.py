"""A cell's state, from records alone: no data frame, no Prefect, no MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nightshift import families
from nightshift.data import store
from nightshift.data.shared import take_pointer
from nightshift.errors import NightshiftError
from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.code import code_fingerprint
from nightshift.plan.config import resolve
from nightshift.plan.journal import is_open
from nightshift.plan.lock import is_held
from nightshift.plan.records import STAGES, StageRecord, read_record, work_folder
from nightshift.settings import Home

_FILES = "config_of_files.json"
_BUSY = "another process is training it"


class State(StrEnum):
    """Where a cell stands."""

    FRESH = "fresh"
    STALE = "stale"
    TRAINING = "training"
    FAILED = "failed"
    BLOCKED = "blocked"
    AWAITING = "awaiting device check"


#: There is nothing to train.
TRAINED = (State.FRESH, State.AWAITING)
#: What a register record's summary says of a version that its target's device has not checked yet.
DEVICE, AWAITS = "device", "awaiting"


@dataclass(frozen=True)
class CellState:
    """A cell's state and why.

    Attributes:
        reason: all reasons on one line.
        record: the stage record that decided, if one did.
        reasons: each by itself.
        records: the intact ones by stage, in order.
    """

    state: State
    reason: str
    record: StageRecord | None = None
    reasons: tuple[str, ...] = ()
    records: Mapping[str, StageRecord] = field(default_factory=dict)


def make_cell(
    home: Home,
    subject: str,
    family: str,
    target: str = "pi",
    *,
    dataset: str | None = None,
    file: Path | None = None,
    params: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    forced: str = "",
) -> Cell:
    """Make the cell of a subject's current (or a given) dataset with its resolved config and present code.

    Raises:
        UnknownNameError: for an unknown subject, family or target.
        DataError: when the pointer to the subject's dataset is damaged.
        ConfigError: for a config that cannot be used.
        ServiceError, TransientError: when the store that the machines share cannot be used.
    """
    own = families.canonical(family)
    if dataset is None:
        take_pointer(home, subject)
    fingerprint = dataset or store.current(home, subject)
    resolved = resolve(home, subject, own, target, file=file, params=params, flags=flags)
    return Cell(
        subject=subject,
        family=own,
        target=target,
        dataset=fingerprint,
        config=resolved.as_json(),
        code=code_fingerprint(own),
        forced=forced,
    )


def state(home: Home, cell: Cell) -> CellState:
    """Return where a cell stands, and why."""
    key = cell.key
    if is_held(home, key):
        return CellState(State.TRAINING, _BUSY, reasons=(_BUSY,))
    records = {name: record for name in STAGES if (record := read_record(home, key, name))}
    for record in records.values():
        if record.status in ("blocked", "not_applicable"):
            return CellState(State.BLOCKED, record.error, record, (record.error,), records)
        if record.status == "failed":
            why = f"{record.stage} failed: {record.error}"
            return CellState(State.FAILED, why, record, (why,), records)
    return _of_whole(home, cell, key, records)


def _of_whole(home: Home, cell: Cell, key: str, records: Mapping[str, StageRecord]) -> CellState:
    """Return where a cell stands of which no stage has failed or refused."""
    register = records.get("register")
    where, decisive = State.STALE, register
    if register and register.status == "pending":
        reasons: tuple[str, ...] = ("trained, not registered",)
    elif is_open(home, key):
        reasons = ("its registration did not end",)
    elif register and "report" in records:
        number, awaits = register.summary.get("version"), register.summary.get(DEVICE) == AWAITS
        where = State.AWAITING if awaits else State.FRESH
        reasons = (f"version {number}, trained {register.started_at[:16]}",)
    else:
        decisive = None
        reasons = (f"stopped after {list(records)[-1]}",) if records else _why_stale(home, cell)
    return CellState(where, ", ".join(reasons), decisive, reasons, records)


def remember(home: Home, cell: Cell) -> None:
    """Note a cell as the newest of its name, and keep its description beside its records.

    Why it was begun by force stays known when it is gone on with.
    """
    place = work_folder(home, cell.key) / "cell.json"
    if not cell.forced:
        with suppress(OSError, ValidationError):
            cell = cell.model_copy(update={"forced": Cell.model_validate_json(place.read_bytes()).forced})
    write_atomic(place, cell.model_dump_json(indent=1).encode())
    with suppress(NightshiftError):
        # What the files alone say now: an edit of theirs can be told from a flag later.
        of_files = resolve(home, cell.subject, cell.family, cell.target).as_json()
        write_atomic(work_folder(home, cell.key) / _FILES, json.dumps(of_files, indent=1).encode())
    write_atomic(home.work / "newest" / cell.name, cell.key.encode())


def newest(home: Home, name: str) -> Cell | None:
    """Return the cell of this registry name that was last worked on."""
    try:
        return cell_of(home, (home.work / "newest" / name).read_text(encoding="ascii").strip())
    except OSError:
        return None


def cell_of(home: Home, key: str) -> Cell | None:
    """Return the cell of a key as it was last worked on, None where nothing tells."""
    try:
        return Cell.model_validate_json((work_folder(home, key) / "cell.json").read_bytes())
    except (OSError, ValidationError):
        return None


def newest_cells(home: Home, subject: str | None = None) -> list[Cell]:
    """Return the newest cell of every name, of one subject or of all, sorted by name."""
    cells = [cell for name in newest_names(home) if (cell := newest(home, name))]
    return [c for c in cells if subject is None or c.subject == subject]


def newest_names(home: Home) -> tuple[str, ...]:
    """Return the registry names that were ever worked on, sorted.

    What a killed write left in the folder begins with a dot and is none.
    """
    folder = home.work / "newest"
    return tuple(sorted(p.name for p in folder.iterdir() if p.name[0] != ".")) if folder.is_dir() else ()


def refreshed(home: Home, cell: Cell) -> Cell:
    """Return a cell with today's data, code and config files, under the settings that it was last trained with.

    Raises:
        NightshiftError: when the data or the config files cannot be used.
    """
    now = resolve(home, cell.subject, cell.family, cell.target).as_json()
    then = _config_of_files(home, cell)
    # Without a note of what the files said, nobody can tell an edited file from a flag: the settings are kept.
    config = cell.config if then is None or then == now else _over(now, then, cell.config)
    fresh = {"dataset": store.current(home, cell.subject), "code": code_fingerprint(cell.family)}
    return cell.model_copy(update={**fresh, "config": config})


def has_own_settings(home: Home, cell: Cell) -> bool:
    """Whether a cell's config is another than its files alone give, as by flags, parameters or `--config`."""
    return cell.config != resolve(home, cell.subject, cell.family, cell.target).as_json()


def _over(now: Mapping[str, Any], then: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in last["config"].items() if value != then["config"].get(key)}
    return {**now, "config": {**now["config"], **own}}


def _config_of_files(home: Home, cell: Cell) -> dict[str, Any] | None:
    try:
        noted = json.loads((work_folder(home, cell.key) / _FILES).read_bytes())
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) and isinstance(noted.get("config"), dict) else None


def _why_stale(home: Home, cell: Cell) -> tuple[str, ...]:
    before = newest(home, cell.name)
    if before is None:
        return ("never trained",)
    reasons = []
    if before.dataset != cell.dataset:
        reasons.append("new data")
    if before.config != cell.config:
        changed = [k for part in cell.config for k in _changed(before.config.get(part, {}), cell.config[part])]
        reasons.append(f"config change ({', '.join(changed) or 'limits'})")
    if before.code != cell.code:
        reasons.append("code change")
    if reasons:
        return tuple(reasons)
    # Work on a cell begins with the note that it is the newest of its name, and its first record ends its first stage.
    begun = not (work_folder(home, cell.key) / f"{STAGES[0]}.json").exists()
    return (f"stopped before {STAGES[0]} ended",) if begun else ("records missing",)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
