"""What is told of a cell that goes on after its process was cut off."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nightshift import families
from nightshift.errors import NightshiftError
from nightshift.plan.cell import Cell
from nightshift.plan.records import PROGRESS, STAGES, read_record, work_folder
from nightshift.progress import read_events
from nightshift.settings import Home

ANEW = "begun anew"
CONTINUED = "continued from its checkpoint"


def how_it_goes_on(home: Home, cell: Cell) -> str:
    """Return in which stage the cell was cut off, and from where it goes on; "" when it was not."""
    records = ((name, read_record(home, cell.key, name)) for name in STAGES)
    stage, kept = next(((n, r) for n, r in records if r is None or r.status != "done"), ("", None))
    if not stage or (kept is not None and not kept.summary.get("cut_off")):
        return ""
    work = work_folder(home, cell.key)
    if not began(work, stage):
        return ""
    return f"cut off in {stage}; {_from_where(cell, work, stage)}"


def began(work: Path, stage: str) -> bool:
    """Whether a stage has begun and not ended.

    One that ended says so last; its record may have gone since, with an earlier stage's.
    """
    told = [e for e in read_events(work / PROGRESS) if e.stage == stage]
    return bool(told) and not told[-1].message.startswith(f"{stage} ")


def _from_where(cell: Cell, work: Path, stage: str) -> str:
    if stage in ("load", "validate"):
        return ANEW
    if stage != "train":
        return "gone on from there"
    left = sorted((work / "checkpoints").glob("*"), key=lambda p: p.stat().st_mtime_ns)
    if not left or not families.get(cell.family).checkpoints:
        return ANEW
    epoch = _epoch(left[-1])
    return f"{CONTINUED}, epoch {epoch}" if epoch else CONTINUED


def _epoch(path: Path) -> int:
    """Return the epochs that a checkpoint holds, 0 when it does not tell."""
    from nightshift.nets import checkpoint

    with suppress(NightshiftError, OSError):
        found = checkpoint.load(path)
        return found.epoch if found else 0
    return 0
