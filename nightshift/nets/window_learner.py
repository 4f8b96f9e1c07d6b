"""A network that learns from windows of a table by AdamW, and is validated by the same loss on windows held back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nightshift.nets.epoch import Validation
from nightshift.nets.learner import Learner
from nightshift.nets.windows import WindowSet

Batch = tuple[Tensor, Tensor]

#: Windows that are validated at once.
_AT_ONCE = 1_000


class WindowLearner(Learner[Batch]):
    """A module, the windows it learns from, and those that tell when to stop.

    Attributes:
        loss_of: (module, windows, targets) -> mean loss of a batch.
        tell: mean loss of the windows held back -> figures to tell beside it.
    """

    def __init__(
        self,
        module: nn.Module,
        loss_of: Callable[[Any, Tensor, Tensor], Tensor],
        train: WindowSet,
        held_back: WindowSet,
        *,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        tell: Callable[[float], dict[str, float]] = lambda _loss: {},
    ) -> None:
        """Set up the optimiser.

        Args:
            module: on its device.
            loss_of: see above.
            train: to learn from.
            held_back: to validate on.
            batch_size: windows of a step.
            learning_rate: of the first step.
            weight_decay: of AdamW.
            tell: see above.
        """
        self.module, self.loss_of, self.tell = module, loss_of, tell
        self.train, self.held_back, self.batch_size = train, held_back, batch_size
        self.optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)

    def batches(self) -> Iterator[Batch]:
        """Yield the training windows in a new order."""
        return self.train.batches(self.batch_size, shuffle=True)

    def loss(self, batch: Batch) -> Tensor:
        """Return a batch's mean loss."""
        return self.loss_of(self.module, *batch)

    def validate(self) -> Validation:
        """Return the mean loss of the windows held back."""
        total = torch.zeros((), dtype=torch.float64, device=self.held_back.device)
        for x, y in self.held_back.batches(_AT_ONCE, shuffle=False):
            total += self.loss_of(self.module, x, y) * len(x)
        mean = float(total) / len(self.held_back)
        return Validation(mean, self.tell(mean))
