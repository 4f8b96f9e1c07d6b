"""A worker's GPU: a concurrency limit of the Prefect server, of which a cell holds a slot while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from itertools import count

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from nightshift.errors import InterruptedTraining, ServiceError
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import GPU_POOL
from nightshift.settings import WORKER_VARIABLE, worker_name

POLL_S = 2.0
# Tries between two looks whether the limit has slots at all.
_LOOK_EVERY = 15
#: A batch that is killed gives its slots back after so long.
_LEASE_S = 60.0


def limit_name() -> str:
    """Return the name of the limit that this worker's GPU has."""
    return f"gpu:{worker_name()}"


#: Whether the run around this one came by the pool of GPUs: a run within a run has no pool of its own.
_around: ContextVar[bool] = ContextVar("gpu_around", default=False)


@contextmanager
def told_to_inner_runs() -> Iterator[None]:
    """Let the runs that the body calls hold this worker's GPU where this one came by its pool."""
    token = _around.set(_came_by_gpu_pool())
    try:
        yield
    finally:
        _around.reset(token)


def _came_by_gpu_pool() -> bool:
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return _around.get() or (run is not None and run.work_pool_name == GPU_POOL)


def gpu_of_run(should_stop: Callable[[], bool]) -> Callable[[Cell], AbstractContextManager[None]] | None:
    """Return what holds this worker's GPU for a cell; None where this run came by another work pool, or by none."""
    if not _came_by_gpu_pool():
        return None
    name = limit_name()
    return lambda _cell: held(name, should_stop)


@contextmanager
def held(name: str, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Hold a slot of a limit while the body runs; waits for one.

    Raises:
        InterruptedTraining: when a stop is wished for meanwhile.
        ServiceError: when the server has no such limit, or one without slots, or does not answer.
    """
    with ExitStack() as slot:
        for tried in count():
            if _taken(slot, name):
                break
            if tried % _LOOK_EVERY == 0:
                _require_slots(name)
            if should_stop():
                raise InterruptedTraining("It was stopped while it waited for a GPU.")
            time.sleep(POLL_S)
        yield


def _require_slots(name: str) -> None:
    """Refuse a limit that nobody could ever have a slot of: the server says of it what it says of one that is used up.

    Raises:
        ServiceError: for a limit of no slots.
    """
    try:
        with get_client(sync_client=True) as client:
            limit = client.read_global_concurrency_limit_by_name(name)
    except (httpx.HTTPError, PrefectException):
        return  # who tries for the next slot tells of it
    if limit.limit <= 0:
        raise ServiceError(
            f"the concurrency limit '{name}' has no slots: no model can use the GPU of this worker.",
            hint=f"Put '{name}: 1' under `limits` in configs/pools.yaml, then: nightshift deploy.",
        )


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
        # Of a limit of no slots the server says that more were asked for than there are.
        _require_slots(name)
        if reason is None:
            raise ServiceError(
                f"the Prefect server has no concurrency limit '{name}' for the GPU of this worker.",
                hint=f"Put '{name}: 1' under `limits` in configs/pools.yaml, then: nightshift deploy. A worker's name "
                f"is {WORKER_VARIABLE}, else 'local'.",
            ) from None
        raise ServiceError(f"no slot of '{name}' could be had: {error}: {reason}.", hint="Try again.") from error
    return True
