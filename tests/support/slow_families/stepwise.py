"""Slow on purpose, with checkpoints: a net trained by the package's own loop, then the detectors of `anomaly`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nightshift.families.anomaly import AnomalyConfig, AnomalyFamily, AnomalyModel
from nightshift.family import RunContext
from nightshift.nets.loop import Epoch, Learner, LoopContext, LoopPlan, train


class StepwiseConfig(AnomalyConfig):
    epochs: int = 40
    epoch_s: float = 0.5


class _Fold(Learner[Tensor]):
    def __init__(self, pause_s: float) -> None:
        self.module = nn.Linear(4, 4)
        self.optimiser = torch.optim.Adam(self.module.parameters())
        self._pause_s = pause_s

    def batches(self) -> Iterator[Tensor]:
        time.sleep(self._pause_s)
        yield torch.rand(16, 4)

    def loss(self, batch: Tensor) -> Tensor:
        return (self.module(batch) - batch).square().mean()


class StepwiseFamily(AnomalyFamily):
    name = "stepwise"
    config = StepwiseConfig
    libraries = (*AnomalyFamily.libraries, "torch")
    checkpoints = True

    def train(self, data: Any, config: StepwiseConfig, ctx: RunContext) -> AnomalyModel:
        def told(epoch: Epoch) -> None:
            ctx.step(epoch.number, config.epochs, f"epoch {epoch.number}")

        context = LoopContext(
            device="cpu",
            checkpoint=ctx.checkpoints / "loop.pt",
            fingerprint=data.fingerprint,
            checkpoint_every_s=0.0,
            on_epoch=told,
            should_stop=ctx.should_stop,
        )
        ctx.checkpoints.mkdir(parents=True, exist_ok=True)
        train(lambda _device: _Fold(config.epoch_s), LoopPlan(config.epochs, config.seed), context)
        return super().train(data, config, ctx)


FAMILY = StepwiseFamily()
