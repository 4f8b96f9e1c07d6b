"""The one training loop: epochs, progress, checkpoints, resume, early stopping; the same code on CPU and GPU.

A training that was stopped and goes on gives the same weights, byte for byte on a CPU, as one that never stopped:
a checkpoint always stands between two epochs and carries optimiser, schedule and random state.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nightshift.errors import ConfigError, InterruptedTraining, TrainingError
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets.checkpoint import Checkpoint
from nightshift.nets.device import pick, random_state, seeded, set_random_state, threads

Batch = TypeVar("Batch")
L = TypeVar("L", bound="Learner[Any]")


class Learner(ABC, Generic[Batch]):
    """What is trained: a module on its device, its optimiser, its batches and its loss.

    Everything random is drawn from torch's global generators, which the loop seeds, saves and puts back.

    Attributes:
        module: all that is learnt, on the device that `build` was given.
        optimiser: of its parameters.
        schedule: of the learning rate, one step an epoch; None keeps it.
    """

    module: nn.Module
    optimiser: Optimizer
    schedule: LRScheduler | None = None

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Yield one epoch's batches, on the device."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return a batch's loss, a scalar."""

    def after_step(self) -> None:
        """Put parameters back into their limits after a step of the optimiser."""

    def validate(self) -> float | None:
        """Return the figure that early stopping lowers; None watches the training loss."""
        return None


@dataclass(frozen=True)
class Epoch:
    """One epoch's figures: its number from 1, the mean training loss, and the validation figure where there is one."""

    number: int
    loss: float
    validation: float | None = None

    @property
    def watched(self) -> float:
        """What early stopping compares."""
        return self.loss if self.validation is None else self.validation


def _unheard(epoch: Epoch) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class LoopPlan:
    """What decides the result of a training, beside its learner.

    Attributes:
        epochs: at most.
        seed: of first weights, order of batches and all noise.
        patience: epochs without a better figure after which training ends with its best weights; 0 trains all epochs
            and keeps the last weights.
        min_gain: by how much a figure must fall to be better.
        clip_norm: limit of the gradient's norm; 0 sets none.
    """

    epochs: int
    seed: int
    patience: int = 0
    min_gain: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 0 or self.clip_norm < 0:
            raise ConfigError(
                f"epochs must be 1 or more, patience and clip_norm 0 or more, "
                f"got {self.epochs}, {self.patience} and {self.clip_norm:g}."
            )


@dataclass(frozen=True)
class LoopContext:
    """Where a training runs and whom it tells; nothing here changes its result on a CPU.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads.
        checkpoint: file to leave and to go on from; None keeps none.
        fingerprint: of what is trained, for its checkpoint (see `checkpoint.fingerprint`); the plan is added to it.
        checkpoint_every_s: at most so much work is lost in a crash.
        on_epoch: hears of each epoch that was trained now.
        should_stop: asked between batches.
    """

    device: str = "auto"
    threads: int = 1
    checkpoint: Path | None = None
    fingerprint: str = ""
    checkpoint_every_s: float = 30.0
    on_epoch: Callable[[Epoch], None] = _unheard
    should_stop: Callable[[], bool] = bool


@dataclass(frozen=True)
class Trained(Generic[L]):
    """A finished training.

    Attributes:
        learner: with its final weights, or the best ones where `patience` is set; the module is in eval mode.
        history: of every epoch, those before a resume too.
        best_epoch: number of the epoch whose weights these are.
    """

    learner: L
    history: tuple[Epoch, ...]
    best_epoch: int


def train(build: Callable[[torch.device], L], plan: LoopPlan, context: LoopContext) -> Trained[L]:
    """Build a learner from the seed, go on from its checkpoint where there is one, and train it to its end.

    Args:
        build: makes the learner on a device; called with torch seeded.
        plan: what decides the result.
        context: where it runs.

    Raises:
        InterruptedTraining: when asked to stop; the checkpoint then holds all whole epochs.
        TrainingError: for a loss that is no number, or a checkpoint that is damaged or another training's.
        ConfigError: for a device that is not here.
    """
    device = pick(context.device)
    with threads(context.threads), seeded(plan.seed, device):
        run = _Run(build(device), plan, context, device)
        run.resume()
        while not run.ended:
            run.epoch()
        return run.finish()


