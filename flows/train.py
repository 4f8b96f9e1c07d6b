"""train: one model of one machine, from its data to the registry."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Cancelled

from flows.parameters import Family, Force, Resume, Subject, Target
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome
from tasks.cell_run import STOPPED, cell_run, plan_cell
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.load import load
from tasks.promote import ask_about
from tasks.register import register
from tasks.report import report
from tasks.train import train as fit
from tasks.validate import validate
from tasks.version import version


@flow(name="train", flow_run_name="{subject}.{family}.{target}", persist_result=True, result_serializer="json")
def train(
    subject: Subject,
    family: Family,
    target: Target = "pi",
    force: Force = False,
    options: TrainOptions = TrainOptions(),
    resume: Resume = "",
) -> CellOutcome | State[Any]:
    """Train, judge, export and register one model of one machine.

    A model whose data, config and code are unchanged is not trained again, and the run says so.

    Args:
        subject: the machine's id, as it was imported.
        family: what the model answers: will it fail, when, is it odd, what comes next.
        target: the device class that the model is built for.
        force: train even when the model is up to date.
        options: how to train; everything left empty comes from the configs.
        resume: the run to go on with, by the key that it showed or its MLflow id: its data, its config, its checkpoint.

    Returns:
        How it ended; a `Cancelled` state when it was stopped on request.

    Raises:
        UsageError: for a run to go on with that is not there, or was started otherwise.
        BlockedError: when findings on the data stop it.
        NightshiftError: when a stage fails.
    """
    cell = plan_cell(subject, family, target, force, options, resume)
    with cell_run(cell, options) as run:
        load(cell)
        validate(cell)
        fit(cell)
        evaluate(cell)
        export(cell)
        register(cell)
        report(cell)
    if run.outcome is None:
        return Cancelled(message=STOPPED)
    version(subject)
    ask_about([cell.name])
    return run.outcome
