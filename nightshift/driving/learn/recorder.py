"""What a run writes as it goes: `run.json`, `train.log`, `metrics.jsonl`, `status.json`, TensorBoard's events.

See `driving/runs.py` for where. The same figures go to whoever trains it (`tell`), and so to MLflow.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nightshift.driving.runs import MetricsRow, RunFile, RunFolder, RunStatus, State, stamp
from nightshift.errors import InterruptedTraining, NightshiftError, UsageError, first_line
from nightshift.files import write_atomic, write_first
from nightshift.settings import WORKER_VARIABLE

#: (number of the row, rows in all, a line for people, figures by name) as `RunContext.epoch` takes them.
Tell = Callable[[int, int, str, Mapping[str, float]], None]

RUN_FILE, METRICS_FILE, STATUS_FILE, LOG_FILE = "run.json", "metrics.jsonl", "status.json", "train.log"
#: `status.json` is renewed this far apart.
EVERY_S = 2.0
#: Columns of a row that have a place of their own; everything else is its `more`.
FIGURES = ("mean_reward", "collision", "progress", "loss", "score")
#: Those of validation that are told in words, beside the drivers by rule; `metrics.jsonl` has them as `val_…`.
_JUDGED = ("score", "collision", "progress", "comfort")
#: Speed is measured over so many rows.
_SPEED_ROWS = 10
_MEGABYTE = 1e6


def now() -> str:
    """Return the time as `metrics.jsonl` has it."""
    return stamp()


def claim(folder: RunFolder, run: RunFile, marker: Path) -> bool:
    """Make a run's folder one's own, by its `run.json`; nothing of another run is touched.

    Args:
        folder: of the run.
        run: what it is.
        marker: a file in the folder that the training keeps when it is interrupted (`RunContext.checkpoints`): says
            that the run of this id is this very training's.

    Returns:
        Whether it was begun before, and goes on.

    Raises:
        UsageError: when a run of this id exists.
    """
    place = folder.checkpoints / RUN_FILE
    # A marker alone says little: killed before the link, the run of this id may have become another's meanwhile.
    begun = marker.is_file() and marker.read_text(encoding="utf-8") == run.run_id and not _is_others(place, run)
    if not begun:
        if place.exists():
            raise _exists(run.run_id, place)
        write_atomic(marker, run.run_id.encode())
    if write_first(place, run.model_dump_json(indent=1).encode()):
        return False
    if begun and not _is_others(place, run):
        return True
    marker.unlink(missing_ok=True)
    raise _exists(run.run_id, place)


def _is_others(place: Path, run: RunFile) -> bool:
    """Whether a `run.json` says that the run of this id is another cell's."""
    with suppress(OSError, ValueError):
        return RunFile.model_validate_json(place.read_bytes()).cell != run.cell
    return False


def _exists(run_id: str, place: Path) -> UsageError:
    told = ""
    with suppress(OSError, ValueError):
        held = RunFile.model_validate_json(place.read_bytes())
        told = f": {held.algorithm} on {held.subject}, begun {held.started_at}"
    return UsageError(
        f"a run '{run_id}' exists{told}.",
        hint="Choose another --run-id, or go on with it by `nightshift driving resume`.",
    )


def free_id(folder: RunFolder, marker: Path | None = None) -> RunFolder:
    """Return the folder itself, or the first `<id>-2`, `<id>-3` … that is nobody's; a marked run keeps its id."""
    if marker is not None and marker.is_file():
        return RunFolder(folder.home, marker.read_text(encoding="utf-8"))
    ids = (folder.run_id if n == 1 else f"{folder.run_id}-{n}" for n in range(1, 10_000))
    places = (RunFolder(folder.home, run_id) for run_id in ids)
    return next(place for place in places if not (place.checkpoints / RUN_FILE).exists())


