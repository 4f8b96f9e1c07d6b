"""The training runs of driving policies that this home knows, as their files tell."""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.driving.learn.recorder import LOG_FILE, METRICS_FILE, RUN_FILE, STATUS_FILE, read_metrics
from nightshift.driving.runs import SILENT_S, MetricsRow, RunFile, RunFolder, RunStatus, stamp
from nightshift.errors import UnknownNameError, UsageError
from nightshift.settings import Home
from nightshift.trainer.search import study

Model = TypeVar("Model", bound=BaseModel)

#: `gone`: its process has ended without a word; `silent`: it is there and has not told of itself for a while.
Standing = Literal["running", "stopping", "stopped", "completed", "failed", "gone", "silent"]
ACTIVE: tuple[Standing, ...] = ("running", "stopping", "silent")
#: A sweep's trial is trained without a cell of the plan; its run says so in place of the cell's key.
TRIAL_OF_SWEEP = "sweep-"
#: How runs of Unity ML-Agents name their algorithm; they have no cell at all.
EXTERNAL = "mlagents"
#: A process that began so much later than a run last told of itself is another one with its number.
_SLACK_S = 5.0


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        file: what it is; None where its `run.json` is gone or damaged.
        status: its last word; None before it has told of itself.
        rows: its figures so far, in the order of steps.
        standing: what its status comes to now.
        here: whether its process is, or was, on this machine.
    """

    run_id: str
    file: RunFile | None
    status: RunStatus | None
    standing: Standing
    here: bool = True
    rows: tuple[MetricsRow, ...] = field(default=(), repr=False)

    @property
    def algorithm(self) -> str:
        """`ppo`, `sac` and so on."""
        return self.file.algorithm if self.file else self.status.algorithm if self.status else ""

    @property
    def active(self) -> bool:
        """Whether it is at work, as far as is known."""
        return self.standing in ACTIVE


class RunView(BaseModel):
    """A run as it is shown, in a table or as JSON.

    Attributes:
        state: see `Standing`.
        worker, host: who trains it; both "" where that is not known.
        cpu_pct: of one core; of a run elsewhere as its machine last told, None where it has not.
        gpu_use_pct: share of the last moments in which the GPU that it trains on worked; gpu_free_mb of its memory.
        reward, collision, progress, loss: the newest that are known.
        source: `files` of this home, or `mlflow` of a worker elsewhere.
        cell: key of the cell that trains it; "" for a run of another program.
        flow_run: Prefect's id of the flow run that a pool's worker trains it in; "" where that is not known.
        mlflow_run: id of its MLflow run, of a run elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    algorithm: str
    subject: str
    state: str
    worker: str = ""
    host: str = ""
    pid: int | None = None
    device: str = ""
    step: int = 0
    total_steps: int = 0
    steps_per_s: float | None = None
    eta_s: float | None = None
    reward: float | None = None
    collision: float | None = None
    progress: float | None = None
    loss: float | None = None
    best_score: float | None = None
    best_step: int | None = None
    cpu_pct: float | None = None
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    gpu_use_pct: float | None = None
    gpu_free_mb: float | None = None
    started_at: str = ""
    updated_at: str = ""
    error: str = ""
    source: Literal["files", "mlflow"] = "files"
    cell: str = ""
    flow_run: str = ""
    mlflow_run: str = ""


class CheckpointView(BaseModel):
    """A checkpoint file of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    step: int | None
    size_bytes: int
    written_at: str
    note: str = ""


def list_runs(home: Home) -> tuple[Run, ...]:
    """Return all runs, the one that last told of itself first; without their figures."""
    root = home.root / "experiments"
    places = [p for name in ("checkpoints", "logs") for p in _folders(root / name)]
    ids = {p.name for p in places if (p / RUN_FILE).is_file() or (p / STATUS_FILE).is_file()}
    runs = [run for run_id in ids if (run := _read(home, run_id, rows=False)) is not None]
    return tuple(sorted(runs, key=lambda run: (_told_at(run), run.run_id), reverse=True))


def read_run(home: Home, run_id: str) -> Run:
    """Return a run with its figures.

    Raises:
        UsageError: for text that is no run id.
        UnknownNameError: for a run that is not there; names the nearest.
    """
    found = _read(home, run_id, rows=True)
    if found is None:
        hint = "" if list_runs(home) else "No run has begun here yet: `nightshift train ppo --run-id ppo_v1`."
        raise UnknownNameError("run", run_id, [run.run_id for run in list_runs(home)], hint=hint)
    return found


def run_of_cell(home: Home, cell_key: str) -> Run | None:
    """Return the run that a cell is trained as, None where it has begun none.

    A cell may have a second run beside, whose id begins with that of the first.
    """
    found = [run for run in list_runs(home) if run.file and run.file.cell == cell_key]
    return min(found, key=lambda run: len(run.run_id), default=None)


def is_resumable(run: Run) -> bool:
    """Whether a run is a cell's, so that `driving resume` can go on with it."""
    return run.algorithm != EXTERNAL and not (run.file and run.file.cell.startswith(TRIAL_OF_SWEEP))


def going_on(run: Run) -> str:
    """Return the command that goes on with a run."""
    if is_resumable(run):
        return f"nightshift driving resume {run.run_id}"
    if run.algorithm == EXTERNAL:
        return f"nightshift train mlagents --env ENVIRONMENT --run-id {run.run_id} --resume"
    return f"nightshift driving sweep {run.algorithm} --name {run.run_id.rpartition('_t')[0]} --trials N"


