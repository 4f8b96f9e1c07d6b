"""Reinforcement on top of imitation: PPO from a cloned policy, its critic first, held to the clone where it drives.

A critic that knows nothing would undo in its first updates what was cloned, and a wide spread would never drive it. An
imitation term on the experts' own states would say nothing of those that the learner comes to; the clone, which is kept
as it was, has an answer there too.

Source:
    BC-SAC (arXiv 2212.11419): imitation and reinforcement in one loss; critic first: Uchendu et al. (arXiv 2204.02372);
    held to the policy that it began from: Kickstarting (arXiv 1803.03835), by squared distance in place of divergence.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from nightshift.driving.imitate.settings import FinetuneSettings
from nightshift.driving.learn.checkpointing import LearnerState
from nightshift.driving.learn.field import Field
from nightshift.driving.learn.ppo import Hooks, PpoLearner, PpoSettings, Rollout
from nightshift.nets.policy import Policy

#: Where `LearnerState.more` has the clone's weights: `last.pt` has no other copy of what the run began with.
_CLONE = "clone"


class FinetuneLearner(PpoLearner):
    """PPO that begins from a cloned Gaussian policy of its own shape, and is held to it (`learn.loop.Learner`)."""

    def __init__(
        self,
        field: Field,
        cloned: Policy,
        settings: FinetuneSettings,
        ppo: PpoSettings,
        *,
        seed: int,
        device: str = "cpu",
    ) -> None:
        """Set up PPO.

        Args:
            field: to drive on.
            cloned: to begin from; its spread is replaced by PPO's `log_std`.
            settings: of imitation.
            ppo: of PPO.
            seed: of weights and actions.
            device: of the networks.
        """
        self._clone = deepcopy(cloned).to(device).eval().requires_grad_(False)
        self._clone.log_std.fill_(ppo.log_std)
        self._settings, self._total_steps = settings, ppo.total_steps
        self._asked = torch.empty(0)
        hooks = Hooks(
            rollout=self._ask,
            penalty=self._away,
            actor_frozen=lambda: self._share() <= settings.warm_up,
            critic_epochs=settings.critic_epochs,
            figures=self._told,
        )
        super().__init__(field, ppo, seed=seed, device=device, begin=self._clone, hooks=hooks)

    def state_dict(self) -> LearnerState:
        """Return PPO's state with the clone."""
        state = super().state_dict()
        clone = {name: weights.cpu() for name, weights in self._clone.state_dict().items()}
        return LearnerState(state.networks, state.optimisers, {**state.more, _CLONE: clone})

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there, held to the clone that the run began with."""
        more = dict(state.more)
        self._clone.load_state_dict(more.pop(_CLONE))
        super().load_state_dict(LearnerState(state.networks, state.optimisers, more))

    def _share(self) -> float:
        # `steps` counts the rollout that is being learnt from.
        return self.steps / max(self._total_steps, 1)

    def _weight(self) -> float:
        start, end = self._settings.anchor_weight_start, self._settings.anchor_weight_end
        return start + (end - start) * min(self._share(), 1.0)

    def _ask(self, rollout: Rollout) -> None:
        """Keep what the clone would do in each state of a rollout: once, not in every pass over it."""
        seen = torch.from_numpy(rollout.observations).flatten(0, 1).to(self.model.device)
        with torch.no_grad():
            # Not `forward`, which clips: beyond the range the learner's mean is to be where the clone's is.
            self._asked = self._clone.say(seen).mean[:, 0]

    def _away(self, mean: Tensor, rows: Tensor) -> Tensor:
        return self._weight() * (mean - self._asked[rows]).square().sum(dim=1).mean()

    def _told(self) -> Mapping[str, float]:
        return {"anchor_weight": self._weight(), "actor_frozen": float(self._share() <= self._settings.warm_up)}
