"""How is it to drive? As experts do, and better: imitation combined with reinforcement, in two ways.

`finetune` clones the experts into a policy and goes on with PPO: the critic alone at first, then held to the clone
where it drives, less and less. `recovery` is the method proper: an imitative mixture proposes candidate trajectories, a
task critic and a risk critic judge them, and where no candidate is safe the one of least risk is taken.

Source:
    CIMRL (arXiv 2406.08878) and Recovery RL (arXiv 2010.15920); fine-tuning as in BC-SAC (arXiv 2212.11419).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from nightshift.driving.imitate.settings import FinetuneSettings, RecoverySettings
from nightshift.driving.runs import RUN_ID
from nightshift.errors import UsageError
from nightshift.families._driving import Begun, DrivingModel, begin, scenarios_of, shape_of, train_on_world
from nightshift.families._driving_family import TRAIN_JUDGED, action_range, judged_policy, load_model, save_model
from nightshift.families._imitation import Cloning, ImitationConfig, cloned, distilled, experts_of, preparing
from nightshift.families.ppo import PpoConfig, PpoFamily, ppo_settings
from nightshift.family import RunContext
from nightshift.problems.evaluation import Evaluation

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.driving.imitate.decider import Decider
    from nightshift.driving.imitate.finetune import FinetuneLearner
    from nightshift.driving.imitate.recovery import RecoveryLearner
    from nightshift.driving.learn.field import Field as Roads
    from nightshift.nets.policy import Policy

Method = Literal["finetune", "recovery"]
#: Letters that a run id has at most (`driving.runs.RUN_ID`).
LONGEST_RUN_ID = 64
#: Share of the time that the shipped method may take where the other one is trained too; that has what is left.
OWN_TIME = 2 / 3
#: Folder of the other method's model among a model's files.
OTHER = "other"
DECIDER = "decider.pt"
#: Decisions of every environment between two looks of the loop at the recovery method.
_AT_A_TIME = 16


class CimrlConfig(ImitationConfig, PpoConfig):
    """What can be tuned; PPO's settings are `finetune`'s.

    Attributes:
        method: whose policy is shipped.
        compare: whether the other method is trained too, in a run of its own and the same time limit, and judged
            beside it.
        clone_epochs: of cloning before reinforcement; none where the config begins from a checkpoint of its shape.
        finetune: how imitation passes into reinforcement.
        recovery: how the critics learn.
        recovery_steps: steps of all environments under the recovery method, in place of `total_steps`.
        recovery_envs: environments, in place of `num_envs`.
        modes: of the imitative mixture that proposes candidates.
        accel_step, steer_step: squashed departures from each mode that are candidates too; 0 makes none.
        critic_hidden: units of each critic's layers.
        risk_limit: a candidate of greater risk is not taken while another one is below.
        temperature: of the task policy over candidates, in units of reward.
        prior_weight: of the mixture's own weights in it.
    """

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "num_envs": 256,
            "total_steps": 600_000,
            "recovery_steps": 80_000,
            # Fewer updates, so that each must count for more.
            "recovery": {"pretrain_updates": 1_500, "tau_safe": 5e-3, "batch_size": 128, "learning_rate": 5e-4},
            "eval_every_steps": 100_000,
            "eval_scenarios": 100,
            "demo_scenarios": 300,
            "clone_epochs": 20,
            "time_limit_s": 900.0,
        },
        "fast": {
            "num_envs": 512,
            "total_steps": 5_000_000,
            "eval_every_steps": 500_000,
            "eval_scenarios": 100,
            "time_limit_s": 3_600.0,
        },
        "standard": {"total_steps": 3_000_000, "time_limit_s": 14_400.0},
    }

    method: Method = "finetune"
    compare: bool = True
    num_envs: int = Field(default=128, ge=1)
    # With so narrow a spread a step of PPO's usual rate moves the actions by more than the spread: it undoes the clone.
    learning_rate: float = Field(default=1e-4, gt=0)
    n_steps: int = Field(default=64, ge=2)
    n_epochs: int = Field(default=4, ge=1)
    log_std: float = Field(default=-2.5, ge=-5, le=1)
    target_kl: float | None = Field(default=0.02, gt=0)
    clone_epochs: int = Field(default=30, ge=1)
    finetune: FinetuneSettings = Field(default_factory=FinetuneSettings)
    recovery: RecoverySettings = Field(default_factory=RecoverySettings)
    recovery_steps: int = Field(default=500_000, ge=1)
    recovery_envs: int = Field(default=16, ge=1)
    modes: int = Field(default=3, ge=2, le=32)
    accel_step: float = Field(default=0.15, ge=0)
    steer_step: float = Field(default=0.0, ge=0)
    critic_hidden: tuple[int, ...] = (128, 64)
    risk_limit: float = Field(default=0.1, gt=0, lt=1)
    temperature: float = Field(default=0.5, gt=0)
    prior_weight: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class CimrlModel(DrivingModel):
    """A trained policy of either method.

    Attributes:
        method: its own.
        decider: of the recovery method; None of the other.
        other: the other method's, where that was trained too.
    """

    method: Method = "finetune"
    decider: Decider | None = None
    other: CimrlModel | None = None


class CimrlFamily(PpoFamily):
    """The family; see the module."""

    name = "cimrl"
    config = CimrlConfig

    def train(self, data: Dataset, config: CimrlConfig, ctx: RunContext) -> CimrlModel:  # type: ignore[override]
        """Clone the experts of train and go on from there; what scores best on scenarios of val is kept.

        Raises:
            UsageError: when a run of this id exists.
            DataError: for data that hold no scenarios, or no expert to learn from.
            TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
            InterruptedTraining: when asked to stop; the next call goes on.
        """
        if not config.compare:
            return _trained(begin(self.name, data, config, ctx), config, ctx)
        second: Method = "recovery" if config.method == "finetune" else "finetune"
        aside = replace(ctx, checkpoints=ctx.checkpoints / OTHER)
        begun, theirs, besides = _both_begun(data, config, second, ctx, aside)
        with preparing(besides, aside, _total_steps(theirs)) as recorder:
            recorder.say(f"waits for run {begun.folder.run_id}, which is trained first")
            model = _trained(begun, config, replace(ctx, time_limit_s=OWN_TIME * ctx.time_limit_s))
        aside = replace(aside, time_limit_s=ctx.time_limit_s - float(model.settings["trained_s"]))
        return replace(model, other=_trained(besides, theirs, aside))

    def evaluate(self, fitted: CimrlModel, data: Dataset, config: Any, ctx: RunContext) -> Evaluation:
        """Judge the policy, the other method's, and drivers by rule on all parts, under every model of traffic."""
        from nightshift.driving.bank import ScenarioBank
        from nightshift.driving.drivers import PolicyDriver
        from nightshift.driving.rollout import measured

        judged = judged_policy(fitted.answer, data, config, ctx, who=self.name)
        if fitted.other is None:
            return judged
        own, name = f"{self.name} ({fitted.method})", f"{self.name} ({fitted.other.method})"
        rows = [row.model_copy(update={"who": own}) if row.kind == "model" else row for row in judged.rows]
        bank = ScenarioBank.open(data)
        for part in data.parts:
            chosen = scenarios_of(bank, part, config, TRAIN_JUDGED if part == "train" else 0)
            rows += measured(PolicyDriver(fitted.other.answer), name, "member", chosen, seed=ctx.seed).rows(part)
        return judged.model_copy(update={"rows": rows})

    def save(self, fitted: CimrlModel, folder: Path) -> None:
        """Write policy, decider, interface, settings, and the other method's."""
        from nightshift.nets.checkpoint import Checkpoint, save

        save_model(fitted, folder)
        if fitted.decider is not None:
            meta = {"decider": fitted.decider.shape.model_dump(mode="json")}
            save(folder / DECIDER, Checkpoint("", 0, model=fitted.decider.state_dict(), meta=meta))
        if fitted.other is not None:
            self.save(fitted.other, folder / OTHER)

    def load(self, folder: Path) -> CimrlModel:
        """Read what `save` wrote, from our own work folder."""
        from nightshift.nets.checkpoint import load

        held, found = load_model(folder), load(folder / DECIDER)
        other = self.load(folder / OTHER) if (folder / OTHER).is_dir() else None
        if found is None:
            return CimrlModel(held.interface, held.policy, held.settings, "finetune", None, other)
        decider = _decider_of(found.meta["decider"], found.model)
        return _recovering(held, decider, other)

    def export(self, fitted: CimrlModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: observation, policy or the whole decision, physical action."""
        if fitted.decider is None:
            return super().export(fitted, ctx)
        from nightshift.graphs.deciders import decider_graph
        from nightshift.graphs.sequences import weights_of

        weights = weights_of(fitted.decider.state_dict())
        return decider_graph(_deciding(fitted.decider), weights, action_range()).build()


FAMILY = CimrlFamily()


def _both_begun(
    data: Dataset, config: CimrlConfig, second: Method, ctx: RunContext, aside: RunContext
) -> tuple[Begun, CimrlConfig, Begun]:
    """Claim both runs before either is trained, or neither; returns the first, and the other with its config.

    Raises:
        UsageError: when a run of either id exists.
        DataError: for data that hold no scenarios.
    """
    from nightshift.driving.learn.recorder import RUN_FILE

    goes_on = (ctx.checkpoints / "run_id").is_file()
    begun = begin(CimrlFamily.name, data, config, ctx)
    run = _run_beside(begun.folder.run_id, second)
    theirs = config.model_copy(update={"method": second, "compare": False, "run_id": run})
    aside.checkpoints.mkdir(parents=True, exist_ok=True)
    try:
        return begun, theirs, begin(CimrlFamily.name, data, theirs, aside)
    except UsageError:
        if not goes_on:
            (begun.folder.checkpoints / RUN_FILE).unlink(missing_ok=True)
            with suppress(OSError):
                begun.folder.checkpoints.rmdir()
            (ctx.checkpoints / "run_id").unlink(missing_ok=True)
        raise


def _run_beside(run: str, method: Method) -> str:
    """Return the other method's run id; of a long one its head, with a hash in place of what is left out."""
    whole = f"{run}-{method}"
    if RUN_ID.fullmatch(whole):
        return whole
    tail = f"-{hashlib.sha256(run.encode()).hexdigest()[:6]}-{method}"
    return run[: LONGEST_RUN_ID - len(tail)] + tail


def _total_steps(config: CimrlConfig) -> int:
    return config.recovery_steps if config.method == "recovery" else config.total_steps


def _trained(begun: Begun, config: CimrlConfig, ctx: RunContext) -> CimrlModel:
    """Train by the config's own method alone."""
    with preparing(begun, ctx, _total_steps(config)) as recorder:
        modes = 1 if config.method == "finetune" else config.modes
        first = _cloned(begun, config, ctx, modes=modes, log=recorder.say)
    if config.method == "finetune":
        return _finetuned(begun, config, ctx, first)
    return _recovered(begun, config, ctx, first)


def _cloned(begun: Begun, config: CimrlConfig, ctx: RunContext, modes: int, log: Callable[[str], None]) -> Policy:
    """Return the imitative policy: the config's checkpoint where it has the shape, else cloned from it or the experts.

    Raises:
        TrainingError: when the checkpoint cannot be read, or has another observation.
    """
    from nightshift.driving.learn.beginnings import start_file, start_name
    from nightshift.driving.learn.checkpointing import LAST, load_for

    if begun.goes_on:
        # Of its shape is all that matters: the learner goes on with the weights that it left.
        return load_for(begun.folder.checkpoints / LAST, begun.facts.layout, proposing=True)[0]
    shape, first, facts = shape_of(config, modes), None, {}
    if config.init_from:
        home = begun.folder.home
        file, name = start_file(home, config.init_from), start_name(home, config.init_from)
        first, found = load_for(file, begun.facts.layout, name=name)
        if first.shape == shape:
            return first
        facts["init_from"] = [found.fingerprint, found.meta.get("step", 0)]
    learnt, held_back = (experts_of(begun, config, ctx, part, log=log) for part in ("train", "val"))
    if first is not None:
        # Of another shape: what it does where the experts were, it is taught to do in this one.
        learnt, held_back = distilled(first, learnt), distilled(first, held_back)
    return cloned(Cloning(begun, shape, (learnt, held_back), config, config.clone_epochs, facts), ctx, log)


def _finetuned(begun: Begun, config: CimrlConfig, ctx: RunContext, imitative: Policy) -> CimrlModel:
    def make(roads: Roads) -> FinetuneLearner:
        from nightshift.driving.imitate.finetune import FinetuneLearner

        return FinetuneLearner(
            roads, imitative, config.finetune, ppo_settings(config), seed=ctx.seed, device=ctx.device
        )

    held = train_on_world(begun, config, ctx, make, config.rollout)
    return CimrlModel(held.interface, held.policy, held.settings, "finetune")


def _recovered(begun: Begun, config: CimrlConfig, ctx: RunContext, imitative: Policy) -> CimrlModel:
    from nightshift.driving.learn.checkpointing import BEST
    from nightshift.nets.checkpoint import load

    ours = config.model_copy(
        update={
            "total_steps": config.recovery_steps,
            "num_envs": config.recovery_envs,
            # Judged as often as the other method in all.
            "eval_every_steps": max(1, config.eval_every_steps * config.recovery_steps // config.total_steps),
        }
    )
    shape: dict[str, Any] = {}

    def make(roads: Roads) -> RecoveryLearner:
        import torch

        from nightshift.driving.imitate.decider import Decider
        from nightshift.driving.imitate.recovery import RecoveryLearner
        from nightshift.nets.device import seeded

        device = torch.device(ctx.device)
        with seeded(ctx.seed, device):
            decider = Decider(_decider_shape(config, imitative))
        decider.candidates.policy.load_state_dict(imitative.state_dict())
        shape.update(decider.shape.model_dump(mode="json"))
        return RecoveryLearner(decider.to(device), roads, config.recovery, ctx.seed, at_a_time=_AT_A_TIME)

    held = train_on_world(begun, ours, ctx, make, config.recovery_envs * _AT_A_TIME)
    best = load(begun.folder.checkpoints / BEST)
    assert best is not None  # `train_on_world` has just read it
    return _recovering(held, _decider_of(shape, best.more["networks"]), None)


def _decider_shape(config: CimrlConfig, imitative: Policy) -> Any:
    from nightshift.driving.imitate.candidates import CandidateShape
    from nightshift.driving.imitate.decider import DeciderShape
    from nightshift.driving.observe import SPEED, SPEED_SCALE

    candidates = CandidateShape(
        speed_at=SPEED, speed_scale=SPEED_SCALE, accel_step=config.accel_step, steer_step=config.steer_step
    )
    return DeciderShape(
        policy=imitative.shape,
        candidates=candidates,
        hidden=config.critic_hidden,
        risk_limit=config.risk_limit,
        temperature=config.temperature,
        prior_weight=config.prior_weight,
    )


def _decider_of(shape: Mapping[str, Any], weights: Mapping[str, Any]) -> Decider:
    from nightshift.driving.imitate.decider import Decider, DeciderShape

    decider = Decider(DeciderShape.model_validate(shape))
    decider.load_state_dict(dict(weights))
    return decider.eval().requires_grad_(False)


def _recovering(held: DrivingModel, decider: Decider, other: CimrlModel | None) -> CimrlModel:
    """Return a model that drives as the whole decision does."""
    from nightshift.driving.imitate.decider import DecidingPolicy

    return CimrlModel(held.interface, DecidingPolicy(decider), held.settings, "recovery", decider, other)


def _deciding(decider: Decider) -> Any:
    """Return what a graph of the decider is told."""
    from nightshift.driving.action import LATERAL_MPS2
    from nightshift.driving.imitate import candidates
    from nightshift.driving.imitate.decider import UNSAFE
    from nightshift.graphs.deciders import Deciding

    shape, steps = decider.shape, decider.candidates
    return Deciding(
        policy=shape.policy,
        layers=len(shape.hidden) - 1,
        steps=steps.steps.double().numpy(),
        step_log_weight=steps.step_log_weight.double().numpy(),
        brakes=candidates.BRAKES,
        brake_log_weight=candidates.BRAKE_LOG_WEIGHT,
        horizons_s=candidates.HORIZONS_S,
        lateral_mps2=LATERAL_MPS2,
        tightest=candidates.TIGHTEST,
        units=(candidates.AHEAD_M, candidates.ASIDE_M, candidates.SPEED_MPS),
        temperature=shape.temperature,
        prior_weight=shape.prior_weight,
        risk_limit_logit=shape.risk_limit_logit,
        unsafe=UNSAFE,
    )
