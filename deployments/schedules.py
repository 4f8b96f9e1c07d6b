"""Holds a deployment's schedules on the server to those of `prefect.yaml`.

By plain requests: Prefect's own deploy neither removes a schedule that has left the file, nor keeps one that a person
has paused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployments.api import ask
from deployments.changes import Change, holds
from deployments.declared import SLUG, Deployment


def declare(found: Mapping[str, Any], wanted: Deployment) -> Iterator[Change]:
    """Create, update and remove the schedules of one deployment; those that a person added in the UI stay.

    Args:
        found: the server's deployment.

    Yields:
        each change when it is made.

    Raises:
        ServiceError: when the server refuses one.
    """
    path, of = f"deployments/{found['id']}/schedules", f"of {wanted.full_name}"
    there = {schedule["slug"]: schedule for schedule in found["schedules"] if schedule["slug"]}
    for schedule in wanted.schedules:
        body, old = schedule.body(), there.get(schedule.slug)
        if old is None:
            ask(path, [body])
            yield Change("created", f"schedule {schedule.slug} {of}", str(schedule))
        elif not _same(old, body):
            ask(f"{path}/{old['id']}", body, method="PATCH")
            yield Change("updated", f"schedule {schedule.slug} {of}", str(schedule))
    kept = {schedule.slug for schedule in wanted.schedules}
    for slug in sorted(there):
        if slug.startswith(SLUG) and slug not in kept:
            ask(f"{path}/{there[slug]['id']}", method="DELETE", accept=(404,))
            yield Change("removed", f"schedule {slug} {of}")


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    # Parameters to the letter: one more on the server is a difference.
    return holds(found, wanted) and found["parameters"] == wanted["parameters"]
