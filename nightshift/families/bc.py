"""How is it to drive? As the experts do: behaviour cloning, judged in closed loop.

The expert of made scenarios is `driving.expert.Expert`, which is disturbed while it is watched so that coming back is
learnt too; that of recorded ones is the recorded driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from nightshift.families._driving import (
    Begun,
    DrivingModel,
    begin,
    beginning,
    judge_of,
    policy_interface,
    recorder_of,
    settings_of,
    shape_of,
)
from nightshift.families._driving_family import DrivingFamily
from nightshift.families._imitation import Cloning, CloningConfig, clone, cloned_policy, experts_of
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.driving.imitate.demonstrations import Demonstrations
    from nightshift.driving.learn.evaluation import ClosedLoop
    from nightshift.driving.learn.recorder import RunRecorder
    from nightshift.nets.epoch import Epoch
    from nightshift.nets.policy import Policy


class BcConfig(CloningConfig):
    """What can be tuned.

    Attributes:
        epochs: at most.
        modes: Gaussians of the mixture; 1 is the plain one, from which `cimrl` goes on, and `ppo` with the same
            `hidden`, which is another by default.
        eval_every_epochs: between evaluations in closed loop; each leaves a checkpoint. One stands at the end.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"epochs": 20, "eval_every_epochs": 5, "eval_scenarios": 24, "demo_scenarios": 300},
        "fast": {"epochs": 50},
        "standard": {"epochs": 50, "time_limit_s": 7_200.0},
    }

    epochs: int = Field(default=50, ge=1)
    modes: int = Field(default=1, ge=1, le=32)
    eval_every_epochs: int = Field(default=10, ge=1)


class BcFamily(DrivingFamily):
    """The family; see the module."""

    name = "bc"
    config = BcConfig
    libraries = ("gymnasium", "numpy", "onnx", "torch")

    def train(self, data: Dataset, config: BcConfig, ctx: RunContext) -> DrivingModel:
        """Clone the experts of train, stopped early by those of val; the policy that drives best there is kept.

        Raises:
            UsageError: when a run of this id exists.
            DataError: for data that hold no scenarios, or no expert to learn from.
            TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        begun = begin(self.name, data, config, ctx)
        # How many steps an epoch has is known when the experts are.
        with recorder_of(begun, ctx, 0, config.epochs + 1) as recorder:
            # Within: watching takes minutes, in which the run can be seen and stopped.
            log = recorder.say
            experts = experts_of(begun, config, ctx, "train", log=log), experts_of(begun, config, ctx, "val", log=log)
            judge = judge_of(begun, config, ctx, recorder)
            steps = -(-len(experts[0]) // config.clone_batch_size)
            recorder.status.total_steps = steps * config.epochs
            watched = _Watched(begun, config, recorder, judge, steps)
            return watched.train(experts, beginning(config, begun, shape_of(config, config.modes)), ctx)


class _Watched:
    """A cloning whose epochs are rows of a run, and are driven now and then."""

    def __init__(
        self, begun: Begun, config: BcConfig, recorder: RunRecorder, judge: ClosedLoop, steps_per_epoch: int
    ) -> None:
        from nightshift.driving.learn.judging import Judging

        self.begun, self.config, self.recorder = begun, config, recorder
        self.judging = Judging(judge, recorder, begun.facts)
        self.steps_per_epoch = steps_per_epoch

    def train(
        self, experts: tuple[Demonstrations, Demonstrations], first: Policy | None, ctx: RunContext
    ) -> DrivingModel:
        from nightshift.driving.learn import checkpointing
        from nightshift.driving.learn.checkpointing import BEST, LAST

        config, facts = self.config, self.begun.facts.follows_from
        trained = clone(
            Cloning(self.begun, shape_of(config, config.modes), experts, config, config.epochs, facts),
            ctx,
            checkpoint=self._place(LAST),
            begin=first,
            on_begin=self._goes_on,
            on_epoch=self._told,
        )
        last = len(trained.history) * self.steps_per_epoch
        # The weights that fit best may be none of those that were driven.
        figures = self._judged(cloned_policy(trained), trained.best_epoch * self.steps_per_epoch)
        self.recorder.row(last, {"loss": trained.history[-1].loss, **figures})
        policy, best = checkpointing.load_for(self._place(BEST), self.begun.facts.layout)
        chose = {
            "epochs_trained": len(trained.history),
            "best_step": best.meta["step"],
            "best_val_score": best.meta["score"],
            "best_val_loss": trained.history[trained.best_epoch - 1].watched,
            "demonstrations": len(experts[0]),
        }
        return DrivingModel(policy_interface(), policy, settings_of(self.config, self.begun, chose))

    def _goes_on(self, epochs: int) -> None:
        """Take up the row and the best score that an interrupted cloning left."""
        from nightshift.driving.learn.checkpointing import BEST
        from nightshift.nets.checkpoint import load

        self.recorder.go_on(epochs * self.steps_per_epoch, epochs)
        found = load(self._place(BEST)) if epochs else None
        self.judging.goes_on((float(found.meta["score"]), int(found.meta["step"])) if found else None)

    def _told(self, epoch: Epoch, policy: Policy) -> None:
        figures: dict[str, float | None] = {"loss": epoch.loss, "val_loss": epoch.validation, **epoch.metrics}
        if epoch.number % self.config.eval_every_epochs == 0:
            figures |= self._judged(policy, epoch.number * self.steps_per_epoch)
        self.recorder.row(epoch.number * self.steps_per_epoch, figures)

    def _judged(self, policy: Policy, step: int) -> dict[str, float]:
        """Drive a policy, and leave its checkpoint and picture."""
        from nightshift.driving.learn.checkpointing import LearnerState

        device = next(policy.parameters()).device
        figures = self.judging(policy.cpu(), LearnerState({}), step)
        policy.to(device)
        return figures

    def _place(self, name: str) -> Any:
        return self.begun.folder.checkpoints / name


FAMILY = BcFamily()
