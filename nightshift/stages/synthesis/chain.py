"""Runs the stages of one synthesis in order, and leaves a record of each that ended.

`profile → physics → generate → quality → land`. A stage whose record is intact is not run again. A quality gate that
refused refuses again without judging anew: the same profile, seed, options and code make the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from nightshift.errors import InterruptedTraining
from nightshift.plan import lock
from nightshift.plan.records import StageRecord, read_record
from nightshift.plan.synthesis import DESCRIBED, STAGES, Synthesis, remember, still_present
from nightshift.stages.recorded import StageContext, StageResult, disk_errors, forget_from, run_recorded, set_aside
from nightshift.stages.synthesis import generate, land, physics, profile, quality

logger = logging.getLogger("nightshift")

_RUN: dict[str, Callable[[Synthesis, StageContext], StageResult]] = {
    "profile": profile.run,
    "physics": physics.run,
    "generate": generate.run,
    "quality": quality.run,
    "land": land.run,
}


def begin(job: Synthesis, ctx: StageContext) -> None:
    """Note that work on a synthesis begins; a forced one's earlier records are set aside, not deleted.

    Raises:
        NightshiftError: when the disk is full.
    """
    with disk_errors():
        if job.options.force:
            set_aside(ctx.work(job), DESCRIBED)
        remember(ctx.home, job)


def run_chain(job: Synthesis, ctx: StageContext) -> list[StageRecord]:
    """Run all stages of a synthesis under its lock; stops after a blocked one.

    Raises:
        NightshiftError: when a stage fails; its record says why.
        TransientError: when another process makes the same data.
    """
    with lock.held(ctx.home, job.key, busy=busy(job)):
        begin(job, ctx)
        done: list[StageRecord] = []
        for name in STAGES:
            done.append(run_stage(name, job, ctx))
            if done[-1].status == "blocked":
                break
        return done


def busy(job: Synthesis) -> str:
    """Say that another process is at it."""
    return f"{job.subject} is being synthesised by another process, with the same settings."


def run_stage(name: str, job: Synthesis, ctx: StageContext) -> StageRecord:
    """Run one stage unless its record is intact, and return its record.

    Raises:
        NightshiftError: when the stage fails; a `failed` record is left.
        InterruptedTraining: when it was asked to stop; no record is left.
    """
    kept = read_record(ctx.home, job.key, name)
    if kept is not None and _holds(kept, job, ctx):
        logger.info("%s: %s is up to date, nothing to do", job.name, name)
        return kept
    forget_from(name, STAGES, ctx.work(job))
    return run_recorded(name, job, ctx, lambda: _call(name, job, ctx))


def _holds(kept: StageRecord, job: Synthesis, ctx: StageContext) -> bool:
    if kept.stage == "land":
        return kept.status == "done" and still_present(ctx.home, job.subject, kept)
    return kept.status in ("done", "blocked")


def _call(name: str, job: Synthesis, ctx: StageContext) -> StageResult:
    if ctx.should_stop():
        raise InterruptedTraining(f"{job.name}: stopped before {name}.", hint="Run it again to go on.")
    return _RUN[name](job, ctx)
