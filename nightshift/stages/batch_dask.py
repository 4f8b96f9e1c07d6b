"""A batch on a Dask cluster: a cell is one of its tasks, trained where it lands as a batch of that machine trains it.

Limits, isolation and slots are those of `stages.batch` on each worker's machine. Workers need this package, a home
(`NIGHTSHIFT_HOME`) that sees the same data and records, and memory settings of Dask's own that let a cell be.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from nightshift.errors import ConfigError, NightshiftError, ServiceError
from nightshift.plan.batch import BatchOptions, CellRef, each_once
from nightshift.plan.cell import Cell
from nightshift.plan.outcome import CellOutcome, outcome_of_error
from nightshift.settings import Home, use_home
from nightshift.stages.batch import POLL_S, Batch
from nightshift.stages.batch_limits import room_now

logger = logging.getLogger("nightshift")

_CONNECT_S = 20.0
#: How long a cluster may be without workers before its cells have failed.
PATIENCE_S = 120.0
_LOOK_S = 5.0
Gpu = Callable[[Cell], AbstractContextManager[object]]


@dataclass(frozen=True)
class _Work:
    """What every worker is told of a batch."""

    token: str
    cells: tuple[CellRef, ...]
    options: BatchOptions
    run_id: str


class DaskBatch:
    """The cells of one run on a Dask cluster; used as `stages.batch.Batch` is.

    Args:
        home: where everything is kept.
        cells: to train; one that is named twice is trained once.
        options: what the batch may use; `processes` is for each of the cluster's machines.
        run_id: the same for every try of one run.
        should_stop: true when all cells are to keep what they have and end.
        gpu: holds a GPU of this machine; workers elsewhere, those of a `dask_address`, hold none.

    Raises:
        ConfigError: when Dask is not installed.
        ServiceError: when no scheduler answers at the address, or it has no workers.
    """

    def __init__(
        self,
        home: Home,
        cells: Sequence[CellRef],
        options: BatchOptions,
        *,
        run_id: str = "",
        should_stop: Callable[[], bool] = lambda: False,
        gpu: Gpu | None = None,
    ) -> None:
        dask = _dask()
        self.cells = each_once(cells)
        token = uuid4().hex
        self._work = _Work(token, self.cells, options, run_id or token)
        self._should_stop = should_stop
        self.processes = options.processes or room_now(home).cores
        self._cluster, self._client = _connected(dask, options, self.processes)
        self._workers = _Workers(self._client)
        if options.dask_address:
            if gpu is not None:
                logger.warning(
                    "cells on Dask workers hold no GPU limit: give each worker as many threads as it has room"
                )
            self.processes = sum(self._client.nthreads().values())
        else:
            _here[token] = _Here(should_stop, gpu)
        self._stop = dask.Event(f"stop-{token}", client=self._client)
        self.callers = max(1, min(self.processes, len(self.cells)))
        self.threads = options.train.threads or 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs, and let go of the cluster."""
        with suppress(OSError, ValueError):  # it has gone already
            self._stop.set()
            self._client.run(_leave, self._work.token)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        _here.pop(self._work.token, None)

    def run(self, ref: CellRef) -> CellOutcome | None:
        """Train a cell unless it is up to date; None when it was stopped on request."""
        task = self._client.submit(_train, self._work, ref, key=f"{ref.name}-{self._work.token}", pure=False)
        while not task.done():
            if self._should_stop():
                self._stop.set()
            if self._workers.gone_for() > PATIENCE_S:
                task.cancel(force=True)
                stopped = self._should_stop()
                return None if stopped else outcome_of_error(ref.subject, ref.family, ref.target, _no_workers())
            time.sleep(POLL_S / 4)
        if task.status != "finished":
            return outcome_of_error(ref.subject, ref.family, ref.target, _lost(task))
        said = task.result()
        outcome = CellOutcome.model_validate_json(said) if said else None
        logger.info("%s: %s", ref.name, f"{outcome.ending}. {outcome.reason}" if outcome else "stopped on request")
        return outcome