class RunRecorder:
    """Holds for one training, as a context; says at its end whether the run was completed, stopped or failed.

    Attributes:
        status: as `status.json` has it.
        total_rows: that there will be of `metrics.jsonl`, about.
        rivals: driver by rule -> measure -> its mean on validation; told beside the policy's at each evaluation.
    """

    def __init__(
        self,
        folder: RunFolder,
        run: RunFile,
        *,
        total_steps: int,
        total_rows: int = 0,
        device: str = "cpu",
        tell: Tell | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        """Remember what to write where.

        Args:
            folder: of the run.
            run: that was claimed (see `claim`).
            total_steps: asked for.
            total_rows: that there will be of `metrics.jsonl`, 0 where that is not known.
            device: `cpu` or `cuda`.
            tell: told of each row.
            every_s: between renewals of `status.json`.
        """
        self.folder, self.run = folder, run
        self._tell, self.total_rows, self._every_s = tell, total_rows, every_s
        self.rivals: Mapping[str, Mapping[str, float]] = {}
        self._rows = 0
        self._times: list[tuple[float, int]] = []
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="run-status", daemon=True)
        self._events: Any = None
        self.status = RunStatus(
            run_id=run.run_id,
            algorithm=run.algorithm,
            subject=run.subject,
            state="running",
            pid=os.getpid(),
            host=socket.gethostname(),
            worker=os.environ.get(WORKER_VARIABLE, ""),
            device=device,
            total_steps=total_steps,
        )

    def __enter__(self) -> Self:
        self.folder.logs.mkdir(parents=True, exist_ok=True)
        self._write_status()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files; the last word of `status.json` is how it ended."""
        self._closing.set()
        self._thread.join()
        state: State = "completed"
        if error is not None:
            state = "stopped" if isinstance(error, InterruptedTraining | KeyboardInterrupt) else "failed"
            self.say(f"{state}: {first_line(error)}")
            self.status.error = "" if state == "stopped" else _told(error)
        else:
            self.say("completed")
        self.status.state, self.status.eta_s = state, None
        self._write_status()
        if self._events is not None:
            self._events.close()

    def go_on(self, step: int, rows: int) -> None:
        """Forget what was written after the checkpoint at `step`, the `rows`th row; it will be written again.

        Without a checkpoint both are 0.
        """
        path = self.folder.logs / METRICS_FILE
        if not rows and not path.exists():
            return
        kept = [row for row in read_metrics(path) if row.step <= step][:rows]
        write_atomic(path, b"".join(metrics_line(row) for row in kept))
        self._rows = rows
        self.status.step = step
        if kept:
            self.status.latest = kept[-1]
        # TensorBoard reads files of one second in no order of time: one file tells the whole run, from its rows.
        for stale in self.folder.logs.glob("events.out.tfevents.*"):
            stale.unlink()
        for row in kept:
            self._show(row)
        self.say(f"goes on from the checkpoint at step {step:,}" if rows else "begins anew: it left no checkpoint")

    def say(self, text: str) -> None:
        """Write a line into `train.log`."""
        with (self.folder.logs / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{now()} {text}\n")

    def row(self, step: int, figures: Mapping[str, float | None]) -> MetricsRow:
        """Write one row of figures everywhere: those of `FIGURES` by name, all others as its `more`.

        A figure that is None or no finite number is left out.
        """
        told = {name: float(value) for name, value in figures.items() if value is not None and math.isfinite(value)}
        named = {name: told.pop(name) for name in FIGURES if name in told}
        speed = self._speed(step)
        if speed is not None:
            told.setdefault("steps_per_s", speed)
        row = MetricsRow(step=step, at=now(), **named, more=told)
        with (self.folder.logs / METRICS_FILE).open("ab") as file:
            file.write(metrics_line(row))
        self._show(row)
        self._rows += 1
        line = self._sentence(row)
        self.say(line)
        with self._lock:
            self.status.step, self.status.latest = step, row
            self.status.steps_per_s = speed
            left = self.status.total_steps - step
            self.status.eta_s = left / speed if speed else None
        if self._tell is not None:
            self._tell(self._rows, max(self.total_rows, self._rows), line, {"step": float(step), **named, **told})
        return row

    def best(self, score: float, step: int) -> None:
        """Note the score of `best.pt`."""
        with self._lock:
            self.status.best_score, self.status.best_step = score, step

    def picture(self, path: Path) -> None:
        """Note an animated episode that was drawn."""
        self.say(f"picture: {path.name}")

    def _sentence(self, row: MetricsRow) -> str:
        """Return a row for people: what is of training, with exploration, and what is of validation, without."""
        parts = [f"step {row.step:,}/{self.status.total_steps:,}"]
        trained = [_worded(name, getattr(row, name)) for name in FIGURES if name != "score"]
        if any(trained):
            parts.append("training: " + ", ".join(word for word in trained if word))
        if row.score is not None:
            judged = {"score": row.score, **{n: row.more[f"val_{n}"] for n in _JUDGED if f"val_{n}" in row.more}}
            beside = "; ".join(f"{who}: {shares(of_it)}" for who, of_it in self.rivals.items())
            parts.append(f"validation: {shares(judged)}{f' ({beside})' if beside else ''}")
        if speed := row.more.get("steps_per_s"):
            parts.append(f"{speed:,.0f} steps/s")
        return "; ".join(parts)

    def _speed(self, step: int) -> float | None:
        """Return steps a second over the last rows of this process; None at the first."""
        self._times = [*self._times[-_SPEED_ROWS:], (time.monotonic(), step)]
        (began, first), (ended, last) = self._times[0], self._times[-1]
        return (last - first) / (ended - began) if last > first and ended > began else None

    def _show(self, row: MetricsRow) -> None:
        """Hand a row to TensorBoard, at once."""
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.folder.logs))
        values = {name: getattr(row, name) for name in FIGURES}
        for name, value in {**values, **row.more}.items():
            if value is not None:
                self._events.add_scalar(name, value, row.step)
        self._events.flush()

    def _renew(self) -> None:
        while not self._closing.wait(self._every_s):
            # A full disk stops the training where it writes its checkpoint, with a word for people; not here.
            with suppress(OSError):
                self._write_status()

    def _write_status(self) -> None:
        with self._lock:
            self.status.updated_at = now()
            self.status.memory_mb, self.status.gpu_memory_mb = _memory_mb(self.status.device)
            write_atomic(self.folder.logs / STATUS_FILE, self.status.model_dump_json(indent=1).encode())


def read_metrics(path: Path) -> list[MetricsRow]:
    """Return the rows of a `metrics.jsonl`; a torn last line is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        with suppress(ValueError):
            found.append(MetricsRow.model_validate_json(line))
    return found


def shares(measures: Mapping[str, float]) -> str:
    """Return score, collision, progress and comfort in words, those of them that are there."""
    return ", ".join(_worded(name, measures.get(name)) for name in _JUDGED if name in measures)


def _worded(name: str, value: float | None) -> str:
    """Return a figure with its name; "" where it is None."""
    if value is None:
        return ""
    share = name in ("collision", "progress", "comfort")
    return f"{name.replace('_', ' ')} {value:.1%}" if share else f"{name.replace('_', ' ')} {value:.4g}"


def metrics_line(row: MetricsRow) -> bytes:
    """Return a row as its line of `metrics.jsonl`."""
    return row.model_dump_json(exclude_none=True).encode() + b"\n"


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, NightshiftError) else f"{type(error).__name__}: {first_line(error)}"


def _memory_mb(device: str) -> tuple[float, float | None]:
    """Return what this process holds of the memory, and of the GPU's."""
    import psutil

    held = psutil.Process().memory_info().rss / _MEGABYTE
    if device != "cuda":
        return held, None
    import torch

    return held, torch.cuda.memory_reserved() / _MEGABYTE
