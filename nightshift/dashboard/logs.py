"""What jobs say: one tail per flow run, shared by all who listen to it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from nightshift.dashboard.live import cell_at
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.reading import UnknownJobError
from nightshift.dashboard.runs import ENDED, CellStatus, JobStatus
from nightshift.errors import ServiceError, UnknownNameError, without_credentials
from nightshift.plan.records import PROGRESS, work_folder
from nightshift.progress import ProgressEvent, Tail
from nightshift.settings import Home, without_places

_POLL_S = 1.0
#: A run sends its lines every two seconds, and several processes do: what is older may come later.
_LATE_S = 10.0
#: A run that has ended may still send for so long.
_LAST_S = 3.0
#: Whoever comes back soon goes on where they were.
_LINGER_S = 10.0
#: Of what was said before the first listener came, and in all.
_EARLIER, _MOST = 2_000, 20_000
_EARLIER_BYTES = 1_000_000
_LONGEST = 2_000
#: Prefect's word after each task, without the task's name.
_TASK_DONE = "Finished in state Completed()"
#: After so long at most it is looked again for what a cell says here: each time all folders are looked through.
_MISSED_S = 10.0
#: Streams that are open at once.
_STREAMS = 200

_log = logging.getLogger("nightshift.dashboard")


class LogLine(BaseModel):
    """A line of a job's log.

    Attributes:
        id: to go on after it; "" for a remark of the dashboard's own.
    """

    model_config = ConfigDict(frozen=True)

    id: str = ""
    at: datetime
    level: str
    text: str

    @property
    def data(self) -> dict[str, str]:
        """What a stream sends."""
        return {"at": self.at.isoformat().replace("+00:00", "Z"), "level": self.level, "text": self.text}


class Logs:
    """The tails of the runs that somebody listens to.

    Args:
        home: whose progress files are read.
        prefect: the server that keeps what runs log.
        status_of: returns where a job stands.
    """

    def __init__(self, home: Home, prefect: PrefectApi, status_of: Callable[[str], Awaitable[JobStatus]]) -> None:
        self._home, self._prefect, self._status_of = home, prefect, status_of
        self._tails: dict[str, LogTail] = {}

    @property
    def tails(self) -> Mapping[str, LogTail]:
        """Those that are followed now, by flow run."""
        return self._tails

    def see_room(self) -> None:
        """See that one more may listen.

        Raises:
            ServiceError: when very many do already.
        """
        if sum(tail.listeners for tail in self._tails.values()) >= _STREAMS:
            raise ServiceError(
                f"{_STREAMS} logs are followed now, and no more can be.", hint="Close pages of runs, and try again."
            )

    async def follow(self, job_id: str, after: str) -> AsyncIterator[LogLine]:
        """Yield a job's lines until it has ended.

        Args:
            job_id: of a flow run, or of one cell of a batch: then only what is about it.
            after: id of the last line that is known, "" for none.
        """
        run_id, _, digits = job_id.partition(".")
        about = (await self._status_of(job_id)).name if digits else ""
        tail = self._tails.get(run_id)
        if tail is None or tail.closed:
            tail = self._tails[run_id] = LogTail(run_id, self._home, self._prefect, self._status_of)
            tail.begin(self._let_go)
        async for line in tail.lines(after, job_id if digits else ""):
            if not about or not line.id or about in line.text:
                yield line

    def _let_go(self, tail: LogTail) -> None:
        if self._tails.get(tail.run_id) is tail:
            del self._tails[tail.run_id]

    async def stop(self) -> None:
        """End all."""
        await asyncio.gather(*(tail.stop() for tail in list(self._tails.values())))


class LogTail:
    """Polls what one flow run and those within it say.

    Attributes:
        listeners: how many listen.
        polls: how often it has asked.
        closed: whether nothing more will come.
        over: ids of the cells of which nothing more will come.
    """

    def __init__(
        self, run_id: str, home: Home, prefect: PrefectApi, status_of: Callable[[str], Awaitable[JobStatus]]
    ) -> None:
        self.run_id = run_id
        self.listeners = self.polls = 0
        self.closed = False
        self.over: set[str] = set()
        self._home, self._prefect, self._status_of = home, prefect, status_of
        self._lines: list[LogLine] = []
        self._dropped = 0
        self._known: set[str] = set()
        self._newest: datetime | None = None
        self._changed = asyncio.Event()
        self._away = False
        self._progress: dict[str, Tail | None] = {}
        self._again: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, ended: Callable[[LogTail], object]) -> None:
        """Poll from now on; `ended` is called when that is over."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _task: ended(self))

    async def stop(self) -> None:
        """Poll no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def lines(self, after: str, cell: str = "") -> AsyncIterator[LogLine]:
        """Yield the lines after a known one as they come, until there will be no more, or none of a cell."""
        self.listeners += 1
        try:
            while not self.closed and not self.polls:
                await self._changed.wait()
            place = self._place_after(after)
            while True:
                while place < self._dropped + len(self._lines):
                    place = max(place, self._dropped)
                    yield self._lines[place - self._dropped]
                    place += 1
                if self.closed or cell in self.over:
                    return
                await self._changed.wait()
        finally:
            self.listeners -= 1

    def _place_after(self, after: str) -> int:
        """Return where to go on: behind the line of this id, else with what is later than it."""
        if not after:
            return self._dropped
        for index in range(len(self._lines) - 1, -1, -1):
            if self._lines[index].id == after:
                return self._dropped + index + 1
        later = (i for i, line in enumerate(self._lines) if line.id > after)
        return self._dropped + next(later, len(self._lines))

    async def _run(self) -> None:
        alone_since = time.monotonic()
        try:
            while self.listeners or time.monotonic() - alone_since < _LINGER_S:
                if self.listeners:
                    alone_since = time.monotonic()
                if await self._poll():
                    return
                await asyncio.sleep(_POLL_S)
        finally:
            self.closed = True
            self._wake()

    async def _poll(self) -> bool:
        """Take what is new; returns whether the run has said all."""
        try:
            # First: what is said between the two is not missed.
            job = await self._status_of(self.run_id)
            found = [*await self._logged(), *await run_in_threadpool(self._spoken, job)]
        except UnknownJobError as error:
            self._remark("WARNING", error.what)
            return True
        except ServiceError as error:
            self._pause(f"{error.what} The log goes on when it is back.")
            return False
        except Exception:
            if not self._away:
                _log.exception("the log of %s cannot be read", self.run_id)
            self._pause("The log cannot be read just now; it is tried again.")
            return False
        finally:
            self.polls += 1
        if self._away:
            self._remark("INFO", "The log goes on.")
            self._away = False
        over = {cell.job_id for cell in job.cells if cell.job_id and _is_over(cell)}
        if over != self.over:
            self.over = over
            self._wake()
        self._take(found)
        return _is_over(job)

    def _pause(self, why: str) -> None:
        """Say once why nothing comes."""
        if not self._away:
            self._remark("WARNING", why)
        self._away = True

    async def _logged(self) -> list[LogLine]:
        wanted = {"flow_runs": {"parent_flow_run_id": {"any_": [self.run_id]}}}
        inner = await self._prefect.all("flow_runs/filter", {**wanted, "sort": "START_TIME_ASC"})
        runs = [self.run_id, *(run["id"] for run in inner)]
        filters: dict[str, Any] = {"flow_run_id": {"any_": runs}}
        if self._newest is None:
            newest_first = {"logs": filters, "sort": "TIMESTAMP_DESC"}
            return self._lines_of(reversed(await self._prefect.all("logs/filter", newest_first, _EARLIER)))
        since = self._newest - timedelta(seconds=_LATE_S)
        body = {"logs": {**filters, "timestamp": {"after_": since.isoformat()}}, "sort": "TIMESTAMP_ASC"}
        return self._lines_of(await self._prefect.all("logs/filter", body, _MOST))

    def _lines_of(self, found: Iterable[Mapping[str, Any]]) -> list[LogLine]:
        return [
            _line(self._home, one) for one in found if not (one.get("task_run_id") and one["message"] == _TASK_DONE)
        ]

    def _spoken(self, job: JobStatus) -> list[LogLine]:
        """Return what cells say for people: an epoch's figures, and lines of their own."""
        found: list[LogLine] = []
        for cell in job.cells:
            tail = self._tail_of(cell)
            if tail is None or job.started_at is None:
                continue
            began_s = job.started_at.timestamp() - 1.0
            until_s = job.ended_at.timestamp() + 1.0 if job.ended_at else float("inf")
            found += [_said(self._home, cell.name, e) for e in tail.fresh() if _told(e) and began_s <= e.at <= until_s]
        return found

    def _tail_of(self, cell: CellStatus) -> Tail | None:
        """Return what a cell has told here, of which the job's id has the first digits of the key."""
        digits = cell.job_id.partition(".")[2]
        ended = cell.status in ENDED
        waits = not ended and time.monotonic() < self._again.get(cell.job_id, 0.0)
        if digits and cell.status != "pending" and cell.job_id not in self._progress and not waits:
            try:
                place = work_folder(self._home, cell_at(self._home, digits, cell.name).key)
                self._progress[cell.job_id] = Tail(place / PROGRESS, earlier=_EARLIER_BYTES)
            except UnknownNameError:
                # One that ended on another machine leaves nothing here later, either.
                if ended:
                    self._progress[cell.job_id] = None
                # One that has just begun may be here in a moment; one that is at work elsewhere will not.
                since_s = (datetime.now(UTC) - cell.started_at).total_seconds() if cell.started_at else 0.0
                self._again[cell.job_id] = time.monotonic() + min(max(since_s, _POLL_S), _MISSED_S)
        return self._progress.get(cell.job_id)

    def _take(self, found: list[LogLine]) -> None:
        fresh = sorted((line for line in found if line.id not in self._known), key=lambda line: line.id)
        for line in fresh:
            self._known.add(line.id)
            self._newest = max(self._newest or line.at, line.at)
        self._lines += fresh
        if self._newest is None:
            self._newest = datetime.now(UTC)
        over = len(self._lines) - _MOST
        if over > 0:
            del self._lines[:over]
            self._dropped += over
            # What is older is not asked for again.
            since = _stamp(self._newest - timedelta(seconds=_LATE_S))
            self._known = {known for known in self._known if known >= since}
        if fresh or self.polls == 1:
            self._wake()

    def _remark(self, level: str, text: str) -> None:
        self._lines.append(LogLine(at=datetime.now(UTC), level=level, text=without_credentials(text)))
        self._wake()

    def _wake(self) -> None:
        """Wake all that wait; who comes later waits for the next time."""
        self._changed.set()
        self._changed = asyncio.Event()


