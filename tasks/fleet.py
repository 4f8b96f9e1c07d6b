"""What surrounds the batches in a run of the fleet: its plan, what all of them come to, versions, and the morning."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Cancelled

from nightshift.errors import InterruptedTraining, NightshiftError, UsageError
from nightshift.plan import lock, shared
from nightshift.plan.cell import Cell
from nightshift.plan.fanout import fan_out, to_run
from nightshift.plan.fleet import Filters, PlannedCell, make_plan
from nightshift.plan.fleet_config import FleetConfig, load_fleet
from nightshift.plan.fleet_run import (
    FleetCell,
    FleetFailedError,
    FleetOptions,
    FleetOutcome,
    FleetStart,
    keep_outcome,
    keep_start,
    note_going_on,
    read_outcome,
    read_start,
)
from nightshift.plan.outcome import CellOutcome, outcome_of
from nightshift.plan.records import STAGES, read_record, work_folder
from nightshift.settings import home
from nightshift.stages.batch_limits import room_now
from nightshift.tracking.unversioned import outstanding
from tasks import logs, morning
from tasks.cell_run import STOPPED
from tasks.crashed import left_by
from tasks.fleet_batches import BatchEnd, BatchRuns, GivenUpError
from tasks.fleet_device import with_devices
from tasks.signals import StopOnSignal
from tasks.version import version
from tasks.waiting import call_off_waiting

logger = logging.getLogger("nightshift")
#: Whose lines the command shows too.
_shown = logging.getLogger("nightshift.signals")

#: Held by the run of the fleet that is at work in a home.
_LOCK = "fleet"
_TURN_POLL_S = 1.0


@dataclass
class Night:
    """A run of the fleet on its way.

    Attributes:
        stop: a wish to stop.
        begun: False where it was stopped while it waited for another run of the fleet: there is nothing to do then.
        remarks: what concerns no single cell.
    """

    stop: StopOnSignal
    begun: bool = True
    remarks: tuple[str, ...] = ()


@contextmanager
def night() -> Iterator[Night]:
    """Hear a stop while the body runs, as the only run of the fleet in this home, and tell of what ended it.

    It waits until another one has ended. A stop on request ends the body quietly. Every error goes on.
    """
    logs.set_up()
    try:
        with StopOnSignal() as stop, ExitStack() as turn:
            yield Night(stop, begun=_take_turn(stop, turn))
    except InterruptedTraining as reason:
        logger.warning("%s", reason)
    except GivenUpError:
        raise
    except Exception as error:
        morning.failed(error)
        raise


def _take_turn(stop: StopOnSignal, turn: ExitStack) -> bool:
    """Take the home's lock, and give it back with `turn`; False when a stop was wished for before it was free.

    A lock ends with its process, however that ends. Runs of a deployment wait for each other on the server already,
    one that a command has begun is known to this home alone.
    """
    told = False
    while not stop.asked():
        try:
            turn.enter_context(lock.held(home(), _LOCK))
        except lock.BusyError:
            if not told:
                _shown.warning("another run of the fleet is at work in this home: waiting until it has ended")
            told = True
            time.sleep(_TURN_POLL_S)
        else:
            return True
    return False


@task(name="plan", task_run_name="plan", persist_result=False, cache_policy=NO_CACHE)
def plan_fleet(filters: Filters, options: FleetOptions, continues: str = "") -> FleetStart:
    """Decide what this run works on, and keep that before anything starts.

    A run that is tried again, or goes on after a crash, takes the plan that is there: what it has started already is
    found again. One that had come to its end is planned anew.

    Raises:
        UnknownNameError: for a machine, family, target or tag that the fleet does not have.
        ConfigError: for a fleet.yaml or a setting that cannot be used.
        UsageError: for a run that has crashed too often, was being stopped, or is unknown to the server.
    """
    place, fleet, own = home(), load_fleet(home()), str(flow_run.id)
    kept = read_start(place, own)
    if kept is None and continues:
        before = left_by(place, continues, fleet.dead.tries)
        kept, filters, options = before.start, before.filters, before.options
    if kept is not None and not (continues == "" and _has_ended(kept)):
        start = _gone_on_with(kept, fleet)
        note_going_on(place, own, start)
    else:
        call_off_waiting()
        start = _planned(own, filters, options, fleet)
    keep_start(place, start)
    cells = sum(len(batch.cells) for batch in start.batches)
    logger.info("%d cells, %d to train in %d batches", len(start.plan.cells), cells, len(start.batches))
    return start


def _planned(run_id: str, filters: Filters, options: FleetOptions, fleet: FleetConfig) -> FleetStart:
    plan = make_plan(home(), fleet, filters, options.train)
    settings = options.over(fleet.batch)
    processes = settings.processes or room_now(home()).cores
    return FleetStart(
        run_id=run_id,
        started_at=plan.made_at,
        filters=filters,
        options=options,
        plan=plan,
        batches=fan_out(to_run(plan), settings.target_batch_s, processes),
    )


def _gone_on_with(start: FleetStart, fleet: FleetConfig) -> FleetStart:
    if start.tries >= fleet.dead.tries:
        raise UsageError(
            f"the run of the fleet {start.run_id} was begun {start.tries} times and never came to its end.",
            hint="See the logs of its flow runs. What is left is trained by: nightshift resume",
        )
    logger.warning("going on with the run of %s, try %d", f"{start.started_at:%Y-%m-%d %H:%M}", start.tries + 1)
    return start.model_copy(update={"tries": start.tries + 1})


def _has_ended(start: FleetStart) -> bool:
    outcome = read_outcome(home(), start.run_id)
    return outcome is not None and outcome.started_at == start.started_at


def train_batches(start: FleetStart, night: Night) -> tuple[BatchEnd, ...]:
    """Give the batches to their pools and wait until all have ended, or a stop is wished for.

    Raises:
        ServiceError: when the Prefect server does not answer for long.
    """
    runs = BatchRuns(start, load_fleet(home()), night.stop)
    ends = runs.run()
    try:
        # Versions, the morning report and the next run read what other machines have trained here.
        shared.sync(home())
    except NightshiftError as error:
        runs.remarks.append(f"What other machines have trained is not known here yet: {error.what}")
    night.remarks += tuple(runs.remarks)
    return ends


def version_trained(start: FleetStart, night: Night) -> None:
    """Version the data and models of the plan's machines that DVC does not hold all of."""
    for subject in dict.fromkeys(cell.subject for cell in start.plan.cells if cell.cell_key):
        if night.stop.asked():
            return
        if not outstanding(home(), subject):
            continue
        try:
            version(subject)
        except Exception as error:  # the models are trained: the morning tells of it, and the next night makes up
            logger.exception("%s was not versioned", subject)
            night.remarks += (f"{subject} was not versioned: {error}",)


