"""A training run of a driving policy on disk: what it writes as it goes, and what status, compare and resume read.

`experiments/checkpoints/<run>/` holds `last.pt`, `best.pt` and numbered checkpoints (format: `nets/checkpoint.py`)
and `run.json`; `experiments/logs/<run>/` holds `train.log`, `metrics.jsonl`, `status.json` and TensorBoard's events;
`experiments/pictures/<run>/` the animated episodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nightshift.errors import UsageError
from nightshift.settings import Home

State = Literal["running", "stopping", "stopped", "completed", "failed"]
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: A run that has not told of itself for so long is gone.
SILENT_S = 60.0


def stamp(at: float | None = None, timespec: str = "milliseconds") -> str:
    """Return a moment, s since the epoch, or now, as everything of a run has it: ISO 8601, UTC."""
    moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


class RunFile(BaseModel):
    """`run.json`: what a run is; written once, when it begins.

    Attributes:
        run_id: its name.
        algorithm: `ppo`, `sac`, `bc`, `gail`, `cimrl`.
        subject, dataset: the scenario set and its fingerprint.
        cell: key of the cell that trains it.
        config: resolved.
        observation: fingerprint of the observation's layout (`observe.LAYOUT`).
        started_at: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    algorithm: str
    subject: str
    dataset: str
    cell: str
    config: dict[str, Any]
    observation: str
    started_at: str


class MetricsRow(BaseModel):
    """One line of `metrics.jsonl`. Names as MLflow and TensorBoard have them.

    Attributes:
        step: environment steps (of `bc`: of the optimiser) so far.
        at: ISO 8601, UTC.
        mean_reward: of the episodes that ended since the last line.
        collision: share of those that ended in one. Of training, with exploration, as `progress` and `mean_reward` are.
        progress: mean share of the expert's metres.
        loss: of the learner.
        score: closed-loop score on validation scenarios, where this line follows an evaluation.
        more: `val_collision`, `val_progress` and so on, beside a score; `entropy`, `value_loss`,
            `explained_variance`, `kl`, `steps_per_s`, and what else a learner tells.
    """

    model_config = ConfigDict(extra="forbid")

    step: int = Field(ge=0)
    at: str
    mean_reward: float | None = None
    collision: float | None = None
    progress: float | None = None
    loss: float | None = None
    score: float | None = None
    more: dict[str, float] = Field(default_factory=dict)


class RunStatus(BaseModel):
    """`status.json`, replaced atomically every few seconds while the run lives.

    Attributes:
        state: `running` to `failed`.
        pid, host, worker: of the process; the worker's name where a pool's runs it.
        device: `cpu` or `cuda`.
        memory_mb, gpu_memory_mb: held by it.
        step, total_steps: done and asked for.
        steps_per_s, eta_s: None where not known yet.
        latest: the newest metrics.
        best_score, best_step: of `best.pt`.
        updated_at: ISO 8601, UTC.
    """

    model_config = ConfigDict(extra="forbid")

    run_id: str
    algorithm: str
    subject: str
    state: State
    pid: int
    host: str
    worker: str = ""
    device: str = "cpu"
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    step: int = 0
    total_steps: int = 0
    steps_per_s: float | None = None
    eta_s: float | None = None
    latest: MetricsRow | None = None
    best_score: float | None = None
    best_step: int | None = None
    error: str = ""
    updated_at: str = ""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what it writes."""

    home: Home
    run_id: str

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(self.run_id):
            raise UsageError(
                f"'{self.run_id[:80]}' is no run id.", hint="Letters, digits, `_`, `-` and `.`, up to 64, e.g. ppo_v1."
            )

    @property
    def checkpoints(self) -> Path:
        """Checkpoints and `run.json`."""
        return self.home.root / "experiments" / "checkpoints" / self.run_id

    @property
    def logs(self) -> Path:
        """`train.log`, `metrics.jsonl`, `status.json`, TensorBoard's events."""
        return self.home.root / "experiments" / "logs" / self.run_id

    @property
    def pictures(self) -> Path:
        """Animated episodes of evaluations."""
        return self.home.root / "experiments" / "pictures" / self.run_id
