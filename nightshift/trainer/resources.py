"""What a training holds and may have: memory of this process, of a GPU, free memory, and threads."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from nightshift.edge.probe import peak_memory_mb
from nightshift.trainer.options import Limits

_CGROUP = Path("/sys/fs/cgroup")
_NVIDIA = Path("/proc/driver/nvidia")
_MB = 1e6


def peak_mb() -> float:
    """Return the most memory that this process has ever held, MB (10^6 bytes); worker processes have their own."""
    return peak_memory_mb() or 0.0


def gpu_mb() -> float | None:
    """Return the GPU memory of this process, MB: torch's peak, else what the driver tells now; None without any.

    Loads no torch: where nobody did, it holds nothing.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / _MB
    return _told_by_driver() if _NVIDIA.is_dir() else None


def free_mb() -> float:
    """Return the memory that this process can still have, MB; a container's limit counts where it is the lower one."""
    import psutil

    return min(float(psutil.virtual_memory().available), free_of_container(_CGROUP)) / _MB


def free_of_container(group: Path) -> float:
    """Return the bytes that a container's control group leaves; infinite without a limit.

    Source: Linux, cgroup v2: memory.max, memory.current; page cache is given back when it is asked for.
    """
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return float("inf")
    return float(limit - used + int(stat.get("inactive_file", 0)))


def threads_for(n_jobs: int, limits: Limits) -> int:
    """Return the threads of one fit among `n_jobs` at once: what was asked for, else its share of the cores."""
    from joblib import cpu_count  # it knows the share of a container too

    return limits.threads or max(1, int(cpu_count()) // max(1, n_jobs))


def _told_by_driver() -> float | None:
    """Return what this process holds on all GPUs now; None where the driver or its library tells nothing."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # it raises kinds of its own; a figure that cannot be had stops no training
        return None
    try:
        held = [
            process.usedGpuMemory or 0
            for number in range(nvml.nvmlDeviceGetCount())
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByIndex(number))
            if process.pid == os.getpid()
        ]
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()
    return float(sum(held)) / _MB if held else None
