"""What the training loop is given and gives back: a learner, a plan, a context; a trained learner."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nightshift.errors import ConfigError
from nightshift.findings import Finding
from nightshift.nets.epoch import Epoch, Validation
from nightshift.nets.schedule import Schedule
from nightshift.nets.way import PLAIN, Compile, Precision, Way

Batch = TypeVar("Batch")
L = TypeVar("L", bound="Learner[Any]")


class Learner(ABC, Generic[Batch]):
    """What is trained: a module on its device, its optimiser, its batches and its loss.

    Everything random is drawn from torch's global generators, which the loop seeds, saves and puts back.

    Attributes:
        module: all that is learnt, on the device that `build` was given.
        optimiser: of its parameters.
        schedule: of the learning rate, one step an epoch; None takes the plan's.
        batch_size: of `batches`, read at the beginning of each epoch; the loop halves it when memory runs out. 0 = it
            cannot be changed.
    """

    module: nn.Module
    optimiser: Optimizer
    schedule: LRScheduler | None = None
    batch_size: int = 0

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Yield one epoch's batches, on the device."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return a batch's loss, a scalar."""

    def after_step(self) -> None:
        """Put parameters back into their limits after a step of the optimiser."""

    def validate(self) -> Validation | float | None:
        """Return the figure that early stopping lowers, with others to tell; None watches the training loss."""
        return None


def _unheard(_told: object) -> None:
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
        schedule: of the learning rate: `constant`, `cosine` or `plateau` (see `schedule.make`).
        rate_patience: epochs of a plateau before the rate is halved.
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where it helps (see `way`).
        compile: `off`, `on`, or `auto`: compiled by torch where it helps.
    """

    epochs: int
    seed: int
    patience: int = 0
    min_gain: float = 0.0
    clip_norm: float = 0.0
    schedule: Schedule = "constant"
    rate_patience: int = 5
    precision: Precision = "float32"
    compile: Compile = "off"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.patience < 0 or self.clip_norm < 0:
            raise ConfigError(
                f"epochs must be 1 or more, patience and clip_norm 0 or more, "
                f"got {self.epochs}, {self.patience} and {self.clip_norm:g}."
            )


@dataclass(frozen=True)
class LoopContext:
    """Where a training runs and whom it tells; nothing here but a time limit changes its result on a CPU.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads.
        checkpoint: file to leave and to go on from; None keeps none.
        fingerprint: of what is trained, for its checkpoint (see `checkpoint.fingerprint`); facts and plan are added.
        facts: what is trained in words and figures, such as the config, nested by name; a checkpoint that is refused
            says in which of them it differs.
        checkpoint_every_s: at most so much work is lost in a crash, and the epoch under way.
        checkpoint_every_epochs: so many epochs at most are lost beside it; 0 = only time counts. The first epoch
            always leaves one.
        time_limit_s: the training ends after the epoch in which so much time was spent on it, in all attempts.
        on_begin: hears how many epochs the checkpoint has that it goes on from, 0 when it begins with the first.
        on_epoch: hears of each epoch that was trained now.
        should_stop: asked between batches.
        note: hears of findings.
    """

    device: str = "auto"
    threads: int = 1
    checkpoint: Path | None = None
    fingerprint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_every_s: float = 30.0
    checkpoint_every_epochs: int = 0
    time_limit_s: float = math.inf
    on_begin: Callable[[int], None] = _unheard
    on_epoch: Callable[[Epoch], None] = _unheard
    should_stop: Callable[[], bool] = bool
    note: Callable[[Finding], None] = _unheard


@dataclass(frozen=True)
class Trained(Generic[L]):
    """A finished training.

    Attributes:
        learner: with its final weights, or the best ones where `patience` is set; the module is in eval mode.
        history: of every epoch, those before a resume too.
        best_epoch: number of the epoch whose weights these are.
        way: how its steps were computed.
    """

    learner: L
    history: tuple[Epoch, ...]
    best_epoch: int
    way: Way = PLAIN
