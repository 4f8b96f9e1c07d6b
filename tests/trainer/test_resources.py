from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nightshift.trainer import resources
from nightshift.trainer.options import Limits


def test_the_peak_stays_when_memory_is_given_back() -> None:
    before = resources.peak_mb()
    held = np.ones(10_000_000)
    del held
    assert resources.peak_mb() >= max(80.0, before)


def test_a_container_s_limit_counts_without_its_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("800000000\n")
    (tmp_path / "memory.current").write_text("790000000\n")
    (tmp_path / "memory.stat").write_text("anon 5000000\ninactive_file 2000000\n")
    assert resources.free_mb() > 12
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    assert resources.free_mb() == 12
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.free_mb() > 12


def test_threads_are_what_was_asked_for_or_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    shares = [resources.threads_for(n_jobs, Limits()) for n_jobs in (1, 3, 16)]
    assert shares == [8, 2, 1]
    assert resources.threads_for(4, Limits(threads=5)) == 5


def test_gpu_memory_is_torch_s_where_it_was_used_and_the_driver_s_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = SimpleNamespace(is_initialized=lambda: True, max_memory_allocated=lambda: 5_000_000)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert resources.gpu_mb() == 5
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(resources, "_NVIDIA", tmp_path / "none")
    assert resources.gpu_mb() is None
    monkeypatch.setattr(resources, "_NVIDIA", tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert resources.gpu_mb() is None
