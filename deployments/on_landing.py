"""When data have landed, the run starts that trains what is new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployments.reactions import Reaction, Scene

EVENT = "nightshift.dataset.landed"
#: What an event is about is this, a dot, and the machine's id.
RESOURCE = "nightshift.dataset"

NAME = "nightshift: train what has landed"
DEPLOYMENT = "train-landed/local"
#: After it has fired, the automation swallows the events of this time, so that a burst starts one run ...
WITHIN_S = 30
#: ... which begins later than that: its listing of what has landed is later than the last event swallowed.
AFTER_S = 60


def wanted(scene: Scene) -> Iterator[Reaction]:
    """Yield the automation, where the deployment that it starts is declared."""
    if DEPLOYMENT not in scene.deployments:
        return
    yield Reaction(
        name=NAME,
        description=f"Starts {DEPLOYMENT} when a dataset has landed; several at once start it once.",
        trigger=_trigger(),
        actions=[
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": scene.deployment_id(DEPLOYMENT),
                "parameters": None,
                "job_variables": None,
                "schedule_after": AFTER_S,
            }
        ],
    )


def _trigger() -> dict[str, Any]:
    return {
        "type": "event",
        "posture": "Reactive",
        "match": {"prefect.resource.id": f"{RESOURCE}.*"},
        "match_related": {},
        "after": [],
        "expect": [EVENT],
        "for_each": [],
        "threshold": 1,
        "within": WITHIN_S,
    }
