"""What the driving families share: settings, scenarios, the run that a training is, judging, export and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from nightshift.driving.action import ACTIONS
from nightshift.driving.observe import CLIP, LAYOUT
from nightshift.driving.reward import RewardSettings
from nightshift.driving.runs import RUN_ID
from nightshift.driving.scenario import Kind
from nightshift.edge.manifest import Column, Interface, Output
from nightshift.family import FamilyConfig, RunContext
from nightshift.findings import finding

if TYPE_CHECKING:
    from nightshift.data.dataset import Dataset
    from nightshift.driving.bank import ScenarioBank
    from nightshift.driving.learn.checkpointing import RunFacts
    from nightshift.driving.learn.evaluation import ClosedLoop
    from nightshift.driving.learn.field import Field as Roads
    from nightshift.driving.learn.loop import Learned, Learner
    from nightshift.driving.learn.recorder import RunRecorder
    from nightshift.driving.learn.spent import Spent
    from nightshift.driving.runs import RunFile, RunFolder
    from nightshift.driving.scenario import Scenario
    from nightshift.nets.policy import Policy, PolicyShape

Floats = NDArray[np.float32]

Head = Literal["gaussian", "squashed"]
Activation = Literal["tanh", "relu"]

#: That compute. Networks this small are as fast with one as with two, which besides wait for each other where the
#: processor is busy; and a run that goes on where there are more cores ends with the same weights.
THREADS = 1
#: What a run's checkpoints may differ in and still be the same training's.
_NO_MATTER = frozenset({"device", "init_from", "margin", "max_gap", "mute", "pictures", "preset", "run_id", "wanted"})


class PolicyConfig(FamilyConfig):
    """What every driving family can be told, however it learns.

    A preset gives values to what is not set otherwise; see `PRESETS`. In a cell, `init_from` holds its content's hash
    (`driving.learn.beginnings`).

    Attributes:
        preset: `quick`, `fast` or `standard`: steps, environments and a ceiling of the time, where those are not given.
        eval_scenarios: of validation that an evaluation drives, at most.
        kinds: of scenarios to train on and be judged on; empty = all of the set's.
        traffic: model of the other cars while it learns; `auto`: `idm`, or `log_reactive` for recorded scenarios.
        run_id: name of the run; "" is the algorithm and the cell's key.
        init_from: checkpoint of a run whose policy it begins with: a file, or the run's id for its `best.pt`.
        hidden: units of each hidden layer, of the policy and of its critics.
        pictures: whether an episode of each evaluation is drawn.
    """

    presets: ClassVar[tuple[str, ...]] = ("quick", "fast", "standard")
    #: preset -> values of settings that are not given.
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    preset: str = "standard"
    eval_scenarios: int = Field(default=48, ge=1)
    kinds: tuple[str, ...] = ()
    traffic: Literal["auto", "idm", "gipps", "log", "log_reactive"] = "auto"
    run_id: str = ""
    init_from: str = ""
    hidden: tuple[int, ...] = (128, 128)
    pictures: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        name = given.get("preset", cls.model_fields["preset"].default)
        return {**cls.PRESETS.get(str(name), {}), **given}

    @field_validator("run_id")
    @classmethod
    def _is_run_id(cls, name: str) -> str:
        if name and not RUN_ID.fullmatch(name):
            raise ValueError(f"'{name[:80]}' is no run id: letters, digits, `_`, `-` and `.`, up to 64, e.g. ppo_v1")
        return name

    @field_validator("hidden")
    @classmethod
    def _has_layers(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or min(widths) < 1:
            raise ValueError(f"hidden layers have one unit or more, and there is one at least, got {list(widths)}")
        return widths


class DrivingConfig(PolicyConfig):
    """What every family can be told that learns by driving.

    Attributes:
        num_envs: environments that are driven side by side.
        total_steps: steps of all environments together.
        eval_every_steps: between evaluations on validation scenarios; each leaves a checkpoint and a picture.
        often: kind of scenario -> how often one is driven beside those of kinds that are not named: junctions are where
            there is more to learn.
        midway: share of the episodes that begin somewhere on the way of the IDM driver, not where the scenario starts.
        reward: what a step is worth.
        learning_rate: of the optimiser.
        gamma: what a reward one step later is worth.
        batch_size: transitions of a minibatch: behind one step of the optimiser, not of a rollout.
        checkpoint_every_s: between checkpoints.
    """

    num_envs: int = Field(default=8, ge=1)
    total_steps: int = Field(default=1_000_000, ge=1)
    eval_every_steps: int = Field(default=250_000, ge=1)
    often: dict[str, float] = Field(default_factory=lambda: {"merge": 2.0, "roundabout": 4.0, "intersection": 4.0})
    midway: float = Field(default=0.5, ge=0, le=1)
    reward: RewardSettings = Field(default_factory=RewardSettings)
    learning_rate: float = Field(default=3e-4, gt=0)
    gamma: float = Field(default=0.99, gt=0, le=1)
    batch_size: int = Field(default=2048, ge=2)
    checkpoint_every_s: float = Field(default=30.0, ge=0)

    @field_validator("often")
    @classmethod
    def _names_kinds(cls, often: dict[str, float]) -> dict[str, float]:
        for kind, weight in often.items():
            if kind not in get_args(Kind):
                raise ValueError(f"'{kind[:80]}' is no kind of scenario: {', '.join(get_args(Kind))}")
            if not 0.0 <= weight <= 1e3:
                raise ValueError(f"a kind is driven 0 to 1,000 times as often as others, got {kind} {weight:g}")
        return often


@dataclass(frozen=True)
class DrivingModel:
    """A trained policy.

    Attributes:
        interface: what goes in and comes out.
        policy: on the CPU, in eval mode.
        settings: the config's scalars, and what training chose.
    """

    interface: Interface
    policy: Policy
    settings: dict[str, Any]

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        return self.settings

    def answer(self, observation: Floats) -> Floats:
        """Return `(n, 2)` acceleration in m/s2 and steering in rad for observations `(n, N_OBS)`."""
        from nightshift.driving.learn.evaluation import answer_of

        return answer_of(self.policy)(observation)


@dataclass(frozen=True)
class Begun:
    """A training that has its run: begun now, or going on.

    Attributes:
        bank: of scenarios.
        folder, file: of the run.
        facts: what its checkpoints say of it.
        traffic: model that it learns in.
        spent: before its loop: on watching experts, cloning them, and driving by rule.
    """

    bank: ScenarioBank
    folder: RunFolder
    file: RunFile
    facts: RunFacts
    traffic: str
    spent: Spent

    @property
    def goes_on(self) -> bool:
        """Whether it has left a checkpoint to go on from."""
        from nightshift.driving.learn.checkpointing import LAST

        return (self.folder.checkpoints / LAST).is_file()


def begin(algorithm: str, data: Dataset, config: PolicyConfig, ctx: RunContext) -> Begun:
    """Claim the run of a training.

    Args:
        algorithm: name of the family.
        data: set of scenarios.
        config: of the family.
        ctx: of the run.

    Raises:
        UsageError: when a run of this id exists.
        DataError: for data that hold no scenarios.
    """
    from nightshift.driving.bank import ScenarioBank
    from nightshift.driving.learn.checkpointing import RunFacts
    from nightshift.driving.learn.recorder import claim, free_id, now
    from nightshift.driving.learn.spent import SPENT_FILE, Spent
    from nightshift.driving.observe import fingerprint as layout
    from nightshift.driving.rollout import MADE_TRAFFIC, RECORDED_TRAFFIC
    from nightshift.driving.runs import RunFile, RunFolder
    from nightshift.nets.checkpoint import fingerprint
    from nightshift.settings import home

    bank, marker = ScenarioBank.open(data), ctx.checkpoints / "run_id"
    folder = RunFolder(home(), config.run_id or f"{algorithm}-{ctx.cell[:8]}")
    if not config.run_id:
        folder = free_id(folder, marker)
    resolved = config.model_dump(mode="json")
    follows_from = {
        "algorithm": algorithm,
        "config": {name: value for name, value in resolved.items() if name not in _NO_MATTER},
        "dataset": data.fingerprint,
        "layout": layout(),
    }
    file = RunFile(
        run_id=folder.run_id,
        algorithm=algorithm,
        subject=data.subject,
        dataset=data.fingerprint,
        cell=ctx.cell,
        config=resolved,
        observation=layout(),
        started_at=now(),
    )
    claim(folder, file, marker)
    traffic = config.traffic if config.traffic != "auto" else (RECORDED_TRAFFIC if bank.recorded else MADE_TRAFFIC)[0]
    facts = RunFacts(algorithm, layout(), fingerprint(follows_from), follows_from)
    return Begun(bank, folder, file, facts, traffic, Spent(ctx.checkpoints / SPENT_FILE))


def scenarios_of(bank: ScenarioBank, part: str, config: PolicyConfig, at_most: int = 0) -> tuple[Scenario, ...]:
    """Return a part's scenarios of the config's kinds, spread over the part where there are more than `at_most`.

    Raises:
        UnknownNameError: for a kind that the set does not have.
    """
    return bank.scenarios(part, config.kinds or None, at_most)


def shape_of(
    config: PolicyConfig, modes: int = 1, *, head: Head = "gaussian", activation: Activation = "tanh"
) -> PolicyShape:
    """Return the shape of a config's policy; a mixture where it has more than one mode."""
    from nightshift.nets.policy import PolicyShape

    return PolicyShape(
        observation=len(LAYOUT),
        hidden=config.hidden,
        activation=activation,
        head=head if modes == 1 else "mixture",
        components=modes,
    )


