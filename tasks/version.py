"""version: data and models into DVC, once per run, after the cells."""

from __future__ import annotations

from prefect import task
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from nightshift.settings import home
from tasks.stage import BACKOFF_S, JITTER, RETRIES, may_pass


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
    """Record the newest data and models."""
    from nightshift.tracking.versioning import version_subject

    version_subject(home(), subject)
