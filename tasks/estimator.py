"""A training on a table within a flow run: its progress, scores and findings are shown, and it can be stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from prefect import task

from deployments.search_pool import hands_of
from nightshift.data.shared_tables import table_here
from nightshift.errors import InterruptedTraining
from nightshift.plan.table import OUTCOME, TableJob, TableOptions, TableOutcome
from nightshift.progress import ProgressEvent, Sink
from nightshift.settings import home
from nightshift.stages.estimator import TableRun, file_of, join_table_search, train_table
from tasks import logs
from tasks.artifacts import ProgressBar, key_of, never_fatal, show_findings
from tasks.signals import StopOnSignal

logger = logging.getLogger("nightshift")

#: The stage that a training's jobs are counted in, and a stage of its own from 0 to 100 per cent.
_TRAIN, _WHOLE = "train", "table"


def job_of(file: str, target: str, model: str, options: TableOptions) -> TableJob:
    """Return the training that a run's parameters mean; its model gives way to one of the settings."""
    logs.set_up()
    settings = {"model": model, **options.settings}
    return TableJob(**{**options.model_dump(), "settings": settings}, file=file, target=target)


@task(name="train-table", task_run_name="train-table")
def fit_table(job: TableJob) -> TableOutcome:
    """Train, save, log and register; what fails after the fit ends the task only when there is no model for it.

    Raises:
        InterruptedTraining: when it was asked to stop.
        NightshiftError: when nothing can be trained, or the model cannot be saved.
    """
    with ProgressBar(job) as bar, StopOnSignal() as stop:
        run = train_table(home(), job, sink_of(bar, stop.asked), hands_of(home(), job))
        bar.done()
    show_findings(job, _TRAIN, run.result.findings)
    for finding in run.result.findings:
        logger.warning("%s: %s", job.name, finding.line())
    show_result(job, run)
    if run.outcome.version:
        logger.info("%s: version %d; %s", run.outcome.registered, run.outcome.version, run.outcome.gate)
    for fault in run.faults:
        if not run.outcome.saved:
            raise fault
        logger.warning("%s: %s", job.name, fault)
    return run.outcome


@task(name="search-table", task_run_name="search-table")
def search_table(job: TableJob, store_key: str) -> int:
    """Do trials of a search beside other runs, and return how many ended here.

    Raises:
        InterruptedTraining: when it was asked to stop.
        NightshiftError: when there is no such study as seen from here, or trials keep failing.
    """
    with ProgressBar(job) as bar, StopOnSignal() as stop, table_here(home(), file_of(home(), job), store_key) as file:
        own = job.model_copy(update={"file": str(file), "subject": job.called})
        done = join_table_search(home(), own, sink_of(bar, stop.asked))
        bar.done()
    logger.info("%s: %d trials ended here", job.name, done)
    return done


def sink_of(bar: Sink, stopped: Callable[[], bool]) -> Sink:
    """Return a sink that moves the bar with each job that ends, logs it, and ends the training when that is wished for.

    Raises:
        InterruptedTraining: by the sink.
    """

    def take(event: ProgressEvent) -> None:
        if stopped():
            raise InterruptedTraining("Training was stopped on request.")
        if event.stage != _TRAIN:
            return
        if event.message:
            logger.info("%s", event.message)
        if event.total:
            bar(replace(event, stage=_WHOLE))

    return take


@never_fatal
def show_result(job: TableJob, run: TableRun) -> None:
    """Show the summary, every score as a table, and how it ended as the dashboard reads it."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    outcome = run.outcome
    note = f"{outcome.model} on {outcome.rows:,} rows, judged by {outcome.metric}"
    create_markdown_artifact(f"```\n{run.result.summary()}\n```", key=key_of(job.name, "summary"), description=note)
    rows = [
        {"part": part} | {name: value for name, value in scores.items() if value is not None}
        for part, scores in outcome.scores.items()
    ]
    create_table_artifact(rows, key=key_of(job.name, "scores"), description=note)
    create_table_artifact(
        [{"outcome": outcome.model_dump_json()}], key=OUTCOME, description=f"{note}, for the dashboard"
    )