def _told(event: ProgressEvent) -> bool:
    """Whether an event is worth a line: one of its own, or the beginning of a stage."""
    return event.spoken or (not event.step and not event.total)


def _line(home: Home, found: Mapping[str, Any]) -> LogLine:
    at = datetime.fromisoformat(str(found["timestamp"]))
    level = logging.getLevelName(int(found.get("level") or logging.INFO))
    return _made(at, level, without_places(home, str(found.get("message") or "")), str(found["id"]))


def _said(home: Home, name: str, event: ProgressEvent) -> LogLine:
    text = event.message if event.message.startswith(name) else f"{name}: {event.message}"
    return _made(
        datetime.fromtimestamp(event.at, UTC), "INFO", without_places(home, text), f"{event.cell}{event.at}{text}"
    )


def _made(at: datetime, level: str, text: str, source: str) -> LogLine:
    """Return a line whose id sorts by time, and is the same whoever reads it again."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return LogLine(id=f"{_stamp(at)}-{digest}", at=at, level=level, text=without_credentials(text)[:_LONGEST])


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S%f}"


def _is_over(job: CellStatus) -> bool:
    """Whether a job or a cell has ended, and said its last."""
    said_until = (job.ended_at or job.started_at or datetime.min.replace(tzinfo=UTC)) + timedelta(seconds=_LAST_S)
    return job.status in ENDED and said_until < datetime.now(UTC)
