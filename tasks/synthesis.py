"""The stages of a synthesis as tasks, what surrounds them in the flow, and what the run shows of the quality."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nightshift.errors import InterruptedTraining
from nightshift.plan import lock
from nightshift.plan.records import work_folder
from nightshift.plan.synthesis import (
    QUALITY_FILE,
    Synthesis,
    SynthesisOptions,
    SynthesisOutcome,
    is_fresh,
    outcome_of,
    plan_synthesis,
)
from nightshift.settings import home
from nightshift.stages.recorded import StageContext
from nightshift.stages.synthesis import chain
from nightshift.stages.synthesis.quality import publish
from tasks import logs
from tasks.artifacts import key_of, never_fatal
from tasks.stage import StageRef, at_work, reference_to, run_with, stage

logger = logging.getLogger("nightshift")


@stage
def profile(job: Synthesis) -> StageRef:
    """Keep the profile as it is used, and draw the seed units."""
    return reference_to(run_with(chain.run_stage, "profile", job))


@stage
def physics(job: Synthesis) -> StageRef:
    """Roll seed units forward and hold them against the laws."""
    return reference_to(run_with(chain.run_stage, "physics", job))


@stage
def generate(job: Synthesis) -> StageRef:
    """Fit the generators and draw units from them."""
    return reference_to(run_with(chain.run_stage, "generate", job))


@stage
def quality(job: Synthesis) -> StageRef:
    """Judge what was generated; nothing passes that is below the written thresholds."""
    try:
        return reference_to(run_with(chain.run_stage, "quality", job))
    finally:
        show_quality(job)


@stage
def land(job: Synthesis) -> StageRef:
    """Land train, val and test, whole or not at all."""
    return reference_to(run_with(chain.run_stage, "land", job))


def announce(job: Synthesis) -> None:
    """Tell of the landing, unless it was asked not to, and of earlier ones that nobody was told of."""
    from deployments.events import deliver

    if job.options.event:
        deliver(home())


class SynthesisRun:
    """One synthesis on its way through the stages.

    Attributes:
        outcome: how it ended; None when it was stopped on request.
    """

    def __init__(self, job: Synthesis) -> None:
        self.job = job
        self.outcome: SynthesisOutcome | None = None


def plan(machine_id: str, rows: int, seed: int, options: SynthesisOptions) -> Synthesis:
    """Make the synthesis of the machine's present profile.

    Raises:
        UnknownNameError: for a machine without a profile.
        ConfigError: for a profile that is refused.
        UsageError: for rows or a seed that cannot be used.
    """
    logs.set_up()
    return plan_synthesis(home(), machine_id, rows, seed, options)


@contextmanager
def synthesis_run(job: Synthesis) -> Iterator[SynthesisRun]:
    """Hold a synthesis while its stages run.

    A stop on request ends the body quietly: `outcome` tells. Every other error goes on.

    Raises:
        TransientError: when another process makes the same data.
    """
    place, run, clock = home(), SynthesisRun(job), time.perf_counter()
    with ExitStack() as held:
        held.enter_context(lock.held(place, job.key, busy=chain.busy(job)))
        chain.begin(job, StageContext(place))
        fresh = is_fresh(place, job)
        bar = held.enter_context(at_work(job, job.options.threads))
        try:
            yield run
        except InterruptedTraining as reason:
            logger.warning("%s: %s", job.name, reason)
            return
        bar.done()
        publish(job, StageContext(place))
        run.outcome = outcome_of(place, job, "up to date" if fresh else "landed", time.perf_counter() - clock)
        logger.info("%s: %s. %s", job.name, run.outcome.ending, run.outcome.why)


@never_fatal
def show_quality(job: Synthesis) -> None:
    """Show the verdict with its table, and the table by itself; nothing before the stage has judged."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    from nightshift.simulate.quality.report import QualityReport

    kept = work_folder(home(), job.key) / QUALITY_FILE
    if not kept.is_file():
        return
    report = QualityReport.model_validate_json(kept.read_bytes())
    create_markdown_artifact(report.markdown(), key=key_of(job.name, "quality"), description=report.why)
    table = report.table()
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    create_table_artifact(rows, key=key_of(job.name, "quality", "table"), description=f"{job.name}: every figure")
