"""How is it to drive? By reinforcement: soft actor-critic on the world, judged in closed loop.

Source:
    Haarnoja et al., "Soft actor-critic algorithms and applications", arXiv 1812.05905; stable-baselines3's
    implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from nightshift.families._driving import DrivingConfig, DrivingModel, begin, beginning, shape_of, train_on_world
from nightshift.families._driving_family import DrivingFamily
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.driving.learn.field import Field as Roads
    from nightshift.driving.learn.sac import SacLearner


class SacConfig(DrivingConfig):
    """What can be tuned; names as in stable-baselines3.

    Attributes:
        buffer_size: transitions that are kept to learn from; `batch_size` of them are drawn for a gradient step.
        learning_starts: steps of all environments together, by the policy as it begins, before the first update.
        train_freq: decisions of each environment between updates.
        gradient_steps: of an update.
        n_steps: decisions whose rewards are taken as they were, before the critics' guess of what follows.
        tau: share by which the target critics follow the critics.
        target_entropy: that the policy is held at, per number of an action.
        ent_coef: weight of the entropy at the start; it is learned.
        log_std: the logarithm of the actions' spread, where [-1, 1] is the range, stays below this at the start.
        log_std_end: and below a line from `log_std` to this at the end; None: below `log_std` to the end.
        average: share of the old one that the averaged policy, which is judged and kept, keeps at each update.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "num_envs": 64,
            "batch_size": 512,
            "gradient_steps": 16,
            "total_steps": 200_000,
            "eval_every_steps": 50_000,
            "eval_scenarios": 24,
            "time_limit_s": 900.0,
        },
        "fast": {"num_envs": 128, "total_steps": 2_000_000, "time_limit_s": 7_200.0},
        "standard": {"total_steps": 300_000, "eval_every_steps": 50_000, "time_limit_s": 14_400.0},
    }

    buffer_size: int = Field(default=300_000, ge=1)
    learning_starts: int = Field(default=5_000, ge=0)
    train_freq: int = Field(default=8, ge=1)
    gradient_steps: int = Field(default=8, ge=1)
    n_steps: int = Field(default=3, ge=1)
    tau: float = Field(default=0.005, gt=0, le=1)
    target_entropy: float = -2.0
    ent_coef: float = Field(default=0.02, gt=0)
    log_std: float = Field(default=-1.5, ge=-5, le=1)
    log_std_end: float | None = Field(default=-3.0, ge=-10, le=1)
    average: float = Field(default=0.97, ge=0, lt=1)


class SacFamily(DrivingFamily):
    """The family; see the module."""

    name = "sac"
    config = SacConfig

    def train(self, data: Dataset, config: SacConfig, ctx: RunContext) -> DrivingModel:
        """Learn on scenarios of train; the policy that scores best on those of val is kept.

        Raises:
            UsageError: when a run of this id exists.
            DataError: for data that hold no scenarios.
            TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        begun = begin(self.name, data, config, ctx)
        first = beginning(config, begun, shape_of(config, head="squashed", activation="relu"))

        def make(roads: Roads) -> SacLearner:
            from nightshift.driving.learn.sac import SacLearner

            return SacLearner(roads, sac_settings(config), seed=ctx.seed, device=ctx.device, begin=first)

        return train_on_world(begun, config, ctx, make, config.num_envs * config.train_freq)


def sac_settings(config: SacConfig) -> Any:
    """Return what the learner is told."""
    from nightshift.driving.learn.sac_parts import SacSettings

    return SacSettings(
        replay_size=config.buffer_size,
        first_steps=config.learning_starts,
        minibatch=config.batch_size,
        drive_steps=config.train_freq,
        gradient_steps=config.gradient_steps,
        n_steps=config.n_steps,
        hidden=config.hidden,
        learning_rate=config.learning_rate,
        gamma=config.gamma,
        tau=config.tau,
        entropy=config.target_entropy,
        entropy_weight=config.ent_coef,
        log_std=config.log_std,
        log_std_end=config.log_std_end,
        average=config.average,
        total_steps=config.total_steps,
    )


FAMILY = SacFamily()
