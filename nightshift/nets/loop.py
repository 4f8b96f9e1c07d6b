"""The one training loop: epochs, progress, checkpoints, resume, early stopping; the same code on CPU and GPU.

A training that was stopped and goes on gives the same weights, byte for byte on a CPU, as one that never stopped:
a checkpoint always stands between two epochs and carries optimiser, schedule and random state.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from nightshift.errors import InterruptedTraining, TrainingError, first_line
from nightshift.findings import finding
from nightshift.nets import checkpoint as checkpoints
from nightshift.nets import memory, schedule
from nightshift.nets.checkpoint import Checkpoint
from nightshift.nets.device import pick, random_state, seeded, set_random_state, threads
from nightshift.nets.epoch import Epoch, Validation
from nightshift.nets.learner import Learner, LoopContext, LoopPlan, Trained
from nightshift.nets.way import PLAIN, Way, choose

__all__ = ["Epoch", "Learner", "LoopContext", "LoopPlan", "Trained", "Validation", "train"]

L = TypeVar("L", bound="Learner[Any]")

#: A way to compute steps is timed over so many of them, after some that compile and warm up.
_TIMED, _WARM_UP = 20, 5


def train(build: Callable[[torch.device], L], plan: LoopPlan, context: LoopContext) -> Trained[L]:
    """Build a learner from the seed, go on from its checkpoint where there is one, and train it to its end.

    Args:
        build: makes the learner on a device; called with torch seeded.
        plan: what decides the result.
        context: where it runs.

    Raises:
        InterruptedTraining: when asked to stop; the checkpoint then holds all whole epochs.
        TrainingError: for a loss that is no number, a memory that does not hold one window, or a checkpoint that is
            damaged or another training's.
        ConfigError: for a device that is not here.
    """
    device = pick(context.device)
    with threads(context.threads), seeded(plan.seed, device):
        run = _Run(_built(build, device), plan, context, device)
        run.begin()
        while not run.ended:
            run.epoch()
        return run.finish()


def _built(build: Callable[[torch.device], L], device: torch.device) -> L:
    try:
        return build(device)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        raise TrainingError(
            f"network and data do not fit into the memory: {first_line(error)}.", hint=memory.advice(device)
        ) from error


@dataclass
class _Run(Generic[L]):
    """A training under way.

    Attributes:
        stood: as it stood after the last whole epoch.
        spent_s: on it in earlier attempts.
        way: how its steps are computed.
    """

    learner: L
    plan: LoopPlan
    context: LoopContext
    device: torch.device
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    spent_s: float = 0.0
    way: Way = PLAIN

    def __post_init__(self) -> None:
        learner, plan = self.learner, self.plan
        self.schedule: LRScheduler | None = learner.schedule or schedule.make(
            plan.schedule, learner.optimiser, plan.epochs, plan.rate_patience
        )
        self.asked_size = learner.batch_size
        # Asked for once: walking through a network's modules takes longer than clipping its gradients.
        self.parameters = list(learner.module.parameters())
        self.loss: Callable[[Any], Tensor] = learner.loss
        self.cast: AbstractContextManager[object] = nullcontext()
        self.began = self.saved_at = time.monotonic()
        self.saved_epoch = -1

    @property
    def facts(self) -> dict[str, Any]:
        """What the training follows from."""
        return {**asdict(self.plan), **self.context.facts}

    @property
    def fingerprint(self) -> str:
        """What the checkpoint must carry."""
        return checkpoints.fingerprint({"trained": self.context.fingerprint, "facts": self.facts})

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, the last `patience` of them brought nothing, or the time is up."""
        return len(self.history) >= self.plan.epochs or self._stale() or (bool(self.history) and self._over_time())

    def begin(self) -> None:
        """Go on from the checkpoint where there is one, else see how steps are best computed."""
        path = self.context.checkpoint
        found = checkpoints.load(path, self.fingerprint, self.facts) if path else None
        self.context.on_begin(found.epoch if found else 0)
        if found is None:
            self.stood = self._snapshot()
            self._take(choose(self.plan.precision, self.plan.compile, self.device, self._seconds_of))
            self.stood = self._snapshot()
            return
        self._restore(found)
        told = found.meta
        self.history = [Epoch(**e) for e in told["history"]]
        self.best, self.best_epoch = found.best, told["best_epoch"]
        self.saved_epoch, self.spent_s = found.epoch, told["spent_s"]
        self._take(Way(**told["way"]))
        if self.learner.batch_size != told["batch_size"]:
            self._shrink(told["batch_size"])
        self.stood = found

    def epoch(self) -> None:
        """Train one epoch, tell of it, and leave a checkpoint when one is due."""
        self._stop_if_asked()
        figures = self._whole_epoch()
        schedule.step(self.schedule, figures.watched)
        self.history.append(figures)
        if not self.plan.patience or self._is_best(figures):
            self.best_epoch = figures.number
        self.stood = self._snapshot()
        self.context.on_epoch(figures)
        if self._save_due():
            self._save()

    def finish(self) -> Trained[L]:
        """Leave the last checkpoint, so that a second call is done at once, and take the best weights."""
        if self.saved_epoch < len(self.history):
            self._save()
        if len(self.history) < self.plan.epochs and not self._stale():
            spent = f"{self.context.time_limit_s:g} s were over after {len(self.history)} of {self.plan.epochs} epochs."
            self.context.note(finding("T020", f"The training's {spent}"))
        if self.best:
            self.learner.module.load_state_dict(self.best)
        self.learner.module.eval()
        return Trained(self.learner, tuple(self.history), self.best_epoch, self.way)

    def _is_best(self, figures: Epoch) -> bool:
        best = self.history[self.best_epoch - 1].watched if self.best_epoch else math.inf
        return figures.watched < best - self.plan.min_gain

    def _stale(self) -> bool:
        return 0 < self.plan.patience <= len(self.history) - self.best_epoch

    def _spent_s(self) -> float:
        return self.spent_s + time.monotonic() - self.began

    def _over_time(self) -> bool:
        return self._spent_s() >= self.context.time_limit_s

    def _whole_epoch(self) -> Epoch:
        """Train an epoch; one that does not fit into the memory begins again with half the batch."""
        while True:
            try:
                return self._checked(self._trained_epoch())
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                said = first_line(error)
            # Out of the `except`: the error's traceback holds the tensors that have filled the memory.
            self._halve(said)

    def _trained_epoch(self) -> Epoch:
        learner, started = self.learner, time.monotonic()
        rate = float(learner.optimiser.param_groups[0]["lr"])
        learner.module.train()
        total, n_batches = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for batch in learner.batches():
            if n_batches:
                self._stop_if_asked()
                if self._over_time():
                    break
            # Summed on the device: reading each loss would make the CPU wait for the GPU at every step.
            total += self._step(batch)
            n_batches += 1
        mean = float(total) / n_batches if n_batches else math.nan
        found = self._validation()
        return Epoch(
            number=len(self.history) + 1,
            loss=mean,
            validation=found.watched if found else None,
            metrics=dict(found.metrics) if found else {},
            rate=rate,
            seconds=time.monotonic() - started,
        )

    def _step(self, batch: object) -> Tensor:
        with self.cast:
            loss = self.loss(batch)
        self.learner.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.plan.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.plan.clip_norm)
        self.learner.optimiser.step()
        self.learner.after_step()
        return loss.detach()

    def _validation(self) -> Validation | None:
        """Validate in float32, whatever the steps are computed in."""
        self.learner.module.eval()
        with torch.no_grad():
            found = self.learner.validate()
        return found if found is None or isinstance(found, Validation) else Validation(found)

    def _checked(self, figures: Epoch) -> Epoch:
        if not (math.isfinite(figures.loss) and math.isfinite(figures.watched)):
            raise TrainingError(
                f"the loss must be a finite number, got {figures.watched} in epoch {figures.number}.",
                hint="Lower the learning rate, set clip_norm, or look for missing or extreme values in the data.",
            )
        return figures

    def _stop_if_asked(self) -> None:
        if not self.context.should_stop():
            return
        done = len(self.history)
        if self.saved_epoch < done:
            self._save()
        kept = "they are kept" if self.context.checkpoint else "nothing is kept"
        raise InterruptedTraining(
            f"training was stopped after {done} of {self.plan.epochs} epochs; {kept}.",
            hint="Start it again to go on." if self.context.checkpoint else "",
        )

    def _halve(self, said: str) -> None:
        before = self.learner.batch_size
        if before < 2:
            raise TrainingError(f"the training does not fit into the memory: {said}.", hint=memory.advice(self.device))
        self.learner.optimiser.zero_grad(set_to_none=True)
        memory.free(self.device)
        self._restore(self.stood)
        self._shrink(before // 2)

    def _shrink(self, size: int) -> None:
        self.learner.batch_size = size
        self.context.note(memory.halved(self.asked_size, size, self.device))

    def _take(self, way: Way) -> None:
        self.way, self.cast = way, way.cast(self.device)
        # One graph for each size of batch, the last and smaller one's too.
        self.loss = torch.compile(self.learner.loss, dynamic=False) if way.compiled else self.learner.loss

    def _seconds_of(self, way: Way) -> float:
        """Return the seconds of a step computed in one way, and leave no trace of having tried."""
        self._take(way)
        self.learner.module.train()
        started, n_steps = math.inf, 0
        try:
            for n_steps, batch in enumerate(itertools.islice(self.learner.batches(), _WARM_UP + _TIMED)):
                if n_steps == _WARM_UP:
                    self._wait()
                    started = time.perf_counter()
                self._step(batch)
            self._wait()
            return (time.perf_counter() - started) / (n_steps + 1 - _WARM_UP) if n_steps >= _WARM_UP else math.inf
        finally:
            self._restore(self.stood)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _snapshot(self) -> Checkpoint:
        learner = self.learner
        model = copy.deepcopy(learner.module.state_dict())
        if self.plan.patience and self.history and self.best_epoch == len(self.history):
            self.best = model
        return Checkpoint(
            fingerprint=self.fingerprint,
            epoch=len(self.history),
            model=model,
            optimiser=copy.deepcopy(learner.optimiser.state_dict()),
            schedule={} if self.schedule is None else copy.deepcopy(self.schedule.state_dict()),
            random=random_state(self.device),
            best=self.best,
            meta={
                "history": [asdict(e) for e in self.history],
                "best_epoch": self.best_epoch,
                "batch_size": learner.batch_size,
                "way": asdict(self.way),
                "spent_s": self._spent_s(),
                "facts": self.facts,
            },
        )

    def _restore(self, state: Checkpoint) -> None:
        learner = self.learner
        learner.module.load_state_dict(state.model)
        # The optimiser takes tensors as they are, and its steps would change the copy.
        learner.optimiser.load_state_dict(copy.deepcopy(state.optimiser))
        if self.schedule is not None:
            self.schedule.load_state_dict(copy.deepcopy(state.schedule))
        set_random_state(state.random, self.device)

    def _save_due(self) -> bool:
        done, saved, every = len(self.history), max(self.saved_epoch, 0), self.context.checkpoint_every_epochs
        # The first epoch's at once: until there is one, a training that is cut off begins again.
        if not saved or (every and done // every > saved // every):
            return True
        return time.monotonic() - self.saved_at >= self.context.checkpoint_every_s

    def _save(self) -> None:
        if self.context.checkpoint is not None:
            checkpoints.save(self.context.checkpoint, self.stood)
            self.saved_epoch = self.stood.epoch
        self.saved_at = time.monotonic()
