"""How many cells run at once, and when a batch is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.plan.batch import BatchOptions, CapacityError
from nightshift.settings import Home
from nightshift.stages.batch_limits import Room, Usage, processes_for, room_now, usage_of

ROOM = Room(memory_gb=17.0, disk_mb=10_000, cores=8)


@pytest.mark.parametrize(
    ("cells", "options", "processes"),
    [
        (48, BatchOptions(), 4),
        (48, BatchOptions(cell_memory_gb=1), 8),
        (48, BatchOptions(cell_memory_gb=1, processes=3), 3),
        (2, BatchOptions(), 2),
        (0, BatchOptions(), 1),
    ],
)
def test_memory_cores_wish_and_cells_bound_how_many_run_at_once(
    cells: int, options: BatchOptions, processes: int
) -> None:
    assert processes_for(cells, options.model_copy(update={"disk_mb_per_model": 100}), ROOM) == processes


def test_too_little_memory_for_one_cell_is_refused_with_the_figures() -> None:
    with pytest.raises(CapacityError, match=r"may hold 20 GB of memory; 17\.0 GB are free"):
        processes_for(1, BatchOptions(cell_memory_gb=20), ROOM)


def test_too_little_disk_for_all_cells_bounds_how_many_run_at_once_and_refuses_none() -> None:
    assert processes_for(21, BatchOptions(), ROOM) == 4
    assert processes_for(400, BatchOptions(disk_mb_per_model=4_000), ROOM) == 2
    assert processes_for(2, BatchOptions(disk_mb_per_model=0), Room(memory_gb=17.0, disk_mb=0.0, cores=8)) == 2


def test_too_little_disk_for_one_cell_is_refused_with_the_figures() -> None:
    with pytest.raises(
        CapacityError, match=r"a model may need 10,001 MB of disk; 10,000 MB are free\. Free space .* disk_mb_per_model"
    ):
        processes_for(3, BatchOptions(disk_mb_per_model=10_001), ROOM)


def test_nothing_to_train_needs_no_room() -> None:
    assert processes_for(0, BatchOptions(), Room(memory_gb=0.0, disk_mb=0.0, cores=1)) == 1


def test_the_room_of_this_machine_is_measured_before_the_home_exists(tmp_path: Path) -> None:
    room = room_now(Home(tmp_path / "not" / "yet"))
    assert room.memory_gb > 0
    assert room.disk_mb > 0
    assert 1 <= room.cores <= (os.cpu_count() or 1)


def test_what_a_process_holds_is_counted_with_its_children() -> None:
    child = "x = bytearray(10**8); print(1, flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = usage_of(process.pid)
        assert 0.1 < used.memory_gb < 0.3
        assert used.cpu_s > 0
        process.communicate(b"\n")
    assert usage_of(process.pid) == Usage()
