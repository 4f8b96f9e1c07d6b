"""When the run of a night cannot tell of itself, the server does: it crashed, or none has begun.

Everything else a run tells itself, with its report; see `tasks/morning.py`. A server that is down tells nothing before
it is up again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from deployments.api import ask
from deployments.reactions import NIGHTLY, Reaction, Scene, UnmetError, trigger
from nightshift.errors import first_line

CRASHED = "nightshift: tell of a night that crashed"
MISSED = "nightshift: tell when no night has begun"
#: So long after a night is due it counts as missed; an hour of it is for the change of clocks.
LATE_S = 7200.0

_FLOW = "train-fleet"
_FIRST, _LOOK_AHEAD, _LOOKS = datetime(2024, 1, 1), timedelta(days=732), 4_000


def wanted(scene: Scene) -> Iterator[Reaction]:
    """Yield the automations, where the fleet names somebody to tell and has a night.

    Raises:
        UnmetError: when the server has no such notification block; with what makes one.
    """
    if not scene.fleet.notify or NIGHTLY not in scene.deployments:
        return
    block_id = notification_block(scene.fleet.notify)
    yield _crashed(block_id, scene.fleet.dead.silent_s)
    yield _missed(scene, block_id)


def notification_block(name: str) -> str:
    """Return the server's id of a notification block, `<type>/<name>`.

    Raises:
        UnmetError: when there is none, or it is a block that sends nothing.
    """
    kind, own = name.split("/")
    path = f"block_types/slug/{quote(kind)}"
    status, found = ask(path, accept=(404,))
    if status == 404:
        raise UnmetError(
            f"fleet.yaml: notify is '{name}', and Prefect knows no kind of block '{kind}'.",
            hint="`prefect block type ls` lists them; those that notify are slack-webhook, ms-teams-webhook, "
            "sendgrid-email, custom-webhook and others.",
        )
    schemas = {"block_schemas": {"block_type_id": {"any_": [found["id"]]}}}
    if not any("notify" in schema["capabilities"] for schema in ask("block_schemas/filter", schemas)[1]):
        raise UnmetError(
            f"fleet.yaml: notify is '{name}', and a block of the kind '{kind}' sends no notifications.",
            hint="Kinds that do: slack-webhook, ms-teams-webhook, sendgrid-email, custom-webhook and others.",
        )
    status, document = ask(f"{path}/block_documents/name/{quote(own)}", accept=(404,))
    if status == 404:
        raise UnmetError(
            f"fleet.yaml: notify is '{name}', and the Prefect server has no such block.",
            hint=f"Make it in the Prefect UI, which `prefect block create {kind}` links to, with the name '{own}'; "
            "or empty notify in fleet.yaml. Then: nightshift deploy",
        )
    return str(document["id"])


def longest_gap_s(cron: str) -> float:
    """Return the longest time between two nights of a schedule, in seconds of the clock on the wall.

    Raises:
        UnmetError: when the schedule names no time, such as the 30th of February.
    """
    # The reader of cron lines that Prefect's own scheduler has.
    from prefect._vendor.croniter.croniter import croniter

    try:
        # Counted from a fixed day: the same line gives the same answer at every deploy.
        nights: Any = croniter(cron, _FIRST, ret_type=datetime)  # type: ignore[no-untyped-call]
        moments = [nights.get_next() for _ in range(2)]
        while moments[-1] - _FIRST < _LOOK_AHEAD and len(moments) < _LOOKS:
            moments.append(nights.get_next())
    except ValueError as error:
        raise UnmetError(f"fleet.yaml: nightly is '{cron}', which is no schedule: {first_line(error)}.") from error
    longest: timedelta = max(later - one for one, later in itertools.pairwise(moments))
    return longest.total_seconds()


def _crashed(block_id: str, silent_s: float) -> Reaction:
    return Reaction(
        name=CRASHED,
        description=f"Sends a message when a run of {_FLOW} has crashed.",
        trigger=trigger(
            "Reactive",
            ["prefect.flow-run.Crashed"],
            0.0,
            related={"prefect.resource.name": _FLOW, "prefect.resource.role": "flow"},
        ),
        actions=[
            _tell(
                block_id,
                "Nightshift: the run of the fleet crashed",
                "{{ flow_run.name }} ({{ flow_run.id }}) had no time to tell of itself: {{ flow_run.state.message }}\n"
                f"A night of the schedule is gone on with in {silent_s:g} s, as often as dead.tries in fleet.yaml "
                "allows. By hand: nightshift resume\n"
                "{{ flow_run|ui_url }}",
            )
        ],
    )


def _missed(scene: Scene, block_id: str) -> Reaction:
    within_s = longest_gap_s(scene.fleet.nightly) + LATE_S
    deployment = f"prefect.deployment.{scene.deployment_id(NIGHTLY)}"
    begins = ["prefect.flow-run.Running"]
    return Reaction(
        name=MISSED,
        description=f"Sends a message when no night of {NIGHTLY} has begun for {within_s / 3600:.0f} h.",
        # One that begins starts the time anew; one that a landing has started is no night.
        trigger=trigger(
            "Proactive",
            begins,
            within_s,
            after=begins,
            related=[
                {"prefect.resource.id": deployment, "prefect.resource.role": "deployment"},
                {"prefect.resource.id": "prefect.tag.auto-scheduled", "prefect.resource.role": "tag"},
            ],
        ),
        actions=[
            _tell(
                block_id,
                "Nightshift: no night has begun",
                f"The fleet is trained at '{scene.fleet.nightly}' ({scene.fleet.timezone}), and no such run has begun "
                f"for {within_s / 3600:.0f} h.\n"
                "See whether the workers run: nightshift ps\n"
                "Start everything: nightshift up - and what is left: nightshift train-fleet",
            )
        ],
    )


def _tell(block_id: str, subject: str, body: str) -> dict[str, Any]:
    return {"type": "send-notification", "block_document_id": block_id, "subject": subject, "body": body}
