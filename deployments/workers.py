"""Whether runs that are given to a work pool would ever begin: asked by plain HTTP before any is given."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from deployments import pools
from deployments.api import ask
from deployments.processes import at_s
from nightshift.errors import NightshiftError
from nightshift.plan.fleet import GPU_POOL, PI_POOL
from nightshift.settings import Home

#: What trains a batch of cells, by pool.
BATCH_OF = {GPU_POOL: "train-batch/gpu", PI_POOL: "train-batch/pi"}
#: What checks a bundle on a board, and where boards ask for such runs.
DEVICE_CHECK, DEVICE_PLACE = "verify-on-device/device", (PI_POOL, "device")
#: A worker asks every few seconds; a queue that nobody has asked for so long has none.
POLLED_S = 60.0


@dataclass(frozen=True)
class Trouble:
    """Why runs of a pool's queue would wait for ever, and the command that mends it."""

    pool: str
    queue: str
    what: str
    hint: str

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


def _trouble(home: Home, pool: str, queue: str, url: str) -> Trouble | None:
    deployment = DEVICE_CHECK if (pool, queue) == DEVICE_PLACE else BATCH_OF.get(pool, "")
    what, hint = _of_pool(home, pool, deployment, url)
    if not what:
        what, hint = _of_queue(pool, queue, url)
    return Trouble(pool, queue, what, hint) if what else None


def _of_pool(home: Home, pool: str, deployment: str, url: str) -> tuple[str, str]:
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
    return "", ""


def _of_queue(pool: str, queue: str, url: str) -> tuple[str, str]:
    status, found = ask(f"work_pools/{quote(pool)}/queues/{quote(queue)}", accept=(404,), url=url)
    if status == 404:
        return f"the work pool '{pool}' has no queue '{queue}'.", "It is made by: nightshift deploy"
    if found["is_paused"]:
        return f"the queue '{queue}' of '{pool}' is paused.", f"prefect work-queue resume {queue} --pool {pool}"
    polled = found.get("last_polled")
    if polled is None or time.time() - at_s(polled) > POLLED_S:
        start = f"prefect worker start --pool {pool}" + (f" --work-queue {queue}" if queue != "default" else "")
        board = (pool, queue) == DEVICE_PLACE
        return (
            f"no worker takes runs from '{pool}'" + (f", queue '{queue}'." if queue != "default" else "."),
            f"On the board: {start}" if board else f"Start one: nightshift up (on another machine: {start})",
        )
    return "", ""


def _type_wanted(home: Home, pool: str) -> str:
    try:
        found = pools.read(home).pools.get(pool)
    except NightshiftError:
        return ""
    return found.type if found else ""
