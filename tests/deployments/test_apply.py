"""`deploy` against a real server: what the files say is made so, what a person chose stays, what left them goes."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.homes import a_home
from support.servers import KeptDatabase

from deployments import apply, automations, on_landing, on_silence, server
from deployments.api import ask
from deployments.apply import deploy_all
from deployments.server import down, ensure_server
from nightshift.errors import ServiceError
from nightshift.settings import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NIGHTLY = "train-fleet/nightly"
POOLS = {
    "pools": {"local-pool": {}, "far-pool": {"concurrency_limit": 3, "queues": {"train": {"concurrency_limit": 2}}}},
    "limits": {"gpu:here": 1},
}
# The hour is that of the fleet's config.
CRON = {"slug": "nightshift-nightly", "cron": "{{ fleet.nightly }}", "timezone": "{{ fleet.timezone }}"}
OF_NIGHTLY, ALWAYS = (on_landing.NAME, on_silence.GO_ON), (on_silence.SILENT, on_silence.STUCK)
EVERY = {"slug": "nightshift-often", "interval": 3600, "parameters": {"only": "failed"}}
LOCAL = {
    "name": "local",
    "entrypoint": "flows.fleet.train_fleet",
    "description": "The fleet.",
    "tags": ["nightshift"],
    "work_pool": {"name": "local-pool"},
}
FLEET = {
    **LOCAL,
    "name": "nightly",
    "tags": ["nightshift", "fleet"],
    "parameters": {"only": "landed"},
    "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
    "schedules": [CRON, EVERY],
    "work_pool": {"name": "far-pool", "work_queue_name": "train"},
}


class Place:
    """A home whose server runs, with files of its own to deploy."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.file = home.root / "prefect.yaml"
        home.configs.mkdir(exist_ok=True)
        self.fleet()

    def deploy(self, *deployments: dict[str, Any], pools: dict[str, Any] = POOLS) -> list[str]:
        """Deploy these and no others; returns what changed, as it is printed."""
        self.file.write_text(yaml.safe_dump({"name": "test", "pull": [], "deployments": list(deployments)}))
        (self.home.configs / "pools.yaml").write_text(yaml.safe_dump(pools, sort_keys=False))
        self.told: list[str] = []
        changes = deploy_all(self.home, self.file, lambda change: self.told.append(str(change)))
        assert self.told == [str(change) for change in changes]
        return self.told

    def fleet(self, nightly: str = "0 2 * * *") -> None:
        """Write the fleet's config."""
        text = yaml.safe_dump(
            {"nightly": nightly, "timezone": "Europe/Berlin", "landing": {"within_s": 3, "after_s": 7}}
        )
        (self.home.configs / "fleet.yaml").write_text(text)

    def automations(self) -> dict[str, dict[str, Any]]:
        found = ask("automations/filter", {"limit": 50})[1]
        assert len({one["name"] for one in found}) == len(found)
        return {one["name"]: one for one in found}

    def deployment(self, name: str) -> dict[str, Any]:
        return dict(ask(f"deployments/name/{name}")[1])

    def schedules(self, name: str) -> dict[str | None, dict[str, Any]]:
        return {schedule["slug"]: schedule for schedule in self.deployment(name)["schedules"]}

    def flow(self, name: str) -> str:
        return str(ask("flows/", {"name": name})[1]["id"])


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, empty_prefect: KeptDatabase
) -> Iterator[tuple[Home, dict[str, str]]]:
    with a_home(tmp_path_factory.mktemp("deployed")) as home:
        empty_prefect.into(home)
        try:
            ensure_server(home)
            empty_prefect.keep(home)
            yield home, dict(os.environ)
        finally:
            down(home)


