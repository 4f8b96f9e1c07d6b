"""What PPO on a field is told and made of: settings, a rollout, hooks for other learners, SB3's networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from nightshift.driving.learn.field import Flags, Floats

_HALF_LOG_2PI = 0.9189385332046727


@dataclass(frozen=True)
class PpoSettings:
    """As SB3 has them, but for the names that say what is counted.

    Attributes:
        rollout_steps: decisions of each environment between updates (SB3's `n_steps`).
        minibatch: transitions of a gradient step (SB3's `batch_size`).
        epochs: passes over a rollout.
        hidden: units of each hidden layer, of the policy and of the critic.
        learning_rate, gamma, gae_lambda, clip_range, ent_coef, vf_coef, max_grad_norm: as SB3's.
        anneal: whether the learning rate falls to nothing over the run.
        target_kl: ends the epochs of an update beyond 1.5 times it; None: never.
        log_std: of the spread at the start.
        log_std_end: the spread may be no wider than a line from `log_std` to this at the end of the run: what is
            exported drives without chance, and a wide spread hides how its mean drives. None: as wide as it learns.
        average: share of the old one that the averaged policy keeps at each update, which is the one that is judged and
            kept; 0: the policy as it is.
        total_steps: of the run; the schedule's length.
    """

    total_steps: int
    rollout_steps: int = 1024
    minibatch: int = 2048
    epochs: int = 10
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 3e-4
    anneal: bool = False
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    log_std: float = -1.5
    log_std_end: float | None = -3.0
    average: float = 0.97


@dataclass
class Rollout:
    """What was driven between two updates, `(t, b)` each; `rewards` may be changed before advantages are taken.

    Attributes:
        observations: `(t, b, n)` acted on.
        following: `(t, b, n)` what each step led to; that of an ended episode is its last observation.
        actions: `(t, b, 2)` as drawn, not clipped.
        rewards: with the critic's guess of what follows at the end of the clock not yet in.
        terminated, truncated: bool.
    """

    observations: Floats
    following: Floats
    actions: Floats
    rewards: Floats
    terminated: Flags
    truncated: Flags


@dataclass
class Hooks:
    """Where other learners differ from plain PPO.

    Attributes:
        rollout: called with each rollout before its advantages are taken; may change its rewards, or learn from it.
        penalty: (mean actions `(n, 2)`, rows `(n,)` of the flattened rollout that they are of) -> a scalar that is
            added to the loss.
        actor_frozen: whether only the critic learns now.
        critic_epochs: passes over a rollout while it does; None: as many as ever.
        figures: more figures to tell.
    """

    rollout: Callable[[Rollout], None] | None = None
    penalty: Callable[[Tensor, Tensor], Tensor] | None = None
    actor_frozen: Callable[[], bool] = lambda: False
    critic_epochs: int | None = None
    figures: Callable[[], Mapping[str, float]] = lambda: {}


class ActorCritic:
    """SB3's `ActorCriticPolicy` without what stands between its networks and their answers."""

    def __init__(self, policy: Any) -> None:
        self.module: nn.Module = policy
        self._actor, self._critic = policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net
        self._mean, self._value = policy.action_net, policy.value_net
        self.log_std: Tensor = policy.log_std

    def mean(self, observation: Tensor) -> Tensor:
        """Return the mean action, `(n, 2)`."""
        return cast(Tensor, self._mean(self._actor(observation)))

    def value(self, observation: Tensor) -> Tensor:
        """Return the critic's guess, `(n,)`."""
        return cast(Tensor, self._value(self._critic(observation)).squeeze(1))

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """Return the log-likelihood of actions, `(n,)`."""
        away = (action - mean) * torch.exp(-self.log_std)
        return (-0.5 * away.square() - self.log_std - _HALF_LOG_2PI).sum(dim=1)

    def entropy(self) -> Tensor:
        """Return the entropy, the same of every observation."""
        return (self.log_std + 0.5 + _HALF_LOG_2PI).sum()
