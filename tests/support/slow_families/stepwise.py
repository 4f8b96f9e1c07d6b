"""Waits halfway, with checkpoints: a net trained by the package's own loop, then the detectors of `anomaly`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nightshift.families.anomaly import AnomalyConfig, AnomalyFamily, AnomalyModel
from nightshift.family import RunContext
from nightshift.nets.loop import Epoch, Learner, LoopContext, LoopPlan, train


class StepwiseConfig(AnomalyConfig):
    epochs: int = 10
    gate: str = ""


class _Fold(Learner[Tensor]):
    def __init__(self, wait: Callable[[], None]) -> None:
        self.module = nn.Linear(4, 4)
        self.optimiser = torch.optim.Adam(self.module.parameters())
        self._wait = wait

    def batches(self) -> Iterator[Tensor]:
        self._wait()
        yield torch.rand(16, 4)

    def loss(self, batch: Tensor) -> Tensor:
        return (self.module(batch) - batch).square().mean()


class StepwiseFamily(AnomalyFamily):
    name = "stepwise"
    config = StepwiseConfig
    libraries = (*AnomalyFamily.libraries, "torch")
    checkpoints = True

    def train(self, data: Any, config: StepwiseConfig, ctx: RunContext) -> AnomalyModel:
        done = 0

        def told(epoch: Epoch) -> None:
            nonlocal done
            done = epoch.number
            time.sleep(0.5)  # events are told of twice a second
            ctx.step(done, config.epochs, f"epoch {done}")

        def wait() -> None:
            while 2 * done >= config.epochs and not Path(config.gate).exists() and not ctx.should_stop():
                time.sleep(0.1)

        context = LoopContext(
            device="cpu",
            checkpoint=ctx.checkpoints / "loop.pt",
            fingerprint=data.fingerprint,
            checkpoint_every_s=0.0,
            on_epoch=told,
            should_stop=ctx.should_stop,
        )
        ctx.checkpoints.mkdir(parents=True, exist_ok=True)
        train(lambda _device: _Fold(wait), LoopPlan(config.epochs, config.seed), context)
        return super().train(data, config, ctx)


FAMILY = StepwiseFamily()
