"""Whether runs that are given to a work pool would ever begin: asked by plain HTTP before any is given."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deployments import pools
from deployments.api import ask
from deployments.processes import at_s
from nightshift.errors import NightshiftError, ServiceError
from nightshift.plan.fleet import GPU_POOL, PI_POOL
from nightshift.settings import Home

#: What trains a batch of cells, by pool.
BATCH_OF = {GPU_POOL: "train-batch/gpu", PI_POOL: "train-batch/pi"}
#: What checks a bundle on a board, and where boards ask for such runs.
DEVICE_CHECK, DEVICE_PLACE = "verify-on-device/device", (PI_POOL, "device")
#: A worker asks every few seconds; a queue that nobody has asked for so long has none. A server on SQLite that is not
#: ours may need a minute to write down that it was asked (see `prefect_server`).
POLLED_S = 150.0


@dataclass(frozen=True)
class Trouble:
    """Why runs of a pool's queue would wait for ever, and the command that mends it.

    Attributes:
        passes: whether it may be over in a moment by itself: a worker that comes up has not asked for runs yet.
    """

    pool: str
    queue: str
    what: str
    hint: str
    passes: bool = False

    def __str__(self) -> str:
        return f"{self.what} {self.hint}"


def troubles(home: Home, places: Iterable[tuple[str, str]], url: str = "") -> tuple[Trouble, ...]:
    """Return what stands in the way of batches on these (pool, queue), nothing when all would begin.

    Args:
        home: whose `pools.yaml` says of which type a pool is.
        places: pools and queues.
        url: the server's API; that of `PREFECT_API_URL` by default.

    Raises:
        ServiceError: when the server does not answer.
    """
    found = (_trouble(home, pool, queue, url) for pool, queue in dict.fromkeys(places))
    return tuple(trouble for trouble in found if trouble)


class NobodyTakesError(ServiceError):
    """Runs that are given to a work pool would wait for ever."""


def require_workers(home: Home, places: Iterable[tuple[str, str]], url: str = "") -> None:
    """See that runs on these (pool, queue) would begin; see `troubles`.

    Raises:
        NobodyTakesError: with what stands in the way, and the commands that mend it.
        ServiceError: when the server does not answer.
    """
    found = troubles(home, places, url)
    if found:
        what = " ".join(trouble.what[:1].upper() + trouble.what[1:] for trouble in found)
        raise NobodyTakesError(f"{what} Nothing was started.", hint=" ".join(dict.fromkeys(t.hint for t in found)))


def _trouble(home: Home, pool: str, queue: str, url: str) -> Trouble | None:
    deployment = DEVICE_CHECK if (pool, queue) == DEVICE_PLACE else BATCH_OF.get(pool, "")
    found = _of_pool(home, pool, deployment, url)
    if found is None:
        asked = _read_queue(pool, queue, url)
        found = _of_queue(pool, queue, asked)
        if found is None and _asked_since(asked, time.time() - POLLED_S):
            return None
    return Trouble(pool, queue, *found) if found else Trouble(pool, queue, *_no_worker(pool, queue), passes=True)


def polled_since(pool: str, queue: str, since_s: float, url: str = "") -> bool:
    """Whether a worker has asked a pool's queue for runs since then, in seconds of the epoch.

    Its heartbeat comes before that: a worker that the server has heard may not take runs for seconds yet.

    Raises:
        ServiceError: when the server does not answer.
    """
    return _asked_since(_read_queue(pool, queue, url), since_s)


def _read_queue(pool: str, queue: str, url: str) -> dict[str, Any] | None:
    """What the server knows of a pool's queue; None when it has no such queue."""
    status, found = ask(f"work_pools/{quote(pool)}/queues/{quote(queue)}", accept=(404,), url=url)
    return None if status == 404 else found


def _asked_since(queue: dict[str, Any] | None, since_s: float) -> bool:
    polled = queue.get("last_polled") if queue else None
    return polled is not None and at_s(polled) >= since_s


def _of_pool(home: Home, pool: str, deployment: str, url: str) -> tuple[str, str] | None:
    path = f"work_pools/{quote(pool)}"
    status, found = ask(path, accept=(404,), url=url)
    if status == 404:
        return f"the Prefect server has no work pool '{pool}'.", "It is made by: nightshift up"
    wanted = _type_wanted(home, pool)
    if wanted and found["type"] != wanted:
        return (
            f"the work pool '{pool}' is of type {found['type']} on the server and {wanted} in {pools.FILE}.",
            "`nightshift deploy` says what to do.",
        )
    if found["is_paused"]:
        return f"the work pool '{pool}' is paused.", f"prefect work-pool resume {pool}"
    if deployment and ask(f"deployments/name/{deployment}", accept=(404,), url=url)[0] == 404:
        return f"the Prefect server has no deployment '{deployment}'.", "It is made by: nightshift deploy"
    return None


def _of_queue(pool: str, queue: str, found: dict[str, Any] | None) -> tuple[str, str] | None:
    if found is None:
        return f"the work pool '{pool}' has no queue '{queue}'.", "It is made by: nightshift deploy"
    if found["is_paused"]:
        return f"the queue '{queue}' of '{pool}' is paused.", f"prefect work-queue resume {queue} --pool {pool}"
    return None


def _no_worker(pool: str, queue: str) -> tuple[str, str]:
    start = f"prefect worker start --pool {pool}" + (f" --work-queue {queue}" if queue != "default" else "")
    board = (pool, queue) == DEVICE_PLACE
    return (
        f"no worker takes runs from '{pool}'" + (f", queue '{queue}'." if queue != "default" else "."),
        f"On the board: {start}" if board else f"Start one: nightshift up (on another machine: {start})",
    )


def _type_wanted(home: Home, pool: str) -> str:
    try:
        found = pools.read(home).pools.get(pool)
    except NightshiftError:
        return ""
    return found.type if found else ""
