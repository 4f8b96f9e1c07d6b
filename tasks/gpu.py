"""A worker's GPU: a concurrency limit of the Prefect server, of which a cell holds a slot while it trains."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import httpx
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext

from nightshift.errors import InterruptedTraining, ServiceError
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import GPU_POOL

#: Name of this worker; whoever starts one may set it, for a host can have several.
WORKER_VARIABLE = "NIGHTSHIFT_WORKER"
POLL_S = 2.0
#: A batch that is killed gives its slots back after so long.
_LEASE_S = 60.0


def limit_name() -> str:
    """Return the name of the limit that this worker's GPU has."""
    return f"gpu:{os.environ.get(WORKER_VARIABLE) or platform.node()}"


def gpu_of_run(should_stop: Callable[[], bool]) -> Callable[[Cell], AbstractContextManager[None]] | None:
    """Return what holds this worker's GPU for a cell; None where this run came by another work pool, or by none."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.work_pool_name != GPU_POOL:
        return None
    name = limit_name()
    return lambda _cell: held(name, should_stop)


@contextmanager
def held(name: str, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold a slot of a limit while the body runs; waits for one.

    Raises:
        InterruptedTraining: when a stop is wished for meanwhile.
        ServiceError: when the server has no such limit, or does not answer.
    """
    with ExitStack() as slot:
        while not _taken(slot, name):
            if should_stop():
                raise InterruptedTraining("It was stopped while it waited for a GPU.")
            time.sleep(POLL_S)
        yield


def _taken(slot: ExitStack, name: str) -> bool:
    """Take a slot if one is free; one request, since Prefect itself would not hear of a stop while it waits."""
    try:
        # A server that restarts in the night costs no training that has begun.
        once = concurrency(
            name, strict=True, max_retries=0, lease_duration=_LEASE_S, raise_on_lease_renewal_failure=False
        )
        slot.enter_context(once)
    except ConcurrencySlotAcquisitionError as error:
        reason = error.__cause__
        if isinstance(reason, httpx.HTTPStatusError) and reason.response.status_code == httpx.codes.LOCKED:
            return False
        if reason is None:
            raise ServiceError(
                f"the Prefect server has no concurrency limit '{name}' for the GPU of this worker.",
                hint=f"Put '{name}: 1' under `limits` in configs/pools.yaml, then: nightshift deploy. A worker's name "
                f"is {WORKER_VARIABLE}, else its host's.",
            ) from None
        raise ServiceError(f"no slot of '{name}' could be had: {error}: {reason}.", hint="Try again.") from error
    return True
