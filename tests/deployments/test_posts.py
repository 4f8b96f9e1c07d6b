"""The workers of `up` before any is started; running ones stand in `tests/flows/test_deployed.py`."""

from __future__ import annotations

import pytest

from deployments import posts, server
from deployments.declared import prefect_yaml, read
from deployments.workers import DEVICE_PLACE
from nightshift.errors import ConfigError
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import Home, worker_name


def test_every_pool_and_queue_that_a_deployment_names_has_a_worker_but_that_of_the_boards(home: Home) -> None:
    def served(pool: str, queue: str) -> bool:
        return any(post.pool == pool and post.queue in ("", queue) for post in posts.POSTS)

    places = [d.work_pool for d in read(prefect_yaml(), load_fleet(home)).deployments]
    assert {place.name for place in places} == {post.pool for post in posts.POSTS}
    unserved = {(p.name, p.work_queue_name) for p in places if not served(p.name, p.work_queue_name)}
    assert unserved == {DEVICE_PLACE}, "a server is no board"


def test_batches_come_one_at_a_time_and_runs_of_this_machine_wait_for_none(home: Home) -> None:
    commands = posts._commands(home, posts.POSTS)
    limited = {post.pool for post, command in commands.items() if command[-2:] == ("--limit", "1")}
    assert limited == {"gpu-pool", "pi-pool"}
    assert not any("--limit" in command for post, command in commands.items() if post.pool not in limited)


def test_a_pool_of_another_type_names_the_package_of_its_worker_before_anything_starts(home: Home) -> None:
    home.configs.mkdir()
    pools = "pools: {local-pool: {}, gpu-pool: {type: docker}, pi-pool: {queues: {train: {}, device: {}}}}"
    (home.configs / "pools.yaml").write_text(pools)
    with pytest.raises(ConfigError, match=r"gpu-pool is of type docker .* needs prefect-docker") as caught:
        server.up(home)
    assert "--no-worker" in caught.value.hint
    assert server.ps(home) == []


def test_a_machine_may_be_given_a_name_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_name() == "local"
    monkeypatch.setenv("NIGHTSHIFT_WORKER", "attic")
    assert all("attic" in command for command in posts._commands(home, posts.POSTS).values())
    assert posts._variables("")["NIGHTSHIFT_WORKER"] == "attic"