class _Workers:
    """Knows for how long a cluster has had no workers; it is asked now and then, whoever wants to know."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, threading.Lock()
        self._seen = self._at = time.monotonic()

    def gone_for(self) -> float:
        """Return the seconds since a worker was seen last."""
        with self._lock:
            if time.monotonic() - self._at > _LOOK_S:
                if self._has_some():
                    self._seen = time.monotonic()
                self._at = time.monotonic()
            return self._at - self._seen

    def _has_some(self) -> bool:
        try:
            return bool(self._client.nthreads())
        except Exception as error:  # whatever Dask raises of a scheduler that has gone: it has no workers for us
            logger.warning("the Dask scheduler does not answer: %s", error)
            return False


def _no_workers() -> ServiceError:
    return ServiceError(
        f"the Dask cluster has had no worker for {PATIENCE_S:g} s.",
        hint="Start workers (dask worker ADDRESS) and run it again, or set runner: processes.",
    )


def _lost(task: Any) -> Exception:
    """Return why a task has not come to its end: what a worker has refused, or that it has gone."""
    try:
        error = task.exception(timeout=_CONNECT_S)
    except Exception as other:  # one that was called off has none to tell
        error = other
    if isinstance(error, NightshiftError):
        return error
    return ServiceError(f"its Dask worker was lost, or could not train: {error}.", hint="Run it again.")


@dataclass(frozen=True)
class _Here:
    """What a worker in the batch's own process knows without asking."""

    should_stop: Callable[[], bool]
    gpu: Gpu | None


class _Asked:
    """Asks the cluster whether a stop is wished for, once a second at most; a cluster that has gone is a stop."""

    def __init__(self, token: str) -> None:
        self._event = _dask().Event(f"stop-{token}")
        self._at, self._said = 0.0, False

    def __call__(self) -> bool:
        if not self._said and time.monotonic() - self._at > POLL_S:
            try:
                self._said = bool(self._event.is_set())
            except Exception:
                logger.warning("the Dask scheduler does not answer: cells keep what they have, and stop")
                self._said = True
            self._at = time.monotonic()
        return self._said


_here: dict[str, _Here] = {}
# A worker's own batches by token: fork server and libraries serve all cells that land there.
_batches: dict[str, Batch] = {}
_lock = threading.Lock()


def _train(work: _Work, ref: CellRef) -> str:
    """Train a cell on the worker that this runs on; returns the outcome as JSON, "" when it was stopped."""
    place = use_home()
    with _lock:
        if work.token not in _batches:
            known = _here.get(work.token)
            should_stop = known.should_stop if known else _Asked(work.token)
            _batches[work.token] = Batch(
                place,
                work.cells,
                work.options,
                run_id=work.run_id,
                should_stop=should_stop,
                gpu=known.gpu if known else None,
            )
        batch = _batches[work.token]
    outcome = batch.run(ref)
    return outcome.model_dump_json() if outcome else ""


def _leave(token: str) -> None:
    """End what a worker still holds of a batch."""
    with _lock:
        batch = _batches.pop(token, None)
    if batch is not None:
        batch.__exit__(None, None, None)


def _dask() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise ConfigError(
            "the runner 'dask' needs Dask, which is not installed.",
            hint="Install the extra: pip install 'nightshift[scale]'. Or set runner: processes.",
        ) from None


def _connected(dask: Any, options: BatchOptions, processes: int) -> tuple[Any, Any]:
    """Return the cluster that was made, None for somebody else's, and a client of it."""
    if options.dask_address:
        try:
            client = dask.Client(options.dask_address, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"no Dask scheduler answers at '{options.dask_address}': {error}.",
                hint="Start one (dask scheduler), or leave dask_address empty for a cluster of this machine.",
            ) from error
        try:
            client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError:
            client.close()
            raise ServiceError(
                f"the Dask scheduler at '{options.dask_address}' has no workers.",
                hint=f"Start some: dask worker {options.dask_address}",
            ) from None
        return None, client
    # Threads: each cell has a process of its own anyway.
    cluster = dask.LocalCluster(n_workers=1, threads_per_worker=processes, processes=False, dashboard_address=None)
    return cluster, dask.Client(cluster)
