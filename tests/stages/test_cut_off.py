"""What is told of a cell that goes on after its process was cut off."""

from __future__ import annotations

import pytest
from support.flow_scenarios import TINY, land

from nightshift import families
from nightshift.nets import checkpoint
from nightshift.nets.checkpoint import Checkpoint
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, work_folder, write_record
from nightshift.plan.state import make_cell
from nightshift.progress import FileSink, ProgressEvent
from nightshift.settings import Home
from nightshift.stages.cut_off import how_it_goes_on


@pytest.fixture
def cell(home: Home) -> Cell:
    land(home, "pump")
    return make_cell(home, "pump", "anomaly", params=TINY)


def tell(home: Home, cell: Cell, *events: tuple[str, str]) -> None:
    sink = FileSink(work_folder(home, cell.key) / "progress.jsonl")
    for stage, message in events:
        sink(ProgressEvent(cell=cell.key, stage=stage, message=message))


def record(home: Home, cell: Cell, stage: str, **facts: object) -> None:
    common = {"stage": stage, "cell_key": cell.key, "status": "done", "started_at": "2026-11-01T02:00:00Z"}
    write_record(home, StageRecord.model_validate({**common, "seconds": 1.0, **facts}))


def in_training(home: Home, cell: Cell) -> None:
    """Leave what a process leaves that is killed in its training."""
    for stage in ("load", "validate"):
        tell(home, cell, (stage, f"{cell.name}: {stage}"), (stage, f"{stage} done"))
        record(home, cell, stage)
    tell(home, cell, ("train", f"{cell.name}: train"))


def test_a_cell_that_never_began_or_ended_by_itself_goes_on_from_nowhere(home: Home, cell: Cell) -> None:
    assert how_it_goes_on(home, cell) == ""
    in_training(home, cell)
    record(home, cell, "train", status="failed", error="it broke")
    assert how_it_goes_on(home, cell) == ""


def test_a_training_that_was_killed_or_stopped_at_a_limit_begins_anew(home: Home, cell: Cell) -> None:
    in_training(home, cell)
    assert how_it_goes_on(home, cell) == "cut off in train; begun anew"
    record(home, cell, "train", status="failed", error="SIGKILL", summary={"cut_off": True})
    assert how_it_goes_on(home, cell) == "cut off in train; begun anew"


def test_a_family_with_checkpoints_goes_on_from_its_own(
    home: Home, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_training(home, cell)
    folder = work_folder(home, cell.key) / "checkpoints"
    checkpoint.save(folder / "loop.pt", Checkpoint(fingerprint="0", epoch=7, model={}))
    assert how_it_goes_on(home, cell) == "cut off in train; begun anew", "the family keeps none"
    monkeypatch.setattr(families.get("anomaly"), "checkpoints", True)
    assert how_it_goes_on(home, cell) == "cut off in train; continued from its checkpoint, epoch 7"
    (folder / "loop.pt").write_bytes(b"of another kind")
    assert how_it_goes_on(home, cell) == "cut off in train; continued from its checkpoint"


def test_a_later_stage_goes_on_with_the_model_that_is_there(home: Home, cell: Cell) -> None:
    in_training(home, cell)
    tell(home, cell, ("train", "train done"), ("evaluate", "evaluate done"), ("export", f"{cell.name}: export"))
    record(home, cell, "train")
    record(home, cell, "evaluate")
    assert how_it_goes_on(home, cell) == "cut off in export; gone on from there"
