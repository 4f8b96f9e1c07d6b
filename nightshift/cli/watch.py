"""Shows how far jobs are, from the progress files that they write: one bar per job, or plain lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.cli.show import styled
from nightshift.plan.records import PROGRESS, STAGES, Job, work_folder
from nightshift.plan.synthesis import STAGES as SYNTHESIS_STAGES
from nightshift.progress import ProgressEvent, Tail, described, percent_of
from nightshift.settings import Home

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_POLL_S = 0.25
#: Plain lines of one stage are at least this far apart.
_PLAIN_S = 10.0


_LAST = (STAGES[-1], SYNTHESIS_STAGES[-1])
#: An estimate of what is left stands on so much of the work and of the time.
_ESTIMATE_PERCENT, _ESTIMATE_S = 15.0, 3.0


class Viewer(Protocol):
    """Takes the events of all watched jobs."""

    def expect(self, job: Job) -> None:
        """Make room for a job that follows."""

    def show(self, job: Job, event: ProgressEvent) -> None:
        """Show one event."""


class Estimate:
    """What is left of a synthesis, whose stages' shares of the whole are known well enough; of a cell they are not."""

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, float]] = {}

    def left(self, event: ProgressEvent) -> str:
        """Return `about 1:20 left`; "" while nothing can be said."""
        if event.stage not in SYNTHESIS_STAGES:
            return ""
        percent = percent_of(event)
        # What had ended before this run began took none of its time.
        began_at, began = self._began.setdefault(event.cell, (event.at, percent))
        done, took = percent - began, event.at - began_at
        if done < _ESTIMATE_PERCENT or took < _ESTIMATE_S or percent >= 100:
            return ""
        left_s = round(took / done * (100 - percent))
        return f"about {left_s // 60}:{left_s % 60:02d} left"


class PlainView:
    """Lines for a log: one when a stage begins, one for each epoch, and one now and then within the rest."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}
        self._clock = Estimate()

    def expect(self, job: Job) -> None:
        """Nothing: lines come as they come."""

    def show(self, job: Job, event: ProgressEvent) -> None:
        """Print an event unless one of the same stage was printed a moment ago."""
        if event.spoken:
            print(f"{job.label:<14} {event.message}", flush=True)
            return
        left = self._clock.left(event)
        stage, at = self._last.get(job.key, ("", 0.0))
        if stage == event.stage and (event.at - at < _PLAIN_S or event.message.startswith(f"{stage} ")):
            return
        self._last[job.key] = (event.stage, event.at)
        begins = stage != event.stage
        note = "" if begins else " ".join(part for part in (described(event), left) if part)
        print(f"{job.label:<14} {event.stage:<9} {note}".rstrip(), flush=True)


class BarView:
    """One Rich bar per job over the whole chain, and a line for each epoch above them."""

    def __init__(self, progress: Progress, jobs: Sequence[Job]) -> None:
        self._progress = progress
        self._clock = Estimate()
        self._bars: dict[str, TaskID] = {}
        for job in jobs:
            self.expect(job)

    def expect(self, job: Job) -> None:
        """Add the job's bar."""
        self._bars[job.key] = self._progress.add_task(job.label, total=100.0, stage="waiting", note="", start=False)

    def show(self, job: Job, event: ProgressEvent) -> None:
        """Move the job's bar."""
        bar = self._bars[job.key]
        self._progress.start_task(bar)
        if event.spoken:
            self._progress.console.print(f"{job.label:<14} {event.message}", markup=False, highlight=False)
        text = "" if event.message.startswith(job.name) else described(event)
        note = " ".join(part for part in (self._clock.left(event), text) if part)
        self._progress.update(bar, completed=percent_of(event), stage=event.stage, note=note[:60])
        if event.stage in _LAST and event.total and event.step >= event.total:
            self._progress.update(bar, completed=100.0, stage="done", note="")
            self._progress.stop_task(bar)


@contextmanager
def watched(home: Home, jobs: Sequence[Job], later: Callable[[], Sequence[Job]] = tuple) -> Iterator[None]:
    """Show the progress of some jobs while the body runs them.

    Args:
        home: where they are recorded.
        jobs: known from the start.
        later: returns jobs that can be known only once earlier ones have ended, nothing before.
    """
    with _viewer(jobs) as viewer:
        tails = {job.key: Tail(work_folder(home, job.key) / PROGRESS) for job in jobs}
        jobs, done = list(jobs), threading.Event()

        def follow() -> None:
            while not done.wait(_POLL_S):
                for job in later():
                    if job.key not in tails:
                        tails[job.key] = Tail(work_folder(home, job.key) / PROGRESS)
                        jobs.append(job)
                        viewer.expect(job)
                _pass_on(jobs, tails, viewer)

        thread = threading.Thread(target=follow, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            _pass_on(jobs, tails, viewer)


def _pass_on(jobs: Sequence[Job], tails: Mapping[str, Tail], viewer: Viewer) -> None:
    for job in jobs:
        for event in tails[job.key].fresh():
            viewer.show(job, event)


@contextmanager
def _viewer(jobs: Sequence[Job]) -> Iterator[Viewer]:
    if not styled(sys.stdout):
        yield PlainView()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stage]:<9}"),
        TextColumn("{task.fields[note]}", markup=False),
    ]
    with Progress(*columns, refresh_per_second=4) as progress:
        yield BarView(progress, jobs)
