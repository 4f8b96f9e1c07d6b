"""The workers of this machine: one per pool, started together, found again, and heard of by the server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import quote

from deployments import pools, processes
from deployments.api import API_VARIABLE, ask
from deployments.changes import Change, quiet
from deployments.declared import DEFAULT_QUEUE
from deployments.processes import ProcessRecord
from deployments.workers import polled_since
from nightshift.errors import ConfigError, ServiceError
from nightshift.plan import lock
from nightshift.settings import WORKER_VARIABLE, Home, worker_name

LOCAL_POOL = "local-pool"
# Prefect asks for work every 10 s; a night of short batches would wait as long as it works.
_POLL_S = 2.0
# Three heartbeats of a Prefect worker.
_SILENT_S = 90.0


@dataclass(frozen=True)
class Post:
    """A worker that `up` starts.

    Attributes:
        name: of its record and its log.
        pool: that it works for.
        queue: of the pool; "" for all.
        at_once: runs at a time, None for any number. A batch already uses every core of the machine.
    """

    name: str
    pool: str
    queue: str = ""
    at_once: int | None = None

    @property
    def title(self) -> str:
        """What people call it."""
        return f"worker of {self.pool}" + (f", queue {self.queue}" if self.queue else "")


POSTS = (
    Post("worker-local", LOCAL_POOL),
    Post("worker-gpu", "gpu-pool", at_once=1),
    Post("worker-pi", "pi-pool", queue="train", at_once=1),
)
_LOCK = "workers"


def ensure_workers(
    home: Home,
    posts: tuple[Post, ...] = POSTS,
    *,
    tracking_uri: str = "",
    tell: Callable[[Change], None] = quiet,
) -> list[ProcessRecord]:
    """Return the home's running workers, those that are missing started; `ensure_server` and a deploy come first.

    One that works for another server, or was started otherwise, is ended and started anew.

    Args:
        posts: which.
        tracking_uri: where their runs reach MLflow; "" leaves it to each run.
        tell: is told of each that was started, once the server has heard it.

    Raises:
        ConfigError: for a pool of a type whose Prefect package is not installed.
        ServiceError: when one does not come up; the others stay.
    """
    commands = _commands(home, posts)
    variables = _variables(tracking_uri)
    with lock.held(home, _LOCK, wait=True):
        kept = {post: _kept(home, post, commands[post], variables) for post in posts}
        fresh = {
            post: processes.start(home, post.name, commands[post], url=os.environ[API_VARIABLE], variables=variables)
            for post in posts
            if kept[post] is None
        }
        for post, record in fresh.items():
            _await(home, post, record)
            tell(Change("started", post.title))
        return [kept[post] or fresh[post] for post in posts]


def check(home: Home, posts: tuple[Post, ...] = POSTS) -> None:
    """See that workers could be started, before anything is.

    Raises:
        ConfigError: for a pool of a type whose Prefect package is not installed.
    """
    _commands(home, posts)


def stop_workers(home: Home, records: list[ProcessRecord], grace_s: float) -> list[ProcessRecord]:
    """End workers, and runs that have none any more, all at once; returns those that ran."""
    with lock.held(home, _LOCK, wait=True):
        ended = processes.stop(records, grace_s)
        for record in records:
            processes.forget(home, record.name)
        return ended


def _commands(home: Home, posts: tuple[Post, ...]) -> dict[Post, tuple[str, ...]]:
    types = {name: pool.type for name, pool in pools.read(home).pools.items()}
    return {post: _command(post, types.get(post.pool, "process")) for post in posts}


def _command(post: Post, kind: str) -> tuple[str, ...]:
    package = f"prefect-{kind}"
    if kind != "process" and find_spec(package.replace("-", "_")) is None:
        raise ConfigError(
            f"{post.pool} is of type {kind} in {pools.FILE}, and its worker needs {package}, which is not installed.",
            hint=f"pip install {package} - or start its worker elsewhere, and this machine's parts with: "
            "nightshift up --no-worker",
        )
    command = ["-m", "prefect", "--no-prompt", "worker", "start"]
    command += ["--pool", post.pool, "--type", kind, "--name", worker_name()]
    command += ["--work-queue", post.queue] if post.queue else []
    command += ["--limit", str(post.at_once)] if post.at_once else []
    return processes.python(*command)


def _variables(tracking_uri: str) -> dict[str, str]:
    given = {WORKER_VARIABLE: worker_name(), "PREFECT_WORKER_QUERY_SECONDS": str(_POLL_S)}
    return given | ({"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {})


def _kept(home: Home, post: Post, command: tuple[str, ...], variables: dict[str, str]) -> ProcessRecord | None:
    """Return the running worker if it is as wanted; another in its place is ended."""
    record = processes.read(home, post.name)
    if record is None or processes.verified(record) is None:
        return None
    wanted = (os.environ[API_VARIABLE], command, processes.settings_hash(variables))
    if (record.url, record.command, record.settings) == wanted:
        return record
    processes.stop([record])
    return None


def _await(home: Home, post: Post, record: ProcessRecord) -> None:
    """Wait until the server has heard the worker, and the worker has asked for runs."""
    deadline = time.monotonic() + processes.START_LIMIT_S
    while time.monotonic() < deadline and processes.verified(record):
        # While all workers of a busy small machine come up, their server may answer late.
        with suppress(ServiceError):
            since_s = record.created_s - 1
            if _heard_since(post.pool, since_s) and polled_since(post.pool, post.queue or DEFAULT_QUEUE, since_s):
                return
        time.sleep(0.3)
    hint = processes.end_of_log(home, record)
    processes.stop([record])
    processes.forget(home, record.name)
    raise ServiceError(f"The {post.title} did not come up.", hint=hint)


def silent(record: ProcessRecord) -> bool:
    """Whether a running worker's server, which answers, has not heard it for a while.

    Raises:
        ServiceError: when the server does not answer.
    """
    pool = next((post.pool for post in POSTS if post.name == record.name), "")
    return bool(pool) and not _heard_since(pool, time.time() - _SILENT_S, record.url)


def _heard_since(pool: str, since_s: float, url: str = "") -> bool:
    wanted = {"workers": {"status": {"any_": ["ONLINE"]}}}
    status, online = ask(f"work_pools/{quote(pool)}/workers/filter", wanted, accept=(404,), url=url)
    if status == 404:
        return False
    name = worker_name()
    return any(w["name"] == name and processes.at_s(w["last_heartbeat_time"]) >= since_s for w in online)
