"""What an automation is made of; each `deployments/on_*.py` offers `wanted(scene)`, which yields some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deployments.api import ask
from deployments.changes import TAG
from nightshift.errors import ConfigError
from nightshift.plan.fleet_config import FleetConfig

#: The run of the fleet: on the schedule, after a landing, and again after a crash.
NIGHTLY = "train-fleet/nightly"
#: What a flow run's event is about.
FLOW_RUNS = "prefect.flow-run.*"


class UnmetError(ConfigError):
    """What a reaction needs is not on the server; all that does not need it is declared all the same."""


@dataclass(frozen=True)
class Scene:
    """What reactions are made for.

    Attributes:
        fleet: the fleet's config.
        deployments: full names of those that are declared.
    """

    fleet: FleetConfig
    deployments: frozenset[str]

    def deployment_id(self, full_name: str) -> str:
        """Return the server's id of a deployment.

        Raises:
            ServiceError: when the server lacks it.
        """
        return str(ask(f"deployments/name/{full_name}")[1]["id"])


@dataclass(frozen=True)
class Reaction:
    """An automation as we want it on the server.

    Attributes:
        trigger: an event trigger in full: what is left out the server fills in, and a later deploy could not tell.
        actions: in order.
    """

    name: str
    description: str
    trigger: Mapping[str, Any]
    actions: list[dict[str, Any]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        """Return it as the server takes and keeps it."""
        return {
            "name": self.name,
            "description": self.description,
            "enabled": True,
            "tags": [TAG],
            "trigger": dict(self.trigger),
            "actions": self.actions,
            "actions_on_trigger": [],
            "actions_on_resolve": [],
        }


def trigger(
    posture: Literal["Reactive", "Proactive"],
    expect: Sequence[str],
    within_s: float,
    *,
    about: str = FLOW_RUNS,
    after: Sequence[str] = (),
    related: object = None,
    each: bool = False,
) -> dict[str, Any]:
    """Return an event trigger in full.

    Args:
        posture: `Proactive` = when none of the events has come within the time.
        expect: names of events.
        within_s: for `Reactive`, events within this time after it has fired are swallowed.
        about: resources that the events are of.
        after: events that begin the time.
        related: what else the events must name.
        each: for every resource by itself.
    """
    return {
        "type": "event",
        "posture": posture,
        "match": {"prefect.resource.id": about},
        "match_related": related or {},
        "after": list(after),
        "expect": list(expect),
        "for_each": ["prefect.resource.id"] if each else [],
        "threshold": 1,
        "within": within_s,
    }
