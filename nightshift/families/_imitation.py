"""What `bc`, `gail` and `cimrl` share: experts to watch, and a policy cloned from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from nightshift.families._driving import THREADS, Begun, DrivingConfig, PolicyConfig
from nightshift.family import RunContext

if TYPE_CHECKING:
    from nightshift.driving.imitate.demonstrations import Demonstrations
    from nightshift.driving.imitate.preparing import Preparing
    from nightshift.nets.epoch import Epoch
    from nightshift.nets.loop import Trained
    from nightshift.nets.policy import Policy, PolicyShape

#: Scenarios of validation whose experts tell when to stop cloning, at most.
_HELD_BACK = 60


class CloningConfig(PolicyConfig):
    """What every family can be told that learns from experts.

    Attributes:
        demo_scenarios: of train whose experts are watched, at most; 0 = all of them.
        demo_accel_mps2: standard deviation of what is added to the expert's acceleration while it is watched; its
            own answer is what is learnt. Recorded drivers are not disturbed.
        demo_steer_share: the same of its steering, as a share of what its speed allows.
        demo_share: of the episodes in which it is disturbed.
        clone_batch_size: pairs behind one step of cloning.
        clone_learning_rate: of its first step.
        clone_patience: epochs without a better likelihood on validation after which cloning ends; 0 = none.
        entropy_weight: of the entropy in cloning's loss.
    """

    demo_scenarios: int = Field(default=0, ge=0)
    demo_accel_mps2: float = Field(default=1.0, ge=0)
    demo_steer_share: float = Field(default=0.1, ge=0)
    demo_share: float = Field(default=0.5, ge=0, le=1)
    clone_batch_size: int = Field(default=256, ge=1)
    clone_learning_rate: float = Field(default=1e-3, gt=0)
    clone_patience: int = Field(default=10, ge=0)
    entropy_weight: float = Field(default=1e-3, ge=0)


class ImitationConfig(CloningConfig, DrivingConfig):
    """What every family can be told that learns from experts, and by driving then."""


def preparing(begun: Begun, ctx: RunContext, total_steps: int) -> Preparing:
    """Return what shows a run until its learner drives; to be entered."""
    from nightshift.driving.imitate.preparing import Preparing

    return Preparing(begun.folder, begun.file, total_steps=total_steps, device=ctx.device)


def experts_of(
    begun: Begun,
    config: CloningConfig,
    ctx: RunContext,
    part: str,
    *,
    disturbed: bool = True,
    log: Callable[[str], None] = lambda _line: None,
) -> Demonstrations:
    """Return what the experts of a part do: kept from before, or watched now.

    Args:
        begun: the run.
        config: of the family.
        ctx: of the run.
        part: of the set.
        disturbed: whether they are pushed aside, as the config tells, so that they show how to come back.
        log: takes a line for `train.log`.

    Raises:
        DataError: when no expert drove a single step well.
        InterruptedTraining: when asked to stop.
    """
    from nightshift.driving.imitate.demonstrations import Disturbance, kept
    from nightshift.driving.imitate.experts import demonstrations_of
    from nightshift.settings import home

    at_most = config.demo_scenarios if part == "train" else min(config.demo_scenarios or _HELD_BACK, _HELD_BACK)
    asked = (part, config.kinds or None, at_most)
    names = begun.bank.names(*asked)
    share = config.demo_share if disturbed else 0.0
    disturbance = Disturbance(config.demo_accel_mps2, config.demo_steer_share, share)
    facts = {
        "dataset": begun.file.dataset,
        "part": part,
        "scenarios": list(names),
        "layout": begun.facts.layout,
        "disturbance": [disturbance.accel_mps2, disturbance.steer_share, disturbance.share],
        "seed": ctx.seed,
    }

    def told(done: int, what: str) -> None:
        ctx.step(done, len(names), f"{done} of {len(names)} scenarios of {part} {what}")

    def watched() -> Demonstrations:
        line = f"Watches experts drive {len(names)} scenarios of {part}"
        ctx.say(0, len(names), line)
        log(line)
        found = demonstrations_of(
            begun.bank.scenarios(*asked, on_made=lambda done: told(done, "made")),
            disturbance=disturbance,
            seed=ctx.seed,
            should_stop=ctx.should_stop,
            on_episodes=lambda done: told(done, "watched"),
        )
        log(f"{len(found):,} steps of theirs are kept")
        return found

    with begun.spent.during("experts"):
        return kept(home().machinery / "demonstrations", facts, watched)


@dataclass(frozen=True)
class Cloning:
    """What is to be cloned.

    Attributes:
        begun: the run.
        shape: of the policy.
        experts: of train, and of validation.
        config: of the family.
        epochs: at most.
        facts: what it follows from besides; of a warm-up, what its config does not tell.
    """

    begun: Begun
    shape: PolicyShape
    experts: tuple[Demonstrations, Demonstrations]
    config: CloningConfig
    epochs: int
    facts: Mapping[str, Any]


def clone(
    what: Cloning,
    ctx: RunContext,
    *,
    checkpoint: Path | None = None,
    begin: Policy | None = None,
    on_begin: Callable[[int], None] = lambda _done: None,
    on_epoch: Callable[[Epoch, Policy], None] = lambda _epoch, _policy: None,
) -> Trained[Any]:
    """Clone the experts into a policy; goes on where it was interrupted, and is done at once where it had ended.

    Args:
        what: is cloned.
        ctx: of the run.
        checkpoint: to leave and to go on from; None is `cloning.pt` of the training's own.
        begin: weights to begin with.
        on_begin: hears of the epochs that were done before.
        on_epoch: hears of each epoch, with the policy as it is.

    Raises:
        InterruptedTraining: when asked to stop; the next call goes on.
        TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
    """
    from nightshift.driving.imitate.bc import BcLearner
    from nightshift.nets.loop import LoopContext, LoopPlan, train
    from nightshift.nets.policy import Policy

    made: list[BcLearner] = []
    begun, config = what.begun, what.config

    def build(device: Any) -> BcLearner:
        # Built on the CPU, so that a GPU starts from the same weights.
        policy = Policy(what.shape)
        if begin is not None:
            policy.load_state_dict(begin.state_dict())
        learner = BcLearner(
            policy.to(device),
            *what.experts,
            batch_size=config.clone_batch_size,
            learning_rate=config.clone_learning_rate,
            entropy_weight=config.entropy_weight,
        )
        made.append(learner)
        return learner

    def ended(epoch: Epoch) -> None:
        begun.spent.keep()
        on_epoch(epoch, made[0].module)

    context = LoopContext(
        device=ctx.device,
        threads=THREADS,
        checkpoint=checkpoint or ctx.checkpoints / "cloning.pt",
        facts={**what.facts, "shape": what.shape.model_dump(mode="json"), "pairs": len(what.experts[0])},
        checkpoint_every_epochs=1,
        # Its own seconds are in its checkpoint.
        time_limit_s=ctx.time_limit_s - begun.spent.seconds(but="clone"),
        on_begin=on_begin,
        on_epoch=ended,
        should_stop=ctx.should_stop,
        note=ctx.note,
    )
    plan = LoopPlan(epochs=what.epochs, seed=ctx.seed, patience=config.clone_patience, clip_norm=1.0, schedule="cosine")
    with begun.spent.during("clone"):
        return train(build, plan, context)


def cloned(what: Cloning, ctx: RunContext, log: Callable[[str], None]) -> Policy:
    """Return a clone to begin with; see `clone`. Each epoch is a line for people, and for `train.log`."""

    def told(epoch: Epoch, _policy: Policy) -> None:
        held_back = "" if epoch.validation is None else f", {epoch.validation:.4g} on validation"
        line = f"Clones the experts: epoch {epoch.number}/{what.epochs}, loss {epoch.loss:.4g}{held_back}"
        ctx.say(epoch.number, what.epochs, line)
        log(line)

    facts = {**cloned_facts(what.begun, what.config, what.epochs), **what.facts}
    return cloned_policy(clone(replace(what, facts=facts), ctx, on_epoch=told))


def cloned_policy(trained: Trained[Any]) -> Policy:
    """Return the policy of a cloning that has ended, on the CPU."""
    policy: Policy = trained.learner.module.cpu().eval()
    return policy


def cloned_facts(begun: Begun, config: CloningConfig, epochs: int) -> dict[str, Any]:
    """Return what a warm-up's checkpoint follows from."""
    names = [n for n in CloningConfig.model_fields if n.startswith(("demo_", "clone_"))] + ["entropy_weight", "seed"]
    told = config.model_dump(mode="json", include=set(names))
    return {**told, "epochs": epochs, "dataset": begun.file.dataset, "layout": begun.facts.layout}


def distilled(policy: Policy, experts: Demonstrations, limit: int = 200_000) -> Demonstrations:
    """Return the experts' observations with what a policy does there: to clone it into another shape."""
    import torch

    rows = slice(0, limit)
    with torch.no_grad():
        answer = policy.eval()(torch.from_numpy(experts.observation[rows])).numpy()
    return replace(
        experts,
        observation=experts.observation[rows],
        action=np.clip(answer, -1.0, 1.0).astype(np.float32),
        episode=experts.episode[rows],
        over=experts.over[rows],
    )