@pytest.fixture
def empty(running: tuple[Home, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place as it is; an edit in the checkout while the tests run is not deployed."""
    home, environment = running
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(apply, "code_version", lambda: "1")
    return Place(home)


@pytest.fixture
def place(empty: Place) -> Place:
    """Two deployments are there, one with schedules; what a test before has left is put right."""
    empty.deploy(LOCAL, FLEET)
    return empty


def test_the_first_time_makes_all_and_says_so_and_the_second_changes_nothing(empty):
    """The first test: the server is empty."""
    place = empty
    began = time.monotonic()
    assert place.deploy(LOCAL, FLEET) == [
        "created work pool local-pool: type process",
        "created work pool far-pool: type process",
        "created work queue far-pool/train",
        "created concurrency limit gpu:here: 1 at once",
        "created deployment train-fleet/local",
        "created deployment train-fleet/nightly",
        "created schedule nightshift-nightly of train-fleet/nightly: 0 2 * * * Europe/Berlin",
        "created schedule nightshift-often of train-fleet/nightly: every 3600 s",
        *(f"created automation {name}" for name in (*OF_NIGHTLY[:1], *ALWAYS, *OF_NIGHTLY[1:])),
    ]
    first_s, began = time.monotonic() - began, time.monotonic()
    assert place.deploy(LOCAL, FLEET) == []
    # Asked, and not declared again: 0.5 s to 8 s.
    assert time.monotonic() - began < first_s / 3

    assert ask("work_pools/far-pool")[1]["concurrency_limit"] == 3
    assert ask("work_pools/far-pool/queues/train")[1]["concurrency_limit"] == 2
    assert ask("v2/concurrency_limits/gpu:here")[1]["limit"] == 1
    found = place.deployment(NIGHTLY)
    assert (found["work_pool_name"], found["work_queue_name"]) == ("far-pool", "train")
    assert (found["global_concurrency_limit"]["limit"], found["parameters"]) == (1, {"only": "landed"})
    assert found["parameter_openapi_schema"]["properties"]["only"]["enum"] == ["everything", "landed", "failed"]
    assert place.schedules(NIGHTLY)["nightshift-nightly"]["schedule"]["timezone"] == "Europe/Berlin"
    assert place.schedules(NIGHTLY)["nightshift-often"]["parameters"] == {"only": "failed"}
    landing = place.automations()[on_landing.NAME]
    [action] = landing["actions"]
    assert (action["deployment_id"], action["parameters"]) == (found["id"], {"only": "landed"})
    assert (landing["trigger"]["within"], action["schedule_after"]) == (3, 7)


def test_what_was_edited_by_hand_is_brought_back(place):
    found = place.deployment(NIGHTLY)
    body = {"description": "mine", "tags": [], "parameters": {"only": "failed"}}
    ask(f"deployments/{found['id']}", body, method="PATCH")
    often = place.schedules(NIGHTLY)["nightshift-often"]
    ask(f"deployments/{found['id']}/schedules/{often['id']}", {"parameters": {}}, method="PATCH")
    ask("work_pools/far-pool/queues/train", {"concurrency_limit": None}, method="PATCH")
    ask("v2/concurrency_limits/gpu:here", {"limit": 7}, method="PATCH")
    assert place.deploy(LOCAL, FLEET) == [
        "updated work queue far-pool/train: concurrency limit",
        "updated concurrency limit gpu:here: limit",
        "updated deployment train-fleet/nightly: description, tags, parameters",
        "updated schedule nightshift-often of train-fleet/nightly: every 3600 s",
    ]
    assert place.deploy(LOCAL, FLEET) == []
    assert place.deployment(NIGHTLY)["id"] == found["id"]


def test_an_edited_automation_is_brought_back_and_a_second_one_of_its_name_goes(place):
    first = place.automations()[on_landing.NAME]
    body = {key: first[key] for key in ("name", "description", "enabled", "tags", "trigger", "actions")}
    edited = {**body, "enabled": False, "trigger": {**first["trigger"], "within": 0}, "actions": []}
    ask(f"automations/{first['id']}", edited, method="PUT")
    ask("automations/", edited)
    assert not automations.declared(on_landing.NAME, os.environ["PREFECT_API_URL"])
    assert sorted(place.deploy(LOCAL, FLEET)) == [
        f"{did} automation {on_landing.NAME}" for did in ("removed", "updated")
    ]
    assert automations.declared(on_landing.NAME, os.environ["PREFECT_API_URL"])
    after = place.automations()[on_landing.NAME]
    assert (after["enabled"], after["trigger"]["within"]) == (True, 3)
    assert after["actions"] == first["actions"]


def test_the_nights_begin_when_the_fleet_s_config_says(place):
    place.fleet("30 3 * * *")
    said = "updated schedule nightshift-nightly of train-fleet/nightly: 30 3 * * * Europe/Berlin"
    assert place.deploy(LOCAL, FLEET) == [said]
    assert place.schedules(NIGHTLY)["nightshift-nightly"]["schedule"]["cron"] == "30 3 * * *"
    place.fleet()
    place.deploy(LOCAL, FLEET)


def test_what_a_person_paused_or_added_stays_when_new_code_is_deployed(place, monkeypatch):
    found = place.deployment(NIGHTLY)
    nightly = place.schedules(NIGHTLY)["nightshift-nightly"]
    path = f"deployments/{found['id']}"
    ask(path, {"paused": True}, method="PATCH")
    ask(f"{path}/schedules/{nightly['id']}", {"active": False, "parameters": {}}, method="PATCH")
    by_hand = {"schedule": {"cron": "0 6 * * *", "timezone": "UTC"}}
    ask(f"{path}/schedules", [by_hand, {**by_hand, "slug": "mine"}])
    monkeypatch.setattr(apply, "code_version", lambda: "2")
    assert place.deploy(LOCAL, FLEET) == [
        "updated deployment train-fleet/local: code",
        "updated deployment train-fleet/nightly: code",
    ]
    assert place.deployment(NIGHTLY)["paused"] is True
    after = place.schedules(NIGHTLY)
    assert set(after) == {"nightshift-nightly", "nightshift-often", "mine", None}
    assert (after["nightshift-nightly"]["id"], after["nightshift-nightly"]["active"]) == (nightly["id"], False)
    assert place.deploy(LOCAL, FLEET) == []

    started = {**FLEET, "paused": False, "schedules": [{**CRON, "active": True}, EVERY]}
    assert place.deploy(LOCAL, started) == [
        "updated deployment train-fleet/nightly: paused",
        "updated schedule nightshift-nightly of train-fleet/nightly: 0 2 * * * Europe/Berlin",
    ]
    for slug in ("mine", None):
        ask(f"{path}/schedules/{after[slug]['id']}", method="DELETE")


def test_a_limit_or_a_queue_that_left_the_file_is_gone_from_the_deployment(place):
    plain = {key: value for key, value in FLEET.items() if key != "concurrency_limit"}
    plain["work_pool"] = {"name": "far-pool"}
    assert place.deploy(LOCAL, plain) == [
        "updated deployment train-fleet/nightly: work queue, concurrency limit, collision strategy"
    ]
    assert place.deploy(LOCAL, plain) == []


def test_a_pool_takes_its_settings_and_keeps_the_template_of_its_worker(place):
    template = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"properties": {"command": {"type": "string"}}},
    }
    ask("work_pools/far-pool", {"base_job_template": template, "is_paused": True}, method="PATCH")
    far = {**POOLS["pools"]["far-pool"], "concurrency_limit": 0, "description": "Far away."}
    pools = {**POOLS, "pools": {**POOLS["pools"], "far-pool": far}}
    assert place.deploy(LOCAL, FLEET, pools=pools) == ["updated work pool far-pool: description, concurrency limit"]
    found = ask("work_pools/far-pool")[1]
    assert (found["concurrency_limit"], found["is_paused"], found["base_job_template"]) == (0, True, template)

    template["variables"]["properties"]["env"] = {"type": "object"}
    (place.home.configs / "far.json").write_text(json.dumps(template))
    far["base_job_template"] = "far.json"
    assert place.deploy(LOCAL, FLEET, pools=pools) == ["updated work pool far-pool: base job template"]
    assert place.deploy(LOCAL, FLEET, pools=pools) == []
    assert ask("work_pools/far-pool")[1]["base_job_template"] == template


def test_a_pool_of_another_type_is_named_with_the_command_that_mends_it(place):
    pools = {**POOLS, "pools": {**POOLS["pools"], "far-pool": {"type": "docker", "queues": {"train": {}}}}}
    with pytest.raises(
        ServiceError, match=r"far-pool is of type process on the server and docker in pools\.yaml"
    ) as got:
        place.deploy(LOCAL, FLEET, pools=pools)
    assert "prefect work-pool delete far-pool" in got.value.hint


def test_what_prefect_refuses_is_one_line(place):
    wrong = {**FLEET, "schedules": [{**CRON, "cron": "every night"}, EVERY]}
    with pytest.raises(ServiceError, match=r"422 .*[Ii]nvalid cron.*every night") as got:
        place.deploy(LOCAL, wrong)
    assert "\n" not in str(got.value)
    assert got.value.hint.endswith("then: nightshift deploy")

    missing = {**LOCAL, "name": "missing", "entrypoint": "flows.fleet.train_flete"}
    with pytest.raises(
        ServiceError, match=r"refuses the deployment train-flete/missing: MissingFlowError.*train_flete"
    ) as got:
        place.deploy({**LOCAL, "description": "New."}, missing)
    assert place.told == ["updated deployment train-fleet/local: description"]
    assert "\n" not in str(got.value)
    assert "deploy.log" in got.value.hint
    assert "train_flete" in (place.home.logs / "deploy.log").read_text()


def test_a_server_that_is_down_is_one_line_with_what_starts_it(empty, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind((server.HOST, 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://{server.HOST}:{nobody.getsockname()[1]}/api")
        with pytest.raises(ServiceError, match="does not answer") as got:
            empty.deploy(LOCAL, FLEET)
    assert "nightshift up" in got.value.hint
    assert "\n" not in str(got.value)


def test_what_left_the_files_disappears_and_what_others_made_stays(place):
    """The last one: nothing has to be deployed anew after it."""
    flow = place.flow("somebody-elses")
    ask("deployments/", {"name": "theirs", "flow_id": flow, "tags": ["fleet"]})
    theirs = {"name": "theirs", "trigger": {"type": "event", "posture": "Reactive", "expect": ["x"]}, "actions": []}
    ask("automations/", theirs)
    old = place.deployment(NIGHTLY)["id"]

    assert place.deploy(LOCAL, {**FLEET, "schedules": [EVERY]}) == [
        "removed schedule nightshift-nightly of train-fleet/nightly"
    ]
    assert set(place.schedules(NIGHTLY)) == {"nightshift-often"}
    gone = sorted(f"removed automation {name}" for name in OF_NIGHTLY)
    assert sorted(place.deploy(LOCAL)) == [*gone, "removed deployment train-fleet/nightly"]
    assert ask(f"deployments/{old}", accept=(404,))[0] == 404
    assert place.deploy() == ["removed deployment train-fleet/local"]
    assert place.deploy() == []

    assert [found["name"] for found in ask("deployments/filter", {})[1]] == ["theirs"]
    assert set(place.automations()) == {"theirs", *ALWAYS}
    assert {pool["name"] for pool in ask("work_pools/filter", {})[1]} == {"local-pool", "far-pool"}


def test_the_version_is_that_of_the_code_that_makes_the_run_forms(tmp_path):
    for name in ("flows/train.py", "tasks/train.py", "nightshift/plan/options.py", "nightshift/cli/app.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    first = apply.code_version(tmp_path)
    (tmp_path / "nightshift/cli/app.py").write_text("x = 2")
    assert apply.code_version(tmp_path) == first
    seen = {first}
    for name in ("flows/train.py", "nightshift/plan/options.py", "nightshift/families/another.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 2")
        seen.add(apply.code_version(tmp_path))
    assert len(seen) == 4
