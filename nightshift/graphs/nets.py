"""AutoGluon's tabular neural network as ONNX nodes: its column processor, its layers, and its head.

Everything that the library rounds to float32 is rounded here too, and the arithmetic between is double: torch's float32
layers then differ from the graph by their own rounding alone. The library's scaler is exact, its quantile transform
(piecewise linear, then the normal quantile) is copied step by step, because its float32 steps grow in the tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.graphs.build import ELEMENT_TYPES
from nightshift.graphs.trees import Floats, Ints

if TYPE_CHECKING:
    from nightshift.graphs.build import Graph

Float32 = NDArray[np.float32]

#: scikit-learn's `BOUNDS_THRESHOLD`: closer than this to an end of the quantiles is the end.
_BOUNDS = 1e-7
#: scikit-learn clips the normal quantile at that of this probability; ours is kept from infinity well before.
_TAIL = 1e-9
# Coefficients of a rational approximation of the normal quantile, highest power first.
# Source: Wichura, Algorithm AS 241, Applied Statistics 37 (1988), PPND16, about 1e-16.
_CENTRE = (
    (
        *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4),
        *(1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.387132872796366608),
    ),
    (
        *(5.226495278852545925e3, 2.8729085735721942674e4, 3.930789580009271061e4, 2.1213794301586595867e4),
        *(5.3941960214247511077e3, 6.871870074920579083e2, 4.2313330701600911252e1, 1.0),
    ),
)
_SIDES = (
    (
        *(7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.4178072517745061177e-1, 1.27045825245236838258),
        *(3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    ),
    (
        *(1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.4810397642748007459e-1),
        *(6.8976733498510000455e-1, 1.6763848301838038494, 2.05319162663775882187, 1.0),
    ),
)


@dataclass(frozen=True)
class _Layer:
    """`activation(x @ weight + bias)`; a batch normalisation's weight is its diagonal, `(n,)`."""

    weight: Floats
    bias: Floats
    activation: str = ""


def add_network(graph: Graph, features: str, columns: Ints, model: Any) -> str:
    """Add one fitted `TabularNeuralNetTorchModel`.

    Args:
        graph: receives the nodes.
        features: float32 value `(batch, n_columns)`; NaN is missing, nothing is infinite.
        columns: `(n,)` index in `features` of each column of `network_columns(model)`.
        model: AutoGluon's model of the problem binary, multiclass or regression.

    Returns:
        A double value `(batch, n_targets)`: the positive class's probability, one per class, or the prediction.

    Raises:
        ExportError: for a processor step, layer or range that has no converter.
    """
    place = dict(zip(network_columns(model), columns.tolist(), strict=True))
    parts = []
    for name, step, group in model.processor.transformers_:
        if not group:
            continue
        index = graph.const(np.array([place[feature] for feature in group], np.int64))
        parts.append(_processed(graph, name, step, graph.add("Gather", features, index, axis=1)))
    value = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    value = graph.add("Cast", value, to=ELEMENT_TYPES["float64"])
    for layer in _layers(model.model):
        value = _add_layer(graph, value, layer)
    return _head(graph, value, model.model)


def network_columns(model: Any) -> list[str]:
    """Return the columns that the network reads, in the order of its first layer.

    Raises:
        ExportError: when a column is embedded as a category.
    """
    if "embed" in model.feature_type_map.values():
        raise ExportError("embedded categories have no converter.", hint="Give it float32 columns only.")
    return [feature for _, _, group in model.processor.transformers_ for feature in group]


def _processed(graph: Graph, name: str, step: Any, values: str) -> str:
    """Return one group of columns as the processor leaves them, float32."""
    if name == "continuous":
        return _scaled(graph, _imputed(graph, values, step.named_steps["imputer"]), step.named_steps["scaler"])
    if name == "skewed":
        return _normal(graph, _imputed(graph, values, step.named_steps["imputer"]), step.named_steps["quantile"])
    if name == "onehot":
        return _one_hot(graph, values, step.named_steps["onehot"])
    if name == "remainder":
        return values
    raise ExportError(f"the network's processing step '{name}' has no converter.")


def _imputed(graph: Graph, values: str, imputer: Any) -> str:
    filler = np.asarray(imputer.statistics_, np.float32)[None]
    return graph.add("Where", graph.add("IsNaN", values), graph.const(filler), values)


def _scaled(graph: Graph, values: str, scaler: Any) -> str:
    """Subtract and divide in double, rounding in between, as numpy does in place on float32."""
    for op, by in (("Sub", scaler.mean_), ("Div", scaler.scale_)):
        wide = graph.add("Cast", values, to=ELEMENT_TYPES["float64"])
        moved = graph.add(op, wide, graph.const(np.asarray(by, np.float64)[None]))
        values = graph.add("Cast", moved, to=ELEMENT_TYPES["float32"])
    return values


