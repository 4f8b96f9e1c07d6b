"""A night tells of itself, and the server of a night that cannot: a real server, a real webhook."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments import automations, on_landing, on_silence, on_trouble
from deployments.api import ask
from deployments.reactions import NIGHTLY, Reaction, Scene, UnmetError
from nightshift.errors import ConfigError
from nightshift.plan.fleet import FleetPlan
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.fleet_run import FleetOutcome, keep_outcome
from tests.flows.conftest import Served
from tests.tracking.nights import BEGAN, a_night, failed, fresh, no_data

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BLOCK = "custom-webhook/night"


class Webhook:
    """An HTTP server on this machine that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-token"

    def wait_for(self, subject: str, within_s: float = 60.0) -> dict[str, Any]:
        """Return the first message with these words in its subject."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            for told in list(self.told):
                if subject in told["subject"]:
                    return told
            time.sleep(0.2)
        raise AssertionError(f"nobody told of '{subject}': {self.told}")


@pytest.fixture(scope="module")
def webhook(served: Served) -> Iterator[Webhook]:
    """The webhook, and on the server a notification block that calls it."""
    hook = Webhook()
    thread = threading.Thread(target=hook.server.serve_forever, daemon=True)
    thread.start()
    with served.inside():
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        block = CustomWebhookNotificationBlock(
            name="night", url=hook.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        block.save("night")
    kept = {path: path.exists() for path in (served.home.work / "fleet", served.home.reports / "fleet")}
    yield hook
    for path, was_there in kept.items():
        if not was_there:
            shutil.rmtree(path, ignore_errors=True)
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def fleet(served: Served, webhook: Webhook) -> Iterator[Callable[[str], None]]:
    """A way to write the home's fleet.yaml; nobody has been told of anything yet."""
    path = served.home.configs / "fleet.yaml"
    webhook.told.clear()
    webhook.status = 200

    def write(text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    yield write
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


def close_in_a_flow(served: Served, outcome: FleetOutcome) -> str:
    """Close a night as the flow does, and return the flow run's id."""
    from prefect import flow
    from prefect.runtime import flow_run

    from tasks.morning import close

    plan = FleetPlan(made_at=BEGAN, cells=tuple(c.planned for c in outcome.cells))

    @flow
    def night() -> str:
        keep_outcome(served.home, outcome)
        close(outcome, plan)
        return str(flow_run.id)

    return str(night())


def page_of(served: Served) -> str:
    return (served.home.reports / "fleet" / "latest.html").read_text(encoding="utf-8")


def test_trouble_is_told_with_its_report_and_shown_as_a_matrix(
    served: Served, webhook: Webhook, fleet: Callable[[str], None]
) -> None:
    fleet(f"notify: {BLOCK}\ntimezone: Europe/Berlin\n")
    with served.inside():
        run = close_in_a_flow(served, a_night(failed("pump_7"), fresh("pump_8"), run_id="trouble"))
    [told] = webhook.told
    assert told["subject"] == "Nightshift 2026-11-21: 1 failed, of 2 models"
    assert "nightshift resume --machine pump_7" in told["body"]
    report = told["body"].splitlines()[-1].removeprefix("Report: ").split(" on ")[0]
    assert "the disk is full" in Path(report).read_text(encoding="utf-8")
    shown = served.artifacts(run)["fleet-matrix"]["data"]
    assert "| pump_7 | **failed** |" in shown
    assert report in shown


def test_only_trouble_that_is_new_is_told_unless_every_night_is_asked_for(
    served: Served, webhook: Webhook, fleet: Callable[[str], None]
) -> None:
    with served.inside():
        fleet(f"notify: {BLOCK}\n")
        close_in_a_flow(served, a_night(fresh("pump_8"), run_id="well"))
        assert webhook.told == []
        close_in_a_flow(served, a_night(no_data("valve_1"), fresh("pump_8"), run_id="blocked"))
        assert [told["subject"] for told in webhook.told] == ["Nightshift 2026-11-21: 1 blocked, of 2 models"]
        close_in_a_flow(served, a_night(no_data("valve_1"), fresh("pump_8"), run_id="blocked-still"))
        assert len(webhook.told) == 1
        fleet(f"notify: {BLOCK}\nnotify_on: always\n")
        close_in_a_flow(served, a_night(fresh("pump_8"), run_id="well-again"))
    assert webhook.told[-1]["subject"] == "Nightshift 2026-11-21: all well, of 1 models"


def test_a_message_that_cannot_be_sent_is_a_remark_without_the_address(
    served: Served, webhook: Webhook, fleet: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.notify

    monkeypatch.setattr(tasks.notify, "PAUSES_S", (0.0, 0.0))
    webhook.status = 500
    fleet(f"notify: {BLOCK}\n")
    with served.inside():
        run = close_in_a_flow(served, a_night(failed("pump_7"), run_id="unsent"))
        assert len(webhook.told) == 2
        assert f"The message was not sent by {BLOCK}: the service answers 500." in page_of(served)
        fleet("notify: custom-webhook/nobody\n")
        close_in_a_flow(served, a_night(failed("pump_7"), run_id="no-block"))
    assert "The message was not sent by custom-webhook/nobody" in page_of(served)
    assert "secret-token" not in page_of(served) + served.log(run)


def test_a_night_without_an_outcome_is_told_even_when_its_config_is_what_broke(
    served: Served, webhook: Webhook, fleet: Callable[[str], None]
) -> None:
    from nightshift.plan.fleet_config import load_fleet
    from tasks.morning import close
    from tasks.morning import failed as night_failed

    with served.inside():
        fleet(f"notify: {BLOCK}\n")
        close(a_night(fresh("pump_8"), run_id="before"), FleetPlan(made_at=BEGAN, cells=()))
        fleet("machnes: all\n")
        with pytest.raises(ConfigError) as broken:
            load_fleet(served.home)
        night_failed(broken.value)
    [told] = webhook.told
    assert told["subject"].endswith("the night failed")
    assert "machnes" in told["body"]
    assert "machnes" in page_of(served)


@pytest.fixture
def nightly(served: Served) -> Iterator[str]:
    """The night's deployment, which no worker serves."""
    flow_id = served.ask("flows/", name="train-fleet")["id"]
    made = served.ask("deployments/", name="nightly", flow_id=flow_id, entrypoint="flows.fleet.train_fleet")
    yield str(made["id"])
    with served.inside():
        ask(f"deployments/{made['id']}", method="DELETE")
        for found in ask("automations/filter", {})[1]:
            ask(f"automations/{found['id']}", method="DELETE")


def a_run(served: Served, deployment_id: str, state: str) -> None:
    run = served.ask(f"deployments/{deployment_id}/create_flow_run", name="a-night")
    served.ask(f"flow_runs/{run['id']}/set_state", state={"type": state, "message": "the power went"}, force=True)


def test_the_server_tells_of_a_night_that_crashed_and_of_one_that_never_began(
    served: Served, webhook: Webhook, fleet: Callable[[str], None], nightly: str
) -> None:
    scene = Scene(FleetConfig(notify=BLOCK), frozenset({NIGHTLY}))
    with served.inside():
        crashed, missed = on_trouble.wanted(scene)
        assert missed.trigger["within"] == 26 * 3600
        for reaction in (crashed, sooner(missed)):
            assert [change.did for change in automations._one(reaction.name, reaction.body())] == ["created"]
            assert list(automations._one(reaction.name, reaction.body())) == [], "a second deploy changes nothing"
    a_run(served, nightly, "CRASHED")
    told = webhook.wait_for("the run of the fleet crashed")
    assert "a-night" in told["body"]
    assert "the power went" in told["body"]
    assert "nightshift train-fleet" in webhook.wait_for("no night has begun")["body"]


def test_a_block_that_is_missing_keeps_the_server_from_nothing_else(served: Served, nightly: str) -> None:
    scene = Scene(FleetConfig(notify="slack-webhook/night"), frozenset({NIGHTLY}))
    with served.inside():
        with pytest.raises(UnmetError, match="has no such block"):
            list(automations.declare(scene))
        there = {found["name"] for found in ask("automations/filter", {})[1]}
    assert {on_landing.NAME, on_silence.SILENT} <= there
    assert not {on_trouble.CRASHED, on_trouble.MISSED} & there


def sooner(reaction: Reaction) -> Reaction:
    return replace(reaction, trigger={**reaction.trigger, "within": 10.0})


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("carrier-pigeon/night", "no kind of block 'carrier-pigeon'"),
        ("secret/night", "sends no notifications"),
        ("slack-webhook/night", "has no such block. Make it in the Prefect UI"),
    ],
)
def test_a_block_that_cannot_be_used_is_named_at_deploy(served: Served, notify: str, said: str) -> None:
    scene = Scene(FleetConfig(notify=notify), frozenset({NIGHTLY}))
    with served.inside(), pytest.raises(UnmetError, match=said):
        list(on_trouble.wanted(scene))


def test_without_anybody_to_tell_the_server_has_nothing_to_do(served: Served) -> None:
    with served.inside():
        assert list(on_trouble.wanted(Scene(FleetConfig(), frozenset({NIGHTLY})))) == []
        assert list(on_trouble.wanted(Scene(FleetConfig(notify=BLOCK), frozenset()))) == []
