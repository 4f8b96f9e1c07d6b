"""What is done at the end of each epoch of a skorch net: figures, early stopping, and a state to go on from exactly."""

from __future__ import annotations

import inspect
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History

from nightshift.errors import InterruptedTraining
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.device import random_state, set_random_state
from nightshift.progress import ProgressEvent
from nightshift.trainer.contract import FitJob, Round
from nightshift.trainer.kinds.fits import Patience
from nightshift.trainer.retry import DivergedError

#: Share of the time that saving may take.
_SAVING = 0.05
#: Seconds between two questions, within an epoch, whether to stop.
_ASKING_S = 1.0

State = dict[str, Any]


@dataclass(frozen=True)
class Keeper:
    """Where a fit keeps its state, and whose it is.

    Attributes:
        path: None keeps none.
        facts: what the fit follows from.
        fingerprint: of these, and of the weights that it begins with.
    """

    path: Path | None
    facts: Mapping[str, Any]
    fingerprint: str

    def load(self) -> checkpoints.Checkpoint | None:
        """Return the state of a fit that was cut off; None where there is none.

        Raises:
            TrainingError: when it is another fit's, or damaged.
        """
        return None if self.path is None else checkpoints.load(self.path, self.fingerprint, self.facts)


class Epochs(Callback):  # type: ignore[misc] # skorch has no types
    """The last callback of a net: takes its figures down, tells them, keeps its state, and ends it.

    Args:
        job: what is fitted.
        total: epochs at most.
        patience: None: nothing stops early.
        keeper: of the state.
    """

    def __init__(self, job: FitJob, total: int, patience: Patience | None, keeper: Keeper) -> None:
        self.job, self.total, self.patience, self.keeper = job, total, patience, keeper
        self.rounds: list[Round] = []
        self.best: State = {}
        self.stood = keeper.load()
        self._saved_at, self._saved, self._asked_at = 0.0, 0, time.monotonic()
        if self.stood is not None:
            self._read(self.stood)

    @property
    def ended(self) -> bool:
        """Whether there is no epoch left."""
        done = len(self.rounds)
        return done >= self.total or (self.patience is not None and done > 0 and self.patience.over(done))

    def ready(self, net: Any) -> None:
        """Give an initialised net what other callbacks look at when they begin: the history and the learning rates."""
        if self.stood is not None:
            net.history_ = History(self.stood.meta["history"])
            _load(net, self.stood.optimiser)

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Go on from the state that was kept; all other callbacks have begun."""
        if self.stood is not None:
            _restore(net, self.stood)
            self.stood = None

    def on_batch_end(self, net: Any, **_: Any) -> None:
        """Stop within a long epoch when asked to."""
        if time.monotonic() - self._asked_at > _ASKING_S:
            self._asked_at = time.monotonic()
            self._stop_when_asked()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Take the epoch down.

        Raises:
            DivergedError: for a loss that is no number.
            InterruptedTraining: when asked to stop.
            KeyboardInterrupt: skorch's way to end a training early.
        """
        number, metrics = len(net.history), _figures(net.history[-1])
        self.rounds.append(Round(number, metrics, float(net.history[-1].get("dur", 0.0))))
        if not all(map(np.isfinite, metrics.values())):
            raise DivergedError(f"the loss of {type(net.module_).__name__} became NaN or infinite in epoch {number}.")
        if self.patience is not None and self.patience.better(number, metrics["validation_loss"]):
            self.best = _modules(net)
        self.job.tell(ProgressEvent("", self.job.stage, number, self.total, dict(metrics)))
        stops = self.job.should_stop()
        if self._save_due(stops):
            self._save(net)
        if stops:
            self._stop_when_asked()
        if self.ended:
            raise KeyboardInterrupt

    def finish(self, net: Any) -> int:
        """Give the net its best weights, let go of what it was fitted with, and return the round of its weights."""
        for number in range(len(self.rounds) + 1, len(net.history) + 1):
            # Another callback ended the training in the middle of that epoch's end.
            self.rounds.append(Round(number, _figures(net.history[number - 1])))
        if self.best:
            _load(net, self.best)
        for entry in net.history:
            entry["batches"] = []
        for name in net._optimizers:
            getattr(net, f"{name}_").state.clear()
        net.callbacks = [each for each in net.callbacks or [] if not _is_ours(each)]
        net.callbacks_ = [each for each in net.callbacks_ if not _is_ours(each)]
        return self.patience.best_round if self.best and self.patience is not None else len(self.rounds)

    def _stop_when_asked(self) -> None:
        if self.job.should_stop():
            raise InterruptedTraining(
                "training was stopped.", hint="The same call with resume=True (--resume) goes on."
            )

    def _save_due(self, stops: bool) -> bool:
        if self.keeper.path is None:
            return False
        return stops or not self._saved or time.monotonic() >= self._saved_at

    def _save(self, net: Any) -> None:
        assert self.keeper.path is not None
        began = time.monotonic()
        state = checkpoints.Checkpoint(
            fingerprint=self.keeper.fingerprint,
            epoch=len(self.rounds),
            model=_parts(net, (*net._modules, *net._criteria)),
            optimiser=_parts(net, net._optimizers),
            random=random_state(torch.device(net.device or "cpu")),
            best=self.best,
            meta={
                "rounds": [vars(each) for each in self.rounds],
                "history": [{key: _plain(value) for key, value in entry.items()} for entry in _bare(net.history)],
                "patience": None if self.patience is None else [self.patience.best_round, _plain(self.patience.lowest)],
                "facts": dict(self.keeper.facts),
            },
            more={"callbacks": {name: _kept(callback) for name, callback in net.callbacks_ if callback is not self}},
        )
        checkpoints.save(self.keeper.path, state)
        ended = time.monotonic()
        self._saved, self._saved_at = len(self.rounds), ended + (ended - began) / _SAVING

    def _read(self, state: checkpoints.Checkpoint) -> None:
        """Take over what this object knows of a fit that was cut off."""
        self.rounds = [Round(**each) for each in state.meta["rounds"]]
        self.best = state.best
        if self.patience is not None and state.meta["patience"] is not None:
            self.patience.best_round, self.patience.lowest = state.meta["patience"]