def _one_hot(graph: Graph, values: str, encoder: Any) -> str:
    """Return one column per value seen; a value that training did not see, or none, is zero in all."""
    if any(len(rare) for rare in encoder.infrequent_indices_):
        raise ExportError("merged rare categories have no converter.", hint="Give it float32 columns only.")
    flags = []
    for i, seen in enumerate(encoder.categories_):
        column = graph.add("Gather", values, graph.const([i], "int64"), axis=1)
        equal = graph.add("Equal", column, graph.const(np.asarray(seen, np.float32)[None]))
        flags.append(graph.add("Cast", equal, to=ELEMENT_TYPES["float32"]))
    return flags[0] if len(flags) == 1 else graph.add("Concat", *flags, axis=1)


def _normal(graph: Graph, values: str, transformer: Any) -> str:
    """Map each column to a normal distribution by its quantiles.

    Source:
        scikit-learn `QuantileTransformer._transform_col`: the mean of the interpolations from both sides.
    """
    if transformer.output_distribution != "normal":
        raise ExportError(
            "a uniform quantile transform has no converter.", hint="Leave AutoGluon's processor as it is."
        )
    wide = graph.add("Cast", values, to=ELEMENT_TYPES["float64"])
    share = _Quantiles(graph, np.asarray(transformer.quantiles_, np.float64), transformer.references_).shares(wide)
    low, high = transformer.quantiles_[:1], transformer.quantiles_[-1:]
    step = graph.const(_BOUNDS, "float32")
    below = graph.add("Cast", graph.add("Sub", values, step), to=ELEMENT_TYPES["float64"])
    above = graph.add("Cast", graph.add("Add", values, step), to=ELEMENT_TYPES["float64"])
    top = graph.add("Greater", above, graph.const(np.asarray(high, np.float64)))
    share = graph.add("Where", top, graph.const(1.0, "float64"), share)
    bottom = graph.add("Less", below, graph.const(np.asarray(low, np.float64)))
    share = graph.add("Where", bottom, graph.const(0.0, "float64"), share)
    return graph.add("Cast", add_normal_quantile(graph, share), to=ELEMENT_TYPES["float32"])


class _Quantiles:
    """Looks up the share of training values below a value, for several columns at once, by bisection."""

    def __init__(self, graph: Graph, quantiles: Floats, references: Floats) -> None:
        n, n_columns = quantiles.shape
        self._graph = graph
        self._steps = [2**k for k in reversed(range(int(np.ceil(np.log2(max(n, 2))))))]
        self._width = 2 * self._steps[0] + 1
        padded = np.full((n_columns, self._width), np.inf)
        padded[:, :n] = quantiles.T
        gaps = np.diff(quantiles.T, axis=1)
        slopes = np.zeros((n_columns, self._width))
        slopes[:, : n - 1] = np.diff(references) / np.where(gaps > 0, gaps, np.inf)
        levels = np.ones((n_columns, self._width))
        levels[:, :n] = references
        self._tables = {
            name: graph.const(table.ravel()) for name, table in (("x", padded), ("slope", slopes), ("y", levels))
        }
        self._offset = graph.const((np.arange(n_columns) * self._width)[None], "int64")

    def shares(self, wide: str) -> str:
        """Return the float32-rounded share, as double `(batch, n_columns)`; beyond the ends it means nothing."""
        graph = self._graph
        at = self._last(wide, "LessOrEqual")
        slope, from_x, from_y = (self._look(name, at) for name in ("slope", "x", "y"))
        up = graph.add("Add", graph.add("Mul", slope, graph.add("Sub", wide, from_x)), from_y)
        before = self._last(wide, "Less")
        slope = self._look("slope", before)
        after = graph.add("Add", before, graph.const(1, "int64"))
        to_x, to_y = self._look("x", after), self._look("y", after)
        down = graph.add("Sub", graph.add("Mul", slope, graph.add("Sub", to_x, wide)), to_y)
        share = graph.add("Mul", graph.const(0.5, "float64"), graph.add("Sub", up, down))
        rounded = graph.add("Cast", share, to=ELEMENT_TYPES["float32"])
        return graph.add("Cast", rounded, to=ELEMENT_TYPES["float64"])

    def _look(self, table: str, at: str) -> str:
        return self._graph.add("Gather", self._tables[table], self._graph.add("Add", at, self._offset), axis=0)

    def _last(self, wide: str, op: str) -> str:
        """Return the last position whose quantile is `op` the value, and 0 where none is."""
        graph = self._graph
        # A zero for each value, whatever the batch: nothing here is infinite or missing any more.
        at = graph.add("Cast", graph.add("Mul", wide, graph.const(0.0, "float64")), to=ELEMENT_TYPES["int64"])
        for step in self._steps:
            ahead = graph.add("Add", at, graph.const(step, "int64"))
            keep = graph.add(op, self._look("x", ahead), wide)
            at = graph.add("Where", keep, ahead, at)
        return at


