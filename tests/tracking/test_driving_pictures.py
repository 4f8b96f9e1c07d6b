"""Episodes in a report: the newest of each kind, held by the page itself, with a copy beside the Markdown."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from support.driving_runs import leave

from nightshift.plan.cell import Cell
from nightshift.settings import Home
from nightshift.tracking.driving_pictures import MOST_BYTES, episodes_of


def a_cell(family: str = "ppo") -> Cell:
    return Cell(subject="adplanning", family=family, target="vehicle", dataset="d" * 64, config={}, code="c")


def test_the_newest_picture_of_each_kind_is_shown(home: Home, tmp_path: Path) -> None:
    cell = a_cell()
    assert episodes_of(home, cell, tmp_path) == []
    pictures = leave(home, "ppo_v1", cell=cell.key).pictures
    # What was written beside it under another id, as the other method of a cell, is not it.
    leave(home, "ppo_v1-other", cell=cell.key)
    assert episodes_of(home, cell, tmp_path) == []
    pictures.mkdir(parents=True)
    for at, name in enumerate(("step_000001000.gif", "step_000002000.gif", "step_000002000.png")):
        (pictures / name).write_bytes(name.encode())
        os.utime(pictures / name, (at, at))
    moving, still = episodes_of(home, cell, tmp_path)
    assert moving.title == "An episode of run ppo_v1: step 000002000"
    assert moving.uri == f"data:image/gif;base64,{base64.b64encode(b'step_000002000.gif').decode()}"
    assert (tmp_path / still.file).read_bytes() == b"step_000002000.png"
    assert still.file == "ppo-vehicle-episode-step_000002000.png"


def test_what_is_too_large_or_of_another_family_is_left_out(home: Home, tmp_path: Path) -> None:
    cell = a_cell()
    pictures = leave(home, "ppo_v1", cell=cell.key).pictures
    pictures.mkdir(parents=True)
    (pictures / "large.gif").write_bytes(b"x" * (MOST_BYTES + 1))
    assert episodes_of(home, cell, tmp_path) == []
    other = a_cell("rul")
    leave(home, "rul_v1", cell=other.key).pictures.mkdir(parents=True)
    assert episodes_of(home, other, tmp_path) == []