def close(start: FleetStart, ends: Sequence[BatchEnd], night: Night) -> FleetOutcome:
    """Bring together how every cell ended, keep it, and tell of it."""
    outcome = FleetOutcome(
        run_id=start.run_id,
        started_at=start.started_at,
        ended_at=datetime.now(UTC),
        filters=start.filters,
        cells=with_devices(cells_of(start, ends, stopped=night.stop.asked())),
        ended="cancelled" if night.stop.asked() else "completed",
        remarks=night.remarks,
    )
    keep_outcome(home(), outcome)
    morning.close(outcome, start.plan)
    return outcome


def settled(outcome: FleetOutcome) -> FleetOutcome | State[Any]:
    """Return the outcome; a `Cancelled` state when it was stopped on request.

    Raises:
        FleetFailedError: when a cell failed or was blocked.
    """
    if outcome.ended == "cancelled":
        return Cancelled(message=STOPPED)
    if outcome.bad:
        raise FleetFailedError(outcome)
    return outcome


def cells_of(start: FleetStart, ends: Sequence[BatchEnd], *, stopped: bool) -> tuple[FleetCell, ...]:
    """Return every cell of the plan with how it ended.

    One that was to be trained and of which no batch has told has failed, unless the run was stopped.
    """
    batch_of = {name: end for end in ends for name in end.batch.cells}
    told = {cell.name: cell for end in ends if end.outcome for cell in end.outcome.cells}
    return tuple(_cell(start, planned, batch_of.get(planned.name), told, stopped) for planned in start.plan.cells)


def _cell(
    start: FleetStart, planned: PlannedCell, end: BatchEnd | None, told: dict[str, CellOutcome], stopped: bool
) -> FleetCell:
    if end is None:
        return FleetCell(planned=planned)
    outcome = told.get(planned.name)
    if outcome is None and not stopped:
        failed = _untold(planned, end)
        outcome = _trained_by_an_attempt(start, failed) or failed
    elif outcome is not None and end.attempts > 1 and (outcome.ending == "up to date" or _refused(end)):
        outcome = _trained_by_an_attempt(start, outcome) or outcome
    return FleetCell(planned=planned, outcome=outcome, batch=end.batch.name, attempts=end.attempts)


def _refused(end: BatchEnd) -> bool:
    """Whether the newest attempt ended before it could see what the earlier ones have done."""
    return end.outcome is not None and not end.outcome.processes


def _untold(planned: PlannedCell, end: BatchEnd) -> CellOutcome:
    return CellOutcome(
        subject=planned.subject,
        family=planned.family,
        target=planned.target,
        ending="failed",
        cell_key=planned.cell_key,
        reason=end.reason,
        hint=end.hint,
    )


def _trained_by_an_attempt(start: FleetStart, outcome: CellOutcome) -> CellOutcome | None:
    """Return a cell that was registered since this run began as trained, with what its stages took; None otherwise.

    Its batch has crashed before it could tell of it. Only a worker that shares this machine's disk leaves the records.
    """
    registered = read_record(home(), outcome.cell_key, "register")
    if registered is None or registered.status != "done":
        return None
    if datetime.fromisoformat(registered.started_at) < start.started_at:
        return None
    cell = Cell.model_validate_json((work_folder(home(), outcome.cell_key) / "cell.json").read_bytes())
    records = (read_record(home(), outcome.cell_key, stage) for stage in STAGES)
    seconds = sum(record.seconds for record in records if record is not None)
    trained = outcome_of(home(), cell, "trained", reason="trained by a batch that crashed afterwards")
    return trained.model_copy(update={"seconds": round(seconds, 3), "cpu_s": outcome.cpu_s})
