"""What the Prefect server does by itself: when data have landed, it starts the run that trains what is new."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from deployments.api import ask
from deployments.changes import TAG, Change, holds

EVENT = "nightshift.dataset.landed"
#: What an event is about is this, a dot, and the machine's id.
RESOURCE = "nightshift.dataset"

NAME = "nightshift: train what has landed"
DEPLOYMENT = "train-landed/local"
#: After it has fired, the automation swallows the events of this time, so that a burst starts one run ...
WITHIN_S = 30
#: ... which begins later than that: its listing of what has landed is later than the last event swallowed.
AFTER_S = 60


def declare(deployments: Container[str] = (DEPLOYMENT,)) -> list[Change]:
    """Create the automations on the server of `PREFECT_API_URL`, or bring edited ones back; else change nothing.

    Those with our tag that are not wanted any more are removed.

    Args:
        deployments: full names of those that are declared; an automation that starts another is not wanted.

    Raises:
        ServiceError: when the server refuses it, or lacks the deployment.
    """
    wanted = {}
    if DEPLOYMENT in deployments:
        _, deployment = ask(f"deployments/name/{DEPLOYMENT}")
        wanted[NAME] = _automation(str(deployment["id"]))
    changes = []
    for name, body in wanted.items():
        changes += _one(name, body)
    _, ours = ask("automations/filter", {"automations": {"tags": {"all_": [TAG]}}})
    for found in ours:
        if found["name"] not in wanted:
            changes += _removed(found)
    return changes


def _one(name: str, wanted: Mapping[str, Any]) -> list[Change]:
    found, what = _named(name), f"automation {name}"
    changes = [change for superfluous in found[1:] for change in _removed(superfluous)]
    if not found:
        ask("automations/", wanted)
        return [Change("created", what)]
    if not holds(found[0], wanted):
        ask(f"automations/{found[0]['id']}", wanted, method="PUT")
        changes.append(Change("updated", what))
    return changes


def _removed(found: Mapping[str, Any]) -> list[Change]:
    ask(f"automations/{found['id']}", method="DELETE", accept=(404,))
    return [Change("removed", f"automation {found['name']}")]


def declared(url: str) -> bool:
    """Whether a server would react to a landing: it has the automation, and nobody has switched it off.

    Raises:
        ServiceError: when it does not answer.
    """
    return any(found["enabled"] for found in _named(NAME, url))


def _named(name: str, url: str = "") -> list[dict[str, Any]]:
    """Return the automations of a name, oldest first."""
    _, found = ask("automations/filter", {"automations": {"name": {"any_": [name]}}, "sort": "CREATED_DESC"}, url=url)
    return list(found)[::-1]


def _automation(deployment_id: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "description": f"Starts {DEPLOYMENT} when a dataset has landed; several at once start it once.",
        "enabled": True,
        "tags": [TAG],
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "match": {"prefect.resource.id": f"{RESOURCE}.*"},
            "match_related": {},
            "after": [],
            "expect": [EVENT],
            "for_each": [],
            "threshold": 1,
            "within": WITHIN_S,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment_id,
                "parameters": None,
                "job_variables": None,
                "schedule_after": AFTER_S,
            }
        ],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }
