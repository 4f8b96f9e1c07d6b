"""Generative adversarial imitation on PPO: the world's reward is replaced by the discriminator's.

Source:
    Ho & Ermon (arXiv 1606.03476).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nightshift.driving.imitate.adversary import Adversary
from nightshift.driving.learn.checkpointing import LearnerState
from nightshift.driving.learn.field import Field
from nightshift.driving.learn.ppo import Hooks, PpoLearner, PpoSettings, Rollout
from nightshift.nets.policy import Policy


class GailLearner:
    """PPO and its adversary (`learn.loop.Learner`); `mean_reward` is still told in the world's own reward."""

    def __init__(
        self,
        field: Field,
        adversary: Adversary,
        settings: PpoSettings,
        *,
        seed: int,
        device: str = "cpu",
        begin: Policy | None = None,
    ) -> None:
        """Set up PPO.

        Args:
            field: to drive on.
            adversary: with the expert's steps.
            settings: of PPO.
            seed: of weights and actions.
            device: of the networks.
            begin: a Gaussian policy to begin from, such as a cloned one.
        """
        self.adversary = adversary
        self._told: dict[str, float] = {}
        hooks = Hooks(
            rollout=self._rewarded,
            # `steps` counts the rollout that is being learnt from.
            actor_frozen=lambda: begin is not None and self.steps <= adversary.settings.warm_up * settings.total_steps,
            figures=lambda: self._told,
        )
        self.ppo = PpoLearner(field, settings, seed=seed, device=device, begin=begin, hooks=hooks)
        self.begun = self.ppo.begun

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.ppo.steps

    def advance(self) -> None:
        """Drive a rollout, and learn from it on both sides."""
        self.ppo.advance()

    def figures(self) -> Mapping[str, float]:
        """Return PPO's figures, and how often either side was told right."""
        return self.ppo.figures()

    def policy(self) -> Policy:
        """Return the policy as it is now, a copy on the CPU."""
        return self.ppo.policy()

    def state_dict(self) -> LearnerState:
        """Return PPO's state with the adversary's."""
        state = self.ppo.state_dict()
        more = {**state.more, "adversary": self.adversary.state_dict(), "adversary_told": dict(self._told)}
        return LearnerState(state.networks, state.optimisers, more)

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there."""
        more = dict(state.more)
        self.adversary.load_state_dict(more.pop("adversary"))
        self._told = dict(more.pop("adversary_told"))
        self.ppo.load_state_dict(LearnerState(state.networks, state.optimisers, more))

    def _rewarded(self, rollout: Rollout) -> None:
        """Let the discriminator learn from a rollout, and put its rewards into it."""
        t, b = rollout.rewards.shape
        # An end beside the scenario's clock leads to the absorbing state; the clock's leaves all open.
        over = (rollout.terminated & ~rollout.truncated).reshape(-1)
        flat = rollout.observations.reshape(t * b, -1), rollout.actions.reshape(t * b, -1)
        # First it learns, then it pays: what it has not learnt yet would undo what was cloned.
        found = self.adversary.learn(*flat, over, self.ppo.model.nets.log_std.detach().exp())
        rollout.rewards[:] = self.adversary.reward(*flat, over).reshape(t, b)
        self._told = {
            "discriminator_loss": found.loss,
            "expert_right": found.expert_right,
            "learner_right": found.learner_right,
            "imitation_reward": float(np.mean(rollout.rewards)),
            "absorbing_reward": self.adversary.absorbing_reward(),
        }
