"""Leaves what a trained cell leaves: records, the bundle's note, the newest's pointer; only figures are made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from nightshift.files import write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, StageRecord, record_files, work_folder, write_record
from nightshift.plan.state import remember
from nightshift.settings import Home

JUST_NOW = ""


def leave_record(home: Home, cell: Cell, stage: str, **fields: object) -> StageRecord:
    """Write one record; a second of wall time unless said."""
    given = {"status": "done", "started_at": _now(), "seconds": 1.0, **fields}
    record = StageRecord.model_validate({"stage": stage, "cell_key": cell.key, **given})
    write_record(home, record)
    return record


def leave_trained(
    home: Home, cell: Cell, version: int = 1, *, promoted: bool = True, at: str = JUST_NOW, train_s: float = 60.0
) -> None:
    """Leave a cell that went through all stages, a second each but for `train`."""
    remember(home, cell)
    bundle = home.models / cell.family / cell.subject / cell.target / f"v{version}"
    note = {"fingerprints": {"cell_key": cell.key, "dataset": cell.dataset}}
    write_atomic(bundle / "bundle.json", json.dumps(note).encode())
    write_atomic(bundle / "model.onnx", b"not opened here")
    summary = {"version": version, "champion": promoted}
    for stage in STAGES:
        fields: dict[str, object] = {"seconds": train_s if stage == "train" else 1.0}
        if stage == "register":
            fields |= {"summary": summary, "started_at": at or _now(), "files": record_files(home, [bundle])}
        leave_record(home, cell, stage, **fields)


def set_aside(home: Home, cell: Cell) -> None:
    """Do what force does to a cell's folder."""
    folder = work_folder(home, cell.key)
    folder.rename(folder.with_name(f"{folder.name}.1"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
