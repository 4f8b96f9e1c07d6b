"""Runs that wait to do what this run is about to do: nights that nothing could run, and landings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prefect.runtime import deployment, flow_run

from deployments.api import ask
from nightshift.errors import ServiceError

logger = logging.getLogger("nightshift")

#: Who has asked for a run that nobody misses when another does the same.
_BY_ITSELF = ("SCHEDULE", "AUTOMATION")


def call_off_waiting() -> None:
    """Cancel the runs of this deployment that are due, that Prefect made by itself, and that ask for the same.

    Call it before the plan is made, which then sees all that theirs would. Without it every night that was missed
    would start, plan and report by itself.
    """
    if not deployment.id:
        return
    try:
        _, own = ask(f"flow_runs/{flow_run.id}")
        waiting = {
            "deployment_id": {"any_": [str(deployment.id)]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
        }
        _, found = ask("flow_runs/filter", {"flow_runs": waiting, "limit": 200})
        for other in found:
            if _asks_the_same(own, other):
                _call_off(other, by=own)
    except ServiceError as error:
        # Then they run too, and find all fresh.
        logger.warning("runs that wait for the same could not be called off: %s", error)


def _asks_the_same(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    by_itself = (other["created_by"] or {}).get("type") in _BY_ITSELF
    return by_itself and other["id"] != own["id"] and other["parameters"] == own["parameters"]


def _call_off(other: Mapping[str, Any], by: Mapping[str, Any]) -> None:
    message = f"Called off: the run {by['name']} ({by['id']}) does its work."
    ask(f"flow_runs/{other['id']}/set_state", {"state": {"type": "CANCELLED", "name": "Cancelled", "message": message}})
    logger.info("%s, due at %s, is called off: this run does its work", other["name"], other["expected_start_time"])