def refuse_taken(home: Home, run_id: str) -> None:
    """See that a run id is nobody's.

    Raises:
        UsageError: when it is taken, or is none.
    """
    found = _read(home, run_id, rows=False)
    if found is None:
        return
    status, file = found.status, found.file
    told = f"{found.algorithm}{f' on {file.subject}' if file else ''}, {found.standing}"
    if status is not None and status.total_steps:
        told += f" at step {status.step:,} of {status.total_steps:,}"
    raise UsageError(
        f"run '{run_id}' exists ({told}); nothing of it is overwritten.",
        hint=f"Choose another --run-id, or go on with it: {going_on(found)}.",
    )


def view(run: Run) -> RunView:
    """Return a run as it is shown."""
    status = run.status
    latest = (run.rows[-1] if run.rows else None) or (status.latest if status else None)
    subject = run.file.subject if run.file else status.subject if status else ""
    shown = RunView(
        run_id=run.run_id,
        algorithm=run.algorithm,
        subject=subject,
        state=run.standing,
        started_at=run.file.started_at if run.file else "",
        cell=run.file.cell if run.file else "",
    )
    if latest is not None:
        figures = {"reward": latest.mean_reward, "collision": latest.collision, "progress": latest.progress}
        shown = shown.model_copy(update={**figures, "loss": latest.loss, "step": latest.step})
    if status is None:
        return shown
    known = ("worker", "host", "device", "total_steps", "best_score", "best_step", "updated_at", "error")
    update: dict[str, object] = {name: getattr(status, name) for name in known}
    update["step"] = max(status.step, shown.step)
    if run.active:
        live = ("pid", "steps_per_s", "eta_s", "memory_mb", "gpu_memory_mb")
        update |= {name: _finite(getattr(status, name)) for name in live}
        update["cpu_pct"] = _cpu_pct(status.pid) if run.here else None
    return shown.model_copy(update=update)


def checkpoints(home: Home, run: Run) -> tuple[CheckpointView, ...]:
    """Return the checkpoint files of a run, oldest first."""
    folder = RunFolder(home, run.run_id).checkpoints
    files = sorted((p for p in folder.glob("*.pt") if p.is_file()), key=lambda p: (p.stat().st_mtime_ns, p.name))
    return tuple(_checkpoint(run, path) for path in files)


def log_of(home: Home, run_id: str) -> Path:
    """Return where a run's log lies."""
    return RunFolder(home, run_id).logs / LOG_FILE


def standing_of(status: RunStatus, *, now: datetime, alive: bool | None) -> Standing:
    """Return what a run's last word comes to.

    Args:
        status: its last word.
        now: with a time zone.
        alive: whether its process is there; None where that cannot be seen from here.
    """
    if status.state not in ("running", "stopping"):
        return status.state
    if alive is False:
        return "gone"
    quiet = (now - _moment(status.updated_at)).total_seconds() > SILENT_S
    if not quiet:
        return status.state
    return "gone" if alive is None else "silent"


def iso(seconds: float) -> str:
    """Return a time since the epoch as ISO 8601, UTC, to the second."""
    return stamp(seconds, "seconds")


def series(rows: Sequence[MetricsRow], name: str) -> list[tuple[int, float]]:
    """Return (step, value) of a figure, of `more` too, where it is known."""
    own = name in MetricsRow.model_fields
    found = [(row.step, getattr(row, name) if own else row.more.get(name)) for row in rows]
    return [(step, value) for step, value in found if value is not None]


def _read(home: Home, run_id: str, *, rows: bool) -> Run | None:
    folder = RunFolder(home, run_id)
    file = _parsed(RunFile, folder.checkpoints / RUN_FILE)
    status = _parsed(RunStatus, folder.logs / STATUS_FILE)
    if file is None and status is None:
        return None
    here = status is None or status.host == socket.gethostname()
    standing: Standing = "gone"
    if status is not None:
        standing = standing_of(
            status, now=datetime.now(UTC), alive=is_alive(status.pid, _moment(status.updated_at)) if here else None
        )
    told = tuple(read_metrics(folder.logs / METRICS_FILE)) if rows else ()
    return Run(run_id=run_id, file=file, status=status, standing=standing, here=here, rows=told)


def _parsed(kind: type[Model], path: Path) -> Model | None:
    with suppress(OSError, ValidationError):
        return kind.model_validate_json(path.read_bytes())
    return None


def is_alive(pid: int, told: datetime) -> bool:
    """Whether a process of this machine is at work that was there at some moment: another may have its number now."""
    return study.is_alive(pid, told, _SLACK_S)


def _cpu_pct(pid: int) -> float | None:
    import psutil

    try:
        return float(psutil.Process(pid).cpu_percent(interval=0.1))
    except psutil.Error:
        return None


def _checkpoint(run: Run, path: Path) -> CheckpointView:
    digits = "".join(c for c in path.stem.rpartition("_")[2] if c.isdigit())
    step = int(digits) if digits else None
    note, status = "", run.status
    if path.stem == "best" and status is not None and status.best_score is not None:
        note, step = f"score {status.best_score:.3f} on validation", status.best_step
    stat = path.stat()
    return CheckpointView(name=path.name, step=step, size_bytes=stat.st_size, written_at=iso(stat.st_mtime), note=note)


def last_told(run: Run) -> datetime:
    """Return when a run last told of itself, or was begun; long ago where neither is known."""
    return _moment(_told_at(run))


def _told_at(run: Run) -> str:
    return (run.status.updated_at if run.status else "") or (run.file.started_at if run.file else "")


def _moment(text: str) -> datetime:
    """Return an ISO 8601 time; long ago where there is none."""
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.fromtimestamp(0, UTC)


def _folders(root: Path) -> list[Path]:
    return [p for p in root.iterdir() if p.is_dir() and p.name[0] != "."] if root.is_dir() else []


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else None