def add_normal_quantile(graph: Graph, share: str) -> str:
    """Add the normal quantile of a double value, clipped where scikit-learn clips it (about 5.2 on both sides)."""
    from scipy.stats import norm

    share = graph.add("Clip", share, graph.const(_TAIL, "float64"), graph.const(1 - _TAIL, "float64"))
    offset = graph.add("Sub", share, graph.const(0.5, "float64"))
    centre = graph.add("Sub", graph.const(0.180625, "float64"), graph.add("Mul", offset, offset))
    inside = graph.add("Mul", offset, _ratio(graph, centre, *_CENTRE))
    rest = graph.add("Min", share, graph.add("Sub", graph.const(1.0, "float64"), share))
    root = graph.add("Sqrt", graph.add("Neg", graph.add("Log", rest)))
    outside = _ratio(graph, graph.add("Sub", root, graph.const(1.6, "float64")), *_SIDES)
    outside = graph.add("Mul", outside, graph.add("Sign", offset))
    near = graph.add("LessOrEqual", graph.add("Abs", offset), graph.const(0.425, "float64"))
    value = graph.add("Where", near, inside, outside)
    edge = float(norm.ppf(_BOUNDS - np.spacing(1)))
    return graph.add("Clip", value, graph.const(edge, "float64"), graph.const(-edge, "float64"))


def _ratio(graph: Graph, at: str, above: Sequence[float], below: Sequence[float]) -> str:
    return graph.add("Div", _polynomial(graph, at, above), _polynomial(graph, at, below))


def _polynomial(graph: Graph, at: str, coefficients: Sequence[float]) -> str:
    value = graph.const(coefficients[0], "float64")
    for coefficient in coefficients[1:]:
        value = graph.add("Add", graph.add("Mul", value, at), graph.const(coefficient, "float64"))
    return value


def _layers(net: Any) -> list[_Layer]:
    """Read the layers that count when answering; an activation joins the layer before it."""
    layers: list[_Layer] = []
    for module in net.main_block:
        kind = type(module).__name__
        if kind == "Linear":
            layers.append(_Layer(_numbers(module.weight).T, _numbers(module.bias)))
        elif kind == "BatchNorm1d":
            scale = _numbers(module.weight) / np.sqrt(_numbers(module.running_var) + module.eps)
            layers.append(_Layer(scale, _numbers(module.bias) - _numbers(module.running_mean) * scale))
        elif kind in ("ReLU", "ELU", "Tanh"):
            layers[-1] = replace(layers[-1], activation=kind)
        elif kind not in ("Dropout", "Identity"):
            raise ExportError(f"the network's layer '{kind}' has no converter.")
    return layers


def _numbers(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


def _add_layer(graph: Graph, value: str, layer: _Layer) -> str:
    if layer.weight.ndim == 1:
        scaled = graph.add("Mul", value, graph.const(layer.weight[None]))
        value = graph.add("Add", scaled, graph.const(layer.bias[None]))
    else:
        value = graph.add("Gemm", value, graph.const(layer.weight), graph.const(layer.bias))
    if layer.activation == "ReLU":
        return graph.add("Relu", value)
    if layer.activation == "Tanh":
        return graph.add("Tanh", value)
    if layer.activation == "ELU":
        zero = graph.const(0.0, "float64")
        below = graph.add("Exp", graph.add("Min", value, zero))
        below = graph.add("Sub", below, graph.const(1.0, "float64"))
        return graph.add("Where", graph.add("Greater", value, zero), value, below)
    return value


def _head(graph: Graph, value: str, net: Any) -> str:
    """Turn the last layer into probabilities, or hold it within the range that the network was built for."""
    if net.problem_type == "binary":
        shares = graph.add("Softmax", value, axis=-1)
        return graph.add("Gather", shares, graph.const([1], "int64"), axis=1)
    if net.problem_type == "multiclass":
        return graph.add("Softmax", value, axis=-1)
    if net.y_constraint is None:
        return value
    if net.y_constraint == "bounded":
        span, low = graph.const(net.y_span, "float64"), graph.const(net.y_lower, "float64")
        return graph.add("Add", graph.add("Mul", graph.add("Sigmoid", value), span), low)
    size = graph.add("Abs", value)
    if net.y_constraint == "nonnegative":
        return graph.add("Add", graph.const(net.y_lower, "float64"), size)
    return graph.add("Sub", graph.const(net.y_upper, "float64"), size)
