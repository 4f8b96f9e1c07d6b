"""Behaviour cloning: the likelihood of the expert's actions, with a little entropy.

Source:
    The loss of the `imitation` library: negative log likelihood - 1e-3 entropy.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.nets.epoch import Validation
from nightshift.nets.learner import Learner
from nightshift.nets.policy import Policy, entropy_of

ENTROPY_WEIGHT = 1e-3
_AT_ONCE = 8_192

Pairs = tuple[Tensor, Tensor]


class BcLearner(Learner[Pairs]):
    """A policy, the demonstrations that it learns from, and those that tell when to stop."""

    module: Policy

    def __init__(
        self,
        module: Policy,
        train: Demonstrations,
        held_back: Demonstrations,
        *,
        batch_size: int,
        learning_rate: float,
        weight_decay: float = 1e-4,
        entropy_weight: float = ENTROPY_WEIGHT,
    ) -> None:
        """Set up the optimiser.

        Args:
            module: on its device.
            train: to learn from.
            held_back: of other scenarios, to validate on.
            batch_size: pairs of a step.
            learning_rate: of the first step.
            weight_decay: of AdamW.
            entropy_weight: of the entropy in the loss.
        """
        device = next(module.parameters()).device
        self.module, self.batch_size, self.entropy_weight = module, batch_size, entropy_weight
        self.train, self.held_back = _on(train, device), _on(held_back, device)
        self.optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)

    def batches(self) -> Iterator[Pairs]:
        """Yield the training pairs in a new order."""
        observation, action = self.train
        order = torch.randperm(len(observation)).to(observation.device)
        for rows in torch.split(order, self.batch_size):
            yield observation[rows], action[rows]

    def loss(self, batch: Pairs) -> Tensor:
        """Return a batch's mean negative log likelihood, less the weighed entropy."""
        return cloning_loss(self.module, *batch, entropy_weight=self.entropy_weight)

    def validate(self) -> Validation:
        """Return the negative log likelihood of the pairs held back, and how far off the action without chance is."""
        observation, action = self.held_back
        nll, off = torch.zeros((), dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        for o, a in zip(torch.split(observation, _AT_ONCE), torch.split(action, _AT_ONCE), strict=True):
            nll -= self.module.log_prob(o, a).sum().cpu()
            off += (self.module(o) - a).abs().sum(0).cpu()
        accel, steer = (off / len(action)).tolist()
        return Validation(float(nll) / len(action), {"accel_off": accel, "steer_off": steer})


def cloning_loss(
    policy: Policy, observation: Tensor, action: Tensor, *, entropy_weight: float = ENTROPY_WEIGHT
) -> Tensor:
    """Return the mean of -log p(action | observation) - weight * entropy, a scalar."""
    said = policy.say(observation)
    return -(policy.log_prob_of(said, action) + entropy_weight * entropy_of(said)).mean()


def _on(pairs: Demonstrations, device: torch.device) -> Pairs:
    return torch.from_numpy(pairs.observation).to(device), torch.from_numpy(pairs.action).to(device)
