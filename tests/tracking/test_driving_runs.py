"""Runs as their files tell, who is at work, what the machine has, and what is shown of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.driving_runs import leave, levelled, rising, rows, stamp

from nightshift.driving.runs import RunStatus
from nightshift.errors import UnknownNameError, UsageError
from nightshift.nets.checkpoint import Checkpoint, save
from nightshift.settings import Home
from nightshift.tracking.driving_runs import (
    RunView,
    checkpoints,
    list_runs,
    read_run,
    refuse_taken,
    run_of_cell,
    standing_of,
    view,
)
from nightshift.tracking.driving_status import driving_status
from nightshift.tracking.resources import Gpu, GpuHolder, Resources, gpus, parse_gpus, resources, short_of


def test_runs_are_listed_the_newest_first_and_read_with_their_figures(home: Home) -> None:
    assert list_runs(home) == ()
    leave(home, "old", state="completed", updated_at=stamp(500))
    leave(home, "sac_v1", algorithm="sac")
    assert [run.run_id for run in list_runs(home)] == ["sac_v1", "old"]
    run = read_run(home, "sac_v1")
    assert (run.algorithm, run.standing, run.active, len(run.rows)) == ("sac", "running", True, 6)
    shown = view(run)
    assert (shown.step, shown.reward, shown.collision, shown.eta_s, shown.pid) == (6000, 10.0, 0.2, 8.0, os.getpid())
    assert shown.cpu_pct is not None
    assert view(read_run(home, "old")).eta_s is None


def test_another_run_s_name_is_told_the_nearest(home: Home) -> None:
    with pytest.raises(UnknownNameError, match="ppo_v2") as none:
        read_run(home, "ppo_v2")
    assert "nightshift train ppo --run-id" in none.value.hint
    leave(home, "ppo_v1")
    with pytest.raises(UnknownNameError) as near:
        read_run(home, "ppo_v2")
    assert "ppo_v1" in near.value.hint
    with pytest.raises(UsageError, match="is no run id"):
        read_run(home, "../ppo")


def test_a_run_whose_process_is_gone_is_not_at_work(home: Home) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave(home, "killed", pid=ended.pid)
    assert read_run(home, "killed").standing == "gone"
    # A process that began after the run's last word is another one with its number.
    leave(home, "reused", updated_at=stamp(10 * 365 * 86400))
    assert read_run(home, "reused").standing == "gone"
    leave(home, "far", host="another-machine", updated_at=stamp(300))
    assert (read_run(home, "far").standing, read_run(home, "far").here) == ("gone", False)
    leave(home, "near", host="another-machine")
    assert read_run(home, "near").standing == "running"


def test_a_process_that_is_there_and_says_nothing_is_silent() -> None:
    now = datetime.now(UTC)
    status = RunStatus(run_id="a", algorithm="ppo", subject="s", state="running", pid=1, host="h")
    late = status.model_copy(update={"updated_at": (now - timedelta(seconds=90)).isoformat()})
    assert standing_of(late, now=now, alive=True) == "silent"
    assert standing_of(late, now=now, alive=None) == "gone"
    assert standing_of(late.model_copy(update={"state": "stopped"}), now=now, alive=False) == "stopped"
    assert standing_of(status.model_copy(update={"updated_at": "no time"}), now=now, alive=True) == "silent"


def test_torn_and_damaged_files_hide_no_run(home: Home) -> None:
    folder = leave(home)
    with (folder.logs / "metrics.jsonl").open("a") as file:
        file.write('{"step": 70')
    assert len(read_run(home, "ppo_v1").rows) == 6
    (folder.checkpoints / "run.json").write_text("{")
    assert read_run(home, "ppo_v1").algorithm == "ppo"
    (folder.logs / "status.json").write_text("")
    assert list_runs(home) == ()


def test_a_run_id_that_is_taken_is_refused_and_says_by_what(home: Home) -> None:
    refuse_taken(home, "ppo_v1")
    leave(home, state="completed", cell="1" * 64)
    with pytest.raises(UsageError, match=r"run 'ppo_v1' exists \(ppo on adplanning, completed at step 6,000 of 10,000"):
        refuse_taken(home, "ppo_v1")
    assert (found := run_of_cell(home, "1" * 64)) is not None
    assert found.run_id == "ppo_v1"
    assert run_of_cell(home, "2" * 64) is None


def test_checkpoints_are_listed_with_step_and_score(home: Home) -> None:
    folder = leave(home, best_score=0.81, best_step=4000)
    for name in ("step_000004000.pt", "best.pt", "last.pt"):
        save(folder.checkpoints / name, Checkpoint(fingerprint="f", epoch=1, model={}))
    found = {c.name: c for c in checkpoints(home, read_run(home, "ppo_v1"))}
    assert list(found) == ["step_000004000.pt", "best.pt", "last.pt"]
    assert (found["step_000004000.pt"].step, found["best.pt"].step) == (4000, 4000)
    assert found["best.pt"].note == "score 0.810 on validation"
    assert found["last.pt"].size_bytes > 0


GPU_TABLE = "GPU-1, NVIDIA H200, 41000, 143771, 3\nGPU-2, NVIDIA H200, 5, 143771, [N/A]\n"
APP_TABLE = "GPU-1, 77, 40000\nGPU-1, 78, [N/A]\n"


def test_gpus_are_read_with_their_holders() -> None:
    first, second = parse_gpus(GPU_TABLE, APP_TABLE)
    assert (first.name, first.use_pct, second.use_pct) == ("NVIDIA H200", 3.0, None)
    assert first.used_mb == pytest.approx(41000 * 1.048576)
    assert [(h.pid, h.memory_mb is None) for h in first.holders] == [(77, False), (78, True)]
    assert parse_gpus("no such table\n", "") == ()


def test_a_gpu_that_is_held_is_told_by_whom() -> None:
    held = Gpu(
        name="H200", used_mb=139_000, total_mb=143_000, use_pct=90.0, holders=(GpuHolder(pid=77, memory_mb=138_000),)
    )
    assert short_of(3_000, (held,), {}) == ""
    assert short_of(9_000, (held,), {77: "ppo_v1"}) == (
        "H200 has 4.0 GB free of 143.0 GB, held by run 'ppo_v1' (138.0 GB); this run needs about 9.0 GB."
    )
    assert "process 77" in short_of(9_000, (held,), {})
    assert short_of(9_000, (), {}) == ""


def test_a_machine_without_the_program_has_no_gpu(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ()
    found = resources(home)
    assert found.cores >= 1
    assert 0 < found.memory_free_mb <= found.memory_total_mb
    assert 0 < found.disk_free_mb <= found.disk_total_mb


def test_a_gpu_s_program_is_asked(home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program of that name that prints its tables: what the driver's own does on a machine that has one."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncase "$1" in *gpu=*) printf "{GPU_TABLE}";; *) printf "{APP_TABLE}";; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert resources(home).gpus == parse_gpus(GPU_TABLE, APP_TABLE)


def machine(*found: Gpu) -> Resources:
    return Resources(
        cores=2,
        cpu_pct=50.0,
        memory_total_mb=16_000,
        memory_free_mb=8_000,
        disk_total_mb=99_000,
        disk_free_mb=9_000,
        gpus=found,
    )


def test_status_holds_runs_figures_machine_and_advice(home: Home) -> None:
    gpu = Gpu(
        name="H200", used_mb=4_000, total_mb=143_000, use_pct=4.0, holders=(GpuHolder(pid=os.getpid(), memory_mb=900),)
    )
    leave(home, "ppo_v1", rows(30, mean_reward=levelled, collision=0.01), total_steps=100_000, device="cuda")
    leave(home, "old", state="completed", updated_at=stamp(900))
    far = RunView(run_id="sac_v9", algorithm="sac", subject="adplanning", state="running", worker="b", source="mlflow")
    found = driving_status(home, [far], machine=machine(gpu), remarks=("Prefect does not answer.",))
    assert [run.run_id for run in found.active] == ["ppo_v1", "sac_v9"]
    assert [row.step for row in found.recent] == [30_000, 29_000, 28_000, 27_000, 26_000]
    assert {advice.rule for advice in found.recommendations} == {"converged", "gpu_idle"}
    assert found.remarks == ("Prefect does not answer.",)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_without_an_active_run_the_last_one_is_shown(home: Home) -> None:
    leave(home, "done", rows(6, mean_reward=rising), state="completed")
    found = driving_status(home, machine=machine())
    assert found.active == ()
    assert found.ended is not None
    assert (found.ended.run_id, len(found.recent), found.recommendations) == ("done", 5, ())
    assert socket.gethostname() == found.ended.host