@dataclass
class _Run(Generic[L]):
    """A training under way."""

    learner: L
    plan: LoopPlan
    context: LoopContext
    device: torch.device
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    saved_epoch: int = -1

    @property
    def fingerprint(self) -> str:
        """What the checkpoint must carry."""
        return checkpoints.fingerprint({"trained": self.context.fingerprint, "plan": asdict(self.plan)})

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought nothing."""
        stale = len(self.history) - self.best_epoch
        return len(self.history) >= self.plan.epochs or (self.plan.patience > 0 and stale >= self.plan.patience)

    def epoch(self) -> None:
        """Train one epoch, tell of it, and leave a checkpoint when one is due."""
        before = self._snapshot() if self.context.checkpoint else None
        self._stop_if_asked(before)
        figures = self._trained_epoch(before)
        self.history.append(figures)
        if not self.plan.patience:
            self.best_epoch = figures.number
        elif not self.best_epoch or figures.watched < self.history[self.best_epoch - 1].watched - self.plan.min_gain:
            self.best_epoch = figures.number
            self.best = copy.deepcopy(self.learner.module.state_dict())
        self.context.on_epoch(figures)
        if time.monotonic() - self.saved_at >= self.context.checkpoint_every_s:
            self._save(self._snapshot())

    def finish(self) -> Trained[L]:
        """Leave the last checkpoint, so that a second call is done at once, and take the best weights."""
        if self.saved_epoch < len(self.history):
            self._save(self._snapshot())
        if self.best:
            self.learner.module.load_state_dict(self.best)
        self.learner.module.eval()
        return Trained(self.learner, tuple(self.history), self.best_epoch)

    def resume(self) -> None:
        """Go on from the checkpoint where there is one."""
        path = self.context.checkpoint
        found = checkpoints.load(path, self.fingerprint) if path else None
        if found is None:
            return
        self.learner.module.load_state_dict(found.model)
        self.learner.optimiser.load_state_dict(found.optimiser)
        if self.learner.schedule is not None:
            self.learner.schedule.load_state_dict(found.schedule)
        set_random_state(found.random, self.device)
        self.history = [Epoch(**e) for e in found.meta["history"]]
        self.best, self.best_epoch = found.best, found.meta["best_epoch"]
        self.saved_epoch = found.epoch

    def _trained_epoch(self, before: Checkpoint | None) -> Epoch:
        learner = self.learner
        learner.module.train()
        total, n_batches = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for batch in learner.batches():
            if n_batches:
                self._stop_if_asked(before)
            loss = learner.loss(batch)
            learner.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if self.plan.clip_norm:
                nn.utils.clip_grad_norm_(learner.module.parameters(), self.plan.clip_norm)
            learner.optimiser.step()
            learner.after_step()
            # Summed on the device: reading each loss would make the CPU wait for the GPU at every step.
            total += loss.detach()
            n_batches += 1
        if learner.schedule is not None:
            learner.schedule.step()
        mean = float(total) / n_batches if n_batches else math.nan
        return self._checked(Epoch(len(self.history) + 1, mean, self._validation()))

    def _validation(self) -> float | None:
        self.learner.module.eval()
        with torch.no_grad():
            return self.learner.validate()

    def _checked(self, figures: Epoch) -> Epoch:
        if not (math.isfinite(figures.loss) and math.isfinite(figures.watched)):
            raise TrainingError(
                f"the loss must be a finite number, got {figures.watched} in epoch {figures.number}.",
                hint="Lower the learning rate, set clip_norm, or look for missing or extreme values in the data.",
            )
        return figures

    def _stop_if_asked(self, before: Checkpoint | None) -> None:
        if not self.context.should_stop():
            return
        done = len(self.history)
        if before is not None and self.saved_epoch < done:
            self._save(before)
        kept = "they are kept" if self.context.checkpoint else "nothing is kept"
        raise InterruptedTraining(
            f"training was stopped after {done} of {self.plan.epochs} epochs; {kept}.",
            hint="Start it again to go on." if self.context.checkpoint else "",
        )

    def _snapshot(self) -> Checkpoint:
        learner = self.learner
        return Checkpoint(
            fingerprint=self.fingerprint,
            epoch=len(self.history),
            model=copy.deepcopy(learner.module.state_dict()),
            optimiser=copy.deepcopy(learner.optimiser.state_dict()),
            schedule={} if learner.schedule is None else copy.deepcopy(learner.schedule.state_dict()),
            random=random_state(self.device),
            best=self.best,
            meta={"history": [asdict(e) for e in self.history], "best_epoch": self.best_epoch},
        )

    def _save(self, state: Checkpoint) -> None:
        if self.context.checkpoint is not None:
            checkpoints.save(self.context.checkpoint, state)
            self.saved_epoch = state.epoch
        self.saved_at = time.monotonic()
