"""What the server does about dead runs, held against Prefect's own triggers; flows/test_dead_workers.py kills."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.server.events.schemas.automations import AutomationCreate
from prefect.server.events.schemas.events import ReceivedEvent

from deployments import on_silence
from deployments.changes import holds
from deployments.reactions import NIGHTLY, Scene
from nightshift.plan.fleet_config import DeadSettings, FleetConfig

DEPLOYMENT = str(UUID(int=7))


class Known(Scene):
    """A scene whose server is not asked."""

    def deployment_id(self, full_name: str) -> str:
        assert full_name == NIGHTLY
        return DEPLOYMENT


def made(*deployments: str) -> dict[str, dict[str, Any]]:
    scene = Known(FleetConfig(dead=DeadSettings(silent_s=50, pending_s=5)), frozenset(deployments))
    return {reaction.name: reaction.body() for reaction in on_silence.wanted(scene)}


def event(name: str, *, count: int = 1, tag: str = "nightshift", deployment: str = DEPLOYMENT) -> ReceivedEvent:
    return ReceivedEvent(
        id=uuid4(),
        occurred=datetime.now(UTC),
        event=f"prefect.flow-run.{name}",
        resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}", "prefect.run-count": str(count)},
        related=[
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"},
            {"prefect.resource.id": f"prefect.deployment.{deployment}", "prefect.resource.role": "deployment"},
        ],
    )


@pytest.fixture(scope="module")
def triggers() -> dict[str, Any]:
    """The triggers as Prefect reads them."""
    return {name: AutomationCreate.model_validate(body).trigger for name, body in made(NIGHTLY).items()}


def test_the_server_keeps_all_that_is_said_in_whatever_order():
    for body in made(NIGHTLY).values():
        kept = {"id": "1", **copy.deepcopy(body)}
        kept["trigger"]["expect"].reverse()
        assert holds(kept, body)
        kept["trigger"]["expect"].pop()
        assert not holds(kept, body)


def test_without_a_night_there_is_none_to_go_on_with():
    assert set(made()) == {on_silence.SILENT, on_silence.STUCK}


def test_times_are_the_fleets_and_no_less_than_prefect_takes(triggers):
    assert triggers[on_silence.SILENT].within.total_seconds() == 50
    assert triggers[on_silence.STUCK].within.total_seconds() == 10
    [action] = made(NIGHTLY)[on_silence.GO_ON]["actions"]
    assert action["schedule_after"] == 50


def test_a_heartbeat_begins_the_watch_and_another_or_an_end_satisfies_it(triggers):
    silent = triggers[on_silence.SILENT]
    assert silent.starts_after("prefect.flow-run.heartbeat")
    assert silent.covers(event("heartbeat"))
    assert not silent.covers(event("heartbeat", tag="somebody-elses"))
    for name in ("heartbeat", "Completed", "Failed", "Crashed", "Cancelled"):
        assert silent.expects(f"prefect.flow-run.{name}")
    assert not silent.expects("prefect.flow-run.Cancelling")


def test_a_run_that_a_worker_took_is_to_begin(triggers):
    stuck = triggers[on_silence.STUCK]
    assert stuck.starts_after("prefect.flow-run.Pending")
    assert stuck.expects("prefect.flow-run.Running")
    assert not stuck.expects("prefect.flow-run.Submitting")


def test_only_a_night_that_had_begun_is_gone_on_with(triggers):
    go_on = triggers[on_silence.GO_ON]
    assert go_on.covers(event("Crashed"))
    assert not go_on.covers(event("Crashed", count=0))
    assert not go_on.covers(event("Failed"))
    assert not go_on.covers(event("Crashed", deployment=str(UUID(int=8))))
    # Told twice to have crashed, it is gone on with once.
    assert go_on.for_each == {"prefect.resource.id"}
    assert go_on.within.total_seconds() == 86_400


def test_an_ended_run_is_not_forced_into_another_end():
    for name in (on_silence.SILENT, on_silence.STUCK):
        [action] = made()[name]["actions"]
        assert (action["state"], action["force"]) == ("CRASHED", False)
