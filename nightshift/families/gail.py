"""How is it to drive? So that nobody could tell it from the experts: generative adversarial imitation on PPO.

It never sees the world's reward; the experts' steps are all that it has to go by.

Source:
    Ho & Ermon, "Generative adversarial imitation learning", arXiv 1606.03476; absorbing states: arXiv 1809.02925.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from nightshift.families._driving import Begun, DrivingModel, begin, beginning, shape_of, train_on_world
from nightshift.families._imitation import Cloning, ImitationConfig, cloned, experts_of, preparing
from nightshift.families.ppo import PpoConfig, PpoFamily, ppo_settings
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.driving.imitate.demonstrations import Demonstrations
    from nightshift.driving.imitate.gail import GailLearner
    from nightshift.driving.learn.field import Field as Roads
    from nightshift.nets.policy import Policy


class GailConfig(ImitationConfig, PpoConfig):
    """What can be tuned, PPO's settings among them.

    Attributes:
        clone_epochs: of cloning before the adversary takes over; 0 begins from chance.
        clone_scenarios: of those of `demo_scenarios`, whose experts are cloned, at most; 0 = all. The adversary is
            shown all of them: it would tell the learner's steps from theirs by the road alone.
        disc_hidden: units of the discriminator's layers.
        disc_learning_rate: of its optimiser.
        disc_batch_size: steps of either side behind one of its updates.
        disc_updates: of it after each rollout.
        disc_penalty: weight of its gradient's penalty.
        absorbing_steps: that an ended episode goes on for in the absorbing state, so that ends leak no reward.
        warm_up: share of all steps in which the critic and the discriminator alone learn, where it begins from a
            policy: what they do not know yet would undo it.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "num_envs": 128,
            "total_steps": 500_000,
            "eval_every_steps": 100_000,
            "eval_scenarios": 100,
            "clone_scenarios": 300,
            "time_limit_s": 900.0,
        },
        "fast": {"num_envs": 512, "total_steps": 3_000_000, "time_limit_s": 3_600.0},
        "standard": {"total_steps": 3_000_000, "time_limit_s": 14_400.0},
    }

    # Where an episode begins, and on which road, would tell the policy's steps from the experts'.
    often: dict[str, float] = Field(default_factory=dict)
    midway: float = Field(default=0.0, ge=0, le=1)
    num_envs: int = Field(default=128, ge=1)
    n_steps: int = Field(default=64, ge=2)
    n_epochs: int = Field(default=4, ge=1)
    # With so narrow a spread a step of PPO's usual rate moves the actions by more than the spread: it undoes the clone.
    learning_rate: float = Field(default=1e-4, gt=0)
    log_std: float = Field(default=-2.3, ge=-5, le=1)
    log_std_end: float | None = Field(default=-3.0, ge=-10, le=1)
    target_kl: float | None = Field(default=0.01, gt=0)
    # What tells the two apart is told at each step: farther ahead there is mostly noise.
    gamma: float = Field(default=0.95, gt=0, lt=1)
    gae_lambda: float = Field(default=0.9, ge=0, le=1)
    clone_epochs: int = Field(default=5, ge=0)
    clone_scenarios: int = Field(default=0, ge=0)
    disc_hidden: tuple[int, ...] = (64, 64)
    disc_learning_rate: float = Field(default=1e-3, gt=0)
    disc_batch_size: int = Field(default=512, ge=1)
    disc_updates: int = Field(default=32, ge=1)
    disc_penalty: float = Field(default=1.0, ge=0)
    absorbing_steps: int = Field(default=50, ge=1)
    warm_up: float = Field(default=0.1, ge=0, lt=1)


class GailFamily(PpoFamily):
    """The family; see the module."""

    name = "gail"
    config = GailConfig

    def train(self, data: Dataset, config: GailConfig, ctx: RunContext) -> DrivingModel:  # type: ignore[override]
        """Imitate the experts of train; the policy that scores best on scenarios of val is kept.

        Raises:
            UsageError: when a run of this id exists.
            DataError: for data that hold no scenarios, or no expert to learn from.
            TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        begun = begin(self.name, data, config, ctx)
        with preparing(begun, ctx, config.total_steps) as recorder:
            experts, first = _prepared(begun, config, ctx, recorder.say)

        def make(roads: Roads) -> GailLearner:
            import torch

            from nightshift.driving.imitate.adversary import Adversary
            from nightshift.driving.imitate.gail import GailLearner

            adversary = Adversary(experts, _adversary(config), ctx.seed, torch.device(ctx.device))
            settings = ppo_settings(config)
            if first is not None:
                with torch.no_grad():
                    first.log_std.fill_(config.log_std)
            return GailLearner(roads, adversary, settings, seed=ctx.seed, device=ctx.device, begin=first)

        return train_on_world(begun, config, ctx, make, config.rollout)


def _prepared(
    begun: Begun, config: GailConfig, ctx: RunContext, log: Callable[[str], None]
) -> tuple[Demonstrations, Policy | None]:
    """Return whom it is to be like, and the policy that it begins with; None begins from chance."""
    # Whom nobody is to tell from it drives as it likes; a clone learns from pushed experts how to come back.
    experts = experts_of(begun, config, ctx, "train", disturbed=False, log=log)
    first = beginning(config, begun, shape_of(config))
    if config.init_from or not config.clone_epochs:
        return experts, first
    few = min(config.clone_scenarios or config.demo_scenarios, config.demo_scenarios or config.clone_scenarios)
    whom = config.model_copy(update={"demo_scenarios": few})
    pair = experts_of(begun, whom, ctx, "train", log=log), experts_of(begun, whom, ctx, "val", log=log)
    return experts, cloned(Cloning(begun, shape_of(config), pair, whom, config.clone_epochs, {}), ctx, log)


def _adversary(config: GailConfig) -> Any:
    from nightshift.driving.imitate.settings import AdversarySettings

    return AdversarySettings(
        hidden=config.disc_hidden,
        learning_rate=config.disc_learning_rate,
        batch_size=config.disc_batch_size,
        updates=config.disc_updates,
        penalty=config.disc_penalty,
        absorbing_steps=config.absorbing_steps,
        warm_up=config.warm_up,
        gamma=config.gamma,
    )


FAMILY = GailFamily()
