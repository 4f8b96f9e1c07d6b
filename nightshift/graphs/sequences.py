"""Sequence networks as ONNX graphs, written from their weights: raw window in, answer out.

Scaling stands in front as nodes of its own, before anything else; a graph for one fixed batch has only static shapes.
Batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.graphs.build import Graph
from nightshift.nets.scaling import LIMIT, ColumnPlan
from nightshift.nets.tcn import TcnShape

if TYPE_CHECKING:
    from nightshift.nets.lstm_ae import LstmAeShape

Weights = Mapping[str, NDArray[np.float32]]

_LARGEST = float(np.finfo(np.float32).max)
_NORM_EPSILON = 1e-5
#: ONNX wants the gates in the order input, output, forget, cell; torch has input, forget, cell, output.
_GATES = (0, 3, 1, 2)


def weights_of(state: Mapping[str, object]) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a state dict as arrays."""
    return {name: np.asarray(tensor.detach().cpu().numpy()) for name, tensor in state.items()}  # type: ignore[attr-defined]


def add_scaling(graph: Graph, window: str, plan: ColumnPlan, weights: Weights) -> str:
    """Add `nets.scaling.Scaling`: `(batch, rows, columns)` to `(batch, rows, plan.width)`."""
    known = graph.add("LessOrEqual", graph.add("Abs", window), graph.const(_LARGEST, "float32"))

    def code(at: int, classes: int) -> str:
        place = graph.const(at, "int64")
        raw, has = graph.add("Gather", window, place, axis=2), graph.add("Gather", known, place, axis=2)
        one = graph.add("Where", has, raw, graph.const(-1.0, "float32"))
        one = graph.add("Add", one, graph.const(1.0, "float32"))
        one = _clipped(graph, one, 0.0, float(classes))
        return graph.add("Cast", one, to=7)

    raw, has = window, known
    if plan.classes or plan.unseen or plan.key or plan.numbers != tuple(range(len(plan.numbers))):
        numbers = graph.const(plan.numbers, "int64")
        raw, has = graph.add("Gather", window, numbers, axis=2), graph.add("Gather", known, numbers, axis=2)
    centre, factor = (graph.const(weights[f"scaling.{name}"]) for name in ("centre", "factor"))
    if plan.key is not None:
        row = code(*plan.key)
        centre, factor = (graph.add("Gather", table, row, axis=0) for table in (centre, factor))
    value = graph.add("Sub", graph.add("Where", has, raw, centre), centre)
    scaled = [_clipped(graph, graph.add("Mul", value, factor), -LIMIT, LIMIT)]
    for at, table in plan.tables():
        scaled.append(graph.add("Gather", graph.const(table), code(at, len(table) - 1), axis=0))
    return graph.add("Concat", *scaled, axis=2) if len(scaled) > 1 else scaled[0]


def _clipped(graph: Graph, value: str, low: float, high: float) -> str:
    # Not Clip: beyond opset 12 a vehicle's converter takes none.
    value = graph.add("Max", value, graph.const(low, "float32"))
    return graph.add("Min", value, graph.const(high, "float32"))


def tcn_graph(
    shape: TcnShape, weights: Weights, window_rows: int, columns: int, *, batch: int | str = "batch"
) -> Graph:
    """Write `nets.tcn.Tcn`: `window` to `value` float32 `(batch,)`.

    Args:
        shape: of the weights.
        weights: its state dict as arrays.
        window_rows: rows of the window.
        columns: raw columns of the window.
        batch: a number for a graph of static shapes.
    """
    graph = Graph("tcn")
    window = graph.input("window", "float32", (batch, window_rows, columns))
    answer = add_tcn(graph, add_scaling(graph, window, shape.plan, weights), shape, _in_unit(weights))
    value = graph.add("Relu", answer)
    graph.output(graph.add("Squeeze", value, graph.const([1], "int64")), "value", "float32", (batch,))
    return graph


def _in_unit(weights: Weights) -> Weights:
    """Return the weights with the truth's spread and centre folded into the last layer: two nodes less."""
    spread, centre = (weights[name].astype(np.float64) for name in ("spread", "centre"))
    scaled = {
        "answer.weight": weights["answer.weight"] * spread,
        "answer.bias": weights["answer.bias"] * spread + centre,
    }
    return {**weights, **{name: values.astype(np.float32) for name, values in scaled.items()}}


def add_tcn(graph: Graph, scaled: str, shape: TcnShape, weights: Weights) -> str:
    """Add `Tcn.core`: `(batch, rows, width)` to `(batch, 1)`."""
    value, width = graph.add("Transpose", scaled, perm=[0, 2, 1]), shape.plan.width
    for i in range(len(shape.inner)):
        value = _block(graph, value, f"blocks.{i}", weights, 2**i, wider=width != shape.channels)
        width = shape.channels
    last = graph.add("Slice", value, *(graph.const([n], "int64") for n in (-1, np.iinfo(np.int64).max, 2)))
    summary = graph.add("Concat", graph.add("GlobalAveragePool", value), last, axis=1)
    hidden = graph.add("Relu", _linear(graph, graph.add("Flatten", summary), "hidden", weights))
    return _linear(graph, hidden, "answer", weights)


def _block(graph: Graph, value: str, name: str, weights: Weights, dilation: int, *, wider: bool) -> str:
    y = graph.add("Relu", _causal(graph, value, f"{name}.first", weights, dilation))
    y = _causal(graph, y, f"{name}.second", weights, dilation)
    if wider:
        kernel, bias = (graph.const(weights[f"{name}.shortcut.{part}"]) for part in ("weight", "bias"))
        value = graph.add("Conv", value, kernel, bias, kernel_shape=[1])
    return graph.add("Relu", graph.add("Add", y, value))


