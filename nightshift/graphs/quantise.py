"""Graphs in fewer bits: static INT8, dynamic INT8, and a16w8 (16-bit activations, 8-bit weights) for a DSP.

The static ones are QDQ graphs of standard operators, written here: between the first and the last convolution or
matrix product every value goes through QuantizeLinear and DequantizeLinear, and what comes before (scaling of raw
readings) and after (unit, threshold) stays in float. onnxruntime's own static quantiser does not leave parts in float,
changes the model that it is given, and writes 16-bit graphs with operators of its own.

A TCN gets faster by static INT8 and slower by dynamic INT8; an LSTM is only helped by dynamic INT8. On x86, activations
must be unsigned: signed ones were measured no faster than float. A processor without VNNI adds pairs of products in 16
bits, which may saturate: judge the graph where it runs.

Source:
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    arXiv 1712.05877, section 2; the operators at https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nightshift.edge.session import open_session

Floats = NDArray[np.float32]
Calibration = Mapping[str, NDArray[Any]]

#: Operators by which a quantised stretch begins and ends.
CONVOLUTIONS = ("Conv",)
PRODUCTS = ("Conv", "Gemm", "MatMul", "LSTM")
#: Standard 16-bit QuantizeLinear begins here; onnxruntime 1.22 runs it, its sums in float.
_OPSET_16_BIT, _IR_16_BIT = 21, 10
#: Operators that hand values on: what comes out has the scale of what went in.
_PASSES = frozenset({"Transpose", "Slice", "Flatten", "Squeeze", "Unsqueeze", "Reshape", "Gather", "Split", "MaxPool"})
#: Operators that follow the last product and still belong to it.
_JOINS = frozenset({"Add", "Relu"})
#: Windows that are calibrated at once, and values of each tensor that are kept of them.
_AT_ONCE, _KEPT = 64, 20_000
#: 16 bits have levels to spare: one of them holds values twice as large as calibration has seen.
_ROOM = 2.0
#: 8-bit ranges may be cut to one of these shares of what was seen, where that errs less.
_CUTS = np.linspace(0.4, 1.0, 25)


@dataclass(frozen=True)
class Grid:
    """How floats become integers: `value = scale * (integer - zero)`."""

    scale: float
    zero: int
    dtype: type[np.unsignedinteger[Any]]

    def integers(self, values: Floats) -> NDArray[Any]:
        """Return the integers nearest to some values."""
        highest = np.iinfo(self.dtype).max
        integers: NDArray[Any] = np.clip(np.rint(values / self.scale) + self.zero, 0, highest).astype(self.dtype)
        return integers

    def rounded(self, values: Floats) -> Floats:
        """Return the values that the integers stand for."""
        return ((self.integers(values).astype(np.float64) - self.zero) * self.scale).astype(np.float32)


def int8_static(
    model: onnx.ModelProto, calibration: Calibration, *, products: Iterable[str] = CONVOLUTIONS
) -> onnx.ModelProto:
    """Return the graph with 8-bit activations (unsigned) and 8-bit weights, one scale a channel.

    Args:
        model: a float graph; it is not changed.
        calibration: inputs by name, rows of train, `(n, ...)` each.
        products: operators that are quantised, with all between them.
    """
    return _Quantiser(model, tuple(products), np.uint8, calibration).build()


def a16w8(model: onnx.ModelProto, calibration: Calibration) -> onnx.ModelProto:
    """Return the graph with 16-bit activations (unsigned) and 8-bit weights, for a DSP.

    Its opset is 21, the first with standard 16-bit operators. onnxruntime 1.22 and newer run it, in float between the
    roundings: right, and slower than the float graph. Biases of an LSTM stay in float.

    Args:
        model: a float graph; it is not changed.
        calibration: inputs by name, rows of train, `(n, ...)` each.
    """
    quantised = _Quantiser(model, PRODUCTS, np.uint16, calibration).build()
    del quantised.opset_import[:]
    quantised.opset_import.append(helper.make_opsetid("", _OPSET_16_BIT))
    quantised.ir_version = _IR_16_BIT
    onnx.checker.check_model(quantised)
    return quantised


def int8_dynamic(model: onnx.ModelProto, *, products: Iterable[str] = ("LSTM", "MatMul")) -> onnx.ModelProto:
    """Return the graph with 8-bit weights, its activations quantised while it runs.

    An LSTM becomes onnxruntime's own `DynamicQuantizeLSTM`, for which ONNX has no standard operator.

    Args:
        model: a float graph; it is not changed.
        products: operators that are quantised.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises to optimise the graph beforehand, by way of files, on the root logger.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="nightshift-int8-") as folder:
            given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(model, given)
            quantize_dynamic(given, made, op_types_to_quantize=list(products), weight_type=QuantType.QInt8)
            quantised = onnx.load(made)
    finally:
        logging.disable(before)
    quantised.ir_version = min(quantised.ir_version, _IR_16_BIT)
    return quantised


