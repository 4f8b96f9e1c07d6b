"""What a run shows in the Prefect UI: the metrics table, the findings, and one progress bar per cell."""

from __future__ import annotations

import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, Self, cast

from nightshift.findings import Finding
from nightshift.plan.cell import Cell
from nightshift.plan.records import PROGRESS, Job, work_folder
from nightshift.plan.shown import line_of
from nightshift.progress import ProgressEvent, Tail, percent_of
from nightshift.settings import Home
from nightshift.tracking.text import number

if TYPE_CHECKING:
    from uuid import UUID

    from nightshift.plan.outcome import CellOutcome
    from nightshift.problems.evaluation import Evaluation

logger = logging.getLogger("nightshift")
P = ParamSpec("P")

#: A batch's bar is sent so often, seconds: as many as a night has send at the same time.
_BATCH_S = 2.0
_IDLE_S = 5.0
_EARLIER_BYTES = 200_000


def never_fatal(show: Callable[P, None]) -> Callable[P, None]:
    """A picture that cannot be shown never costs a training: a failure is logged and left."""

    @wraps(show)
    def shown(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except Exception as error:
            logger.warning("Prefect did not take an artifact: %s: %s", type(error).__name__, error)

    return shown


def key_of(*words: str) -> str:
    """Return an artifact key: Prefect allows lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


@never_fatal
def show_metrics(cell: Cell, evaluation: Evaluation) -> None:
    """Show the model beside its baselines and members, on every part."""
    from prefect.artifacts import create_table_artifact

    names = list(dict.fromkeys(name for row in evaluation.rows for name in row.metrics))
    table = [
        {"who": row.who, "kind": row.kind, "part": row.part}
        | {name: _rounded(row.metrics.get(name)) for name in names if name in row.metrics}
        for row in evaluation.rows
    ]
    direction = "higher" if evaluation.higher_is_better else "lower"
    note = f"{cell.name}: judged by `{evaluation.primary}` on {evaluation.headline_part}, {direction} is better."
    create_table_artifact(table, key=key_of(cell.name, "metrics"), description=note)


@never_fatal
def show_findings(job: Job, stage: str, findings: Iterable[Finding]) -> None:
    """Show a stage's findings, the gravest first; nothing when there are none."""
    _show_findings(job.name, stage, findings)


@never_fatal
def show_findings_of(subject: str, task: str, findings: Iterable[Finding]) -> None:
    """Show findings that belong to a subject and not to one cell."""
    _show_findings(subject, task, findings)


def _show_findings(name: str, stage: str, findings: Iterable[Finding]) -> None:
    from prefect.artifacts import create_table_artifact

    order = ("blocker", "warning", "tip")
    rows = [
        {
            "code": f.code,
            "severity": str(f.severity),
            "what": f.what,
            "why": f.why,
            "what to do": f.remedy,
            "mute": f.mute,
        }
        for f in sorted(findings, key=lambda f: order.index(str(f.severity)))
    ]
    if rows:
        create_table_artifact(rows, key=key_of(name, stage, "findings"), description=f"{name}: findings of {stage}")


@never_fatal
def show_outcomes(title: str, key: str, cells: Iterable[CellOutcome]) -> None:
    """Show how cells ended as one markdown table."""
    from prefect.artifacts import create_markdown_artifact

    lines = [
        f"# {title}",
        "",
        "| family | target | ended | metric | value | best baseline | version | why |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        why = " ".join(f"{cell.reason} {cell.hint}".replace("|", "/").split())
        version = f"v{cell.version}" if cell.version else "-"
        figures = f"{cell.metric or '-'} | {number(cell.value)} | {number(cell.baseline)}"
        lines.append(f"| {cell.family} | {cell.target} | **{cell.ending}** | {figures} | {version} | {why or '-'} |")
    create_markdown_artifact("\n".join(lines), key=key_of(key), description=title)


class Bar(ABC):
    """A progress artifact that is kept up to date, at most once in so many seconds, from a thread of its own.

    A server that is slow to answer would otherwise hold up the training at every event. Beside the percentage stands
    what is done now: a line to each job (`plan.shown`).
    """

    def __init__(self, name: str, interval_s: float) -> None:
        self.name = name
        self.interval_s = interval_s
        self._artifact: UUID | None = None
        self._sent: tuple[float, str] = (0.0, "")
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress-artifact", daemon=True)

    @abstractmethod
    def now(self) -> tuple[float, str]:
        """Return percent, and the lines of what is done now, "" for none."""

    def __enter__(self) -> Self:
        self._create()
        if self._artifact is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    @never_fatal
    def _create(self) -> None:
        from prefect.artifacts import create_progress_artifact

        self._artifact = cast("UUID", create_progress_artifact(0.0, key_of(self.name, "progress"), self.name))

    def _run(self) -> None:
        while not self._closing.is_set():
            # Cells of a Dask cluster end, and tell nothing before.
            self._changed.wait(_IDLE_S)
            self._changed.clear()
            self._send()
            self._closing.wait(self.interval_s)
        self._send()

    @never_fatal
    def _send(self) -> None:
        from prefect.artifacts import update_progress_artifact

        percent, lines = self.now()
        told = (round(percent, 1), lines)
        if self._artifact is not None and told != self._sent:
            update_progress_artifact(self._artifact, told[0], lines or self.name)
            self._sent = told


class ProgressBar(Bar):
    """A sink that shows the progress of one job."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.name, interval_s=1.0)
        self._now = (0.0, "")

    def now(self) -> tuple[float, str]:
        """Return what the newest event has told."""
        return self._now

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event; only the newest is sent."""
        self._now = (percent_of(event), line_of(self.name, event))
        self._changed.set()

    def done(self) -> None:
        """The chain has ended well."""
        self._now = (100.0, self._now[1])
        self._changed.set()


class BatchBar(Bar):
    """Shows the progress of a batch: the mean of its cells, and a line to each that is at work.

    Args:
        home: where the cells' processes write what they do.
        names: of all cells.
        ended: holds those that have ended.
    """

    def __init__(self, home: Home, names: Sequence[str], ended: Collection[str]) -> None:
        super().__init__("batch", interval_s=_BATCH_S)
        self._home, self._names, self._ended = home, names, ended
        self._began_s = time.time()
        self._tails: dict[str, Tail] = {}
        self._told: dict[str, ProgressEvent] = {}

    def look(self, cell: Cell) -> None:
        """Read what a cell's process has written since the last look; one thread looks at one cell."""
        if cell.name not in self._tails:
            with suppress(OSError):
                place = work_folder(self._home, cell.key) / PROGRESS
                self._tails[cell.name] = Tail(place, earlier=_EARLIER_BYTES)
        tail = self._tails.get(cell.name)
        for event in tail.fresh() if tail else ():
            if event.at >= self._began_s:
                self._told[cell.name] = event
        self._changed.set()

    def now(self) -> tuple[float, str]:
        """Return where the cells stand."""
        told = {name: event for name, event in dict(self._told).items() if name not in self._ended}
        done = 100.0 * len(self._ended) + sum(map(percent_of, told.values()))
        return done / len(self._names), "\n".join(f"- {line_of(name, event)}" for name, event in sorted(told.items()))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
