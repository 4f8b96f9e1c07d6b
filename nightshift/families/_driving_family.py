"""What all driving families answer alike: judging in closed loop, samples, the graph and its check, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.data.groups import DRIVING, SUBJECTS
from nightshift.driving.action import LATERAL_MPS2, PURSUIT_M, PURSUIT_S, WHEELBASE_M
from nightshift.driving.bicycle import ACCEL_MAX_MPS2, ACCEL_MIN_MPS2, STEER_MAX_RAD
from nightshift.driving.made import MADE
from nightshift.driving.observe import CLIP, N_OBS, SPEED, SPEED_SCALE, WAY
from nightshift.driving.sight import AHEAD_M
from nightshift.edge.manifest import Interface
from nightshift.families._driving import DrivingConfig, DrivingModel, Floats, PolicyConfig, scenarios_of
from nightshift.family import Arrays, RunContext
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    import onnx

    from nightshift.data.dataset import Dataset
    from nightshift.graphs.policies import ActionRange

POLICY, INTERFACE, TRAINING = "policy.pt", "interface.json", "training.json"
#: Scenarios of train on which a policy is judged, at most: enough to see what it learnt by heart.
TRAIN_JUDGED = 40
#: Scenarios whose observations are samples, and rows of the check against the graph.
_SAMPLED, _PARITY_ROWS = 6, 400


class DrivingFamily:
    """What all driving families answer alike; each has a `train` of its own."""

    name: str
    config: type[PolicyConfig] = PolicyConfig
    problem = "control"
    group = "driving"
    needs: frozenset[str] = frozenset({"scenarios"})
    libraries: tuple[str, ...] = ("gymnasium", "numpy", "onnx", "stable-baselines3", "torch")
    checkpoints = True

    def predict(self, fitted: Any, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Answer with torch: `action` float32 `(n, 2)`, m/s2 and rad."""
        return {"action": fitted.answer(np.asarray(inputs["observation"], np.float32))}

    def evaluate(self, fitted: Any, data: Dataset, config: PolicyConfig, ctx: RunContext) -> Evaluation:
        """Judge policy and drivers by rule on all parts, under every model of traffic."""
        return judged_policy(fitted.answer, data, config, ctx, who=self.name)

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return what the IDM driver sees in scenarios of a part, and what it does."""
        return seen_by_rule(data, part)

    def save(self, fitted: Any, folder: Path) -> None:
        """Write policy, interface and settings."""
        save_model(fitted, folder)

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote, from our own work folder."""
        return load_model(folder)

    def export(self, fitted: Any, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: observation in, acceleration and steering out."""
        from nightshift.graphs.policies import policy_graph
        from nightshift.graphs.sequences import weights_of

        policy = fitted.policy
        return policy_graph(policy.shape, weights_of(policy.state_dict()), action_range()).build()

    def parity_inputs(self, fitted: Any, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return what is seen in scenarios of val, and observations at the edges of what can be seen."""
        return hard_observations(seen_by_rule(data, "val").inputs["observation"])

    def tolerances(self, fitted: Any) -> Mapping[str, float]:
        """Of m/s2 and rad."""
        return {"action": 1e-5}


def action_range() -> ActionRange:
    """Return what a policy's [-1, 1] stands for, for its graph."""
    from nightshift.graphs.policies import ActionRange

    places = [tuple(range(N_OBS))[where] for where, _ in WAY]
    return ActionRange(
        speed_at=SPEED,
        speed_scale=SPEED_SCALE,
        accel_max=ACCEL_MAX_MPS2,
        accel_min=ACCEL_MIN_MPS2,
        steer_max=STEER_MAX_RAD,
        way_x=places[0],
        way_y=places[1],
        way_x_scale=WAY[0][1],
        way_y_scale=WAY[1][1],
        ahead_m=AHEAD_M,
        pursuit_s=PURSUIT_S,
        pursuit_m=PURSUIT_M,
        wheelbase_m=WHEELBASE_M,
        sideways=WHEELBASE_M * LATERAL_MPS2,
    )


def judged_policy(
    answer: Callable[[Floats], Floats], data: Dataset, config: PolicyConfig, ctx: RunContext, *, who: str
) -> Evaluation:
    """Judge a policy beside the drivers by rule on all parts, under every model of traffic.

    Args:
        answer: observations to actions.
        data: set of scenarios.
        config: of the family.
        ctx: of the run.
        who: the policy's name in tables.
    """
    from nightshift.driving.bank import ScenarioBank
    from nightshift.driving.drivers import PolicyDriver
    from nightshift.driving.rollout import measured, rivals
    from nightshift.problems import control_judge

    bank, parts = ScenarioBank.open(data), {}
    for done, part in enumerate(data.parts):
        ctx.step(done, len(data.parts), part)
        chosen = scenarios_of(bank, part, config, TRAIN_JUDGED if part == "train" else 0)
        model = measured(PolicyDriver(answer), who, "model", chosen, seed=ctx.seed)
        parts[part] = [model, *rivals(chosen, seed=ctx.seed)]
    judged = control_judge.evaluation(parts)
    found = control_judge.findings(
        judged, max_gap=config.max_gap, wanted=config.wanted, try_next=try_next(who, config, data)
    )
    return judged.model_copy(update={"findings": [*judged.findings, *found]})


def try_next(family: str, config: PolicyConfig, data: Dataset) -> str:
    """Say what makes a better policy: more steps, more scenarios to learn from, a better beginning."""
    name = "total_steps" if isinstance(config, DrivingConfig) else "epochs"
    longer = f"`nightshift train {family} --{name.replace('_', '-')} {2 * getattr(config, name)}`"
    begin = ""
    if family in ("bc", "gail"):
        begin = f", or let reward go on from it (`train cimrl --init-from {config.run_id or 'RUN'}`)"
    elif family in ("ppo", "sac") and not config.init_from:
        begin = ", or begin with a policy that was cloned (`train bc`, then `train cimrl --init-from` with its run)"
    return f"Try {longer}, {_more_scenarios(data)}{begin}."


def _more_scenarios(data: Dataset) -> str:
    origin = data.metadata.provenance
    count, kinds = origin.details.get("scenarios"), origin.details.get("kinds")
    if origin.kind != "synthetic" or not isinstance(count, int) or not isinstance(kinds, list):
        return "more recordings"
    named = "" if len(kinds) == len(MADE) else f" --kinds {','.join(kinds)}"
    named += "" if data.subject == SUBJECTS[DRIVING] else f" --id {data.subject}"
    return f"more scenarios (`nightshift simulate driving{named} --scenarios {2 * count}`)"


def seen_by_rule(data: Dataset, part: str) -> Samples:
    """Return what the IDM driver sees in some scenarios of a part, and what it does, row by row."""
    from nightshift.driving.bank import ScenarioBank
    from nightshift.driving.drivers import IdmDriver
    from nightshift.driving.rollout import drive, traffic_for

    chosen = ScenarioBank.open(data).scenarios(part, at_most=_SAMPLED)
    histories = drive(IdmDriver(), chosen, traffic=traffic_for(chosen)[0], observations=True)
    rows = [len(h.observation) for h in histories]
    return Samples(
        inputs={"observation": np.concatenate([h.observation for h in histories])},
        truth={"action": np.concatenate([h.action for h in histories]).astype(np.float32)},
        unit=np.repeat(np.array([h.scenario.name for h in histories], dtype=np.str_), rows),
        time=np.full(sum(rows), np.nan),
    )


def hard_observations(seen: Floats) -> dict[str, NDArray[Any]]:
    """Return real observations, and such as stand at the edges of what can be seen, with what each is there for."""
    from nightshift.graphs.parity import EXTREMES, CasedInputs

    real = seen[:: max(1, len(seen) // _PARITY_ROWS)]
    rng = np.random.default_rng(0)
    few = real[rng.integers(0, len(real), 64)]
    # Full lock is another angle from 1 m/s on, and less than the wheels' own from about 4.5 m/s on.
    turns = np.concatenate([np.linspace(0.0, 6.0, len(few) // 2), np.linspace(6.0, 60.0, len(few) - len(few) // 2)])
    at_speeds = few.copy()
    at_speeds[:, SPEED] = turns / SPEED_SCALE
    endless, extreme = few.copy(), few.copy()
    places = rng.integers(0, few.shape[1], len(few))
    endless[np.arange(len(few)), places] = rng.choice(np.array([np.inf, -np.inf, np.nan], np.float32), len(few))
    extreme[np.arange(len(few)), places] = EXTREMES[np.arange(len(few)) % len(EXTREMES)]
    # Read twice, by the network and for the steering's limit.
    speeds = few.copy()
    speeds[:, SPEED] = np.resize(np.array([np.nan, np.inf, -np.inf, *EXTREMES], np.float32), len(few))
    cases = {
        "real": real,
        "at any speed": at_speeds,
        "speed unknown or extreme": speeds,
        "anything": rng.uniform(-CLIP, CLIP, few.shape).astype(np.float32),
        "at the clip": rng.choice(np.array([-CLIP, CLIP], np.float32), few.shape),
        "infinite": endless,
        "extreme": extreme,
    }
    rows = np.concatenate(list(cases.values())).astype(np.float32)
    return CasedInputs({"observation": rows}, np.repeat(np.array(list(cases)), [len(c) for c in cases.values()]))


def save_model(fitted: DrivingModel, folder: Path) -> None:
    """Write policy, interface and settings."""
    from nightshift.driving.observe import fingerprint as layout
    from nightshift.nets.policy import save_policy

    folder.mkdir(parents=True, exist_ok=True)
    save_policy(folder / POLICY, fitted.policy, {"layout": layout()})
    (folder / INTERFACE).write_text(fitted.interface.model_dump_json(indent=1), encoding="utf-8")
    (folder / TRAINING).write_text(json.dumps(fitted.settings, indent=1), encoding="utf-8")


def load_model(folder: Path) -> DrivingModel:
    """Read what `save_model` wrote.

    Raises:
        TrainingError: for a policy that cannot be read, or of another observation.
    """
    from nightshift.driving.learn.checkpointing import load_for
    from nightshift.driving.observe import fingerprint as layout

    policy, _ = load_for(folder / POLICY, layout())
    return DrivingModel(
        interface=Interface.model_validate_json((folder / INTERFACE).read_bytes()),
        policy=policy.eval().requires_grad_(False),
        settings=json.loads((folder / TRAINING).read_text(encoding="utf-8")),
    )
