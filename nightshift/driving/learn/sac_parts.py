"""What SAC on a field is told and made of: settings, and SB3's networks with two changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn


@dataclass(frozen=True)
class SacSettings:
    """As SB3 has them, but for the names that say what is counted.

    Attributes:
        replay_size: transitions that are kept.
        first_steps: environment steps before the first update (SB3's `learning_starts`), driven by the policy as it
            begins: actions all over their range stop cars, and say little of driving.
        minibatch: transitions of a gradient step (SB3's `batch_size`).
        drive_steps: decisions of each environment between updates (SB3's `train_freq`).
        gradient_steps: of an update.
        n_steps: decisions whose rewards are taken as they were, before the critics' guess of what follows.
        hidden: units of each hidden layer, of the policy and of the critics.
        learning_rate, gamma, tau: as SB3's.
        entropy: that the policy is held at, per action; SB3's target entropy is this times the actions.
        entropy_weight: at the start; SB3 begins at 1, where actions of any kind are worth more than metres.
        log_std: the logarithm of the actions' spread stays below this (see `NarrowActor`) when the run begins.
        log_std_end: and below a line from `log_std` to this at the end of the run: what is exported drives without
            chance, and a wide spread hides how its mean drives. None: below `log_std` to the end.
        average: share of the old one that the averaged policy keeps at each update, which is the one that is judged and
            kept; 0: the policy as it is.
        total_steps: of the run; the line's length.
    """

    total_steps: int
    replay_size: int = 300_000
    first_steps: int = 5_000
    minibatch: int = 2048
    drive_steps: int = 8
    gradient_steps: int = 8
    n_steps: int = 3
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    entropy: float = -2.0
    entropy_weight: float = 0.02
    log_std: float = -1.5
    log_std_end: float | None = -3.0
    average: float = 0.97

    def widest(self, steps: int) -> float:
        """Return what the logarithm of the spread stays below after so many steps."""
        if self.log_std_end is None:
            return self.log_std
        return self.log_std + min(1.0, steps / self.total_steps) * (self.log_std_end - self.log_std)


class NarrowActor(Actor):
    """SB3's actor, whose logarithm of the spread stays below `log_std_init`.

    As long as the critics tell actions apart by less than the entropy's weight, SAC widens the spread until actions are
    as good as uniform; what is driven so is uncomfortable whatever the mean is, so that nothing tells means apart
    either. The bound is smooth: beyond a hard one there is no gradient that leads back.
    """

    def get_action_dist_params(self, obs: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return mean and logarithm of the spread before tanh, `(n, actions)` each."""
        mean, log_std, more = super().get_action_dist_params(obs)
        return mean, self.log_std_init - torch.nn.functional.softplus(self.log_std_init - log_std), more


class NormedCritic(ContinuousCritic):
    """SB3's critics, with a layer norm before each activation: they guess no endless worth of actions never taken.

    Source:
        Ball et al., "Efficient online reinforcement learning with offline data", arXiv 2302.02948.
    """

    def __init__(self, observation_space: Any, action_space: Any, net_arch: list[int], **more: Any) -> None:
        super().__init__(observation_space, action_space, net_arch, **more)
        inputs = more["features_dim"] + action_space.shape[0]
        for i in range(self.n_critics):
            net = create_mlp(inputs, 1, net_arch, more["activation_fn"], post_linear_modules=[nn.LayerNorm])
            self.q_networks[i] = nn.Sequential(*net)
            self.add_module(f"qf{i}", self.q_networks[i])


class SacNetworks(SACPolicy):
    """SB3's networks of SAC with these."""

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """Return the actor."""
        return NarrowActor(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ContinuousCritic:
        """Return the critics, or those that follow them."""
        return NormedCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor)).to(self.device)
