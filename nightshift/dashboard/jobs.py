"""Jobs: flow runs as people see them. One snapshot for everybody who asks, renewed at most once a second."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from fastapi.concurrency import run_in_threadpool

from nightshift.dashboard.logs import LogLine, Logs
from nightshift.dashboard.prefect_api import PrefectApi
from nightshift.dashboard.reading import RECENT, Reader, Told, UnknownJobError
from nightshift.dashboard.runs import (
    BATCH,
    ENDED,
    FLEET,
    KEY_DIGITS,
    MACHINE,
    NO_BARS,
    RUN_ID,
    Bar,
    JobStatus,
    Run,
    fit_to_show,
    refs_of,
    with_table,
)
from nightshift.dashboard.standing import Desk, brief_cell
from nightshift.dashboard.starting import ESTIMATED_FROM, ESTIMATED_S, ConflictError, Started, Starter
from nightshift.dashboard.together import is_silent, of_batches, shows_as, whole
from nightshift.dashboard.training import TrainRequest, plan_training
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.batch import ask_to_stop, hears_stops
from nightshift.plan.cell import sha256_json
from nightshift.settings import Home

_log = logging.getLogger("nightshift.dashboard")
_ID = re.compile(rf"({RUN_ID})(?:\.([0-9a-f]{{{KEY_DIGITS}}}))?")
_UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
#: The snapshot is this old at most where somebody asks all the time, and what has ended is looked through so often.
_RENEWED_S, _LISTED_S = 1.0, 10.0
#: Who asks for the first time in a while waits for a new one.
_STALE_S = 3.0
#: Prefect has such moments, its database locked: so old a snapshot is still told, with its moment.
_KEPT_S = 15.0


def parsed(job_id: str) -> tuple[str, str]:
    """Return a job's flow run and the first digits of a cell's key, "" for none.

    Raises:
        UnknownJobError: when it cannot be a job's id.
    """
    found = _ID.fullmatch(job_id)
    if not found:
        raise UnknownJobError(job_id)
    return found[1], found[2] or ""


class JobBoard:
    """All jobs. It holds nothing that Prefect and the records do not: restarting loses nothing.

    Args:
        home: whose machines are trained.
        prefect: the server that runs flows.

    Attributes:
        logs: what they say.
    """

    def __init__(self, home: Home, prefect: PrefectApi) -> None:
        self._home = home
        self._desk = Desk(home)
        self._runs: dict[str, Run] = {}
        self._shown: dict[str, JobStatus] = {}
        self._briefs: dict[str, JobStatus] = {}
        self._encoded: dict[str, bytes] = {}
        self._renewed = self._listed = self._answered = float("-inf")
        self._renewing: asyncio.Task[None] | None = None
        self._files = asyncio.Lock()
        self._odd: set[str] = set()
        self._starter = Starter(prefect)
        self._reader = Reader(prefect)
        self.logs = Logs(home, prefect, self.status)

    async def stop(self) -> None:
        """End what runs beside the requests."""
        await self.logs.stop()
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError, NightshiftError):
                await self._renewing

    async def start(self, request: TrainRequest, kind: str, user: str, key: str = "") -> Started:
        """Start a training; the same request under the same key starts one run.

        Args:
            request: what is to be trained.
            kind: of training; see `training.KINDS`.
            user: who asks.
            key: of the request, "" for none.

        Raises:
            NightshiftError: for a request that cannot be; `plan_training` says which.
            ConflictError: for a key under which something else was asked for.
            ServiceError: when Prefect does not answer, or nobody would take the run.
        """
        asked = request.fingerprint(kind)
        # Whatever has become of the machine since. Where Prefect is away, what is wrong with a request is told first.
        with suppress(ServiceError):
            if (known := await self._starter.known(key, asked)) is not None:
                return Started.of(known, repeated=True)
        wanted = await run_in_threadpool(plan_training, self._home, kind, request)
        labels = {ESTIMATED_S: wanted.estimated_s, ESTIMATED_FROM: wanted.estimated_from}
        run, new = await self._begin(
            wanted.deployment, wanted.parameters, wanted.name, asked, user=user, key=key, labels=labels
        )
        return Started.of(run, repeated=not new)

    async def run_flow(
        self, deployment: str, parameters: Mapping[str, Any], name: str, key: str = "", user: str = ""
    ) -> tuple[str, bool]:
        """Start a run of a deployment, `<flow>/<name>`, and return its job's id, and whether it is new.

        Raises:
            ConflictError, ServiceError: as `start` does.
        """
        asked = sha256_json([deployment, parameters])
        run, new = await self._begin(deployment, parameters, name, asked, user=user, key=key)
        return run.id, new

    async def _begin(self, *what: Any, **told: Any) -> tuple[Run, bool]:
        run, new = await self._starter.begin(*what, **told)
        self._runs.setdefault(run.id, run)
        self._renewed = float("-inf")
        return run, new

    async def status(self, job_id: str) -> JobStatus:
        """Return where a job stands.

        Raises:
            UnknownJobError: when there is none.
            ServiceError: when Prefect does not answer.
        """
        run_id, digits = parsed(job_id)
        shown = await self._standing(run_id)
        if not digits:
            return shown
        return _of_cell(shown, job_id)

    async def run(self, run_id: str) -> Run:
        """Return a flow run, asked for once.

        Raises:
            UnknownJobError: when there is none, or was none a moment ago.
            ServiceError: when Prefect does not answer.
        """
        if run_id not in self._runs:
            self._runs[run_id] = await self._reader.run(run_id)
        return self._runs[run_id]

    async def status_json(self, job_id: str) -> bytes:
        """Return the status as JSON; encoded once for all who ask.

        Raises:
            UnknownJobError, ServiceError: as `status` does.
        """
        await self._fresh()
        found = self._encoded.get(job_id)
        if found is None:
            found = self._encoded[job_id] = (await self.status(job_id)).model_dump_json().encode()
        return found

    async def recent(self) -> list[JobStatus]:
        """Return the jobs that go on and the newest that have ended, newest first; of these without their cells.

        Raises:
            ServiceError: when Prefect does not answer.
        """
        await self._fresh()
        now = datetime.now(UTC)
        new = [run for run in self._runs.values() if run.id not in self._shown and run.id not in self._briefs]
        if new:
            # A fleet's run has thousands of cells.
            made = await run_in_threadpool(
                lambda: [_briefly(self._home, run, now).model_copy(update={"cells": ()}) for run in new]
            )
            self._briefs |= {job.job_id: job for job in made if job.job_id in self._runs}
        found = [self._shown.get(run_id) or self._briefs.get(run_id) for run_id in self._runs]
        jobs = [j.model_copy(update={"cells": ()}) if j.status in ENDED and j.cells else j for j in found if j]
        return sorted(jobs, key=lambda job: job.created_at or now, reverse=True)

    async def log(self, job_id: str, after: str = "") -> AsyncIterator[LogLine]:
        """Yield what a job says, from its beginning or after a line that is known, until it has ended.

        Raises:
            UnknownJobError: when there is none.
        """
        async for line in self.logs.follow(job_id, after):
            yield line

    async def cancel(self, job_id: str, user: str) -> JobStatus:
        """Have a job end with what it can keep, and return where it stands then.

        Raises:
            UnknownJobError: when there is none.
            ConflictError: when it has ended, or cannot be told from here.
            ServiceError: when Prefect does not answer.
        """
        run_id, digits = parsed(job_id)
        job = await self.status(job_id)
        run = self._runs[run_id]
        if job.status in ENDED:
            raise ConflictError(f"the job has ended already: {job.status}.")
        if digits and run.flow in (BATCH, MACHINE):
            await self._stop_cell(run, job)
        elif not run.deployed and run.start is not None:
            raise ConflictError(
                "the job was started by a command, not by a worker.", hint="Stop it where it was started: Ctrl-C."
            )
        else:
            await self._starter.call_off(run_id, user)
            # A renewal that is under way may have asked before.
            self._runs[run_id] = run = await self._reader.run(run_id)
            await self._show([run])
        shown = self._shown[run_id]
        return _of_cell(shown, job_id) if digits else shown

    async def _stop_cell(self, run: Run, job: JobStatus) -> None:
        options = run.parameters.get("options") or {}
        if run.flow != BATCH or options.get("runner", "processes") != "processes":
            raise ConflictError("one model of this run cannot be stopped alone.", hint=f"Cancel the whole: {run.id}")
        if not await run_in_threadpool(hears_stops, self._home, run.id):
            raise ConflictError(
                "the batch is at work on another machine, or has not begun: no single model of it can be stopped.",
                hint=f"Cancel the whole: {run.id}",
            )
        await run_in_threadpool(ask_to_stop, self._home, run.id, job.name)

    async def _standing(self, run_id: str) -> JobStatus:
        """Return where a run stands: as the snapshot has it, or found out once for one that has ended."""
        await self._fresh()
        shown = self._shown.get(run_id)
        if shown is not None:
            return shown
        await self._show([await self.run(run_id)])
        return self._shown[run_id]

    async def _fresh(self) -> None:
        """See that the snapshot is new enough; who asks often never waits for it.

        Raises:
            ServiceError: when Prefect has not answered for a while.
        """
        age = time.monotonic() - self._renewed
        if age < _RENEWED_S:
            return
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew())
            # Where nobody waits for it, nobody would hear of its failure: the next who asks does.
            self._renewing.add_done_callback(lambda task: task.cancelled() or task.exception())
        if age >= _STALE_S:
            try:
                await asyncio.shield(self._renewing)
            except ServiceError:
                if time.monotonic() - self._answered > _KEPT_S:
                    raise

    async def _renew(self) -> None:
        runs = await self._reader.newest(state={"type": {"any_": list(_UNFINISHED)}})
        seen = {run.id for run in runs}
        gone = [run.id for run in self._runs.values() if not run.ended and run.id not in seen]
        if gone:
            runs += await self._reader.newest(id={"any_": gone[:RECENT]})
        clock = time.monotonic()
        if clock - self._listed >= _LISTED_S:
            runs += await self._reader.newest()
            self._listed = clock
        found = {run.id: run for run in runs}
        deleted = [run_id for run_id in gone if run_id not in found]
        for run_id in deleted:
            self._drop(run_id)
        self._runs |= found
        for run_id in [i for i, brief in self._briefs.items() if i in found and brief.status != found[i].status]:
            del self._briefs[run_id]
        changed = [run for run in found.values() if not run.ended or not self._knows_end(run)]
        await self._show([run for run in changed if not run.ended or run.id in self._shown])
        self._limit()
        self._renewed = self._answered = time.monotonic()

    def _knows_end(self, run: Run) -> bool:
        shown = self._shown.get(run.id)
        return shown is not None and shown.status == run.status

    def _drop(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._shown.pop(run_id, None)
        self._briefs.pop(run_id, None)
        self._odd.discard(run_id)
        self._forget_encoded(run_id)

    def _forget_encoded(self, run_id: str) -> None:
        for job_id in [j for j in self._encoded if j.startswith(run_id)]:
            del self._encoded[job_id]

    def _limit(self) -> None:
        """Let go of the oldest that have ended, which are read again when somebody asks."""
        ended = sorted((r for r in self._runs.values() if r.ended), key=lambda r: r.created or datetime.now(UTC))
        for run in ended[: max(0, len(ended) - 2 * RECENT)]:
            self._drop(run.id)

    async def _show(self, runs: Iterable[Run]) -> None:
        """Find out where runs stand; files are read in a thread, by one at a time."""
        chosen = list(runs)
        if not chosen:
            return
        told = dict(zip((run.id for run in chosen), await asyncio.gather(*map(self._told, chosen)), strict=True))
        now = datetime.now(UTC)

        def read(some: Iterable[Run], bars: Mapping[str, Bar], known: Mapping[str, JobStatus]) -> dict[str, JobStatus]:
            return {run.id: self._read(run, told[run.id], now, bars, known) for run in some}

        fleets = [run for run in chosen if run.flow == FLEET]
        async with self._files:
            found = await run_in_threadpool(read, [run for run in chosen if run.flow != FLEET], NO_BARS, {})
            silent = [run for run in chosen if run.id in found and is_silent(run, found[run.id])]
            if silent:
                bars = await self._reader.bars({i for run in silent for i in shows_as(run, told[run.id].parts)})
                found |= await run_in_threadpool(read, silent, bars, {})
            if fleets:
                found |= await run_in_threadpool(read, fleets, NO_BARS, self._shown | found)
        for run in chosen:
            self._shown[run.id] = found[run.id]
            self._forget_encoded(run.id)
            if run.ended:
                self._desk.forget(run.id)

    async def _told(self, run: Run) -> Told:
        """Return what Prefect tells of a run; an answer that makes no sense tells nothing.

        Raises:
            ServiceError: when Prefect does not answer.
        """
        try:
            return await self._reader.told(run)
        except ServiceError:
            raise
        except Exception:
            self._blame(run)
            return Told()

    def _read(
        self, run: Run, told: Told, now: datetime, bars: Mapping[str, Bar], known: Mapping[str, JobStatus]
    ) -> JobStatus:
        """Return where a run stands; what is wrong with one hides no other."""
        try:
            if run.flow == FLEET:
                job = of_batches(run, list(told.parts.values()), known, now)
            else:
                job = self._desk.standing(run, told.parts, told.outcomes, now, bars)
            job = with_table(self._home, job, told.table) if told.table else job
            return fit_to_show(self._home, job)
        except Exception:
            self._blame(run)
            return _briefly(self._home, run, now)

    def _blame(self, run: Run) -> None:
        """Write down, once, that what a run has left cannot be read."""
        if run.id not in self._odd:
            _log.exception("the files or parts of the run %s cannot be read", run.id)
        self._odd.add(run.id)


def _briefly(home: Home, run: Run, now: datetime) -> JobStatus:
    """Return where a run stands without looking at its files."""
    return fit_to_show(home, whole(run, [brief_cell(run, ref) for ref in refs_of(run)], now))


def _of_cell(shown: JobStatus, job_id: str) -> JobStatus:
    cell = next((c for c in shown.cells if c.job_id == job_id), None)
    if cell is None:
        raise UnknownJobError(job_id)
    machine, _, target = cell.name.rsplit(".", 2) if cell.name.count(".") > 1 else (shown.machine, "", shown.target)
    return JobStatus(
        **cell.model_dump(),
        as_of=shown.as_of,
        flow=shown.flow,
        machine=machine,
        families=(cell.family,),
        target=target,
        by=shown.by,
        created_at=shown.created_at,
    )