class _Quantiser:
    """Writes the QDQ graph of one float graph."""

    def __init__(
        self,
        model: onnx.ModelProto,
        products: tuple[str, ...],
        dtype: type[np.unsignedinteger[Any]],
        calibration: Calibration,
    ) -> None:
        self._model, self._products, self._dtype = model, products, dtype
        self._constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._inside = _stretch(model, products)
        self._floats = _float_values(model)
        self._outputs = {o.name for o in model.graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._grids = self._calibrated(calibration)
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[str, TensorProto] = {}
        self._renamed: dict[str, str] = {}

    def build(self) -> onnx.ModelProto:
        """Return the graph."""
        graph = self._model.graph
        for name in (i.name for i in graph.input):
            self._round(name)
        for node in graph.node:
            clone = onnx.NodeProto()
            clone.CopyFrom(node)
            if node.name in self._inside:
                self._constant_inputs(clone)
            clone.input[:] = [self._renamed.get(name, name) for name in clone.input]
            self._nodes.append(clone)
            for name in node.output:
                self._round(name)
        read = {name for node in self._nodes for name in node.input}
        kept = [t for t in graph.initializer if t.name in read]
        made = helper.make_graph(
            self._nodes,
            graph.name,
            graph.input,
            graph.output,
            [*kept, *(t for n, t in self._made.items() if n in read)],
        )
        model = helper.make_model(made, opset_imports=self._model.opset_import, producer_name="nightshift")
        model.ir_version = self._model.ir_version
        model.metadata_props.extend(self._model.metadata_props)
        return model

    def _calibrated(self, calibration: Calibration) -> dict[str, Grid]:
        """Return the grid of every value that is rounded."""
        wanted, shared = self._rounded()
        kept = _observed(self._model, calibration, [name for name in wanted if name not in shared])
        grids = {name: _grid(values, self._dtype) for name, values in kept.items()}
        for name in wanted:  # in the nodes' order, so that what is handed on has its grid already
            if name in shared:
                grids[name] = grids[shared[name]]
        return grids

    def _rounded(self) -> tuple[list[str], dict[str, str]]:
        """Return the values to be rounded, in order, and from which other one some of them take their grid."""
        wanted: dict[str, None] = {}
        shared: dict[str, str] = {}
        for node in self._model.graph.node:
            if node.name not in self._inside:
                continue
            for name in node.input:
                if name in self._floats and name not in self._constants:
                    wanted.setdefault(name)
            for name in node.output:
                if name in self._floats and name in self._readers and not self._only_relu_reads(name):
                    wanted.setdefault(name)
                    if node.op_type in _PASSES and node.input[0] in wanted:
                        shared[name] = node.input[0]
        for node in self._model.graph.node:
            if node.op_type == "Relu" and node.name in self._inside and self._only_relu_reads(node.input[0]):
                wanted.pop(node.input[0], None)
        return [name for name in wanted if name not in self._outputs], shared

    def _only_relu_reads(self, name: str) -> bool:
        readers = self._readers.get(name, [])
        return len(readers) == 1 and readers[0].op_type == "Relu" and readers[0].name in self._inside

    def _round(self, name: str) -> None:
        """Add QuantizeLinear and DequantizeLinear behind a value; its readers get the rounded one."""
        grid = self._grids.get(name)
        if grid is None:
            return
        scale, zero = (
            self._keep(f"{name}/scale", np.float32(grid.scale)),
            self._keep(f"{name}/zero", grid.dtype(grid.zero)),
        )
        self._nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}/q"], name=f"{name}/Q"))
        self._nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}/q", scale, zero], [f"{name}/dq"], name=f"{name}/DQ")
        )
        self._renamed[name] = f"{name}/dq"

    def _constant_inputs(self, node: onnx.NodeProto) -> None:
        """Replace a node's float constants by integers and their DequantizeLinear."""
        for place, name in enumerate(node.input):
            values = self._constants.get(name)
            if values is None or values.dtype != np.float32 or not values.size:
                continue
            if node.op_type in self._products and place == 1:
                node.input[place] = self._weights(name, values, _channel_axis(node), self._least_scale(node))
            elif node.op_type == "LSTM" and place == 2:
                node.input[place] = self._weights(name, values, None, 1e-12)
            elif node.op_type in ("Conv", "Gemm") and place == 2:
                node.input[place] = self._bias(node, name, values)
            elif node.op_type not in self._products:
                node.input[place] = self._level(name, values)

    def _weights(self, name: str, values: Floats, axis: int | None, least: Any) -> str:
        """Signed, symmetric; one scale a channel along `axis`."""
        others = tuple(i for i in range(values.ndim) if i != axis)
        largest = np.abs(values).max(axis=others if axis is not None else None)
        scale = np.maximum(largest / 127.0, least).astype(np.float32)
        spread = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        integers = np.clip(np.rint(values / spread), -127, 127).astype(np.int8)
        # Biases of the node are in units of these.
        self._scales = scale
        return self._dequantised(name, integers, scale, np.zeros(scale.shape, np.int8), axis)

    def _least_scale(self, node: onnx.NodeProto) -> Any:
        """Return the least scale of weights by which the bias, in units of them, still fits: of a dead channel, say."""
        bias = self._constants.get(node.input[2]) if node.op_type in ("Conv", "Gemm") and len(node.input) > 2 else None
        if bias is None:
            return 1e-12
        return np.maximum(np.abs(bias.astype(np.float64)) / (self._grids[node.input[0]].scale * 2**30), 1e-12)

    def _bias(self, node: onnx.NodeProto, name: str, values: Floats) -> str:
        grid = self._grids[node.input[0]]
        scale = np.maximum(np.float32(grid.scale) * self._scales, np.finfo(np.float32).tiny).astype(np.float32)
        bound = np.iinfo(np.int32).max
        integers = np.clip(np.rint(values.astype(np.float64) / scale), -bound, bound).astype(np.int32)
        axis = 0 if scale.ndim else None
        return self._dequantised(f"{node.name}/{name}", integers, scale, np.zeros(scale.shape, np.int32), axis)

    def _level(self, name: str, values: Floats) -> str:
        grid = _grid(values.ravel(), self._dtype)
        integers = grid.integers(values)
        return self._dequantised(name, integers, np.float32(grid.scale), self._dtype(grid.zero), None)

    def _dequantised(self, name: str, integers: NDArray[Any], scale: Any, zero: Any, axis: int | None) -> str:
        if f"{name}/q" not in self._made:
            inputs = [
                self._keep(f"{name}/{part}", v) for part, v in (("q", integers), ("scale", scale), ("zero", zero))
            ]
            more = {} if axis is None else {"axis": axis}
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}/dq"], name=f"{name}/DQ", **more))
        return f"{name}/dq"

    def _keep(self, name: str, values: Any) -> str:
        self._made[name] = numpy_helper.from_array(np.asarray(values), name)
        return name


