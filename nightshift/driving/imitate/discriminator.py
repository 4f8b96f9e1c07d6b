"""Whose step is this, the expert's or the learner's? The network that adversarial imitation is rewarded by.

It sees observation, action and whether the episode is over, never how: an ended episode goes on in an absorbing state,
so that its end is worth what the discriminator says of it, not 0 by convention.

Source:
    Ho & Ermon, GAIL (arXiv 1606.03476); absorbing states and the bias of rewards of one sign: Kostrikov et al., DAC
    (arXiv 1809.02925).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

#: A reward beyond it would say no more than that the discriminator is sure.
REWARD_LIMIT = 5.0
#: Normalised inputs are held within it.
_INPUT_LIMIT = 10.0


class RunningScale(nn.Module):
    """Mean and variance of all rows seen so far, and rows scaled by them."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(width, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def update(self, rows: Tensor) -> None:
        """Take in `(n, width)` rows (Chan's parallel form of the variance)."""
        if not len(rows):
            return
        rows = rows.double()
        n, mean, variance = len(rows), rows.mean(0), rows.var(0, unbiased=False)
        total, off = self.count + n, mean - self.mean
        spread = self.variance * self.count + variance * n + off**2 * self.count * n / total
        self.mean += off * n / total
        self.variance.copy_(spread / total)
        self.count.copy_(total)

    def forward(self, rows: Tensor) -> Tensor:
        """Scale `(n, width)` rows; what never varied stays near 0."""
        scaled = (rows - self.mean.float()) / torch.sqrt(self.variance.float() + 1e-4)
        held: Tensor = scaled.clamp(-_INPUT_LIMIT, _INPUT_LIMIT)
        return held


@dataclass(frozen=True)
class Judged:
    """How an update of the discriminator went: its loss, and the shares of either side that it told right."""

    loss: float
    expert_right: float
    learner_right: float


class Discriminator(nn.Module):
    """`(observation, action, over)` -> logit, high for the expert."""

    def __init__(self, inputs: int, hidden: tuple[int, ...] = (64, 64), actions: int = 2) -> None:
        super().__init__()
        self.inputs, self.width = inputs, inputs + actions + 1
        self.scale = RunningScale(self.width - 1)
        sizes = (self.width, *hidden)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logits `(n,)` of rows `(n, width)`, see `rows_of`."""
        answer: Tensor = self.net(self.scaled(rows)).squeeze(-1)
        return answer

    def scaled(self, rows: Tensor) -> Tensor:
        """Return what the network sees of rows: scaled steps, and for the absorbing state nothing but that it is it."""
        over = rows[:, -1:]
        return torch.cat([self.scale(rows[:, :-1]) * (1.0 - over), over], dim=1)

    def reward(self, rows: Tensor) -> Tensor:
        """Return log D - log(1 - D), which is the logit, within limits, `(n,)`.

        Of both signs: -log(1 - D) alone is never negative and pays for surviving (a parked car), log D alone is never
        positive and pays for ending it all.
        """
        with torch.no_grad():
            logit: Tensor = self(rows)
            return logit.clamp(-REWARD_LIMIT, REWARD_LIMIT)

    def absorbed(self) -> Tensor:
        """Return the row of the state after an episode's end, `(1, width)`."""
        row = torch.zeros(1, self.width, device=self.scale.mean.device)
        row[0, -1] = 1.0
        return row


def rows_of(observation: Tensor, action: Tensor) -> Tensor:
    """Return rows of steps under way, `(n, width)`."""
    return torch.cat([observation, action, torch.zeros_like(action[:, :1])], dim=1)


def update(
    net: Discriminator, optimiser: torch.optim.Optimizer, expert: Tensor, learner: Tensor, *, penalty: float
) -> Judged:
    """Take one step on equal halves of both sides' rows, each `(n, width)`.

    Args:
        net: to learn.
        optimiser: of it.
        expert, learner: rows.
        penalty: weight of what the gradient's norm between the two exceeds 1 by, squared. Of WGAN-GP, as in DAC, but
            of one side: a gradient that must have a length pays for going anywhere once nobody is told apart.
    """
    both = torch.cat([expert, learner])
    # The absorbing state's zeros would hide in the scales what tells one step from another.
    net.scale.update(both[both[:, -1] == 0.0][:, :-1])
    logits = net(both)
    n = len(expert)
    truth = torch.cat([torch.ones(n), torch.zeros(len(learner))]).to(logits)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, truth)
    whole = loss + penalty * _steepness(net, expert, learner) if penalty else loss
    optimiser.zero_grad(set_to_none=True)
    whole.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    said = logits.detach()
    return Judged(float(loss.detach()), float((said[:n] > 0).float().mean()), float((said[n:] < 0).float().mean()))


def _steepness(net: Discriminator, expert: Tensor, learner: Tensor) -> Tensor:
    share = torch.rand(len(expert), 1, device=expert.device)
    # Between scaled rows: in raw ones a quiet input's gradient would be punished for its unit.
    between = (share * net.scaled(expert) + (1.0 - share) * net.scaled(learner)).requires_grad_(True)
    (slope,) = torch.autograd.grad(net.net(between).sum(), between, create_graph=True)
    off: Tensor = (slope.norm(dim=1) - 1.0).clamp(min=0.0)
    return off.square().mean()
