"""What a cell's own process does: the whole chain, and one small file that says how it ended."""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from nightshift.errors import InterruptedTraining, NightshiftError, TransientError
from nightshift.files import disk_full, write_atomic
from nightshift.plan.cell import Cell
from nightshift.plan.lock import BusyError
from nightshift.plan.outcome import CellOutcome, is_trained, outcome_of, outcome_of_chain, outcome_of_error
from nightshift.plan.records import StageRecord, work_folder
from nightshift.progress import ProgressEvent
from nightshift.settings import Home, home
from nightshift.stages.batch_job import CellEnd, CellJob
from nightshift.stages.chain import StageContext, run_chain
from nightshift.stages.cut_off import how_it_goes_on

logger = logging.getLogger("nightshift")

#: Pauses before what may pass in a moment is tried again, as the flow of one cell makes them.
_PAUSES_S = (2.0, 4.0, 8.0)
_FORCED_BY = "forced_by"


class _Stop:
    """SIGTERM as a wish to stop."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._take)
        # Ctrl-C reaches the whole group of a terminal; what it means is decided by the batch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True


def main(job: CellJob) -> None:
    """Do the job in this process, a fresh fork; never returns to the fork server's own code."""
    stop, code = _Stop(), 1
    try:
        _redirect(Path(job.log))
        if job.report_only:
            _renew_report(job.cell)
        else:
            end = attempt(job, stop)
            write_atomic(Path(job.result), end.model_dump_json().encode())
        code = 0
    except BaseException as error:
        code = os.EX_IOERR if disk_full(error) else 1
        traceback.print_exc()
    finally:
        # What the fork server registered to be done at its own exit is not this process's.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def attempt(job: CellJob, stop: _Stop) -> CellEnd:
    """Run the chain of a cell; what may pass in a moment is tried again."""
    place, clock = home(), time.perf_counter()
    cell = unforced_if_begun(place, job.cell, job.run_id)
    had_model = not cell.forced and is_trained(place, cell)
    note = "" if cell.forced else how_it_goes_on(place, cell)
    ctx = StageContext(place, progress=_Watch(place, job, stop), should_stop=lambda: stop.asked, threads=job.threads)
    for pause_s in (*_PAUSES_S, None):
        try:
            last = run_chain(unforced_if_begun(place, cell, job.run_id), ctx)[-1]
        except BusyError:
            return CellEnd(what="busy")
        except InterruptedTraining:
            return CellEnd(what="stopped")
        except Exception as error:
            if pause_s is None or not _may_pass(error):
                traceback.print_exc()
                outcome = outcome_of_error(cell.subject, cell.family, cell.target, error, cell.key)
                break
            logger.warning("%s: %s Tried again in %g s.", cell.name, error, pause_s)
            time.sleep(pause_s * random.uniform(1.0, 1.5))
        else:
            outcome = _outcome(place, cell, last, had_model)
            if note and outcome.ending in ("trained", "up to date"):
                outcome = outcome.model_copy(update={"reason": note})
            break
    seconds = round(time.perf_counter() - clock, 3)
    return CellEnd(what="ended", outcome=outcome.model_copy(update={"seconds": seconds}))


def unforced_if_begun(place: Home, cell: Cell, run_id: str) -> Cell:
    """Return the cell; not forced any more once this batch has begun it anew, so that a retry goes on from there."""
    try:
        begun_by = (work_folder(place, cell.key) / _FORCED_BY).read_text(encoding="utf-8")
    except OSError:
        return cell
    return cell.model_copy(update={"forced": ""}) if begun_by == run_id else cell


class _Watch:
    """Sees the chain's events: a stop ends it before the next stage, and a forced cell is noted as begun."""

    def __init__(self, place: Home, job: CellJob, stop: _Stop) -> None:
        self._place, self._job, self._stop = place, job, stop

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event.

        Raises:
            InterruptedTraining: when a stage begins although a stop is wished for.
        """
        if event.step:
            return
        if self._stop.asked:
            raise InterruptedTraining(f"{self._job.cell.name} was stopped before {event.stage}.")
        if event.stage == "load" and self._job.cell.forced:
            # Earlier records are set aside by now.
            write_atomic(work_folder(self._place, event.cell) / _FORCED_BY, self._job.run_id.encode())


def _outcome(place: Home, cell: Cell, last: StageRecord, had_model: bool) -> CellOutcome:
    if last.status == "not_applicable":
        return outcome_of(place, cell, "not applicable", reason=last.error, hint=last.hint)
    if last.status == "blocked":
        return outcome_of(place, cell, "blocked", reason=last.error, hint=last.hint)
    return outcome_of_chain(place, cell, had_model=had_model)


def _may_pass(error: Exception) -> bool:
    return isinstance(error, TransientError) or (isinstance(error, OSError) and not disk_full(error))


def _renew_report(cell: Cell) -> None:
    from nightshift.tracking.report import write_report

    try:
        write_report(home(), cell.subject)
    except (NightshiftError, OSError) as error:
        logger.warning("%s: the report could not be renewed: %s", cell.name, error)


def _redirect(log: Path) -> None:
    """Send what this process and its libraries print to a file of the cell's own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)
    faulthandler.enable()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