def _causal(graph: Graph, value: str, name: str, weights: Weights, dilation: int) -> str:
    """Add a convolution that looks back only, with its batch normalisation folded in."""
    kernel, norm = weights[f"{name}.weight"].astype(np.float64), f"{name}_norm"
    factor = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"].astype(np.float64) + _NORM_EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * factor
    rows = kernel.shape[2]
    return graph.add(
        "Conv",
        value,
        graph.const((kernel * factor[:, None, None]).astype(np.float32)),
        graph.const(bias.astype(np.float32)),
        dilations=[dilation],
        kernel_shape=[rows],
        pads=[(rows - 1) * dilation, 0],
    )


def _linear(graph: Graph, value: str, name: str, weights: Weights) -> str:
    return graph.add(
        "Gemm", value, graph.const(weights[f"{name}.weight"]), graph.const(weights[f"{name}.bias"]), transB=1
    )


def lstm_ae_graph(
    shape: LstmAeShape,
    weights: Weights,
    window_rows: int,
    columns: int,
    threshold: float,
    *,
    batch: int | str = "batch",
) -> Graph:
    """Write `nets.lstm_ae.LstmAe`: `window` to `score` float32 `(batch, 1)` and `vote` int64 `(batch,)`.

    Args:
        shape: of the weights.
        weights: its state dict as arrays.
        window_rows: rows of the window.
        columns: raw columns of the window.
        threshold: a score above it is odd.
        batch: a number for a graph of static shapes.
    """
    graph = Graph("lstm_ae")
    window = graph.input("window", "float32", (batch, window_rows, columns))
    # onnxruntime ends its process where an LSTM gets no rows at all: one is lent, and taken away again.
    lent = window if isinstance(batch, int) else _one_at_least(graph, window, window_rows, columns)
    score = add_lstm_ae(graph, add_scaling(graph, lent, shape.plan, weights), shape, weights, window_rows)
    if not isinstance(batch, int):
        size = graph.add("Shape", window, start=0, end=1)
        score = graph.add("Slice", score, graph.const([0], "int64"), size, graph.const([0], "int64"))
    fired = graph.add("Greater", score, graph.const(threshold, "float32"))
    graph.output(score, "score", "float32", (batch, 1))
    vote = graph.add("Squeeze", graph.add("Cast", fired, to=7), graph.const([1], "int64"))
    graph.output(vote, "vote", "int64", (batch,))
    return graph


def _one_at_least(graph: Graph, window: str, window_rows: int, columns: int) -> str:
    one, size = graph.const([1], "int64"), graph.add("Shape", window, start=0, end=1)
    missing = graph.add("Sub", one, graph.add("Min", size, one))
    shape = graph.add("Concat", missing, graph.const([window_rows, columns], "int64"), axis=0)
    return graph.add("Concat", window, graph.add("ConstantOfShape", shape), axis=0)


def add_lstm_ae(graph: Graph, scaled: str, shape: LstmAeShape, weights: Weights, window_rows: int) -> str:
    """Add `LstmAe.score`: `(batch, rows, width)` to `(batch, 1)`."""
    rows = graph.add("Transpose", scaled, perm=[1, 0, 2])  # LSTM's layout 0: rows first
    _, last = _lstm(graph, rows, "encoder", weights, shape.hidden)
    latent = _times(graph, last, "to_latent", weights)
    told = graph.add("Mul", latent, graph.const(np.ones((window_rows, 1, 1), np.float32)))
    drawn, _ = _lstm(graph, told, "decoder", weights, shape.hidden)
    drawn = _times(graph, graph.add("Squeeze", drawn, graph.const([1], "int64")), "to_rows", weights)
    backwards = graph.add("Gather", rows, graph.const(np.arange(window_rows)[::-1].astype(np.int64)), axis=0)
    off = graph.add("Sub", drawn, backwards)
    weighed = graph.add("Mul", graph.add("Mul", off, off), graph.const(weights["weight"]))
    of_row = graph.add("ReduceMean", weighed, graph.const([2], "int64"), keepdims=1)
    of_row = graph.add("Transpose", of_row, perm=[1, 2, 0])
    stretch = graph.add("AveragePool", of_row, kernel_shape=[shape.span_rows], strides=[1])
    worst = graph.add("Squeeze", graph.add("GlobalMaxPool", stretch), graph.const([2], "int64"))
    return graph.add("Sqrt", worst)


def _times(graph: Graph, value: str, name: str, weights: Weights) -> str:
    product = graph.add("MatMul", value, graph.const(weights[f"{name}.weight"].T))
    return graph.add("Add", product, graph.const(weights[f"{name}.bias"]))


def _lstm(graph: Graph, value: str, name: str, weights: Weights, hidden: int) -> list[str]:
    """Add one layer; returns all rows `(rows, 1, batch, hidden)` and the last `(1, batch, hidden)`."""

    def gates(part: str) -> NDArray[np.float32]:
        stacked = weights[f"{name}.{part}_l0"]
        return stacked.reshape(4, hidden, *stacked.shape[1:])[list(_GATES)].reshape(stacked.shape)

    kernel, recurrent = (graph.const(gates(part)[None]) for part in ("weight_ih", "weight_hh"))
    bias = graph.const(np.concatenate([gates("bias_ih"), gates("bias_hh")])[None])
    return graph.add_many("LSTM", [value, kernel, recurrent, bias], 2, hidden_size=hidden)
