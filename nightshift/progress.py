"""Progress of long work: one event type, any number of sinks."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

Sink = Callable[["ProgressEvent"], None]


@dataclass(frozen=True)
class ProgressEvent:
    """One step of one cell's work.

    Attributes:
        cell: the cell's key, or "" for work outside a cell.
        stage: `load`, `validate`, `train`, `evaluate`, `export`, `register` or `report`.
        step: steps done, 0 to `total`.
        total: steps in all; 0 when unknown.
        metrics: figures worth showing now, by name.
        message: one line for a person.
        at: seconds since the epoch, UTC.
        epoch: number of the epoch of training that has ended with this event, whose message is a line of its own and
            whose metrics are logged at this step; such an event is never left out. 0 for all others.
        line: whether the message is a line of its own without an epoch's figures; never left out either.
    """

    cell: str
    stage: str
    step: float = 0.0
    total: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    message: str = ""
    at: float = field(default_factory=time.time)
    epoch: int = 0
    line: bool = False

    @property
    def spoken(self) -> bool:
        """Whether the message is a line of its own, for people."""
        return self.line or bool(self.epoch)

    def to_json(self) -> str:
        """One line of JSON; the time as ISO 8601 with Z."""
        record = asdict(self)
        record["at"] = datetime.fromtimestamp(self.at, UTC).isoformat().replace("+00:00", "Z")
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: when the line is not such a record.
        """
        record = json.loads(line)
        record["at"] = datetime.fromisoformat(record["at"]).timestamp()
        return cls(**record)


class FileSink:
    """Appends events to `progress.jsonl`, which status commands and the page read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, event: ProgressEvent) -> None:
        """Append one line; a single small write is atomic under O_APPEND."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, (event.to_json() + "\n").encode())
        finally:
            os.close(fd)


class Throttle:
    """Passes at most one event per interval and stage, and always the last step of a stage and every epoch."""

    def __init__(self, sink: Sink, interval_s: float = 1.0) -> None:
        self.sink = sink
        self.interval_s = interval_s
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: ProgressEvent) -> None:
        """Forward the event unless one of the same stage went out a moment ago."""
        now = time.monotonic()
        with self._lock:
            due = now - self._last.get(event.stage, float("-inf")) >= self.interval_s
            if not due and not event.spoken and not (event.total and event.step >= event.total):
                return
            self._last[event.stage] = now
        self.sink(event)


def fan_out(*sinks: Sink) -> Sink:
    """Return a sink that hands each event to all of `sinks`."""

    def send(event: ProgressEvent) -> None:
        for sink in sinks:
            sink(event)

    return send


def read_events(path: Path) -> Iterator[ProgressEvent]:
    """Yield the events of a progress file; a torn last line is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield ProgressEvent.from_json(line)
        except (ValueError, TypeError, KeyError):
            continue


class Tail:
    """What is appended to a progress file; one that was set aside begins anew.

    Args:
        path: the file, which need not be there yet.
        earlier: so many bytes of what it holds already count; 0 for only what follows.
    """

    def __init__(self, path: Path, *, earlier: int = 0) -> None:
        self._path = path
        self._offset = max(0, path.stat().st_size - earlier) if path.exists() else 0

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


#: Where each stage of a chain begins, percent of the whole. Of a cell's, training is most; of a synthesis's, fitting
#: the generators and judging what they make.
_CHAINS: tuple[dict[str, float], ...] = (
    {
        "load": 0.0,
        "validate": 2.0,
        "train": 6.0,
        "evaluate": 70.0,
        "export": 82.0,
        "register": 92.0,
        "report": 97.0,
    },
    {"profile": 0.0, "physics": 1.0, "generate": 4.0, "quality": 60.0, "land": 97.0},
)


def percent_of(event: ProgressEvent) -> float:
    """Return the progress of the whole chain that the event's stage belongs to, 0 to 100."""
    begins = next((chain for chain in _CHAINS if event.stage in chain), {event.stage: 0.0})
    later = [begin for begin in begins.values() if begin > begins[event.stage]]
    share = min(1.0, max(0.0, event.step / event.total)) if event.total else 0.0
    return begins[event.stage] + (min(later, default=100.0) - begins[event.stage]) * share


def described(event: ProgressEvent) -> str:
    """Return an event as text: step, message, figures; a line of its own has them."""
    if event.spoken:
        return event.message
    step = f"{event.step:g}/{event.total:g}" if event.total else ""
    figures = " ".join(f"{name}={value:.4g}" for name, value in event.metrics.items())
    return " ".join(part for part in (step, event.message, figures) if part)
