"""The recovery method as one ONNX graph: candidates, their plans, both critics, the limit of risk, the way out.

The decision is worked out in double precision: what is a close call in float32 would fall otherwise now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.graphs.build import ELEMENT_TYPES, Graph
from nightshift.graphs.policies import ActionRange, action_graph, add_mlp
from nightshift.graphs.policies import linear as add_linear
from nightshift.graphs.sequences import Weights
from nightshift.nets.policy import PolicyShape

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Deciding:
    """What a decider does with its weights; see `driving.imitate.decider` and `candidates`, which do the same.

    Attributes:
        policy: shape of the imitative mixture; its weights' names begin with `candidates.policy.`.
        layers: hidden layers of each critic, the first one left out.
        steps: `(j, 2)` departures from each mode.
        step_log_weight: `(j,)` of these.
        brakes: squashed accelerations that brake.
        brake_log_weight: of these.
        horizons_s: at which a plan is told.
        lateral_mps2, tightest: most acceleration sideways, m/s2, and most curvature, 1/m.
        units: metres ahead, metres aside, and m/s of a 1 in a plan.
        temperature, prior_weight: of the task policy.
        risk_limit_logit: a candidate above it is not safe.
        unsafe: about which unsafe candidates are ordered.
    """

    policy: PolicyShape
    layers: int
    steps: Doubles
    step_log_weight: Doubles
    brakes: Sequence[float]
    brake_log_weight: float
    horizons_s: Sequence[float]
    lateral_mps2: float
    tightest: float
    units: tuple[float, float, float]
    temperature: float
    prior_weight: float
    risk_limit_logit: float
    unsafe: float


def decider_graph(shape: Deciding, weights: Weights, action: ActionRange, *, batch: int | str = "batch") -> Graph:
    """Write `driving.imitate.decider.Decider`: `observation` to `action` float32 `(batch, 2)`, m/s2 and rad.

    Args:
        shape: of the decider.
        weights: its state dict as arrays.
        action: what squashed actions stand for.
        batch: a number for a graph of static shapes.
    """

    def answer(graph: Graph, known: str) -> str:
        return _Decision(graph, shape, weights, action).taken(known)

    return action_graph("decider", shape.policy, action, answer, batch)


class _Decision:
    """Adds the nodes; everything between the observation and the action is double."""

    def __init__(self, graph: Graph, shape: Deciding, weights: Weights, action: ActionRange) -> None:
        self.graph, self.shape, self.action = graph, shape, action
        self.weights: dict[str, Any] = {name: np.asarray(values, np.float64) for name, values in weights.items()}

    def taken(self, known: str) -> str:
        """Return the squashed action, float32 `(batch, 2)`."""
        graph, shape = self.graph, self.shape
        seen = graph.add("Cast", known, to=ELEMENT_TYPES["float64"])
        action, log_weight = self.candidates(seen)
        plan = self.plan(seen, action)
        task = graph.add("Min", *(self.critic(seen, plan, f"task.critics.{i}") for i in range(2)))
        risk = graph.add("Max", *(self.critic(seen, plan, f"risk.critics.{i}") for i in range(2)))
        score = graph.add("Div", task, self.number(shape.temperature))
        score = graph.add("Add", score, graph.add("Mul", log_weight, self.number(shape.prior_weight)))
        safe = graph.add("LessOrEqual", risk, self.number(shape.risk_limit_logit))
        score = graph.add("Where", safe, score, graph.add("Sub", self.number(shape.unsafe), risk))
        best = graph.add("ArgMax", score, axis=1, keepdims=1)
        return graph.add("Cast", self.at(action, best), to=ELEMENT_TYPES["float32"])

    def candidates(self, seen: str) -> tuple[str, str]:
        """Return squashed actions `(batch, k, 2)` and their log weights `(batch, k)`."""
        graph, shape = self.graph, self.shape
        modes, n_brakes = shape.policy.components, len(shape.brakes)
        # Told in figures: no size follows from the others where the batch is empty.
        own = modes * len(shape.steps)
        policy = {n.removeprefix("candidates.policy."): w for n, w in self.weights.items() if "policy." in n}
        hidden = add_mlp(graph, seen, "trunk", len(shape.policy.hidden), shape.policy.activation, policy)
        mean = graph.add("Tanh", add_linear(graph, hidden, "mean", policy))
        mean = graph.add("Reshape", mean, graph.const([0, modes, 2], "int64"))
        logits = add_linear(graph, hidden, "logits", policy)
        apart = graph.add("Add", self.unsqueezed(mean, 2), graph.const(shape.steps[None, None]))
        apart = graph.add("Reshape", self.clipped(apart, -1.0, 1.0), graph.const([0, own, 2], "int64"))
        heaviest = self.at(mean, graph.add("ArgMax", logits, axis=1, keepdims=1))
        wheel = self.unsqueezed(graph.add("Gather", heaviest, graph.const([1], "int64"), axis=1), 2)
        wheel = graph.add("Mul", wheel, graph.const(np.ones((1, n_brakes, 1))))
        brakes = np.asarray(shape.brakes, np.float64)[None, :, None]
        pedal = graph.add("Add", graph.add("Mul", wheel, self.number(0.0)), graph.const(brakes))
        action = graph.add("Concat", apart, graph.add("Concat", pedal, wheel, axis=2), axis=1)
        log_weight = self.unsqueezed(graph.add("LogSoftmax", logits, axis=1), 2)
        log_weight = graph.add("Add", log_weight, graph.const(shape.step_log_weight[None, None]))
        log_weight = graph.add("Reshape", log_weight, graph.const([0, own], "int64"))
        rare = graph.add("Squeeze", graph.add("Mul", wheel, self.number(0.0)), graph.const([2], "int64"))
        rare = graph.add("Add", rare, self.number(shape.brake_log_weight))
        return action, graph.add("Concat", log_weight, rare, axis=1)

    def plan(self, seen: str, action: str) -> str:
        """Return `(batch, k, PLAN)`; see `candidates.plan_of`."""
        graph, shape, number = self.graph, self.shape, self.number
        speed = graph.add("Gather", seen, graph.const([self.action.speed_at], "int64"), axis=1)
        speed = graph.add("Mul", speed, number(self.action.speed_scale))
        pedal, wheel = (graph.add("Gather", action, graph.const(i, "int64"), axis=2) for i in (0, 1))
        gas = graph.add("Mul", graph.add("Max", pedal, number(0.0)), number(self.action.accel_max))
        brake = graph.add("Mul", graph.add("Min", pedal, number(0.0)), number(self.action.accel_min))
        accel = graph.add("Sub", gas, brake)
        fast = graph.add("Max", speed, number(1.0))
        tight = graph.add("Div", number(shape.lateral_mps2), graph.add("Mul", fast, fast))
        curvature = graph.add("Mul", wheel, graph.add("Min", tight, number(shape.tightest)))
        stands_s = graph.add("Div", speed, graph.add("Max", graph.add("Neg", accel), number(1e-3)))
        braking = graph.add("Less", accel, number(0.0))
        told = [action]
        for horizon_s in shape.horizons_s:
            end = graph.add("Add", speed, graph.add("Mul", accel, number(horizon_s)))
            end = graph.add("Max", end, number(0.0))
            until = graph.add("Min", stands_s, number(horizon_s))
            seconds = graph.add("Where", braking, until, number(horizon_s))
            metres = graph.add("Mul", graph.add("Mul", number(0.5), graph.add("Add", speed, end)), seconds)
            turn = self.clipped(graph.add("Mul", curvature, metres), -np.pi, np.pi)
            half = graph.add("Mul", turn, number(0.5))
            ahead = graph.add("Mul", metres, graph.add("Cos", half))
            aside = graph.add("Mul", metres, graph.add("Sin", half))
            parts = zip((ahead, aside, end), shape.units, strict=True)
            told += [self.unsqueezed(graph.add("Div", part, number(unit)), 2) for part, unit in parts]
        return graph.add("Concat", *told, axis=2)

    def critic(self, seen: str, plan: str, name: str) -> str:
        """Return `(batch, k)`, of the risk before its sigmoid."""
        graph = self.graph
        value = self.unsqueezed(add_linear(graph, seen, f"{name}.seen", self.weights), 1)
        value = graph.add("Add", value, self.times(plan, f"{name}.planned"))
        value = graph.add("Relu", value)
        for i in range(self.shape.layers):
            value = self.times(value, f"{name}.layers.{i}")
            value = graph.add("Relu", graph.add("Add", value, graph.const(self.weights[f"{name}.layers.{i}.bias"])))
        value = self.times(value, f"{name}.answer")
        value = graph.add("Add", value, graph.const(self.weights[f"{name}.answer.bias"]))
        return graph.add("Squeeze", value, graph.const([2], "int64"))

    def times(self, value: str, name: str) -> str:
        return self.graph.add("MatMul", value, self.graph.const(self.weights[f"{name}.weight"].T))

    def at(self, values: str, place: str) -> str:
        """Return row `place` `(batch, 1)` of each `(batch, k, 2)`, `(batch, 2)`."""
        graph = self.graph
        index = graph.add("Tile", self.unsqueezed(place, 2), graph.const([1, 1, 2], "int64"))
        return graph.add("Squeeze", graph.add("GatherElements", values, index, axis=1), graph.const([1], "int64"))

    def unsqueezed(self, value: str, axis: int) -> str:
        return self.graph.add("Unsqueeze", value, self.graph.const([axis], "int64"))

    def clipped(self, value: str, low: float, high: float) -> str:
        return self.graph.add("Min", self.graph.add("Max", value, self.number(low)), self.number(high))

    def number(self, value: float) -> str:
        return self.graph.const(value, "float64")
