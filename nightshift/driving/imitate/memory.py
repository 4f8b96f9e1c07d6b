"""What happened, kept to learn from: of each decision the action that was proposed and the one that was executed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_FIELDS = ("observation", "following", "reward", "cost", "ongoing", "factor", "proposed", "executed")


@dataclass(frozen=True)
class Experience:
    """`n` decisions, of one or more steps each.

    Attributes:
        observation, following: `(n, inputs)` before and after.
        reward: `(n,)` of its steps, discounted.
        cost: `(n,)` 1 where it ended in a collision or off the road.
        ongoing: `(n,)` 1 where something follows; 0 after what ended the episode, but for the clock.
        factor: `(n,)` discount of what follows.
        proposed: `(n, 2)` the task policy's action: what the task critic learns of.
        executed: `(n, 2)` what was driven: what the risk critic learns of.
    """

    observation: Tensor
    following: Tensor
    reward: Tensor
    cost: Tensor
    ongoing: Tensor
    factor: Tensor
    proposed: Tensor
    executed: Tensor


class Memory:
    """The newest `capacity` decisions, on one device."""

    def __init__(self, capacity: int, inputs: int, device: torch.device) -> None:
        self.capacity, self.at, self.size = capacity, 0, 0
        widths = {"observation": inputs, "following": inputs, "proposed": 2, "executed": 2}
        self._kept = {
            name: torch.zeros((capacity, widths[name]) if name in widths else (capacity,), device=device)
            for name in _FIELDS
        }

    def add(self, decisions: Experience) -> None:
        """Take in decisions, over the oldest ones where it is full."""
        n = len(decisions.reward)
        rows = (torch.arange(n) + self.at) % self.capacity
        for name, kept in self._kept.items():
            kept[rows] = getattr(decisions, name)
        self.at, self.size = (self.at + n) % self.capacity, min(self.size + n, self.capacity)

    def draw(self, n: int, generator: torch.Generator) -> Experience:
        """Draw `n` of them, each as likely as the others."""
        rows = torch.randint(self.size, (n,), generator=generator).to(self._kept["reward"].device)
        return Experience(**{name: kept[rows] for name, kept in self._kept.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return what it holds."""
        held = {name: kept[: self.size].clone() for name, kept in self._kept.items()}
        return {**held, "place": torch.tensor([self.at, self.size])}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.at, self.size = (int(n) for n in state["place"])
        for name, kept in self._kept.items():
            kept[: self.size] = state[name].to(kept.device)
