"""Shows a training's progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from nightshift.errors import UsageError
from nightshift.progress import ProgressEvent, Sink

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds between lines where there is no bar.
INTERVAL_S = 10.0
_JOBS = "train"


def sink_for(progress: Any = "auto", stream: TextIO | None = None) -> Sink:
    """Return what shows progress: a bar where `stream` is a terminal, else lines.

    Args:
        progress: "auto" or True.
        stream: None: standard error.

    Raises:
        UsageError: for anything else.
    """
    if progress not in ("auto", True):
        raise UsageError(f"progress: expected 'auto', True, False or a function of events, got {progress!r}.")
    stream = stream or sys.stderr
    terminal = stream.isatty() and os.environ.get("TERM", "") != "dumb"
    return Bar(stream) if terminal else Lines(stream)


def words(event: ProgressEvent) -> str:
    """Return an event as text: step, message, figures; a job that ended has its figure in the message."""
    if event.spoken:
        return event.message
    step = f"{event.step:g}/{event.total:g}" if event.total else f"{event.step:g}" if event.step else ""
    if event.stage == _JOBS:
        return " ".join(part for part in (step, event.message) if part)
    figures = " ".join(f"{name}={value:.4g}" for name, value in event.metrics.items())
    return " ".join(part for part in (event.stage, step, event.message, figures) if part)


class Lines:
    """Prints a line every `interval_s` at most; what is spoken, and the end of the last job, always."""

    def __init__(self, stream: TextIO, interval_s: float = INTERVAL_S) -> None:
        self.stream = stream
        self.interval_s = interval_s
        self._last = time.monotonic()

    def __call__(self, event: ProgressEvent) -> None:
        """Print the event unless a line went out a moment ago."""
        now = time.monotonic()
        ended = event.stage == _JOBS and event.total and event.step >= event.total
        if not (event.spoken or ended or now - self._last >= self.interval_s):
            return
        self._last = now
        print(words(event), file=self.stream, flush=True)


class Bar:
    """A Rich bar of the jobs, and one of the rounds of the job at work; `close` ends them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._closed = False
        self._progress: Progress | None = None
        self._jobs: TaskID | None = None
        self._rounds: TaskID | None = None

    def __call__(self, event: ProgressEvent) -> None:
        """Move the bars; what is spoken stands above them, and alone once they have ended."""
        if self._closed:
            if event.spoken:
                print(event.message, file=self._stream, flush=True)
            return
        progress, jobs, rounds = self._begun()
        if event.spoken:
            progress.console.print(event.message, markup=False, highlight=False, soft_wrap=True)
        elif event.stage == _JOBS:
            progress.update(jobs, completed=event.step, total=event.total or None, note=event.message)
            progress.update(rounds, visible=False)
        else:
            note = words(event).removeprefix(f"{event.stage} ")
            told: dict[str, Any] = {"completed": event.step, "total": event.total or None}
            progress.update(rounds, description=event.stage, note=note, visible=True, **told)

    def close(self) -> None:
        """End the bars and give the terminal back; nothing happens where none began, or the second time."""
        self._closed = True
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _begun(self) -> tuple[Progress, TaskID, TaskID]:
        if self._progress is None or self._jobs is None or self._rounds is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description:<12}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(file=self._stream),
                refresh_per_second=4,
            )
            self._jobs = self._progress.add_task("training", total=None, note="")
            self._rounds = self._progress.add_task("", total=None, note="", visible=False)
            self._progress.start()
        return self._progress, self._jobs, self._rounds
