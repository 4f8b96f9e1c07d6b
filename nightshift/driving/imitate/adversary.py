"""The other side of adversarial imitation: rewards a learner's steps, and learns from its rollouts.

An episode that has ended goes on in the absorbing state for as long as `absorbing_steps` tell, for the expert as for
the learner; the learner gets the discounted worth of that stretch with its last step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nightshift.driving.imitate.demonstrations import Demonstrations
from nightshift.driving.imitate.discriminator import REWARD_LIMIT, Discriminator, Judged, rows_of, update
from nightshift.driving.imitate.settings import AdversarySettings
from nightshift.driving.learn.field import Flags, Floats


class Adversary:
    """Discriminator, its optimiser, and the expert's rows."""

    def __init__(self, expert: Demonstrations, settings: AdversarySettings, seed: int, device: torch.device) -> None:
        """Set up the network from the seed.

        Raises:
            DataError: when there are no demonstrations.
        """
        expert = expert.checked()
        self.settings, self.device = settings, device
        self.random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.net = Discriminator(expert.observation.shape[1], settings.hidden).to(device)
        self.steps = torch.optim.Adam(self.net.parameters(), lr=settings.learning_rate)
        rows = rows_of(torch.from_numpy(expert.observation), torch.from_numpy(expert.action)).to(device)
        self.expert = self._with_ends(rows, int(expert.over.sum()))

    def learn(self, observation: Floats, action: Floats, over: Flags, spread: Tensor | None = None) -> Judged:
        """Learn from the steps of a rollout, `b` of them.

        Args:
            observation: `(b, inputs)` before.
            action: `(b, 2)` squashed.
            over: `(b,)` the episode ended, and not by the clock.
            spread: `(2,)` of the learner's actions; the expert is made to tremble as much, since by that alone they
                would be told apart, and no other way of driving would mend it. None: not at all.
        """
        learner = self._with_ends(self._rows(observation, action), int(over.sum()))
        told = []
        with torch.random.fork_rng(devices=[]):
            # The penalty's draws too follow from this generator, and not from what else was drawn before.
            torch.default_generator.manual_seed(int(torch.randint(2**31, (1,), generator=self.random)))
            for _ in range(self.settings.updates):
                sides = (self._trembling(self._drawn(self.expert), spread), self._drawn(learner))
                told.append(update(self.net, self.steps, *sides, penalty=self.settings.penalty))
        n = len(told)
        return Judged(
            *(sum(v) / n for v in zip(*((t.loss, t.expert_right, t.learner_right) for t in told), strict=True))
        )

    def reward(self, observation: Floats, action: Floats, over: Flags) -> Floats:
        """Return the rewards `(b,)` of steps, in [-1, 1] but for last ones; arguments as of `learn`."""
        worth = self.net.reward(self._rows(observation, action)) / REWARD_LIMIT
        gamma, n = self.settings.gamma, self.settings.absorbing_steps
        stretch = gamma * (1.0 - gamma**n) / (1.0 - gamma)
        after = self.absorbing_reward() * stretch
        paid: Floats = (worth + torch.from_numpy(over).to(self.device) * after).cpu().numpy()
        return paid

    def absorbing_reward(self) -> float:
        """Return the reward of one step in the absorbing state, in [-1, 1]: what ends are worth, beside going on."""
        return float(self.net.reward(self.net.absorbed())) / REWARD_LIMIT

    def state_dict(self) -> dict[str, Any]:
        """Return what the next rollout's rewards follow from."""
        return {
            "net": self.net.state_dict(),
            "steps": self.steps.state_dict(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.net.load_state_dict(state["net"])
        self.steps.load_state_dict(state["steps"])
        self.random.set_state(state["random"])

    def _rows(self, observation: Floats, action: Floats) -> Tensor:
        seen, asked = torch.from_numpy(observation), torch.from_numpy(action).clamp(-1.0, 1.0)
        return rows_of(seen, asked).to(self.device)

    def _with_ends(self, rows: Tensor, ends: int) -> Tensor:
        """Return rows with those of the absorbing state after them."""
        return torch.cat([rows, self.net.absorbed().expand(ends * self.settings.absorbing_steps, -1)])

    def _trembling(self, rows: Tensor, spread: Tensor | None) -> Tensor:
        """Return the expert's rows with actions drawn around them as the learner's are."""
        if spread is None:
            return rows
        noise = torch.randn(len(rows), len(spread), generator=self.random).to(rows) * spread.to(rows)
        first = rows.shape[1] - 1 - len(spread)
        observation, action, over = rows[:, :first], rows[:, first:-1], rows[:, -1:]
        # In the absorbing state nobody acts.
        return torch.cat([observation, (action + noise * (1.0 - over)).clamp(-1.0, 1.0), over], dim=1)

    def _drawn(self, rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (self.settings.batch_size,), generator=self.random).to(self.device)]