def beginning(config: PolicyConfig, begun: Begun, shape: PolicyShape) -> Policy | None:
    """Return the policy that the config begins with; None where it begins anew, or goes on: `last.pt` has all of it.

    Raises:
        TrainingError: when it cannot be read, or has another observation or shape.
    """
    from nightshift.driving.learn.beginnings import start_file, start_name
    from nightshift.driving.learn.checkpointing import load_for
    from nightshift.nets.policy import same_shape

    if not config.init_from or begun.goes_on:
        return None
    home, name = begun.folder.home, start_name(begun.folder.home, config.init_from)
    policy, _ = load_for(start_file(home, config.init_from), begun.facts.layout, name=name)
    return same_shape(policy, shape, name)


def recorder_of(begun: Begun, ctx: RunContext, total_steps: int, rows: int) -> RunRecorder:
    """Return what writes the run down; to be entered."""
    from nightshift.driving.learn.recorder import RunRecorder

    return RunRecorder(
        begun.folder, begun.file, total_steps=total_steps, total_rows=rows, device=ctx.device, tell=ctx.epoch
    )


def judge_of(begun: Begun, config: PolicyConfig, ctx: RunContext, recorder: RunRecorder) -> ClosedLoop:
    """Return what judges a run's policies on scenarios of validation, and tell how drivers by rule do there."""
    from nightshift.driving.learn.evaluation import ClosedLoop
    from nightshift.driving.learn.rivals import rivals_on, sentence

    held_back = scenarios_of(begun.bank, "val", config, config.eval_scenarios)
    with begun.spent.during("rivals"):
        recorder.rivals = rivals_on(
            held_back,
            traffic=begun.traffic,
            seed=ctx.seed,
            dataset=begun.file.dataset,
            folder=begun.folder.checkpoints,
        )
    line = sentence(recorder.rivals)
    recorder.say(line)
    ctx.say(0, recorder.total_rows, line)
    return ClosedLoop(held_back, traffic=begun.traffic, seed=ctx.seed, pictures=config.pictures)


