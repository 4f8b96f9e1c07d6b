"""`prefect.yaml` as `deploy` reads it: whatever Prefect would ignore, or would make by surprise, is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments import declared
from deployments.declared import PrefectFile
from nightshift.errors import ConfigError
from nightshift.plan.fleet_config import FleetConfig

ENTRY = {
    "name": "nightly",
    "entrypoint": "flows.fleet.train_fleet",
    "description": "The fleet.",
    "tags": ["nightshift"],
    "work_pool": {"name": "local-pool"},
}
SCHEDULE = {"slug": "nightshift-nightly", "cron": "0 2 * * *", "timezone": "Europe/Berlin"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prefect.yaml"


def read(file: Path) -> PrefectFile:
    return declared.read(file, FleetConfig(nightly="30 3 * * 1-5", timezone="Asia/Tokyo"))


def write(file: Path, *entries: object, **top: Any) -> Path:
    file.write_text(yaml.safe_dump({"name": "test", "deployments": list(entries), **top}))
    return file


def scheduled(**changed: Any) -> dict[str, Any]:
    schedule = {key: value for key, value in {**SCHEDULE, **changed}.items() if value is not None}
    return {**ENTRY, "schedules": [schedule]}


def test_a_deployment_and_its_schedule_are_read(file):
    [deployment] = read(write(file, scheduled(parameters={"only": "failed"}))).deployments
    assert deployment.full_name == "train-fleet/nightly"
    assert deployment.work_pool.work_queue_name == "default"
    [schedule] = deployment.schedules
    assert str(schedule) == "0 2 * * * Europe/Berlin"
    assert schedule.body() == {
        "slug": "nightshift-nightly",
        "schedule": {"cron": "0 2 * * *", "day_or": True, "timezone": "Europe/Berlin"},
        "parameters": {"only": "failed"},
    }


def test_a_schedule_says_whether_it_is_active_where_the_file_does(file):
    [deployment] = read(write(file, scheduled(active=False))).deployments
    assert deployment.schedules[0].body()["active"] is False
    assert str(deployment.schedules[0]).endswith("paused")


def test_an_interval_needs_no_time_zone(file):
    [deployment] = read(write(file, scheduled(cron=None, timezone=None, interval=900))).deployments
    assert deployment.schedules[0].body()["schedule"] == {"interval": 900.0}


def test_a_schedule_takes_the_fleets_hour_and_zone(file):
    of_the_fleet = scheduled(cron="{{ fleet.nightly }}", timezone="{{fleet.timezone}}")
    of_the_fleet["work_pool"] = {"name": "local-pool", "job_variables": {"env": {"A": "{{ prefect.variables.a }}"}}}
    [deployment] = read(write(file, of_the_fleet)).deployments
    assert str(deployment.schedules[0]) == "30 3 * * 1-5 Asia/Tokyo"
    assert deployment.work_pool.job_variables == {"env": {"A": "{{ prefect.variables.a }}"}}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({**ENTRY, "shedules": []}, r"train_fleet: unknown key 'shedules'\. Did you mean 'schedules'\?"),
        ({**ENTRY, "work_pool": {"nam": "x"}}, r"train_fleet: work_pool: unknown key 'nam'|'name': Field required"),
        ({**ENTRY, "triggers": []}, r"unknown key 'triggers'"),
        ({**ENTRY, "entrypoint": "flows/fleet.py:train_fleet"}, r"'entrypoint': String should match"),
        ({**ENTRY, "tags": ["fleet"]}, r"'tags': .*the tag 'nightshift' is expected"),
        ({**ENTRY, "concurrency_limit": 0}, r"'concurrency_limit"),
        ("nightly", r"deployment 1 must be a mapping, got str"),
        (scheduled(corn="0 2 * * *"), r"train_fleet: schedules: unknown key 'corn'\. Did you mean 'cron'\?"),
        (scheduled(slug="nightly"), r"schedules: 'slug': String should match"),
        (scheduled(slug=None), r"schedules: 'slug': Field required"),
        (scheduled(timezone=None), r"'timezone' is expected with 'cron'"),
        (scheduled(timezone="Europe/Berlyn"), r"'timezone': .*IANA time zone .*got 'Europe/Berlyn'"),
        (scheduled(cron="{{ fleet.nightli }}"), r"\{\{ fleet.nightli \}\} is not known.*\{\{ fleet.nightly \}\} and"),
        (scheduled(timezone="{{ prefect.variables.zone }}"), r"prefect.variables.zone \}\} is not known"),
        (scheduled(interval=60), r"exactly one of 'cron' and 'interval'"),
        ({**ENTRY, "schedules": [SCHEDULE, SCHEDULE]}, r"the schedule 'nightshift-nightly' stands twice"),
    ],
)
def test_what_cannot_be_deployed_is_one_line_that_names_it(file, entry, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read(write(file, entry))
    assert str(caught.value).startswith("prefect.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_deployment_that_stands_twice_is_refused(file):
    with pytest.raises(ConfigError, match="deployment 'train-fleet/nightly' stands twice"):
        read(write(file, ENTRY, ENTRY))


def test_what_prefect_would_do_before_a_deploy_is_refused(file):
    with pytest.raises(ConfigError, match="unknown key 'build'"):
        read(write(file, ENTRY, build=[]))
    with pytest.raises(ConfigError, match="'deployments' must be a list, got str"):
        read(write(file, deployments="all"))
