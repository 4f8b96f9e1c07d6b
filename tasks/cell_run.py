"""What surrounds the stages of one cell in a flow: its lock, its context, its progress bar, and how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nightshift.errors import InterruptedTraining, NotApplicableError, UsageError
from nightshift.plan import lock
from nightshift.plan.batch import wants_gpu
from nightshift.plan.cell import Cell
from nightshift.plan.options import TrainOptions, settings_of
from nightshift.plan.outcome import CellOutcome, is_trained, outcome_of, outcome_of_chain
from nightshift.plan.resume import keep_threads, resumed
from nightshift.plan.state import make_cell
from nightshift.settings import home
from nightshift.stages.chain import StageContext, begin
from tasks import logs
from tasks.artifacts import show_outcomes
from tasks.gpu import gpu_of_run
from tasks.stage import at_work

logger = logging.getLogger("nightshift")

FORCED = "asked for (force)"
STOPPED = "Stopped on request; run it again to go on from the last finished stage."


class CellRun:
    """One cell on its way through the stages.

    Attributes:
        outcome: how it ended; None when it was stopped on request.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.outcome: CellOutcome | None = None


def plan_cell(subject: str, family: str, target: str, force: bool, options: TrainOptions, resume: str = "") -> Cell:
    """Make the cell of the subject's current data with the options' config, or that of the run to go on with.

    Raises:
        UnknownNameError: for an unknown subject, family, target or setting.
        ConfigError: for a config that cannot be used.
        UsageError: for a run that is not there, was started otherwise, or is to be forced to begin anew.
    """
    logs.set_up()
    if resume:
        if force:
            raise UsageError("a run that goes on cannot be forced to begin anew.", hint="Give one of the two.")
        return resumed(home(), resume, options, subject=subject, family=family, target=target)
    return make_cell(
        home(),
        subject,
        family,
        target,
        file=Path(options.config_file) if options.config_file else None,
        params=settings_of(options, family),
        forced=FORCED if force else "",
    )


@contextmanager
def cell_run(cell: Cell, options: TrainOptions) -> Iterator[CellRun]:
    """Hold a cell while its stages run.

    A family that cannot apply, and a stop on request, end the body quietly: `outcome` tells. Every other
    error goes on.

    Raises:
        TransientError: when another process trains the cell.
    """
    place, run, clock = home(), CellRun(cell), time.perf_counter()
    with ExitStack() as held:
        held.enter_context(lock.held(place, cell.key, busy=f"{cell.name} is being trained by another process."))
        begin(cell, StageContext(place))
        had_model = is_trained(place, cell)
        gpu = gpu_of_run(lambda: False) if wants_gpu(cell) else None
        if gpu is not None:
            held.enter_context(gpu(cell))
        bar = held.enter_context(at_work(cell, keep_threads(place, cell, options.threads)))
        try:
            yield run
        except NotApplicableError as reason:
            run.outcome = outcome_of(place, cell, "not applicable", reason=reason.what, hint=reason.hint)
        except InterruptedTraining as reason:
            logger.warning("%s: %s", cell.name, reason)
            return
        else:
            run.outcome = outcome_of_chain(place, cell, had_model=had_model)
            bar.done()
        run.outcome = run.outcome.model_copy(update={"seconds": round(time.perf_counter() - clock, 3)})
        logger.info("%s: %s. %s", cell.name, run.outcome.ending, run.outcome.reason)
        show_outcomes(cell.name, f"{cell.name}-outcome", [run.outcome])
