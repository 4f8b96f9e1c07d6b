"""Runs of driving policies as their recorder leaves them: real files, made-up figures."""

from __future__ import annotations

import math
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from nightshift.driving.learn.recorder import METRICS_FILE, RUN_FILE, STATUS_FILE
from nightshift.driving.runs import MetricsRow, RunFile, RunFolder, RunStatus
from nightshift.files import write_atomic
from nightshift.settings import Home


def stamp(ago_s: float = 0.0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rows(n: int, every: int = 1000, **figures: Any) -> list[MetricsRow]:
    """Return rows whose figures are functions of the share done, 0 to 1, or numbers."""
    found = []
    for i in range(1, n + 1):
        values = {k: float(f(i / n) if callable(f) else f) for k, f in figures.items()}
        own = {k: values.pop(k) for k in ("mean_reward", "collision", "progress", "loss", "score") if k in values}
        found.append(MetricsRow(step=i * every, at=stamp(n - i), **own, more=values))
    return found


def rising(share: float) -> float:
    """A learning curve that still rises at its end."""
    return 10 * share


def levelled(share: float) -> float:
    """One that has long reached its height."""
    return 10 * (1 - math.exp(-12 * share))


def leave(
    home: Home, run_id: str = "ppo_v1", told: list[MetricsRow] | None = None, *, cell: str = "", **status: Any
) -> RunFolder:
    """Leave the files of a run; by default one that this very process trains."""
    folder = RunFolder(home, run_id)
    told = rows(6, mean_reward=rising, collision=0.2, progress=0.5, loss=0.1) if told is None else told
    file = RunFile(
        run_id=run_id,
        algorithm=status.get("algorithm", "ppo"),
        subject="adplanning",
        dataset="d" * 64,
        cell=cell or "c" * 64,
        config=status.pop("config", {"learning_rate": 3e-4}),
        observation="o" * 64,
        started_at=stamp(100),
    )
    given: dict[str, Any] = {
        "run_id": run_id,
        "algorithm": "ppo",
        "subject": "adplanning",
        "state": "running",
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "step": told[-1].step if told else 0,
        "total_steps": 10_000,
        "steps_per_s": 500.0,
        "eta_s": 8.0,
        "latest": told[-1] if told else None,
        "updated_at": stamp(),
    }
    write_atomic(folder.checkpoints / RUN_FILE, file.model_dump_json().encode())
    write_atomic(folder.logs / STATUS_FILE, RunStatus(**{**given, **status}).model_dump_json().encode())
    write_atomic(folder.logs / METRICS_FILE, b"".join(r.model_dump_json().encode() + b"\n" for r in told))
    return folder
