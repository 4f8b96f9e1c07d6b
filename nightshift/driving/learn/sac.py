"""SAC of stable-baselines3 on a field: its policy, its replay buffer, its update, with steps in whole arrays.

Source:
    Haarnoja et al., "Soft actor-critic algorithms and applications", arXiv 1812.05905; as in SB3's `sac.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger

from nightshift.driving.learn.checkpointing import REPLAY, LearnerState, to_arrays, to_tensors
from nightshift.driving.learn.field import Field, Floats, Tally
from nightshift.driving.learn.sac_parts import SacNetworks, SacSettings
from nightshift.nets.policy import Policy, PolicyShape

#: Arrays of SB3's replay buffer, `(rows, envs, …)`.
_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class SacLearner:
    """SAC as the loop wants it (`learn.loop.Learner`).

    The policy that it tells of is the average over the last updates, as PPO's is: see there.

    Attributes:
        begun: whether it begins from a policy.
        average: that policy's weights.
    """

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
            SacNetworks,
            cast(Any, field),
            learning_rate=settings.learning_rate,
            buffer_size=settings.replay_size,
            learning_starts=settings.first_steps,
            batch_size=settings.minibatch,
            tau=settings.tau,
            gamma=settings.gamma,
            train_freq=settings.drive_steps,
            gradient_steps=settings.gradient_steps,
            n_steps=settings.n_steps,
            ent_coef=f"auto_{settings.entropy_weight}",
            target_entropy=cast(Any, settings.entropy * float(field.action_space.shape[0])),
            policy_kwargs={
                "net_arch": list(settings.hidden),
                "log_std_init": settings.log_std,
                "optimizer_kwargs": {"fused": True},
            },
            seed=seed,
            device=device,
        )
        self.model.set_logger(Logger(None, []))
        self.begun = begin is not None
        # Else one that keeps its speed and follows the route, about: what an action adds to.
        _put_policy(self.model, begin or Policy(_shape_of(self.model, settings), settings.log_std))
        self.average = {name: weights.clone() for name, weights in _actor(self.model).items()}
        self.tally = Tally()
        self._last: Floats | None = None

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.model.num_timesteps

    def advance(self) -> None:
        """Drive some steps into the replay buffer, and learn from it."""
        self.model.actor.log_std_init = self.settings.widest(self.steps)
        for _ in range(self.settings.drive_steps):
            self._drive()
        if self.steps >= self.settings.first_steps:
            self.model.train(self.settings.gradient_steps, self.settings.minibatch)
            self._take_into_average()

    def _drive(self) -> None:
        if self._last is None:
            self._last = self.field.reset().copy()
        replay, place = cast(Any, self.model.replay_buffer), cast(Any, self.model.replay_buffer).pos
        with torch.no_grad():
            drawn = self.model.actor(torch.from_numpy(self._last).to(self.model.device))
        action = cast(Floats, drawn.cpu().numpy())
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

    def _take_into_average(self) -> None:
        updates = self.model._n_updates / self.settings.gradient_steps
        # Of the first updates it forgets the beginning sooner.
        kept = min(self.settings.average, updates / (updates + 10.0))
        for name, weights in _actor(self.model).items():
            self.average[name].lerp_(weights, 1.0 - kept)

    def figures(self) -> Mapping[str, float]:
        """Return the figures of episodes since the last call, and of the last update."""
        told = {name.removeprefix("train/"): float(value) for name, value in self.model.logger.name_to_value.items()}
        renamed = {"critic_loss": "value_loss", "actor_loss": "policy_loss", "ent_coef": "entropy_weight"}
        figures = {ours: told[theirs] for theirs, ours in renamed.items() if theirs in told}
        if figures:
            figures["loss"] = figures["value_loss"]
        return {**self.tally.take(), **figures}

    def policy(self) -> Policy:
        """Return the averaged policy, a copy on the CPU."""
        policy = policy_of_sac(self.model, self.settings)
        policy.load_state_dict(self.average)
        return policy

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
            "average": {name: weights.numpy() for name, weights in self.average.items()},
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
        self.average = {name: torch.from_numpy(weights) for name, weights in more["average"].items()}


#: Names of SB3's layers -> names in `nets.policy.Policy`.
_LAYERS = {"latent_pi.": "trunk.", "mu.": "mean.", "log_std.": "log_std."}


def policy_of_sac(model: SAC, settings: SacSettings) -> Policy:
    """Return SB3's actor as a policy of our own, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        policy = Policy(_shape_of(model, settings))
    policy.load_state_dict(_actor(model))
    return policy.eval()


def _actor(model: SAC) -> dict[str, torch.Tensor]:
    """Return the weights of SB3's actor under our own names, on the CPU."""
    return {
        ours + name.removeprefix(theirs): weights.detach().cpu()
        for name, weights in model.actor.state_dict().items()
        for theirs, ours in _LAYERS.items()
        if name.startswith(theirs)
    }


def _shape_of(model: SAC, settings: SacSettings) -> PolicyShape:
    inputs, actions = cast(Any, model.observation_space).shape[0], cast(Any, model.action_space).shape[0]
    return PolicyShape(observation=inputs, actions=actions, hidden=settings.hidden, activation="relu", head="squashed")


def _put_policy(model: SAC, policy: Policy) -> None:
    """Give SB3's actor the weights of a squashed policy of the same shape."""
    theirs = {
        long + name.removeprefix(short): weights
        for name, weights in policy.state_dict().items()
        for long, short in _LAYERS.items()
        if name.startswith(short)
    }
    model.actor.load_state_dict({**model.actor.state_dict(), **theirs})
