"""`prefect.yaml` against what Prefect knows: it ignores unknown keys in silence, so nothing else would tell."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, WorkPoolConfig
from pydantic import BaseModel

from deployments import pools
from deployments.declared import RunLimit, prefect_yaml, read
from flows import batch, estimator, fleet, machine, promote, synthesize, train, verify
from nightshift import families
from nightshift.plan.fleet_config import FleetConfig

FLOWS = (
    train.train,
    batch.train_batch,
    machine.train_machine,
    synthesize.synthesize_machine,
    estimator.train_estimator,
    estimator.search_estimator,
    fleet.train_fleet,
    promote.promote_model,
    verify.verify_on_device,
)


def unknown_keys(found: dict[str, Any]) -> Iterator[str]:
    """Every key that Prefect would ignore."""
    yield from _unknown(found, PrefectYamlModel, "prefect.yaml")
    for declared in found["deployments"]:
        name = f"{declared.get('entrypoint')}"
        yield from _unknown(declared, DeploymentConfig, name)
        yield from _unknown(declared.get("work_pool", {}), WorkPoolConfig, f"{name}.work_pool")


def _unknown(found: dict[str, Any], model: type[BaseModel], where: str) -> Iterator[str]:
    known = {field.alias or name for name, field in model.model_fields.items()}
    yield from (f"{where}: {key}" for key in found if key not in known)


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    return dict(yaml.safe_load(prefect_yaml().read_text()))


def flow_of(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


def test_prefect_knows_every_key(declared):
    assert list(unknown_keys(declared)) == []
    PrefectYamlModel.model_validate(declared)


def test_a_key_that_prefect_does_not_know_is_found(declared):
    wrong = {**declared, "deployments": [{**declared["deployments"][0], "workpool": {}, "schedule_": {}}]}
    assert [key.rsplit(": ")[-1] for key in unknown_keys(wrong)] == ["workpool", "schedule_"]


def test_every_entrypoint_is_a_module_and_names_a_flow(declared):
    for deployment in declared["deployments"]:
        entrypoint = deployment["entrypoint"]
        assert ":" not in entrypoint
        assert "/" not in entrypoint
        assert flow_of(entrypoint)


def test_every_flow_is_declared_once_and_trainings_for_each_of_their_pools(declared):
    names = [f"{flow_of(d['entrypoint']).name}/{d['name']}" for d in declared["deployments"]]
    own = {"train-batch": ("gpu", "pi"), "train-fleet": ("nightly",), "verify-on-device": ("device",)}
    own |= {"search-estimator": ("gpu", "local", "pi")}
    own |= dict.fromkeys(("train", "train-machine"), ("gpu", "local"))
    assert sorted(names) == sorted(f"{flow.name}/{name}" for flow in FLOWS for name in own.get(flow.name, ("local",)))


def test_every_deployment_says_what_it_does(declared):
    assert all(deployment["description"] for deployment in declared["deployments"])


def test_a_night_begins_when_the_fleet_s_config_says_and_never_beside_another():
    deployments = read(prefect_yaml(), FleetConfig(nightly="30 3 * * *", timezone="Asia/Tokyo")).deployments
    scheduled = {d.full_name: d.schedules for d in deployments if d.schedules}
    [schedule] = scheduled.pop("train-fleet/nightly")
    assert scheduled == {}
    assert str(schedule) == "30 3 * * * Asia/Tokyo"
    [nightly] = [d for d in deployments if d.full_name == "train-fleet/nightly"]
    assert isinstance(nightly.concurrency_limit, RunLimit)
    assert (nightly.concurrency_limit.limit, nightly.concurrency_limit.collision_strategy) == (1, "ENQUEUE")


def test_what_deploy_reads_is_what_prefect_reads_and_the_shipped_pools_take_it(declared, home):
    deployments = read(prefect_yaml(), FleetConfig()).deployments
    assert [d.full_name for d in deployments] == [
        f"{flow_of(d['entrypoint']).name}/{d['name']}" for d in declared["deployments"]
    ]
    shipped = pools.read(home)
    pools.check(shipped, deployments)
    assert {"local-pool", "gpu-pool", "pi-pool"} <= set(shipped.pools)
    assert {pool.type for pool in shipped.pools.values()} == {"process"}
    assert set(shipped.pools["pi-pool"].queues) == {"train", "device"}


def test_what_is_given_to_a_flow_is_what_it_takes(declared):
    """A vehicle's models are trained where GPUs are, without a word more than the deployment's name."""
    given = {d["name"]: d["parameters"] for d in declared["deployments"] if "parameters" in d}
    assert set(given) == {"gpu"}
    for deployment in declared["deployments"]:
        flow, parameters = flow_of(deployment["entrypoint"]), deployment.get("parameters", {})
        assert set(parameters) <= set(flow.parameters.properties)
        if parameters:
            assert (deployment["work_pool"]["name"], parameters["target"]) == ("gpu-pool", "vehicle")
            named = parameters.get("families", [parameters.get("family")])
            assert all(families.get(name).group == "vehicle" for name in named)
            flow.validate_parameters(parameters)


def test_flows_keep_their_results_as_json():
    for flow in FLOWS:
        assert flow.persist_result is True
        assert flow.result_serializer == "json"
