"""Work pools with their queues, and concurrency limits: `configs/pools.yaml` says which, and the server is made so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from deployments.api import ask
from deployments.changes import Change, differing
from deployments.declared import DEFAULT_QUEUE, Deployment, Name
from nightshift.errors import ConfigError, ServiceError, nearest
from nightshift.files import read_yaml
from nightshift.settings import Home, packaged_configs
from nightshift.validation import validated

FILE = "pools.yaml"


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Queue(_Setting):
    """A queue of a pool."""

    description: str = ""
    concurrency_limit: NonNegativeInt | None = None


class Pool(_Setting):
    """A work pool.

    Attributes:
        type: a Prefect worker's type: `process`, `docker`, `kubernetes`.
        base_job_template: name of a JSON file beside `pools.yaml`; None leaves it to the pool's first worker.
        queues: beside `default`, which every pool has.
    """

    type: Annotated[str, Field(min_length=1)] = "process"
    description: str = ""
    concurrency_limit: NonNegativeInt | None = None
    base_job_template: str | None = None
    queues: dict[Name, Queue] = {}


class Pools(_Setting):
    """What `pools.yaml` says.

    Attributes:
        limits: slots of global concurrency limits, by name.
        folder: where the file lies.
    """

    pools: dict[Name, Pool]
    limits: dict[Name, NonNegativeInt] = {}
    folder: Path


def read(home: Home) -> Pools:
    """Read the home's `configs/pools.yaml`, else the shipped one.

    Raises:
        ConfigError: for an unknown key (names the nearest) or a bad value.
    """
    folders = (home.configs, packaged_configs())
    folder = next((f for f in folders if (f / FILE).is_file()), folders[-1])
    content = read_yaml(folder / FILE)
    pools = content.get("pools")
    if isinstance(pools, Mapping):
        # One by one, so that an error names the pool, and the nearest key of a pool.
        pools = {name: validated(Pool, pool or {}, f"{FILE}: {name}") for name, pool in pools.items()}
    known = {key: value for key, value in Pools.model_fields.items() if key != "folder"}
    for key in content:
        if key not in known:
            raise ConfigError(f"{FILE}: unknown key '{key}'.", hint=nearest(key, known))
    return validated(Pools, {**content, "pools": pools, "folder": folder}, FILE)


def check(pools: Pools, deployments: tuple[Deployment, ...]) -> None:
    """Hold the pools that deployments name against those there are.

    Raises:
        ConfigError: for a pool or a queue that is not declared; Prefect would create the queue in silence.
    """
    for deployment in deployments:
        name, queue = deployment.work_pool.name, deployment.work_pool.work_queue_name
        if name not in pools.pools:
            hint = f"{nearest(name, pools.pools)} Or add it to {pools.folder / FILE}."
            raise ConfigError(f"prefect.yaml: {deployment.full_name}: unknown work pool '{name}'.", hint=hint)
        queues = {DEFAULT_QUEUE, *pools.pools[name].queues}
        if queue not in queues:
            hint = f"{nearest(queue, queues)} Or add it to {pools.folder / FILE}."
            raise ConfigError(f"prefect.yaml: {deployment.full_name}: {name} has no queue '{queue}'.", hint=hint)


def declare(pools: Pools) -> Iterator[Change]:
    """Create what is missing and update what differs; pools, queues and limits that are not named here stay.

    Yields:
        each change when it is made.

    Raises:
        ServiceError: when the server refuses one, or has a pool of another type.
        ConfigError: for a base job template that cannot be read.
    """
    for name, pool in pools.pools.items():
        yield from _pool(name, pool, _template(pools, name, pool))
        for queue, settings in pool.queues.items():
            yield from _queue(name, queue, settings)
    for name, slots in pools.limits.items():
        yield from _limit(name, slots)


def _template(pools: Pools, name: str, pool: Pool) -> dict[str, Any] | None:
    if pool.base_job_template is None:
        return None
    path = pools.folder / pool.base_job_template
    made = f"prefect work-pool get-default-base-job-template --type {pool.type} --file {path}"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{FILE}: {name}: {path} is no JSON file: {said}.", hint=f"One is made by: {made}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{FILE}: {name}: {path} holds no JSON object.", hint=f"One is made by: {made}")
    return content


def _pool(name: str, pool: Pool, template: dict[str, Any] | None) -> list[Change]:
    what, path = f"work pool {name}", f"work_pools/{quote(name)}"
    wanted: dict[str, Any] = {"description": pool.description, "concurrency_limit": pool.concurrency_limit}
    if template is not None:
        wanted["base_job_template"] = template
    status, found = ask(path, accept=(404,))
    if status == 404:
        # Two that deploy at once may both see that it is missing.
        status, _ = ask("work_pools/", {"name": name, "type": pool.type, **wanted}, accept=(409,))
        return [] if status == 409 else [Change("created", what, f"type {pool.type}")]
    if found["type"] != pool.type:
        raise ServiceError(
            f"The work pool {name} is of type {found['type']} on the server and {pool.type} in {FILE}, "
            "and Prefect cannot change that.",
            hint=f"Let its runs end, then: prefect work-pool delete {name}, and: nightshift deploy",
        )
    return _patched(path, what, found, wanted)


def _queue(pool: str, name: str, queue: Queue) -> list[Change]:
    what, path = f"work queue {pool}/{name}", f"work_pools/{quote(pool)}/queues"
    wanted = queue.model_dump()
    status, found = ask(f"{path}/{quote(name)}", accept=(404,))
    if status == 404:
        status, _ = ask(path, {"name": name, **wanted}, accept=(409,))
        return [] if status == 409 else [Change("created", what)]
    return _patched(f"{path}/{quote(name)}", what, found, wanted)


def _limit(name: str, slots: int) -> list[Change]:
    what, path = f"concurrency limit {name}", f"v2/concurrency_limits/{quote(name)}"
    status, found = ask(path, accept=(404,))
    if status == 404:
        ask("v2/concurrency_limits/", {"name": name, "limit": slots})
        return [Change("created", what, f"{slots} at once")]
    return _patched(path, what, found, {"limit": slots})


def _patched(path: str, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Change]:
    different = differing(found, wanted)
    if not different:
        return []
    ask(path, {key: wanted[key] for key in different}, method="PATCH")
    return [Change("updated", what, ", ".join(key.replace("_", " ") for key in different))]