def train_on_world(
    begun: Begun,
    config: DrivingConfig,
    ctx: RunContext,
    make: Callable[[Roads], Learner],
    at_a_time: int,
) -> DrivingModel:
    """Train a learner on the world's training scenarios, judged on those of validation.

    Args:
        begun: its run.
        config: of the family.
        ctx: of the run.
        make: environments -> learner.
        at_a_time: steps of one `advance` of it.

    Raises:
        InterruptedTraining: when asked to stop; the next call goes on.
        TrainingError: for a loss that is no number, or a checkpoint that cannot be used.
    """
    from nightshift.driving.learn.loop import LoopPlan, learn, row_steps
    from nightshift.driving.learn.world_field import WorldField
    from nightshift.families._driving_roads import roads_of
    from nightshift.nets.device import threads

    rows_apart = row_steps(config.total_steps, at_a_time)
    rows = -(-config.total_steps // rows_apart)
    with (
        threads(THREADS),
        recorder_of(begun, ctx, config.total_steps, rows) as recorder,
    ):
        world = roads_of(begun, config, ctx, rows)
        judge = judge_of(begun, config, ctx, recorder)
        plan = LoopPlan(
            total_steps=config.total_steps,
            eval_every_steps=config.eval_every_steps,
            row_steps=rows_apart,
            checkpoint_every_s=config.checkpoint_every_s,
            time_limit_s=ctx.time_limit_s - begun.spent.seconds(),
        )
        learned = learn(make(WorldField(world)), plan, judge, recorder, begun.facts, ctx.should_stop)
    _note_time(learned, begun, config, ctx)
    chose = {
        "steps_driven": learned.steps,
        "best_step": learned.step,
        "best_val_score": learned.score,
        "trained_s": learned.seconds + begun.spent.seconds(),
    }
    return DrivingModel(policy_interface(), learned.policy, settings_of(config, begun, chose))


def _note_time(learned: Learned, begun: Begun, config: DrivingConfig, ctx: RunContext) -> None:
    if learned.over_time:
        before = begun.spent.seconds()
        what = f"{learned.steps:,} of {config.total_steps:,} steps were driven in {learned.seconds + before:,.0f} s"
        what += f", {before:,.0f} s of it before the first." if before >= 1.0 else "."
        remedy = f"Raise time_limit_s={ctx.time_limit_s:g}, or lower total_steps={config.total_steps}."
        ctx.note(finding("T020", what, remedy=remedy))


def settings_of(config: PolicyConfig, begun: Begun, chose: Mapping[str, float]) -> dict[str, Any]:
    """Return what MLflow keeps as parameters: the scalar settings, and what training chose."""
    dumped = config.model_dump(mode="json")
    scalars = {name: value for name, value in dumped.items() if isinstance(value, str | int | float | bool)}
    hidden = "x".join(str(n) for n in config.hidden)
    return {**scalars, "hidden": hidden, "run_id": begun.folder.run_id, "traffic": begun.traffic, **chose}


def policy_interface() -> Interface:
    """Return what goes into a policy and comes out of it."""
    columns = tuple(
        Column(name=e.name, unit=f"{e.scale:g} {e.unit}" if e.unit else "", minimum=-CLIP, maximum=CLIP) for e in LAYOUT
    )
    units = ", ".join(unit for _, unit in ACTIONS)
    meaning = "acceleration (m/s2, positive speeds up) and angle of the front wheels (rad, positive to the left)"
    return Interface(
        columns=columns,
        window_rows=1,
        takes="observation",
        actions=tuple(name for name, _ in ACTIONS),
        outputs=(Output(name="action", dtype="float32", shape=("batch", 2), unit=units, meaning=meaning),),
    )
