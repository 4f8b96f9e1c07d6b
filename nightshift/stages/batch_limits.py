"""What a batch may use: how many cells at once this machine has room for, and what a cell's processes hold."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass

from nightshift.plan.batch import BatchOptions, CapacityError
from nightshift.settings import Home
from nightshift.trainer.resources import free_mb

logger = logging.getLogger("nightshift")


@dataclass(frozen=True)
class Room:
    """What is free on this machine.

    Attributes:
        memory_gb: that new processes can have.
        disk_mb: on the disk that the home lies on.
        cores: that this process may run on.
    """

    memory_gb: float
    disk_mb: float
    cores: int


def room_now(home: Home) -> Room:
    """Measure what is free; a container's limit counts where it is the lower one."""
    place = next(p for p in (home.root, *home.root.parents) if p.exists())
    return Room(free_mb() / 1e3, shutil.disk_usage(place).free / 1e6, len(os.sched_getaffinity(0)))


def processes_for(cells: int, options: BatchOptions, room: Room) -> int:
    """Return how many of so many cells may run at once.

    Where the disk is too small for all, those go first that are asked for first, and each is held against the disk
    again when its turn comes (`stages.batch_slots`): a model seldom takes what it may.

    Raises:
        CapacityError: when not even one has the memory or the disk.
    """
    on_disk = cells
    if options.disk_mb_per_model * cells > room.disk_mb:
        on_disk = int(room.disk_mb / options.disk_mb_per_model)
        if not on_disk:
            raise no_disk(options.disk_mb_per_model, room)
        logger.warning(
            "%d models may need %.0f MB of disk, %.0f MB are free: %d at once at most, and what does not fit is left",
            cells,
            options.disk_mb_per_model * cells,
            room.disk_mb,
            on_disk,
        )
    fitting = int(room.memory_gb / options.cell_memory_gb)
    if cells and not fitting:
        raise CapacityError(
            f"a cell may hold {options.cell_memory_gb:g} GB of memory; {room.memory_gb:.1f} GB are free.",
            hint="Stop what holds the rest, or lower cell_memory_gb.",
        )
    return max(1, min(options.processes or room.cores, fitting, on_disk))


def no_disk(disk_mb: float, room: Room) -> CapacityError:
    """Return the refusal of a model for which the disk is too full."""
    return CapacityError(
        f"a model may need {disk_mb:,g} MB of disk; {room.disk_mb:,.0f} MB are free.",
        hint="Free space under NIGHTSHIFT_HOME (nightshift prune), or lower disk_mb_per_model; then train it again.",
    )


@dataclass(frozen=True)
class Usage:
    """What a process and all below it use.

    Attributes:
        memory_gb: resident, shared libraries included.
        cpu_s: processor seconds since each began, of those that have ended and been waited for, too.
    """

    memory_gb: float = 0.0
    cpu_s: float = 0.0


def usage_of(pid: int) -> Usage:
    """Measure a process and all below it; nothing when it has gone."""
    import psutil

    held, cpu_s = 0, 0.0
    if not pid:
        return Usage()
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                held += process.memory_info().rss
                cpu_s += sum(process.cpu_times()[:4])
    return Usage(held / 1e9, cpu_s)
