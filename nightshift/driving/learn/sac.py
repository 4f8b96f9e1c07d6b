"""SAC of stable-baselines3 on a field: its policy, its replay buffer, its update, with steps in whole arrays.

Source:
    Haarnoja et al., "Soft actor-critic algorithms and applications", arXiv 1812.05905; as in SB3's `sac.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

from nightshift.driving.learn.checkpointing import REPLAY, LearnerState, to_arrays, to_tensors
from nightshift.driving.learn.field import Field, Floats, Tally
from nightshift.nets.policy import Policy, PolicyShape

#: Arrays of SB3's replay buffer, `(rows, envs, …)`.
_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass(frozen=True)
class SacSettings:
    """As SB3 has them, but for the names that say what is counted.

    Attributes:
        replay_size: transitions that are kept.
        random_steps: environment steps with random actions, before the first update (SB3's `learning_starts`).
        minibatch: transitions of a gradient step (SB3's `batch_size`).
        drive_steps: decisions of each environment between updates (SB3's `train_freq`).
        gradient_steps: of an update.
        hidden: units of each hidden layer, of the policy and of the critics.
        learning_rate, gamma, tau: as SB3's.
        entropy: that the policy is held at, per action; SB3's target entropy is this times the actions.
        entropy_weight: at the start; SB3 begins at 1, where actions of any kind are worth more than metres.
    """

    replay_size: int = 300_000
    random_steps: int = 5_000
    minibatch: int = 2048
    drive_steps: int = 8
    gradient_steps: int = 8
    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    entropy: float = -1.0
    entropy_weight: float = 0.05


class SacLearner:
    """SAC as the loop wants it (`learn.loop.Learner`)."""

    def __init__(
        self,
        field: Field,
        settings: SacSettings,
        *,
        seed: int,
        device: str = "cpu",
        begin: Policy | None = None,
    ) -> None:
        """Set up SB3's SAC.

        Args:
            field: to drive on.
            settings: of SAC.
            seed: of weights, actions and draws; Python's, NumPy's and torch's generators are seeded with it.
            device: of the networks.
            begin: a squashed policy to begin from; its shape must be the settings'.
        """
        self.field, self.settings = field, settings
        self.model = SAC(
            "MlpPolicy",
            cast(Any, field),
            learning_rate=settings.learning_rate,
            buffer_size=settings.replay_size,
            learning_starts=settings.random_steps,
            batch_size=settings.minibatch,
            tau=settings.tau,
            gamma=settings.gamma,
            train_freq=settings.drive_steps,
            gradient_steps=settings.gradient_steps,
            ent_coef=f"auto_{settings.entropy_weight}",
            target_entropy=cast(Any, settings.entropy * float(field.action_space.shape[0])),
            policy_kwargs={"net_arch": list(settings.hidden), "optimizer_kwargs": {"fused": True}},
            seed=seed,
            device=device,
        )
        self.model.set_logger(Logger(None, []))
        self.begun = begin is not None
        if begin is not None:
            _put_policy(self.model, begin)
        self.tally = Tally()
        self._last: Floats | None = None

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.model.num_timesteps

    def advance(self) -> None:
        """Drive some steps into the replay buffer, and learn from it."""
        for _ in range(self.settings.drive_steps):
            self._drive()
        if self.steps >= self.settings.random_steps:
            self.model.train(self.settings.gradient_steps, self.settings.minibatch)

    def _drive(self) -> None:
        if self._last is None:
            self._last = self.field.reset().copy()
        replay, place = cast(Any, self.model.replay_buffer), cast(Any, self.model.replay_buffer).pos
        action = self._action(self._last)
        replay.observations[place] = self._last
        happened = self.field.advance(action)
        done = happened.terminated | happened.truncated
        replay.next_observations[place] = np.where(done[:, None], happened.final, happened.observation)
        replay.actions[place], replay.rewards[place] = action, happened.reward
        replay.dones[place], replay.timeouts[place] = done, happened.truncated & ~happened.terminated
        replay.pos = (place + 1) % replay.buffer_size
        replay.full = replay.full or replay.pos == 0
        self.tally.add(happened.ended)
        self._last = happened.observation.copy()
        self.model.num_timesteps += self.field.num_envs

    def _action(self, observation: Floats) -> Floats:
        shape = (self.field.num_envs, *self.field.action_space.shape)
        # One that begins from a policy fills its buffer with what that does.
        if self.steps < self.settings.random_steps and not self.begun:
            return np.random.uniform(-1.0, 1.0, shape).astype(np.float32)
        with torch.no_grad():
            drawn = self.model.actor(torch.from_numpy(observation).to(self.model.device))
        return cast(Floats, drawn.cpu().numpy())

    def figures(self) -> Mapping[str, float]:
        """Return the figures of episodes since the last call, and of the last update."""
        told = {name.removeprefix("train/"): float(value) for name, value in self.model.logger.name_to_value.items()}
        renamed = {"critic_loss": "value_loss", "actor_loss": "policy_loss", "ent_coef": "entropy_weight"}
        figures = {ours: told[theirs] for theirs, ours in renamed.items() if theirs in told}
        if figures:
            figures["loss"] = figures["value_loss"]
        return {**self.tally.take(), **figures}

    def policy(self) -> Policy:
        """Return the policy as it is now, a copy on the CPU."""
        return policy_of_sac(self.model, self.settings)

    def state_dict(self) -> LearnerState:
        """Return weights, optimisers, replay buffer and environments."""
        model, replay = self.model, cast(Any, self.model.replay_buffer)
        filled = replay.buffer_size if replay.full else replay.pos
        weight, of_weight = cast(Any, model.log_ent_coef), cast(Any, model.ent_coef_optimizer)
        more = {
            "env": self.field.state_dict(),
            "tally": self.tally.state_dict(),
            "told": dict(model.logger.name_to_value),
            "steps": model.num_timesteps,
            "updates": model._n_updates,
            "last": self._last,
            "entropy_weight": weight.detach().cpu().numpy(),
            REPLAY: {name: getattr(replay, name)[:filled] for name in _REPLAY},
            "place": [replay.pos, replay.full],
        }
        optimisers = {"actor": model.actor.optimizer, "critic": model.critic.optimizer, "entropy": of_weight}
        return LearnerState(
            model.policy.state_dict(), {name: o.state_dict() for name, o in optimisers.items()}, to_tensors(more)
        )

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there."""
        model, replay, more = self.model, cast(Any, self.model.replay_buffer), to_arrays(state.more)
        model.policy.load_state_dict(state.networks)
        model.actor.optimizer.load_state_dict(state.optimisers["actor"])
        model.critic.optimizer.load_state_dict(state.optimisers["critic"])
        weight, of_weight = cast(Any, model.log_ent_coef), cast(Any, model.ent_coef_optimizer)
        of_weight.load_state_dict(state.optimisers["entropy"])
        with torch.no_grad():
            weight.copy_(torch.from_numpy(more["entropy_weight"]))
        for name, held in more.get(REPLAY, {}).items():
            getattr(replay, name)[: len(held)] = held
        replay.pos, replay.full = int(more["place"][0]), bool(more["place"][1])
        self.field.load_state_dict(more["env"])
        self.tally.load_state_dict(more["tally"])
        model.logger.name_to_value.update(more["told"])
        model.num_timesteps, model._n_updates = int(more["steps"]), int(more["updates"])
        self._last = more["last"]


#: Names of SB3's layers -> names in `nets.policy.Policy`.
_LAYERS = {"latent_pi.": "trunk.", "mu.": "mean.", "log_std.": "log_std."}


def policy_of_sac(model: SAC, settings: SacSettings) -> Policy:
    """Return SB3's actor as a policy of our own, on the CPU."""
    inputs, actions = cast(Any, model.observation_space).shape[0], cast(Any, model.action_space).shape[0]
    shape = PolicyShape(observation=inputs, actions=actions, hidden=settings.hidden, activation="relu", head="squashed")
    with torch.random.fork_rng(devices=[]):
        policy = Policy(shape)
    held = {
        ours + name.removeprefix(theirs): weights.detach().cpu()
        for name, weights in model.actor.state_dict().items()
        for theirs, ours in _LAYERS.items()
        if name.startswith(theirs)
    }
    policy.load_state_dict(held)
    return policy.eval()


def _put_policy(model: SAC, policy: Policy) -> None:
    """Give SB3's actor the weights of a squashed policy of the same shape."""
    theirs = {
        long + name.removeprefix(short): weights
        for name, weights in policy.state_dict().items()
        for long, short in _LAYERS.items()
        if name.startswith(short)
    }
    model.actor.load_state_dict({**model.actor.state_dict(), **theirs})
