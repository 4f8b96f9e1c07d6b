"""`configs/pools.yaml` before any server is asked; what it makes of one stands in `test_apply.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployments import pools
from deployments.changes import differing, holds
from deployments.declared import Deployment
from nightshift.errors import ConfigError
from nightshift.settings import Home, packaged_configs


@pytest.fixture
def file(home: Home) -> Path:
    home.configs.mkdir()
    return home.configs / "pools.yaml"


def a_deployment(pool: str, queue: str) -> Deployment:
    place = {"name": pool, "work_queue_name": queue}
    return Deployment.model_validate(
        {"name": "x", "entrypoint": "flows.f", "description": "", "tags": ("nightshift",), "work_pool": place}
    )


def test_the_users_file_stands_in_for_the_shipped_one(home, file):
    assert pools.read(home).folder == packaged_configs()
    file.write_text("pools:\n  bare-pool:\n  hut: {type: docker, queues: {a: {concurrency_limit: 0}}}\n")
    read = pools.read(home)
    assert read.folder == home.configs
    assert {name: pool.type for name, pool in read.pools.items()} == {"bare-pool": "process", "hut": "docker"}
    assert read.pools["hut"].queues["a"].concurrency_limit == 0
    assert read.limits == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"pools": {"p": {"typ": "docker"}}}, r"pools\.yaml: p: unknown key 'typ'\. Did you mean 'type'\?"),
        ({"pools": {"p": {"concurrency_limit": -1}}}, r"pools\.yaml: p: 'concurrency_limit': .*got -1"),
        ({"pools": {"p": {"queues": {"a/b": {}}}}}, r"pools\.yaml: p: 'queues"),
        ({"pools": {}, "limit": {}}, r"pools\.yaml: unknown key 'limit'\. Did you mean 'limits'\?"),
        ({"pools": {}, "folder": "x"}, r"unknown key 'folder'"),
        ({"pools": {}, "limits": {"gpu:a": "many"}}, r"'limits\.gpu:a'"),
        ({"limits": {}}, r"'pools'"),
        ({"pools": ["p"]}, r"'pools'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_that_names_the_place(home, file, content, said):
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=said) as caught:
        pools.read(home)
    assert "\n" not in str(caught.value)


def test_a_deployment_of_a_pool_or_queue_that_is_not_declared_names_the_nearest(home):
    shipped = pools.read(home)
    pools.check(shipped, (a_deployment("pi-pool", "train"), a_deployment("gpu-pool", "default")))
    with pytest.raises(ConfigError, match=r"f/x: unknown work pool 'pi-pol'\. Did you mean 'pi-pool'\?"):
        pools.check(shipped, (a_deployment("pi-pol", "train"),))
    with pytest.raises(ConfigError, match=r"f/x: pi-pool has no queue 'trian'\. Did you mean 'train'\?"):
        pools.check(shipped, (a_deployment("pi-pool", "trian"),))


def test_a_template_that_is_not_there_or_no_json_says_how_to_make_one(home, file):
    file.write_text("pools: {p: {type: docker, base_job_template: docker.json}}\n")
    made = "prefect work-pool get-default-base-job-template --type docker --file"
    for content in (None, "{", "[]"):
        if content is not None:
            (file.parent / "docker.json").write_text(content)
        with pytest.raises(ConfigError, match=r"docker\.json") as caught:
            list(pools.declare(pools.read(home)))
        assert made in caught.value.hint


def test_what_the_server_adds_is_no_difference_and_no_slots_is_not_no_limit():
    assert holds({"id": 1, "a": [{"b": 2, "at": 3}]}, {"a": [{"b": 2}]})
    assert not holds({"a": [{"b": 2}, {"b": 3}]}, {"a": [{"b": 2}]})
    assert differing({"description": None, "limit": None}, {"description": "", "limit": 0}) == ("limit",)
