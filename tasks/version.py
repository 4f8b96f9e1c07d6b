"""version: data and models into DVC, once per run, after the cells."""

from __future__ import annotations

import logging

from prefect import task
from prefect.runtime import flow_run, task_run
from prefect.tasks import exponential_backoff

from nightshift.errors import NightshiftError
from nightshift.settings import home
from tasks.artifacts import show_findings_of
from tasks.stage import BACKOFF_S, JITTER, RETRIES, may_pass

logger = logging.getLogger("nightshift")


def version(subject: str) -> None:
    """Version a subject's data and models; a flow that is part of another leaves it to that one."""
    if flow_run.parent_flow_run_id is None:
        _version(subject)


@task(
    name="version",
    task_run_name="version",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=BACKOFF_S),
    retry_jitter_factor=JITTER,
    retry_condition_fn=may_pass,
    result_serializer="json",
)
def _version(subject: str) -> None:
    """Record the newest data and models; what stands in the way is a finding of the run and of the report."""
    from nightshift.plan.state import newest_cells
    from nightshift.tracking.report import write_report
    from nightshift.tracking.versioning import version_subject

    place = home()
    done = version_subject(place, subject, last_try=(task_run.run_count or 1) > RETRIES)
    show_findings_of(subject, "version", done.findings)
    # The cells have written the report before this was known.
    if done.news and newest_cells(place, subject):
        try:
            write_report(place, subject)
        except (NightshiftError, OSError) as error:
            logger.warning("%s: the report was not renewed: %s", subject, error)