@contextmanager
def noticing_ctrl_c() -> Iterator[list[bool]]:
    """Yield a list that is empty until Ctrl-C: skorch takes it for the end of a training, and says nothing."""
    pressed: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed  # it cannot come here
        return

    def noted(number: int, frame: Any) -> None:
        pressed.append(True)
        before(number, frame)

    signal.signal(signal.SIGINT, noted)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _is_ours(named: Any) -> bool:
    return isinstance(named[1] if isinstance(named, tuple) else named, Epochs)


def _figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of one epoch of skorch's history by our names."""
    names = {"train_loss": "train_loss", "valid_loss": "validation_loss", "valid_acc": "validation_accuracy"}
    return {ours: float(entry[theirs]) for theirs, ours in names.items() if theirs in entry}


def _bare(history: Any) -> list[dict[str, Any]]:
    return [{**entry, "batches": []} for entry in history]


def _plain(value: Any) -> Any:
    """Return a numpy scalar's own value."""
    return value.item() if isinstance(value, np.generic) else value


def _parts(net: Any, names: tuple[str, ...] | list[str]) -> State:
    return {name: deepcopy(getattr(net, f"{name}_").state_dict()) for name in names}


def _modules(net: Any) -> State:
    return _parts(net, net._modules)


def _load(net: Any, parts: Mapping[str, State]) -> None:
    for name, state in parts.items():
        # An optimiser takes tensors as they are, and its steps would change the copy.
        getattr(net, f"{name}_").load_state_dict(deepcopy(state))


def _kept(callback: Any) -> State:
    """Return what a callback has learnt: by scikit-learn's rule it ends with an underscore."""
    kept: State = {}
    for name, value in vars(callback).items():
        if not name.endswith("_") or name.startswith("_") or inspect.isclass(value):
            continue
        if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
            kept[name] = {"state_dict": value.state_dict()}
        elif isinstance(_plain(value), bool | int | float | str | None):
            kept[name] = {"value": _plain(value)}
        elif isinstance(value, Mapping) and all(isinstance(each, torch.Tensor) for each in value.values()):
            kept[name] = {"value": dict(value)}
    return kept


def _restore(net: Any, state: checkpoints.Checkpoint) -> None:
    """Make net, optimisers, callbacks and random state what they were at the end of an epoch."""
    _load(net, state.model)
    for name, callback in net.callbacks_:
        for key, kept in state.more["callbacks"].get(name, {}).items():
            if "value" in kept:
                setattr(callback, key, kept["value"])
            elif (held := getattr(callback, key, None)) is not None:
                held.load_state_dict(kept["state_dict"])
    # After the schedules, which set a learning rate of their own when they begin.
    _load(net, state.optimiser)
    set_random_state(state.random, torch.device(net.device or "cpu"))
