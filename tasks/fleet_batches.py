"""Gives batches to the work pools and waits for them: by key, so that nothing is given twice, and never without end."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from prefect.client.schemas import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run

from deployments.api import ENDED, OUTAGE_S, PATIENCE_S, ask
from deployments.processes import at_s
from deployments.runs import message_of
from deployments.workers import BATCH_OF, Trouble, troubles
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.batch import BatchOptions, BatchOutcome, CellRef
from nightshift.plan.fanout import FleetBatch
from nightshift.plan.fleet import PlannedCell
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import FleetStart
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.outcome import CellOutcome
from nightshift.settings import home
from tasks.batch import outcome_of_run
from tasks.fleet_progress import progress_of, watcher
from tasks.signals import StopOnSignal

logger = logging.getLogger("nightshift")

POLL_S = 1.0
#: Whether workers live, and whether this run was cancelled in the UI, is asked less often.
LOOK_S = 5.0
#: How long a stop waits for the batches (a worker kills this process 30 s after its signal), and for each answer.
STOP_S, STOP_ON_WORKER_S, STOP_PATIENCE_S = 60.0, 22.0, 4.0
#: A batch that failed for want of a service, as of the store that the machines share, is given again after so long.
AGAIN_S = 20.0
_AT_ONCE = 200
# What a server that is away is met with: by our requests, and by Prefect's own client.
_AWAY = (ServiceError, httpx.HTTPError)

RESUME = "Then: nightshift resume"
_GOES_ON = "Its batches go on, and the run that took its place waits for them."


class GivenUpError(NightshiftError):
    """A run of the fleet that lives and was held for dead: another one has taken its place."""


@dataclass(frozen=True)
class BatchEnd:
    """How a batch ended.

    Attributes:
        attempts: flow runs that it was given to, 0 = none.
        outcome: what its cells told; None when no attempt came so far.
        reason: why a cell has no outcome there, with `hint`, what to do; "" where it was stopped on request.
    """

    batch: FleetBatch
    attempts: int
    outcome: BatchOutcome | None = None
    reason: str = ""
    hint: str = ""


@dataclass
class _Given:
    """A batch that was given to a pool.

    Attributes:
        attempt: the newest.
        run_id: flow run of it.
        earlier: flow runs of the attempts before.
        state: of the newest, as the server last told.
        waits_since: when it was first seen to wait for a worker that does not come.
        failed_at: when it was first seen to have failed without an outcome.
    """

    batch: FleetBatch
    attempt: int
    run_id: str
    earlier: tuple[str, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    waits_since: float | None = None
    failed_at: float | None = None

    @property
    def kind(self) -> str:
        return str(self.state.get("state_type") or "SCHEDULED")


class BatchRuns:
    """The batches of one run of the fleet.

    Args:
        start: what the run works on.
        fleet: limits and times.
        stop: a wish to stop, a person's in the Prefect UI included.
    """

    def __init__(self, start: FleetStart, fleet: FleetConfig, stop: StopOnSignal) -> None:
        self._start, self._fleet, self._stop = start, fleet, stop
        self._planned = {cell.name: cell for cell in start.plan.cells}
        self._left = list(start.batches)
        self._open: dict[str, _Given] = {}
        self._ends: dict[str, BatchEnd] = {}
        self._began, self._looked, self._answered = time.time(), 0.0, time.monotonic()
        self._away, self._patience_s = False, PATIENCE_S
        self._told_waiting: set[str] = set()
        self.remarks: list[str] = []

    def run(self) -> tuple[BatchEnd, ...]:
        """Give all batches, wait until each has ended, and return how, in the order given.

        A batch that crashed is given again as a whole: what had ended in it is up to date then. One that was refused
        for a reason that stays has told that of each of its cells, and is not.

        Raises:
            ServiceError: when the server does not answer for long.
            GivenUpError: when this run itself was given up as dead.
        """
        while (self._left or self._open) and not self._stop.asked():
            try:
                self._step()
            except _AWAY as error:
                self._wait_for_server(error)
            if self._left or self._open:
                time.sleep(POLL_S)
        if self._open:
            self._stop_all()
        return tuple(self._ends[batch.name] for batch in self._start.batches if batch.name in self._ends)

    def _step(self) -> None:
        self._give_left()
        self._read()
        for given in [g for g in self._open.values() if g.kind in ENDED]:
            self._settle(given)
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            self._look()
        self._answered = time.monotonic()
        if self._away:
            self._away = False
            logger.info("the Prefect server answers again")

    def _wait_for_server(self, error: Exception) -> None:
        """Wait for a server that is started again meanwhile, for as long as that may take."""
        if time.monotonic() - self._answered > OUTAGE_S:
            raise error
        if not self._away:
            self._away = True
            logger.warning("%s Waiting for it; the batches go on.", error)

    def _give_left(self) -> None:
        """Give the batches that have not been given yet; where the server goes away, the rest stay for later.

        So do, for a while, those of a pool whose worker may be coming up.
        """
        in_the_way = {(t.pool, t.queue): t for t in self._troubles(self._left)}
        for batch in tuple(self._left):
            if self._stop.asked():
                return
            trouble = in_the_way.get((batch.pool, batch.queue))
            if trouble is None:
                self._give(batch, 1)
            elif trouble.passes and time.time() - self._began < self._fleet.dead.worker_s:
                if batch.name not in self._told_waiting:
                    logger.warning("%s waits up to %g s: %s", batch.name, self._fleet.dead.worker_s, trouble)
                    self._told_waiting.add(batch.name)
                continue
            else:
                self._give_up(batch, 0, trouble)
            self._left.remove(batch)
            self._answered = time.monotonic()

    def _give(self, batch: FleetBatch, attempt: int, earlier: tuple[str, ...] = ()) -> None:
        """Start a batch; the flow run that a crashed run of the fleet has started for it is found again."""
        refs = [self._ref(self._planned[name]) for name in batch.cells]
        settings = self._start.options.over(self._fleet.batch).model_dump()
        values = {key: value for key, value in settings.items() if key in BatchOptions.model_fields}
        train = _train_options(self._start.options.train, refs, self._fleet.chosen_families)
        options = BatchOptions.model_validate({**values, "train": train, "for_run": self._start.run_id})
        parameters = {
            "cells": [ref.model_dump(mode="json") for ref in refs],
            "options": options.model_dump(mode="json"),
        }
        try:
            run = run_deployment(
                BATCH_OF[batch.pool],
                parameters=parameters,
                flow_run_name=batch.name if attempt == 1 else f"{batch.name}, try {attempt}",
                work_queue_name=batch.queue,
                idempotency_key=key_of(self._start, batch, attempt),
                tags=["nightshift"],
                timeout=0,
                as_subflow=True,
            )
        except ObjectNotFound:
            self._give_up(batch, attempt - 1, self._gone(batch))
            return
        run = cast(FlowRun, run)
        self._open[batch.name] = _Given(batch, attempt, str(run.id), earlier)
        logger.info("%s: %d cells, about %.0f s (flow run %s)", batch.name, len(refs), batch.estimated_s, run.id)

    def _gone(self, batch: FleetBatch) -> Trouble:
        """Return what is wrong with a pool whose deployment was there when this run began."""
        what = f"the Prefect server has lost what the deployment '{BATCH_OF[batch.pool]}' needs."
        found = self._troubles([batch])
        return found[0] if found else Trouble(batch.pool, batch.queue, what, "It is made by: nightshift deploy")

    def _ref(self, cell: PlannedCell) -> CellRef:
        return CellRef(subject=cell.subject, family=cell.family, target=cell.target, forced=cell.forced)

    def _read(self) -> None:
        """Ask how the batches stand; those that still wait are left out, as each comes with all of its cells."""
        ids = [given.run_id for given in self._open.values()]
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(ids), _AT_ONCE):
            begun = {"id": {"any_": ids[first : first + _AT_ONCE]}, "state": {"type": {"not_any_": ["SCHEDULED"]}}}
            asked = {"flow_runs": begun, "limit": _AT_ONCE}
            found |= {run["id"]: run for run in ask("flow_runs/filter", asked, patience_s=self._patience_s)[1]}
        for given in self._open.values():
            given.state = found.get(given.run_id, {})

    def _settle(self, given: _Given) -> None:
        """Take the end of a batch, or give it again."""
        batch, outcome = given.batch, _told(given)
        if outcome is not None and {cell.name for cell in outcome.cells}.issuperset(batch.cells):
            self._end(BatchEnd(batch, given.attempt, outcome))
            return
        before = self._ended_before(given)
        if given.kind == "CANCELLED" and not before:
            self._end(BatchEnd(batch, given.attempt, outcome, "its batch was stopped on request.", RESUME))
            return
        why = _why(given)
        if given.attempt < self._fleet.dead.tries or before:
            if _rests(given):
                return
            self._remark(f"{batch.name} ended without its outcome ({why}) and was given again.")
            self._give(batch, given.attempt + 1, (*given.earlier, given.run_id))
            return
        reason = f"its batch was given {given.attempt} times, and came to no outcome: {why}."
        self._end(BatchEnd(batch, given.attempt, outcome, reason, RESUME))

    def _ended_before(self, given: _Given) -> bool:
        """Whether a batch was stopped together with an earlier try of this run."""
        ended = given.state.get("end_time")
        return given.kind == "CANCELLED" and bool(ended) and at_s(str(ended)) < self._began

    def _end(self, end: BatchEnd) -> None:
        self._open.pop(end.batch.name, None)
        self._ends[end.batch.name] = end
        counts: dict[str, int] = {}
        for cell in end.outcome.cells if end.outcome else ():
            counts[cell.ending] = counts.get(cell.ending, 0) + 1
        logger.info("%s: %s. %s", end.batch.name, counts or "no outcome", end.reason)

    def _give_up(self, batch: FleetBatch, attempts: int, trouble: Trouble) -> None:
        self._remark(str(trouble))
        self._end(BatchEnd(batch, attempts, None, trouble.what, f"{trouble.hint} {RESUME}"))

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            logger.warning("%s", text)
            self.remarks.append(text)

    def _look(self) -> None:
        """Ask whether somebody has ended this run, whether the workers live, and how far it all is.

        Raises:
            GivenUpError: when the server holds this run for dead.
        """
        own = str(ask(f"flow_runs/{flow_run.id}")[1]["state_type"])
        if own in ("CANCELLING", "CANCELLED"):
            self._stop.wish()
        elif own in ENDED:
            raise GivenUpError(f"this run was given up as dead ({own.lower()}) while it worked.", hint=_GOES_ON)
        self._look_for_deleted()
        self._look_at_waiting()
        show = watcher.get()
        if show is not None:
            running = [(given.batch, given.run_id) for given in self._open.values() if given.kind == "RUNNING"]
            show(progress_of(self._start, [end.batch for end in self._ends.values()], running, self._began))

    def _look_for_deleted(self) -> None:
        """Give those again whose flow run somebody has deleted: they would seem to wait for ever."""
        waiting = [given for given in self._open.values() if given.kind == "SCHEDULED"]
        ids = {"id": {"any_": [given.run_id for given in waiting]}}
        if not waiting or int(ask("flow_runs/count", {"flow_runs": ids})[1]) == len(waiting):
            return
        for given in waiting:
            if ask(f"flow_runs/{given.run_id}", accept=(404,))[0] == 404:
                given.state = {"state_type": "CRASHED", "state": {"message": "it was deleted"}}
                self._settle(given)

    def _look_at_waiting(self) -> None:
        """Give up the batches that have waited too long for a worker that does not come."""
        waiting = [given for given in self._open.values() if given.kind == "SCHEDULED"]
        in_the_way = {(t.pool, t.queue): t for t in self._troubles([given.batch for given in waiting])}
        for given in waiting:
            trouble = in_the_way.get((given.batch.pool, given.batch.queue))
            if trouble is None:
                given.waits_since = None
                continue
            if given.waits_since is None:
                logger.warning("%s waits: %s", given.batch.name, trouble)
                given.waits_since = time.monotonic()
            if time.monotonic() - given.waits_since > self._fleet.dead.pending_s:
                self._cancel(given)
                self._give_up(given.batch, given.attempt, trouble)

    def _troubles(self, batches: Sequence[FleetBatch]) -> tuple[Trouble, ...]:
        return troubles(home(), [(batch.pool, batch.queue) for batch in batches])

    def _stop_all(self) -> None:
        """Stop the batches, and take what their cells tell."""
        logger.warning("stopping %d batches", len(self._open))
        self._patience_s = STOP_PATIENCE_S
        for given in self._open.values():
            self._cancel(given)
        deadline = time.monotonic() + (STOP_ON_WORKER_S if deployment.id else STOP_S)
        while not (answers := self._answers()) or any(given.kind not in ENDED for given in self._open.values()):
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
        for given in list(self._open.values()):
            if given.kind not in ENDED:
                self._remark(f"{given.batch.name} had not stopped when this run ended.")
            outcome = None
            if answers:
                with suppress(*_AWAY):
                    outcome = _told(given)
            self._end(BatchEnd(given.batch, given.attempt, outcome))

    def _answers(self) -> bool:
        """Ask how the batches stand; tells whether the server has answered."""
        try:
            self._read()
        except ServiceError:
            return False
        return True

    def _cancel(self, given: _Given) -> None:
        state = {"type": "CANCELLING", "name": "Cancelling", "message": "The run of the fleet is stopping."}
        try:
            ask(f"flow_runs/{given.run_id}/set_state", {"state": state}, patience_s=self._patience_s)
        except ServiceError as error:
            logger.warning("%s was not told to stop: %s", given.batch.name, error)


def _rests(given: _Given) -> bool:
    """Whether what a batch has failed for has not had its time to pass; one that crashed needs none."""
    if given.kind != "FAILED":
        return False
    given.failed_at = given.failed_at or time.monotonic()
    return time.monotonic() - given.failed_at < AGAIN_S


def key_of(start: FleetStart, batch: FleetBatch, attempt: int) -> str:
    """Return what makes the server start one flow run for a batch, however often it is asked for."""
    said = (start.run_id, start.started_at.isoformat(), batch.pool, batch.queue, *batch.cells, str(attempt))
    return f"{start.run_id}-{hashlib.sha256('/'.join(said).encode()).hexdigest()[:24]}"


def _told(given: _Given) -> BatchOutcome | None:
    """Return what the attempts of a batch have told of its cells, the newest first.

    One that was given up as dead may have come to its end all the same.
    """
    told = [outcome for run_id in (given.run_id, *reversed(given.earlier)) if (outcome := outcome_of_run(run_id))]
    if not told:
        return None
    cells: dict[str, CellOutcome] = {}
    for outcome in told:
        for cell in outcome.cells:
            known = cells.setdefault(cell.name, cell)
            if known.ending in ("up to date", "failed") and cell.ending == "trained":
                cells[cell.name] = cell
    return told[0].model_copy(update={"cells": tuple(cells.values())})


def _train_options(options: TrainOptions, refs: Sequence[CellRef], families: Sequence[str]) -> TrainOptions:
    """Return the options for the families of a batch: of the general settings, each gets those that it knows."""
    own = {ref.family: settings_of(options, ref.family, families) for ref in refs}
    return TrainOptions(families=own, config_file=options.config_file, threads=options.threads)


def _why(given: _Given) -> str:
    """Return why a batch ended without its outcome: the state and the first line of its message."""
    parts = (given.kind.lower(), message_of(given.state.get("state")))
    return ": ".join(part for part in parts if part)
