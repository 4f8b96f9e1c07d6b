"""A learner small enough for a test, and what is asked of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from nightshift.nets.loop import Learner, Trained

ROWS = 40


class Line(Learner[Tensor]):
    """A small net with dropout, so that its training draws random numbers at every step, and a schedule."""

    def __init__(self, device: torch.device, worth: Callable[[int], float | None] = lambda _: None) -> None:
        self.x = torch.linspace(-1, 1, ROWS, device=device)[:, None]
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1)).to(device)
        self.optimiser = torch.optim.Adam(self.module.parameters(), lr=0.02)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimiser, 0.97)
        self.worth = worth
        self.validated = 0
        self.steps = 0

    def batches(self) -> Iterator[Tensor]:
        for picked in torch.split(torch.randperm(ROWS), 16):
            yield self.x[picked.to(self.x.device)]

    def loss(self, batch: Tensor) -> Tensor:
        return ((self.module(batch) - 2 * batch) ** 2).mean()

    def after_step(self) -> None:
        self.steps += 1

    def validate(self) -> float | None:
        assert not self.module.training
        self.validated += 1
        return self.worth(self.validated)


def weights(trained: Trained[Line]) -> Tensor:
    return torch.cat([p.detach().cpu().flatten() for p in trained.learner.module.parameters()])


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None
