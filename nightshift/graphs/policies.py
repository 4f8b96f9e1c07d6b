"""Driving policies as ONNX graphs, written from their weights: raw observation in, acceleration and steering out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nightshift.graphs.build import Graph
from nightshift.graphs.sequences import Weights
from nightshift.nets.policy import LIMIT, PolicyShape


@dataclass(frozen=True)
class ActionRange:
    """What [-1, 1] stands for; see `driving/action.py`, which does the same on arrays.

    Attributes:
        speed_at, speed_scale: place of the ego's speed in the observation, and the m/s of a 1 there.
        accel_max, accel_min: m/s2 of 1 and of -1.
        steer_max: rad at most.
        way_x, way_y: places of the route's points ahead in the observation.
        way_x_scale, way_y_scale: m of a 1 there.
        ahead_m: how far along the route they lie.
        pursuit_s, pursuit_m: who follows the route steers for its point so long ahead, and at least so far.
        wheelbase_m: of the car.
        sideways: wheelbase in m times the acceleration sideways in m/s2 that full lock may cause.
    """

    speed_at: int
    speed_scale: float
    accel_max: float
    accel_min: float
    steer_max: float
    way_x: tuple[int, ...]
    way_y: tuple[int, ...]
    way_x_scale: float
    way_y_scale: float
    ahead_m: tuple[float, ...]
    pursuit_s: float
    pursuit_m: float
    wheelbase_m: float
    sideways: float


def policy_graph(shape: PolicyShape, weights: Weights, action: ActionRange, *, batch: int | str = "batch") -> Graph:
    """Write `nets.policy.Policy` and what its answer stands for: `observation` to `action` float32 `(batch, 2)`.

    Args:
        shape: of the weights.
        weights: its state dict as arrays.
        action: what the answer stands for.
        batch: a number for a graph of static shapes.
    """
    return action_graph("policy", shape, action, lambda graph, known: add_policy(graph, known, shape, weights), batch)


def action_graph(
    name: str, shape: PolicyShape, action: ActionRange, answer: Callable[[Graph, str], str], batch: int | str
) -> Graph:
    """Write what is around any decision in [-1, 1]: `observation`, what is known of it, and the physical `action`.

    Args:
        name: of the graph.
        shape: numbers of an observation and of an action.
        action: what the answer stands for.
        answer: adds the decision, from the known observation to `(batch, actions)` in [-1, 1].
        batch: a number for a graph of static shapes.
    """
    graph = Graph(name)
    observation = graph.input("observation", "float32", (batch, shape.observation))
    known = add_known(graph, observation)
    asked = add_physical(graph, answer(graph, known), observation, known, action)
    graph.output(asked, "action", "float32", (batch, shape.actions))
    return graph


def add_known(graph: Graph, observation: str) -> str:
    """Add `nets.policy.known`: what is missing or endless becomes 0, what is beyond any scale is cut off."""
    finite = graph.add("LessOrEqual", graph.add("Abs", observation), _number(graph, float(np.finfo(np.float32).max)))
    return clipped(graph, graph.add("Where", finite, observation, _number(graph, 0.0)), -LIMIT, LIMIT)


def add_policy(graph: Graph, observation: str, shape: PolicyShape, weights: Weights) -> str:
    """Add `Policy.forward` behind `known`: `(batch, observation)` to `(batch, actions)` in [-1, 1]."""
    hidden = add_mlp(graph, observation, "trunk", len(shape.hidden), shape.activation, weights)
    mean = linear(graph, hidden, "mean", weights)
    if shape.head == "gaussian":
        return clipped(graph, mean, -1.0, 1.0)
    mean = graph.add("Tanh", mean)
    if shape.head == "squashed":
        return mean
    heaviest = graph.add("ArgMax", linear(graph, hidden, "logits", weights), axis=1, keepdims=1)
    # Gathered along the components: (batch, k, actions) at (batch, 1, actions).
    components = graph.add("Reshape", mean, graph.const([0, shape.components, shape.actions], "int64"))
    place = graph.add("Unsqueeze", heaviest, graph.const([2], "int64"))
    place = graph.add("Tile", place, graph.const([1, 1, shape.actions], "int64"))
    chosen = graph.add("GatherElements", components, place, axis=1)
    return graph.add("Squeeze", chosen, graph.const([1], "int64"))


def add_physical(graph: Graph, squashed: str, observation: str, known: str, action: ActionRange) -> str:
    """Add `driving.action.physical`: `(batch, 2)` in [-1, 1] to acceleration in m/s2 and steering in rad.

    Args:
        graph: to add to.
        squashed: `(batch, 2)`.
        observation: as it comes in, not what `add_known` makes of it: an unknown speed would be 0 there, which allows
            full lock. What is missing, endless or beyond any scale counts as fast here.
        known: what `add_known` makes of it.
        action: what the answer stands for.
    """
    squashed = clipped(graph, squashed, -1.0, 1.0)
    pedal, wheel = (graph.add("Gather", squashed, graph.const([i], "int64"), axis=1) for i in (0, 1))
    gas = graph.add("Mul", graph.add("Max", pedal, _number(graph, 0.0)), _number(graph, action.accel_max))
    brake = graph.add("Mul", graph.add("Min", pedal, _number(graph, 0.0)), _number(graph, action.accel_min))
    seen = graph.add("Gather", observation, graph.const([action.speed_at], "int64"), axis=1)
    sound = graph.add("LessOrEqual", graph.add("Abs", seen), _number(graph, LIMIT))
    seen = graph.add("Where", sound, seen, _number(graph, LIMIT))
    speed = graph.add("Mul", seen, _number(graph, action.speed_scale))
    fast = graph.add("Max", speed, _number(graph, 1.0))
    held = graph.add("Atan", graph.add("Div", _number(graph, action.sideways), graph.add("Mul", fast, fast)))
    lock = graph.add("Min", held, _number(graph, action.steer_max))
    steer = graph.add("Add", _route_steer(graph, known, speed, action), graph.add("Mul", wheel, lock))
    steer = graph.add("Min", graph.add("Max", steer, graph.add("Neg", lock)), lock)
    return graph.add("Concat", graph.add("Sub", gas, brake), steer, axis=1)


def _route_steer(graph: Graph, known: str, speed: str, action: ActionRange) -> str:
    """Add `driving.action.route_steer`: `(batch, 1)` rad."""
    far = graph.add("Mul", speed, _number(graph, action.pursuit_s))
    far = clipped(graph, far, action.pursuit_m, action.ahead_m[-1])
    metres = np.array(action.ahead_m, np.float32)
    share = graph.add("Mul", graph.add("Sub", far, graph.const(metres[:-1])), graph.const(1.0 / np.diff(metres)))
    share = clipped(graph, share, 0.0, 1.0)
    x, y = (
        _between(graph, graph.add("Mul", graph.add("Gather", known, places, axis=1), _number(graph, scale)), share)
        for places, scale in (
            (graph.const(list(action.way_x), "int64"), action.way_x_scale),
            (graph.const(list(action.way_y), "int64"), action.way_y_scale),
        )
    )
    square = graph.add("Add", graph.add("Mul", x, x), graph.add("Mul", y, y))
    bend = graph.add("Div", y, graph.add("Max", square, _number(graph, 1.0)))
    return graph.add("Atan", graph.add("Mul", bend, _number(graph, 2.0 * action.wheelbase_m)))


def _between(graph: Graph, points: str, share: str) -> str:
    """Add the first of `(batch, n)` points and a share of each step to the next: `(batch, 1)`."""
    first = graph.add("Gather", points, graph.const([0], "int64"), axis=1)
    beyond = graph.add("Slice", points, *(graph.const([n], "int64") for n in (1, 2**31 - 1, 1)))
    before = graph.add("Slice", points, *(graph.const([n], "int64") for n in (0, -1, 1)))
    steps = graph.add("Mul", share, graph.add("Sub", beyond, before))
    return graph.add("Add", first, graph.add("ReduceSum", steps, graph.const([1], "int64"), keepdims=1))


def add_mlp(graph: Graph, value: str, name: str, layers: int, activation: str, weights: Weights) -> str:
    """Add `nets.policy.mlp`: linear layers with an activation behind each."""
    for i in range(layers):
        # Each is followed by its activation in the Sequential, so that they have the even numbers.
        value = linear(graph, value, f"{name}.{2 * i}", weights)
        value = graph.add("Tanh" if activation == "tanh" else "Relu", value)
    return value


def linear(graph: Graph, value: str, name: str, weights: Weights) -> str:
    """Add a linear layer of a state dict."""
    kernel, bias = (graph.const(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    return graph.add("Gemm", value, kernel, bias, transB=1)


def clipped(graph: Graph, value: str, low: float, high: float) -> str:
    """Cut off below and above; not by Clip, which a vehicle's converter does not take beyond opset 12."""
    return graph.add("Min", graph.add("Max", value, _number(graph, low)), _number(graph, high))


def _number(graph: Graph, value: float) -> str:
    return graph.const(value, "float32")
