"""A training's epochs in MLflow while it runs, in the run that registering goes on with.

A thread of its own sends them every few seconds in one call. MLflow that is away, slow or broken costs a training
nothing: what was not sent is sent later, at the latest when the model is registered, which reads the same events.
"""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from nightshift.errors import InterruptedTraining, first_line
from nightshift.plan.cell import Cell
from nightshift.progress import ProgressEvent
from nightshift.settings import Home
from nightshift.tracking import epochs, runs
from nightshift.tracking.driving_others import metrics_of_driving, tags_of_driving
from nightshift.tracking.mlflow_store import Patience, Store, open_store, told_apart

logger = logging.getLogger("nightshift")

#: Epochs are sent this far apart, so a training that is over sooner never opens MLflow for them.
EVERY_S = 5.0
#: After a failure it waits this many times longer.
_LATER = 12
#: A training that ends, or is told to stop, waits so long for a call under way.
_LAST_S = 5.0


class LiveMetrics:
    """A sink of progress events; holds for one training, as a context.

    A training that was stopped or has failed leaves its run so; one that goes on from its checkpoint goes on with it.
    """

    def __init__(self, home: Home, cell: Cell, every_s: float = EVERY_S) -> None:
        self._home, self._cell, self._every_s = home, cell, every_s
        self._told: dict[int, ProgressEvent] = {}
        self._sent: set[int] = set()
        self._first = 0
        self._store: Store | None = None
        self._run_id = self._status = ""
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="live-metrics", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __call__(self, event: ProgressEvent) -> None:
        """Take an event; those of whole epochs are sent."""
        if not event.epoch:
            return
        with self._lock:
            self._told[event.epoch] = event
        if not self._first:
            self._first = event.epoch
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread; a training that did not end well says so in its run, where it has one."""
        if error is not None:
            self._status = "KILLED" if isinstance(error, InterruptedTraining | KeyboardInterrupt) else "FAILED"
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_LAST_S)

    def _work(self) -> None:
        wait_s = self._every_s
        while not self._closing.wait(wait_s):
            wait_s = self._every_s * (1 if self._tried() else _LATER)
        # What is left of a training that ended well is sent when it is registered.
        if self._status and self._store is not None:
            self._tried()

    def _tried(self) -> bool:
        """Send what is new, and return whether that went well."""
        try:
            self._send()
        # Whatever is wrong with MLflow, a training is worth more than its picture.
        except Exception as error:
            logger.warning("%s: MLflow shows no epochs now: %s. Training goes on.", self._cell.name, first_line(error))
            return False
        return True

    def _send(self) -> None:
        store = self._store or self._opened()
        with self._lock:
            fresh = [event for number, event in self._told.items() if number not in self._sent]
        with told_apart(store.uri):
            self._tell_more(store)
            epochs.log(store, self._run_id, fresh)
            self._sent |= {event.epoch for event in fresh}
            if self._status:
                store.client.set_terminated(self._run_id, status=self._status)

    def _tell_more(self, store: Store) -> None:
        """Send what other machines cannot see of a policy's training, such as what it holds of this one."""
        step, figures = metrics_of_driving(self._home, self._cell)
        if figures:
            from mlflow.entities import Metric

            now_ms = int(time.time() * 1000)
            points = [Metric(name, value, now_ms, step) for name, value in figures.items()]
            store.client.log_batch(self._run_id, metrics=points)

    def _opened(self) -> Store:
        """Open the store, and the run: the one that an earlier process began when this one goes on from it."""
        store = open_store(self._home, Patience(probe_s=1.0))
        with self._lock:
            self._told = epochs.told(self._home, self._cell) | self._told
        with told_apart(store.uri):
            begun = epochs.open_run(store, self._cell) if self._first > 1 else None
            if begun is None:
                experiment = store.experiment(self._cell.subject)
                tags = {**runs.tags_of_cell(self._cell), **tags_of_driving(self._home, self._cell)}
                run = store.client.create_run(experiment, run_name=self._cell.name, tags=tags)
                self._run_id = str(run.info.run_id)
                epochs.note_run(self._home, self._cell, self._run_id)
            else:
                self._run_id = str(begun.info.run_id)
                self._sent = epochs.sent(store, begun)
                store.client.update_run(self._run_id, status="RUNNING")
                # It may go on elsewhere, in another flow run, or for more steps.
                for name, value in tags_of_driving(self._home, self._cell).items():
                    store.client.set_tag(self._run_id, name, value)
        self._store = store
        return store
