"""What this machine has and what of it is free: processor, memory, disk, and GPUs with the processes that hold them."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from nightshift.settings import Home

_MEGABYTE = 1e6
#: nvidia-smi counts in MiB.
_MEBIBYTE_MB = 1024**2 / _MEGABYTE
_ASK_S = 5.0
_GPU_FIELDS = "uuid,name,memory.used,memory.total,utilization.gpu"
_APP_FIELDS = "gpu_uuid,pid,used_memory"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GpuHolder(_Record):
    """A process that holds memory of a GPU."""

    pid: int
    memory_mb: float | None


class Gpu(_Record):
    """A GPU as `nvidia-smi` tells of it.

    Attributes:
        use_pct: share of the last moments in which it worked; None where the driver does not tell.
        holders: processes on it, as far as they are seen from here; a container sees its own alone.
    """

    name: str
    used_mb: float
    total_mb: float
    use_pct: float | None
    holders: tuple[GpuHolder, ...] = ()

    @property
    def free_mb(self) -> float:
        """What nobody holds."""
        return self.total_mb - self.used_mb


class Resources(_Record):
    """This machine now.

    Attributes:
        cpu_pct: of all cores together, over the time since the last question, or a tenth of a second.
        memory_free_mb: that new processes can have.
        disk_free_mb: on the disk of the home.
    """

    cores: int
    cpu_pct: float
    memory_total_mb: float
    memory_free_mb: float
    disk_total_mb: float
    disk_free_mb: float
    gpus: tuple[Gpu, ...] = ()


def resources(home: Home) -> Resources:
    """Measure what this machine has."""
    import psutil

    memory = psutil.virtual_memory()
    place = next(p for p in (home.root, *home.root.parents) if p.exists())
    disk = shutil.disk_usage(place)
    return Resources(
        cores=psutil.cpu_count() or 1,
        cpu_pct=psutil.cpu_percent(interval=0.1),
        memory_total_mb=memory.total / _MEGABYTE,
        memory_free_mb=memory.available / _MEGABYTE,
        disk_total_mb=disk.total / _MEGABYTE,
        disk_free_mb=disk.free / _MEGABYTE,
        gpus=gpus(),
    )


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that `nvidia-smi` tells of; () where there is none, or no such program."""
    told = _asked(f"--query-gpu={_GPU_FIELDS}")
    return parse_gpus(told, _asked(f"--query-compute-apps={_APP_FIELDS}")) if told else ()


def parse_gpus(told: str, apps: str) -> tuple[Gpu, ...]:
    """Return GPUs from the two tables that `nvidia-smi` prints (CSV without header and units, memory in MiB)."""
    holders: dict[str, list[GpuHolder]] = {}
    for row in _rows(apps, 3):
        pid = _number(row[1])
        if pid is not None:
            holders.setdefault(row[0], []).append(GpuHolder(pid=int(pid), memory_mb=_megabytes(row[2])))
    return tuple(
        Gpu(
            name=name,
            used_mb=_megabytes(used) or 0.0,
            total_mb=_megabytes(total) or 0.0,
            use_pct=_number(use),
            holders=tuple(holders.get(uuid, ())),
        )
        for uuid, name, used, total, use in _rows(told, 5)
    )


def short_of(needed_mb: float, found: tuple[Gpu, ...], runs: Mapping[int, str]) -> str:
    """Return why a GPU has too little free memory for a run, with who holds it; "" where one has enough, or is none.

    Args:
        needed_mb: that the run will hold.
        found: GPUs of this machine.
        runs: process -> the run that it trains.
    """
    if not found or any(gpu.free_mb >= needed_mb for gpu in found):
        return ""
    roomiest = max(found, key=lambda gpu: gpu.free_mb)
    held = [f"{_holder(h, runs)}" for h in sorted(roomiest.holders, key=lambda h: -(h.memory_mb or 0.0))]
    by = f", held by {', '.join(held)}" if held else ""
    return (
        f"{roomiest.name} has {roomiest.free_mb / 1e3:.1f} GB free of {roomiest.total_mb / 1e3:.1f} GB{by}; "
        f"this run needs about {needed_mb / 1e3:.1f} GB."
    )


def _holder(holder: GpuHolder, runs: Mapping[int, str]) -> str:
    who = f"run '{runs[holder.pid]}'" if holder.pid in runs else f"process {holder.pid}"
    return who if holder.memory_mb is None else f"{who} ({holder.memory_mb / 1e3:.1f} GB)"


def _asked(query: str) -> str:
    """Return what `nvidia-smi` answers, "" where it cannot be asked."""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _rows(text: str, width: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]
    return [row for row in rows if len(row) == width]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # `[N/A]`, `[Not Supported]`
        return None


def _megabytes(text: str) -> float | None:
    found = _number(text)
    return None if found is None else found * _MEBIBYTE_MB