def _stretch(model: onnx.ModelProto, products: tuple[str, ...]) -> frozenset[str]:
    """Return the names of the nodes from the first product to the last, with what still belongs to that."""
    nodes = list(model.graph.node)
    constants = {t.name for t in model.graph.initializer}
    after: set[str] = set()  # values that a product has a part in
    follows: set[str] = set()
    for node in nodes:
        if node.op_type in products or any(name in after for name in node.input):
            follows.add(node.name)
            after.update(node.output)
    before: set[str] = set()  # values that a product reads, however far on
    leads: set[str] = set()
    for node in reversed(nodes):
        if node.op_type in products or any(name in before for name in node.output):
            leads.add(node.name)
            before.update(name for name in node.input if name)
    inside = {n.name for n in nodes if n.op_type in products} | (follows & leads)
    held = {name for n in nodes if n.name in inside for name in n.output}
    for node in nodes:
        if node.name in inside or node.op_type not in _JOINS:
            continue
        if all(name in held or name in constants for name in node.input):
            inside.add(node.name)
            held.update(node.output)
    return frozenset(inside)


def _float_values(model: onnx.ModelProto) -> frozenset[str]:
    """Return the names of the float values of a graph."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    return frozenset(v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT)


def _observed(model: onnx.ModelProto, calibration: Calibration, names: list[str]) -> dict[str, Floats]:
    """Return values that each of some tensors takes on the calibration rows, with their least and greatest."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    given = [i.name for i in model.graph.input]
    watched.graph.output.extend(
        helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n not in given
    )
    asked = [o.name for o in watched.graph.output]
    session = open_session(watched.SerializeToString())
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    at_once = first.dim_value or _AT_ONCE
    n_rows = len(calibration[given[0]])
    kept: dict[str, list[Floats]] = {name: [] for name in names}
    for start in range(0, n_rows - at_once + 1 if first.dim_value else n_rows, at_once):
        rows = {name: calibration[name][start : start + at_once] for name in given}
        answers = dict(zip(asked, session.run(asked, rows), strict=True)) | rows
        for name in names:
            values = np.asarray(answers[name], np.float32).ravel()
            few = values[:: max(1, len(values) * n_rows // (_KEPT * at_once))]
            kept[name].append(np.concatenate([few, [values.min(), values.max()]]).astype(np.float32))
    return {name: np.concatenate(values) for name, values in kept.items()}


def _grid(values: Floats, dtype: type[np.unsignedinteger[Any]]) -> Grid:
    """Return the grid that errs least on some values; 0 is always on it, as padding needs."""
    values = values[np.isfinite(values)]
    low, high = (float(v) for v in (min(0.0, values.min(initial=0.0)), max(0.0, values.max(initial=0.0))))
    levels = np.iinfo(dtype).max

    def grid(share: float) -> Grid:
        scale = max((high - low) * share / levels, 1e-12)
        return Grid(scale, int(np.clip(np.rint(-low * share / scale), 0, levels)), dtype)

    if dtype is not np.uint8 or high == low:
        return grid(_ROOM)
    found = [grid(float(share)) for share in _CUTS]
    errors = [float(np.square(g.rounded(values) - values, dtype=np.float64).sum()) for g in found]
    return found[int(np.argmin(errors))]


def _channel_axis(node: onnx.NodeProto) -> int | None:
    """Return the axis of a product's weights along which its outputs stand; None for one scale in all."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 1 if node.op_type == "MatMul" else None
