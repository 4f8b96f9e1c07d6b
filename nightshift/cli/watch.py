"""Shows how far cells are, from the progress files that they write: one bar per cell, or plain lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nightshift.cli.show import styled
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, work_folder
from nightshift.progress import ProgressEvent
from nightshift.settings import Home

if TYPE_CHECKING:
    from rich.progress import Progress

_POLL_S = 0.25
#: Plain lines of one stage are at least this far apart.
_PLAIN_S = 10.0


class Viewer(Protocol):
    """Takes the events of all watched cells."""

    def show(self, cell: Cell, event: ProgressEvent) -> None:
        """Show one event."""


class PlainView:
    """Lines for a log: one when a stage begins, and one now and then within it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}

    def show(self, cell: Cell, event: ProgressEvent) -> None:
        """Print an event unless one of the same stage was printed a moment ago."""
        stage, at = self._last.get(cell.key, ("", 0.0))
        if stage == event.stage and (event.at - at < _PLAIN_S or event.message.startswith(f"{stage} ")):
            return
        self._last[cell.key] = (event.stage, event.at)
        begins = stage != event.stage
        print(f"{cell.family:<14} {event.stage:<9} {'' if begins else described(event)}".rstrip(), flush=True)


class BarView:
    """One Rich bar per cell over the whole chain."""

    def __init__(self, progress: Progress, cells: Sequence[Cell]) -> None:
        self._progress = progress
        self._bars = {
            c.key: progress.add_task(c.family, total=100.0, stage="waiting", note="", start=False) for c in cells
        }

    def show(self, cell: Cell, event: ProgressEvent) -> None:
        """Move the cell's bar."""
        from tasks.artifacts import percent_of

        bar = self._bars[cell.key]
        self._progress.start_task(bar)
        note = "" if event.message.startswith(cell.name) else described(event)
        self._progress.update(bar, completed=percent_of(event), stage=event.stage, note=note[:60])
        if event.stage == STAGES[-1] and event.total and event.step >= event.total:
            self._progress.update(bar, completed=100.0, stage="done", note="")
            self._progress.stop_task(bar)


def described(event: ProgressEvent) -> str:
    """Return an event as text: step, message, figures."""
    step = f"{event.step:g}/{event.total:g}" if event.total else ""
    figures = " ".join(f"{name}={value:.4g}" for name, value in event.metrics.items())
    return " ".join(part for part in (step, event.message, figures) if part)


@contextmanager
def watched(home: Home, cells: Sequence[Cell]) -> Iterator[None]:
    """Show the progress of some cells while the body runs them."""
    with _viewer(cells) as viewer:
        tails = {cell.key: _Tail(work_folder(home, cell.key) / "progress.jsonl") for cell in cells}
        done = threading.Event()

        def follow() -> None:
            while not done.wait(_POLL_S):
                _pass_on(cells, tails, viewer)

        thread = threading.Thread(target=follow, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            _pass_on(cells, tails, viewer)


def _pass_on(cells: Sequence[Cell], tails: Mapping[str, _Tail], viewer: Viewer) -> None:
    for cell in cells:
        for event in tails[cell.key].fresh():
            viewer.show(cell, event)


@contextmanager
def _viewer(cells: Sequence[Cell]) -> Iterator[Viewer]:
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
        yield BarView(progress, cells)


class _Tail:
    """What is appended to a progress file from now on; a file that was set aside begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def fresh(self) -> Iterator[ProgressEvent]:
        """Yield the events of whole lines that are new."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                content = file.read()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            try:
                yield ProgressEvent.from_json(line)
            except (ValueError, TypeError, KeyError):
                continue
