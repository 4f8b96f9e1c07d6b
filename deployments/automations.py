"""What the Prefect server does by itself: when data have landed, it starts the run that trains what is new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployments.api import ask

EVENT = "nightshift.dataset.landed"
#: What an event is about is this, a dot, and the machine's id.
RESOURCE = "nightshift.dataset"

NAME = "nightshift: train what has landed"
DEPLOYMENT = "train-landed/local"
#: After it has fired, the automation swallows the events of this time, so that a burst starts one run ...
WITHIN_S = 30
#: ... which begins later than that: its listing of what has landed is later than the last event swallowed.
AFTER_S = 60


def declare() -> None:
    """Create the automation on the server of `PREFECT_API_URL`, or bring an edited one back; else change nothing.

    Raises:
        ServiceError: when the server refuses it, or lacks the deployment.
    """
    _, deployment = ask(f"deployments/name/{DEPLOYMENT}")
    wanted = _automation(str(deployment["id"]))
    found = _named()
    for superfluous in found[1:]:
        ask(f"automations/{superfluous['id']}", method="DELETE", accept=(404,))
    if not found:
        ask("automations/", wanted)
    elif not _holds(found[0], wanted):
        ask(f"automations/{found[0]['id']}", wanted, method="PUT")


def declared(url: str) -> bool:
    """Whether a server would react to a landing.

    Raises:
        ServiceError: when it does not answer.
    """
    return bool(_named(url))


def _named(url: str = "") -> list[dict[str, Any]]:
    """Return the automations of our name, oldest first."""
    _, found = ask("automations/filter", {"automations": {"name": {"any_": [NAME]}}, "sort": "CREATED_DESC"}, url=url)
    return list(found)[::-1]


def _automation(deployment_id: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "description": f"Starts {DEPLOYMENT} when a dataset has landed; several at once start it once.",
        "enabled": True,
        "tags": ["nightshift"],
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


def _holds(found: object, wanted: object) -> bool:
    """Whether the server's automation says all that ours does; ids and times of its own aside."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(k in found and _holds(found[k], v) for k, v in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(_holds(f, w) for f, w in zip(found, wanted, strict=True))  # type: ignore[call-overload]
    return found == wanted
