"""Runs the stages of one cell in order, and leaves a record of each that ended.

`load → validate → train → evaluate → export → register → report`. A stage whose record is intact is not run again,
so a second run of an up-to-date cell does no work and a crashed one goes on where it stopped.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from nightshift import families
from nightshift.errors import InterruptedTraining, NightshiftError
from nightshift.family import Family, FamilyConfig, Limits, RunContext, time_limit_s
from nightshift.findings import Finding, finding
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, StageRecord, read_record
from nightshift.plan.shared import share_cell
from nightshift.plan.state import remember
from nightshift.stages.cut_off import began
from nightshift.stages.recorded import StageContext, StageResult, disk_errors, forget_from, run_recorded, set_aside

__all__ = ["StageContext", "StageResult"]

logger = logging.getLogger("nightshift")


def begin(cell: Cell, ctx: StageContext) -> None:
    """Note that work on a cell begins; a forced cell's earlier records are set aside, not deleted.

    Raises:
        NightshiftError: when the disk is full.
    """
    with disk_errors():
        if cell.forced:
            set_aside(ctx.work(cell), "cell.json")
        if journal.is_open(ctx.home, cell.key):
            # A crash came between the record and the registry: the stage is idempotent and finishes what it began.
            (ctx.work(cell) / "register.json").unlink(missing_ok=True)
        remember(ctx.home, cell)


def run_chain(cell: Cell, ctx: StageContext) -> list[StageRecord]:
    """Run all stages of a cell under its lock; stops after a blocked one.

    Raises:
        NightshiftError: when a stage fails; its record says why.
        TransientError: when another process trains the cell.
    """
    with lock.held(ctx.home, cell.key, busy=f"{cell.name} is being trained by another process."):
        begin(cell, ctx)
        records: list[StageRecord] = []
        for name in STAGES:
            records.append(run_stage(name, cell, ctx))
            if records[-1].status in ("blocked", "not_applicable"):
                break
        return records


def run_stage(name: str, cell: Cell, ctx: StageContext) -> StageRecord:
    """Run one stage unless its record is intact, and return its record.

    Raises:
        NightshiftError: when the stage fails; a `failed` record is left.
        InterruptedTraining: when it was asked to stop; no record is left.
    """
    kept = read_record(ctx.home, cell.key, name)
    if kept is not None and kept.status == "done":
        logger.info("%s: %s is up to date, nothing to do", cell.name, name)
        return kept
    cut_off = kept is None or bool(kept.summary.get("cut_off"))
    remarks = _begun_anew(cell, ctx) if name == "train" and cut_off else ()
    forget_from(name, STAGES, ctx.work(cell))
    try:
        record = run_recorded(
            name,
            cell,
            ctx,
            lambda: importlib.import_module(f"nightshift.stages.{name}").run(cell, ctx),
            remarks=remarks,
            mute=lambda: config_of(cell).mute,
        )
    except InterruptedTraining:
        raise
    except NightshiftError:
        _tell_in_report(cell, ctx)
        share_cell(ctx.home, cell)
        raise
    if record.status in ("blocked", "not_applicable"):
        _tell_in_report(cell, ctx)
        share_cell(ctx.home, cell)
    elif name == STAGES[-1]:
        share_cell(ctx.home, cell)
    return record


def family_of(cell: Cell) -> Family:
    """Return the cell's family."""
    return families.get(cell.family)


def config_of(cell: Cell) -> FamilyConfig:
    """Return the cell's config, validated."""
    return family_of(cell).config.model_validate(cell.config["config"])


def limits_of(cell: Cell) -> Limits:
    """Return the target's limits for the cell's family."""
    return Limits.model_validate(cell.config["limits"])


def run_context(cell: Cell, ctx: StageContext, stage: str) -> RunContext:
    """Return what a family is given in a stage."""
    config = config_of(cell)
    work = ctx.work(cell)
    scratch = work / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return RunContext(
        cell=cell.key,
        seed=config.seed,
        limits=limits_of(cell),
        work=scratch,
        checkpoints=work / "checkpoints",
        time_limit_s=time_limit_s(config),
        device=config.device,
        threads=ctx.threads,
        progress=ctx.sink(cell),
        should_stop=ctx.should_stop,
        stage=stage,
    )


# The last fitted model of this process: evaluate and export need what train has just made.
_last_fitted: dict[str, Any] = {}


def keep_fitted(cell: Cell, fitted: object) -> None:
    """Keep a fitted model in memory for the cell's next stages."""
    _last_fitted.clear()
    _last_fitted[cell.key] = fitted


def forget_fitted() -> None:
    """Give the memory of the last fitted model back."""
    _last_fitted.clear()


def fitted_of(cell: Cell, ctx: StageContext) -> Any:
    """Return the cell's fitted model: the one in memory, else loaded from `native/`."""
    if cell.key not in _last_fitted:
        keep_fitted(cell, family_of(cell).load(ctx.work(cell) / "native"))
    return _last_fitted[cell.key]


def _tell_in_report(cell: Cell, ctx: StageContext) -> None:
    """Renew the machine's report: a cell that stops never reaches the stage that does, and people look there."""
    from nightshift.tracking.report import write_report

    try:
        write_report(ctx.home, cell.subject)
    except Exception as error:
        # Why the cell stopped matters more than that the report could not be written.
        logger.warning("%s: the report could not be renewed: %s", cell.name, error)


def _begun_anew(cell: Cell, ctx: StageContext) -> tuple[Finding, ...]:
    """Remark on a training that was cut off, of a family that keeps no checkpoint."""
    if family_of(cell).checkpoints:
        return ()
    if not began(ctx.work(cell), "train"):
        return ()
    return (finding("R003", f"An earlier training was cut off; '{cell.family}' keeps no checkpoint and began anew."),)
