"""PPO of stable-baselines3 on a field: its policy, its buffer, its loss, with rollouts and updates in whole arrays.

What is our own here is speed: SB3's collection hands one dict for each environment about, and its update takes the
loss of each minibatch apart into Python numbers.

Source:
    Schulman et al., "Proximal policy optimization algorithms", arXiv 1707.06347; as in SB3's `ppo.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from nightshift.driving.learn.checkpointing import LearnerState, to_arrays, to_tensors
from nightshift.driving.learn.field import Field, Flags, Floats, Tally
from nightshift.driving.learn.ppo_parts import ActorCritic, Hooks, PpoSettings, Rollout
from nightshift.nets.policy import Policy, PolicyShape

__all__ = ["ActorCritic", "FieldPPO", "Hooks", "PpoLearner", "PpoSettings", "Rollout", "policy_of_ppo", "put_policy"]


class FieldPPO(PPO):
    """SB3's PPO whose rollouts and updates go over whole arrays.

    Attributes:
        rollout: what was driven last.
        figures: of the last update.
    """

    def __init__(self, field: Field, settings: PpoSettings, *, seed: int, device: str, hooks: Hooks) -> None:
        def rate(remaining: float) -> float:
            return settings.learning_rate * (remaining if settings.anneal else 1.0)

        super().__init__(
            "MlpPolicy",
            cast(Any, field),
            learning_rate=rate,
            n_steps=settings.rollout_steps,
            batch_size=settings.minibatch,
            n_epochs=settings.epochs,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip_range,
            ent_coef=settings.ent_coef,
            vf_coef=settings.vf_coef,
            max_grad_norm=settings.max_grad_norm,
            target_kl=settings.target_kl,
            policy_kwargs={
                "net_arch": {"pi": list(settings.hidden), "vf": list(settings.hidden)},
                "log_std_init": settings.log_std,
                # One kernel for all weights: a fifth of an update of small layers was the optimiser's own loop.
                "optimizer_kwargs": {"fused": True, "eps": 1e-5},
            },
            seed=seed,
            device=device,
        )
        self.set_logger(Logger(None, []))
        self.field, self.settings, self.hooks = field, settings, hooks
        self.nets = ActorCritic(self.policy)
        self.tally = Tally()
        self.figures: dict[str, float] = {}

    def _maybe_recommend_cpu(self, mlp_class_name: str = "") -> None:
        """SB3 advises against a GPU for such networks, by a warning; which device is used is the config's to say."""

    def drive(self) -> None:
        """Drive `rollout_steps` decisions of every environment into the rollout buffer."""
        if self._last_obs is None:
            self._last_obs = self.field.reset()
            self._last_episode_starts = np.ones(self.field.num_envs, np.bool_)
        buffer, nets = self.rollout_buffer, self.nets
        buffer.reset()
        shape = buffer.rewards.shape
        rollout = Rollout(
            buffer.observations,
            np.empty_like(buffer.observations),
            buffer.actions,
            buffer.rewards,
            np.zeros(shape, np.bool_),
            np.zeros(shape, np.bool_),
        )
        observation = cast(Floats, self._last_obs)
        with torch.no_grad():
            spread = nets.log_std.exp()
            for t in range(self.n_steps):
                seen = torch.from_numpy(observation).to(self.device)
                mean = nets.mean(seen)
                action = mean + spread * torch.randn_like(mean)
                drawn = action.cpu().numpy()
                # Copied before the step: a field may use its array again.
                buffer.observations[t] = observation
                buffer.actions[t] = drawn
                buffer.log_probs[t] = nets.log_prob(mean, action).cpu().numpy()
                buffer.values[t] = nets.value(seen).cpu().numpy()
                buffer.episode_starts[t] = self._last_episode_starts
                happened = self.field.advance(np.clip(drawn, -1.0, 1.0))
                done = happened.terminated | happened.truncated
                rollout.rewards[t] = happened.reward
                rollout.terminated[t], rollout.truncated[t] = happened.terminated, happened.truncated
                rollout.following[t] = np.where(done[:, None], happened.final, happened.observation)
                self.tally.add(happened.ended)
                observation, self._last_episode_starts = happened.observation, done
            self._last_obs = observation.copy()
            self.num_timesteps += self.n_steps * self.field.num_envs
            self._advantages(rollout)

    def _advantages(self, rollout: Rollout) -> None:
        if self.hooks.rollout is not None:
            with torch.enable_grad():
                self.hooks.rollout(rollout)
        cut = rollout.truncated & ~rollout.terminated
        if cut.any():
            beyond = torch.from_numpy(rollout.following[cut]).to(self.device)
            rollout.rewards[cut] += self.gamma * self.nets.value(beyond).cpu().numpy()
        last = torch.from_numpy(cast(Floats, self._last_obs)).to(self.device)
        dones = cast(Flags, self._last_episode_starts)
        self.rollout_buffer.compute_returns_and_advantage(self.nets.value(last), dones)
        self.rollout_buffer.full = True

    def train(self) -> None:
        """Update by what was driven: SB3's loss, and the hooks' penalty."""
        self.policy.set_training_mode(True)
        # Of where the rollout began, which is before the total: at its end the last update, where there is but one the
        # only update, would have a rate of nothing.
        rollout = self.n_steps * self.field.num_envs
        self._update_current_progress_remaining(self.num_timesteps - rollout, self.settings.total_steps)
        self._update_learning_rate(self.policy.optimizer)
        data = {
            name: torch.from_numpy(getattr(self.rollout_buffer, name)).flatten(0, 1).to(self.device)
            for name in ("observations", "actions", "log_probs", "advantages", "returns")
        }
        n, sums, steps, kl = len(data["returns"]), torch.zeros(6, device=self.device), 0, 0.0
        for _ in range(self._epochs()):
            for rows in torch.split(torch.randperm(n).to(self.device), self.batch_size):
                loss, told = self._loss({name: values[rows] for name, values in data.items()}, rows)
                sums += told
                steps += 1
                kl = float(told[3]) if self.target_kl is not None else 0.0
                if self.target_kl is not None and kl > 1.5 * self.target_kl:
                    break
                self.policy.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
            self._n_updates += 1
            if self.target_kl is not None and kl > 1.5 * self.target_kl:
                break
        self._narrow()
        names = ("loss", "policy_loss", "value_loss", "kl", "clip_fraction", "penalty")
        self.figures = dict(zip(names, (sums / max(steps, 1)).tolist(), strict=True))
        self.figures |= self._explained()

    def _epochs(self) -> int:
        more = self.hooks.critic_epochs
        return more if more is not None and self.hooks.actor_frozen() else self.n_epochs

    def _narrow(self) -> None:
        begin, end = self.settings.log_std, self.settings.log_std_end
        if end is not None and not self.hooks.actor_frozen():
            with torch.no_grad():
                # Of where the rollout ended: the last update leaves the spread that the run is to end with.
                remaining = max(1.0 - self.num_timesteps / self.settings.total_steps, 0.0)
                self.nets.log_std.clamp_(max=end + (begin - end) * remaining)

    def _loss(self, batch: dict[str, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch, which are these rows of the rollout, and what is told of it."""
        nets, clip = self.nets, self.settings.clip_range
        advantages = batch["advantages"]
        if len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        value_loss = (batch["returns"] - nets.value(batch["observations"])).square().mean()
        loss = self.vf_coef * value_loss
        nothing = torch.zeros((), device=self.device)
        if self.hooks.actor_frozen():
            return loss, torch.stack([loss.detach(), nothing, value_loss.detach(), nothing, nothing, nothing])
        mean = nets.mean(batch["observations"])
        log_ratio = nets.log_prob(mean, batch["actions"]) - batch["log_probs"]
        ratio = log_ratio.exp()
        policy_loss = -torch.min(advantages * ratio, advantages * ratio.clamp(1.0 - clip, 1.0 + clip)).mean()
        penalty = nothing if self.hooks.penalty is None else self.hooks.penalty(mean, rows)
        loss = loss + policy_loss - self.ent_coef * nets.entropy() + penalty
        with torch.no_grad():
            kl = (ratio - 1.0 - log_ratio).mean()
            clipped = ((ratio - 1.0).abs() > clip).float().mean()
            told = torch.stack([loss, policy_loss, value_loss, kl, clipped, penalty])
        return loss, told

    def _explained(self) -> dict[str, float]:
        buffer = self.rollout_buffer
        spread = float(buffer.returns.var())
        explained = 1.0 - float((buffer.returns - buffer.values).var()) / spread if spread > 0 else float("nan")
        return {
            "explained_variance": explained,
            "entropy": float(self.nets.entropy().detach()),
            "learning_rate": float(self.policy.optimizer.param_groups[0]["lr"]),
        }


class PpoLearner:
    """PPO as the loop wants it (`learn.loop.Learner`).

    The policy that it tells of is the average over the last updates: drivers without chance that follow each other by
    one update differ by several per cent in their score, and their average is better than most of them.

    Source of the average:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.

    Attributes:
        begun: whether it begins from a policy.
    """

    def __init__(
        self,
        field: Field,
        settings: PpoSettings,
        *,
        seed: int,
        device: str = "cpu",
        begin: Policy | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """Set up SB3's PPO.

        Args:
            field: to drive on.
            settings: of PPO.
            seed: of weights and actions; Python's, NumPy's and torch's generators are seeded with it.
            device: of the networks.
            begin: a Gaussian policy to begin from; its shape must be the settings'.
            hooks: where it differs from plain PPO.
        """
        self.hooks, self.begun = hooks or Hooks(), begin is not None
        self.model = FieldPPO(field, settings, seed=seed, device=device, hooks=self.hooks)
        if begin is not None:
            put_policy(self.model, begin)
        self.average = {name: weights.numpy().copy() for name, weights in self._averaged()}
        self.updates = 0

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.model.num_timesteps

    def advance(self) -> None:
        """Drive a rollout, and learn from it."""
        self.model.drive()
        self.model.train()
        self.updates += 1
        # Of the first updates it forgets the beginning sooner.
        kept = min(self.model.settings.average, self.updates / (self.updates + 10.0))
        for name, weights in self._averaged():
            self.average[name] += (1.0 - kept) * (weights.numpy() - self.average[name])

    def _averaged(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what is averaged: all but the spread, which is no part of how the policy drives."""
        return ((name, weights) for name, weights in _actor(self.model).items() if name != "log_std")

    def figures(self) -> Mapping[str, float]:
        """Return the figures of episodes since the last call, and of the last update."""
        return {**self.model.tally.take(), **self.model.figures, **self.hooks.figures()}

    def policy(self) -> Policy:
        """Return the averaged policy, a copy on the CPU."""
        policy = policy_of_ppo(self.model)
        averaged = {name: torch.from_numpy(weights.copy()) for name, weights in self.average.items()}
        policy.load_state_dict(averaged, strict=False)
        return policy

    def state_dict(self) -> LearnerState:
        """Return weights, optimiser, environments, and where the rollout stands."""
        model = self.model
        more = {
            "env": model.field.state_dict(),
            "tally": model.tally.state_dict(),
            "figures": model.figures,
            "average": self.average,
            "averaged": self.updates,
            "steps": model.num_timesteps,
            "updates": model._n_updates,
            "last_obs": model._last_obs,
            "starts": model._last_episode_starts,
        }
        return LearnerState(
            model.policy.state_dict(), {"policy": model.policy.optimizer.state_dict()}, to_tensors(more)
        )

    def load_state_dict(self, state: LearnerState) -> None:
        """Go on from there."""
        model, more = self.model, to_arrays(state.more)
        model.policy.load_state_dict(state.networks)
        model.policy.optimizer.load_state_dict(state.optimisers["policy"])
        model.field.load_state_dict(more["env"])
        model.tally.load_state_dict(more["tally"])
        self.average, self.updates = more["average"], int(more["averaged"])
        model.figures = more["figures"]
        model.num_timesteps, model._n_updates = int(more["steps"]), int(more["updates"])
        model._last_obs, model._last_episode_starts = more["last_obs"], more["starts"]


#: Names of SB3's layers -> names in `nets.policy.Policy`.
_LAYERS = {"mlp_extractor.policy_net.": "trunk.", "action_net.": "mean."}


def policy_of_ppo(model: PPO) -> Policy:
    """Return SB3's actor as a policy of our own, on the CPU."""
    settings = cast(Any, model).settings
    shape = PolicyShape(
        observation=int(model.observation_space.shape[0]),  # type: ignore[index]
        actions=int(model.action_space.shape[0]),  # type: ignore[index]
        hidden=settings.hidden,
        activation="tanh",
        head="gaussian",
    )
    with torch.random.fork_rng(devices=[]):
        policy = Policy(shape)
    policy.load_state_dict(_actor(model))
    return policy.eval()


def _actor(model: PPO) -> dict[str, Tensor]:
    """Return the weights of SB3's actor by their names in `nets.policy.Policy`; on the CPU they are not copied."""
    held = {"log_std": model.policy.log_std}
    for name, weights in model.policy.state_dict().items():
        for theirs, ours in _LAYERS.items():
            if name.startswith(theirs):
                held[ours + name.removeprefix(theirs)] = weights
    return {name: weights.detach().cpu() for name, weights in held.items()}


def put_policy(model: PPO, policy: Policy) -> None:
    """Give SB3's actor the weights of a Gaussian policy of the same shape."""
    held = policy.state_dict()
    theirs = {"log_std": held["log_std"]}
    for name, weights in held.items():
        for long, short in _LAYERS.items():
            if name.startswith(short):
                theirs[long + name.removeprefix(short)] = weights
    own = model.policy.state_dict()
    model.policy.load_state_dict({**own, **{name: weights.to(own[name].device) for name, weights in theirs.items()}})
