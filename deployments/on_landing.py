"""When data have landed, a run of the fleet starts that is held to the machines that landed."""

from __future__ import annotations

from collections.abc import Iterator

from deployments.reactions import NIGHTLY, Reaction, Scene, trigger

EVENT = "nightshift.dataset.landed"
#: What an event is about is this, a dot, and the machine's id.
RESOURCE = "nightshift.dataset"

NAME = "nightshift: train what has landed"
#: No machine is named: the run's plan knows what has landed, and is later than the last event of the burst.
PARAMETERS = {"only": "landed"}


def wanted(scene: Scene) -> Iterator[Reaction]:
    """Yield the automation, where the deployment that it starts is declared.

    After it has fired it swallows the events of `within_s`, so that a burst starts one run, which begins later than
    that.
    """
    if NIGHTLY not in scene.deployments:
        return
    yield Reaction(
        name=NAME,
        description=f"Starts {NIGHTLY} when a dataset has landed; several at once start it once.",
        trigger=trigger("Reactive", [EVENT], scene.fleet.landing.within_s, about=f"{RESOURCE}.*"),
        actions=[
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": scene.deployment_id(NIGHTLY),
                "parameters": PARAMETERS,
                "job_variables": None,
                "schedule_after": scene.fleet.landing.after_s,
            }
        ],
    )
