"""Twin critics of candidates: what a plan earns, and how likely it ends in a collision or off the road."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """One network: an observation and its plans to a number a plan."""

    def __init__(self, inputs: int, plan: int, hidden: tuple[int, ...], first: float) -> None:
        """Set up the layers; `first` is about what it answers before it has learnt."""
        super().__init__()
        # One linear layer on both, apart: the observation's part is worked out once for all of its plans.
        self.seen = nn.Linear(inputs, hidden[0])
        self.planned = nn.Linear(plan, hidden[0], bias=False)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(hidden))
        self.answer = nn.Linear(hidden[-1], 1)
        # The same of every plan, until it is learnt what differs.
        nn.init.zeros_(self.answer.weight)
        nn.init.constant_(self.answer.bias, first)

    def forward(self, observation: Tensor, plan: Tensor) -> Tensor:
        """Return `(n, k)` of observations `(n, inputs)` and plans `(n, k, plan)`."""
        value = torch.relu(self.seen(observation)[:, None] + self.planned(plan))
        for layer in self.layers:
            value = torch.relu(layer(value))
        answer: Tensor = self.answer(value).squeeze(-1)
        return answer


class Twin(nn.Module):
    """Two critics and the slowly following copies that targets are made with.

    Attributes:
        sigmoid: whether the answer is a probability.
    """

    def __init__(self, inputs: int, plan: int, hidden: tuple[int, ...], *, sigmoid: bool) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        # Nothing is dangerous until it was seen to be: else all that is proposed would begin unsafe.
        first = -3.0 if sigmoid else 0.0
        self.critics = nn.ModuleList(Critic(inputs, plan, hidden, first) for _ in range(2))
        self.slow = copy.deepcopy(self.critics).requires_grad_(False)

    def forward(self, observation: Tensor, plan: Tensor) -> Tensor:
        """Return both answers, `(2, n, k)`."""
        return self._answers(self.critics, observation, plan)

    def logits(self, observation: Tensor, plan: Tensor) -> Tensor:
        """Return both answers before the sigmoid, `(2, n, k)`: in the same order, and told apart near 1 as well."""
        return torch.stack([critic(observation, plan) for critic in self.critics])

    def target(self, observation: Tensor, plan: Tensor) -> Tensor:
        """Return both answers of the slow copies, `(2, n, k)`."""
        with torch.no_grad():
            return self._answers(self.slow, observation, plan)

    def follow(self, tau: float) -> None:
        """Move the slow copies by `tau` of the way."""
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.critics.parameters(), strict=True):
                slow.lerp_(fast, tau)

    def _answers(self, critics: nn.ModuleList, observation: Tensor, plan: Tensor) -> Tensor:
        said = torch.stack([critic(observation, plan) for critic in critics])
        return torch.sigmoid(said) if self.sigmoid else said
