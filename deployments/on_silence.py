"""What becomes of runs whose worker, machine or power has gone: nobody else would ever end them.

A run that is not heard of has crashed, one that never began its work too, and a night that crashed is gone on with.

A state's event is held back by the server (Prefect 3.8) for 15 minutes where it has not seen the state before: after
30 minutes it forgets, and with a restart too. So a heartbeat counts as a sign of life everywhere, a crash that meets an
ended run changes nothing, and a long night is gone on with that much later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from deployments.api import ENDED
from deployments.changes import TAG
from deployments.reactions import NIGHTLY, Reaction, Scene, trigger
from nightshift.plan.fleet_config import DeadSettings

SILENT = "nightshift: a run that is not heard of has crashed"
STUCK = "nightshift: a run that never began has crashed"
GO_ON = "nightshift: go on with a night that crashed"

_HEARTBEAT = "heartbeat"
_ENDED = tuple(name.capitalize() for name in sorted(ENDED))
#: Nobody works on a run in these, and nobody is to be heard.
_PARKED = ("AwaitingRetry", "Paused", "Suspended")
_PROACTIVE_MIN_S = 10.0
_ONCE_A_RUN_S = 86_400.0


def wanted(scene: Scene) -> Iterator[Reaction]:
    """Yield the automations; the last where its deployment is declared."""
    dead = scene.fleet.dead
    yield _silent(dead)
    yield _stuck(dead)
    if NIGHTLY in scene.deployments:
        yield _go_on(scene)


def _silent(dead: DeadSettings) -> Reaction:
    message = f"Not heard of for {dead.silent_s:g} s: its process, its machine or the network has gone."
    return Reaction(
        name=SILENT,
        description=f"A running run that sends no heartbeat for {dead.silent_s:g} s is marked as crashed.",
        trigger=_of_runs("Proactive", [_HEARTBEAT], [_HEARTBEAT, *_ENDED, *_PARKED], dead.silent_s),
        actions=[_crash(message)],
    )


def _stuck(dead: DeadSettings) -> Reaction:
    message = f"A worker took it {dead.pending_s:g} s ago and has not begun it."
    return Reaction(
        name=STUCK,
        description=f"A run that a worker took and did not begin within {dead.pending_s:g} s is marked as crashed.",
        trigger=_of_runs("Proactive", ["Pending"], [_HEARTBEAT, "Running", *_ENDED, *_PARKED], dead.pending_s),
        actions=[_crash(message)],
    )


def _go_on(scene: Scene) -> Reaction:
    deployment_id = scene.deployment_id(NIGHTLY)
    related = {"prefect.resource.id": f"prefect.deployment.{deployment_id}", "prefect.resource.role": "deployment"}
    # A run that is marked as dead and lives on for a while crashes more than once.
    crashed = _of_runs("Reactive", [], ["Crashed"], _ONCE_A_RUN_S)
    # One that never began counts no try of its own: where none can, they would follow each other without end.
    begun = {**crashed["match"], "prefect.run-count": "!0"}
    return Reaction(
        name=GO_ON,
        description=f"Starts {NIGHTLY} for what is left of one that crashed in its work.",
        trigger={**crashed, "match": begun, "match_related": related},
        actions=[
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment_id,
                # Said in full: a bare template Prefect (3.8) renders as JSON, which an id cannot become.
                "parameters": {"continues": {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}},
                "job_variables": None,
                # The batches that died with it are known to be dead by then.
                "schedule_after": scene.fleet.dead.silent_s,
            }
        ],
    )


def _of_runs(
    posture: Literal["Reactive", "Proactive"], after: list[str], expect: list[str], within_s: float
) -> dict[str, Any]:
    """Return a trigger on every run of ours, for each by itself."""
    return trigger(
        posture,
        [f"prefect.flow-run.{name}" for name in expect],
        max(within_s, _PROACTIVE_MIN_S) if posture == "Proactive" else within_s,
        after=[f"prefect.flow-run.{name}" for name in after],
        related={"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"},
        each=True,
    )


def _crash(message: str) -> dict[str, Any]:
    """Return the action: a run that has ended meanwhile stays as it ended, since it is not forced."""
    return {"type": "change-flow-run-state", "name": None, "state": "CRASHED", "message": message, "force": False}
