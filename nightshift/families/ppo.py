"""How is it to drive? By reinforcement: proximal policy optimisation on the world, judged in closed loop.

Source:
    Schulman et al., "Proximal policy optimization algorithms", arXiv 1707.06347; stable-baselines3's implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from nightshift.families._driving import DrivingConfig, DrivingModel, begin, beginning, shape_of, train_on_world
from nightshift.families._driving_family import DrivingFamily
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.driving.learn.field import Field as Roads
    from nightshift.driving.learn.ppo import PpoLearner


class PpoConfig(DrivingConfig):
    """What can be tuned; names as in stable-baselines3. A rollout is `num_envs * n_steps` transitions.

    Attributes:
        n_steps: decisions of each environment between updates.
        n_epochs: passes over a rollout, in minibatches of `batch_size`.
        anneal: whether the learning rate falls to nothing over the run.
        gae_lambda: of generalised advantage estimation.
        clip_range: of the policy's ratio.
        ent_coef: of the entropy in the loss.
        vf_coef: of the critic's error in the loss.
        max_grad_norm: limit of the gradient's norm.
        target_kl: an update's epochs end beyond 1.5 times it; None: never.
        log_std: logarithm of the actions' spread at the start, where [-1, 1] is the range.
        average: share of the old one that the averaged policy, which is judged and kept, keeps at each update.
        log_std_end: the spread may be no wider than a line from `log_std` to this at the end; None: as it learns.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "num_envs": 256,
            "n_steps": 64,
            "n_epochs": 4,
            "total_steps": 2_000_000,
            "eval_every_steps": 250_000,
            "eval_scenarios": 24,
            "time_limit_s": 900.0,
        },
        "fast": {
            "num_envs": 512,
            "n_steps": 64,
            "n_epochs": 4,
            "total_steps": 10_000_000,
            "eval_every_steps": 1_000_000,
            "eval_scenarios": 100,
            "time_limit_s": 7_200.0,
        },
        "standard": {"total_steps": 3_000_000, "time_limit_s": 14_400.0},
    }

    n_steps: int = Field(default=1024, ge=2)
    n_epochs: int = Field(default=10, ge=1)
    anneal: bool = True
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip_range: float = Field(default=0.2, gt=0)
    ent_coef: float = Field(default=0.0, ge=0)
    vf_coef: float = Field(default=0.5, ge=0)
    max_grad_norm: float = Field(default=0.5, gt=0)
    target_kl: float | None = Field(default=None, gt=0)
    log_std: float = Field(default=-1.5, ge=-5, le=1)
    log_std_end: float | None = Field(default=-3.0, ge=-10, le=1)
    average: float = Field(default=0.97, ge=0, lt=1)

    @property
    def rollout(self) -> int:
        """Transitions between updates."""
        return self.num_envs * self.n_steps

    @model_validator(mode="after")
    def _whole_minibatches(self) -> PpoConfig:
        if self.rollout % self.batch_size:
            raise ValueError(
                f"a rollout of num_envs {self.num_envs} * n_steps {self.n_steps} = {self.rollout} transitions is not "
                f"cut into whole minibatches of batch_size {self.batch_size}: change n_steps or batch_size"
            )
        return self


class PpoFamily(DrivingFamily):
    """The family; see the module."""

    name = "ppo"
    config = PpoConfig

    def train(self, data: Dataset, config: PpoConfig, ctx: RunContext) -> DrivingModel:
        """Learn on scenarios of train; the policy that scores best on those of val is kept.

        Raises:
            UsageError: when a run of this id exists.
            DataError: for data that hold no scenarios.
            TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        begun = begin(self.name, data, config, ctx)
        first = beginning(config, begun, shape_of(config))

        def make(roads: Roads) -> PpoLearner:
            from nightshift.driving.learn.ppo import PpoLearner

            return PpoLearner(roads, ppo_settings(config), seed=ctx.seed, device=ctx.device, begin=first)

        return train_on_world(begun, config, ctx, make, config.rollout)


def ppo_settings(config: PpoConfig) -> Any:
    """Return what the learner is told."""
    from nightshift.driving.learn.ppo import PpoSettings

    return PpoSettings(
        total_steps=config.total_steps,
        rollout_steps=config.n_steps,
        minibatch=config.batch_size,
        epochs=config.n_epochs,
        hidden=config.hidden,
        learning_rate=config.learning_rate,
        anneal=config.anneal,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip_range=config.clip_range,
        ent_coef=config.ent_coef,
        vf_coef=config.vf_coef,
        max_grad_norm=config.max_grad_norm,
        target_kl=config.target_kl,
        log_std=config.log_std,
        log_std_end=config.log_std_end,
        average=config.average,
    )


FAMILY = PpoFamily()
