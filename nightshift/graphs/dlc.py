"""Holds an ONNX graph against the rules of Qualcomm's converters to DLC, mends what can be mended, and converts.

A finding is a plain record: which rule, which node, what, and the fix or the reason why there is none. Rules are those
of `snpe-onnx-to-dlc` (opset 22 at most) and of the DSP that runs the result with 16-bit activations and 8-bit weights.

Source:
    Qualcomm AI Runtime documentation, "Supported ONNX Ops" and "Tools"; the provider options of onnxruntime's QNN
    execution provider (`dump_qnn_ir_dlc`).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import nightshift.edge  # noqa: F401 - onnxruntime, imported later, is told to write nothing into the user's home
from nightshift.errors import first_line

#: Operator -> versions that the converter takes.
_VERSIONS: dict[str, Callable[[int], bool]] = {
    "Conv": lambda v: v in (1, 11, 22),
    "Clip": lambda v: v <= 12,
    "Add": lambda v: v <= 14,
    "Cast": lambda v: v <= 13,
}
_NEWEST_OPSET = 22
_STANDARD = ("", "ai.onnx")
_TREES = frozenset({"TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_DYNAMIC = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"})
_INTEGER = frozenset({"ConvInteger", "MatMulInteger", "QGemm"})
_FLOW = frozenset({"If", "Loop", "Scan"})
_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul", "LSTM"})
_LSTM_DEFAULTS: tuple[list[bytes], ...] = ([], [b"Sigmoid", b"Tanh", b"Tanh"])
_CONVERTER = "snpe-onnx-to-dlc"
_LONGEST_S = 600.0

NOT_INSTALLED = "not converted: converter not installed"


@dataclass(frozen=True)
class Remark:
    """One thing that the converter would not take.

    Attributes:
        rule: `static-shapes`, `batch-1`, `opset`, `batch-norm`, `lstm`, `a16w8`, `qoperator`, `dynamic-int8`, `tree`,
            `foreign-op`, `control-flow`, `missing-values`, `constants` or `identity`.
        node: name of the node or value.
        what: is there.
        then: the fix, or the reason why there is none.
        fixable: whether `graphs.dlc_fix.fix` mends it.
    """

    rule: str
    node: str
    what: str
    then: str
    fixable: bool = False

    def line(self) -> str:
        """Return it as one line."""
        return f"{self.rule}: {self.node}: {self.what}; {self.then}"


@dataclass(frozen=True)
class Conversion:
    """What became of a conversion: the file, or why there is none."""

    file: Path | None
    said: str


def lint(model: onnx.ModelProto) -> list[Remark]:
    """Return what the converter would not take, in the order of the graph."""
    found = [*_shapes(model), *(r for node in model.graph.node for r in _node(model, node))]
    # What no DSP takes need not be quantised for one.
    return found if any(remark.rule == "tree" for remark in found) else [*found, *_quantised(model)]


def verdict(remarks: list[Remark]) -> str:
    """Return a linter's findings in a few words."""
    if not remarks:
        return "ready"
    rules = dict.fromkeys(remark.rule for remark in remarks)
    return f"not ready: {', '.join(f'{rule} ({sum(r.rule == rule for r in remarks)})' for rule in rules)}"


def convert(model_path: Path, out: Path) -> Conversion:
    """Write a DLC file where a converter is installed; the graph should pass `lint` before.

    Args:
        model_path: the ONNX file.
        out: the DLC file to write.
    """
    tool = shutil.which(_CONVERTER)
    if tool:
        return _by_tool(tool, model_path, out)
    import onnxruntime as ort

    if "QNNExecutionProvider" in ort.get_available_providers():
        return _by_provider(model_path, out)
    return Conversion(None, NOT_INSTALLED)


def _by_tool(tool: str, model_path: Path, out: Path) -> Conversion:
    command = [tool, "--input_network", str(model_path), "--output_path", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Conversion(None, f"not converted: {_CONVERTER} did not end: {first_line(error)}")
    if done.returncode or not out.is_file():
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return Conversion(None, f"not converted: {_CONVERTER}: {last[:300]}")
    return Conversion(out, f"converted by {_CONVERTER}")


def _by_provider(model_path: Path, out: Path) -> Conversion:
    """Let onnxruntime's QNN provider write what it compiles; a graph that it cuts in parts is no single DLC."""
    import onnxruntime as ort

    folder = out.with_name(f".{out.name}.parts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = {"backend_type": "htp", "dump_qnn_ir_dlc": "1", "dump_qnn_ir_dlc_dir": str(folder)}
    try:
        ort.InferenceSession(str(model_path), providers=[("QNNExecutionProvider", options)])
        parts = sorted(folder.glob("*.dlc"))
        if len(parts) != 1:
            return Conversion(None, f"not converted: the QNN provider wrote {len(parts)} DLC files, expected one")
        shutil.move(parts[0], out)
        return Conversion(out, "converted by onnxruntime's QNN provider")
    except Exception as error:  # onnxruntime's own exceptions share no public base
        return Conversion(None, f"not converted: {first_line(error, 300)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def versions_of(model: onnx.ModelProto) -> Callable[[onnx.NodeProto], int]:
    """Return what tells a standard node's version: the last one up to the graph's opset; 0 where it has none."""
    newest = next((o.version for o in model.opset_import if o.domain in _STANDARD), 0)

    def version(node: onnx.NodeProto) -> int:
        if node.domain not in _STANDARD or not newest:
            return 0
        try:
            return int(onnx.defs.get_schema(node.op_type, newest, "").since_version)
        except onnx.defs.SchemaError:
            return 0

    return version


def _shapes(model: onnx.ModelProto) -> Iterator[Remark]:
    for value in (*model.graph.input, *model.graph.output):
        sizes = value.type.tensor_type.shape.dim
        if any(not size.HasField("dim_value") for size in sizes):
            shown = [size.dim_value or size.dim_param or "?" for size in sizes]
            yield Remark("static-shapes", value.name, f"shape {shown}", "the batch becomes 1", fixable=True)
        elif value.name in {i.name for i in model.graph.input} and sizes and sizes[0].dim_value != 1:
            yield Remark("batch-1", value.name, f"batch of {sizes[0].dim_value}", "write the graph for one row")
    opset = next((o.version for o in model.opset_import if o.domain in _STANDARD), 0)
    if opset > _NEWEST_OPSET:
        yield Remark("opset", "graph", f"opset {opset}", f"the converter takes {_NEWEST_OPSET} at most")


def _node(model: onnx.ModelProto, node: onnx.NodeProto) -> Iterator[Remark]:
    name = node.name or (node.output[0] if node.output else node.op_type)
    rejected = _rejected(node)
    if rejected:
        yield Remark(rejected[0], name, f"{node.domain or 'ai.onnx'}.{node.op_type}", rejected[1])
        return
    version = versions_of(model)(node)
    takes = _VERSIONS.get(node.op_type)
    if takes and not takes(version):
        yield _too_new(model, node, name, version)
    if node.op_type == "LSTM":
        yield from _lstm(model, node, name)
    if node.op_type == "Identity":
        yield Remark("identity", name, "hands a value on", "removed", fixable=True)
    if node.op_type in ("IsNaN", "IsInf") or known_side(model, node) is not None:
        told = "dropped: a DSP has no NaN, so the window it is given must have no gap"
        yield Remark("missing-values", name, f"{node.op_type} asks whether a reading is there", told, fixable=True)
    if is_constant(model, node):
        yield Remark("constants", name, f"{node.op_type} of constants alone", "computed once", fixable=True)


def _rejected(node: onnx.NodeProto) -> tuple[str, str] | None:
    """Return the rule and the reason by which an operator is not taken in any form."""
    op = node.op_type
    if op in _TREES:
        return "tree", "a DSP has no operator for trees: they stay on the processor"
    if op in _DYNAMIC:
        return "dynamic-int8", "ranges must be known beforehand: quantise by graphs.quantise.a16w8"
    if op in _INTEGER or (op.startswith("QLinear") and op != "QuantizeLinear"):
        return "qoperator", "write QuantizeLinear and DequantizeLinear around the float operator"
    if node.domain not in _STANDARD:
        return "foreign-op", "only standard operators are converted"
    if op in _FLOW:
        return "control-flow", "unroll it"
    if op == "BatchNormalization":
        return "batch-norm", "fold it into the convolution before it"
    return None


def _too_new(model: onnx.ModelProto, node: onnx.NodeProto, name: str, version: int) -> Remark:
    what = f"{node.op_type} of opset {version}"
    if node.op_type == "Clip":
        return Remark("opset", name, what, "becomes Max and Min", fixable=True)
    if node.op_type == "Cast" and is_truth(model, node.input[0]):
        return Remark("opset", name, what, "becomes Where", fixable=True)
    return Remark("opset", name, what, "write the graph for an older opset")


def _lstm(model: onnx.ModelProto, node: onnx.NodeProto, name: str) -> Iterator[Remark]:
    given = {a.name: a for a in node.attribute}
    if "activations" in given and list(given["activations"].strings) not in _LSTM_DEFAULTS:
        yield Remark("lstm", name, "activations of its own", "train with sigmoid and tanh")
    if "layout" in given and given["layout"].i:
        yield Remark("lstm", name, "layout 1", "transpose to rows first (layout 0)")
    if "direction" in given and given["direction"].s != b"forward":
        yield Remark("lstm", name, f"direction {given['direction'].s.decode()}", "run two graphs, or train forward")
    rows = rows_of(model, node.input[0])
    if rows != 1:
        shown = "an unknown number of" if rows is None else rows
        yield Remark(
            "lstm", name, f"{shown} steps in one node", "unrolled: a node for each step", fixable=rows is not None
        )


def _quantised(model: onnx.ModelProto) -> Iterator[Remark]:
    """Look for products whose values are not 16-bit and whose weights are not 8-bit integers."""
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    made = {o: node for node in model.graph.node for o in node.output}

    def kind(name: str) -> int:
        node = made.get(name)
        return kinds.get(node.input[2], 0) if node and node.op_type == "DequantizeLinear" and len(node.input) > 2 else 0

    for node in model.graph.node:
        if node.op_type not in _PRODUCTS or node.domain not in _STANDARD:
            continue
        value, weight = kind(node.input[0]), kind(node.input[1])
        if value != TensorProto.UINT16 or weight != TensorProto.INT8:
            what = f"{node.op_type} of {_kind_name(value)} by {_kind_name(weight)}"
            yield Remark("a16w8", node.name, what, "quantise by graphs.quantise.a16w8")


def _kind_name(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower() if kind else "float"


def rows_of(model: onnx.ModelProto, name: str) -> int | None:
    """Return the first size of a value, None where it is not known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    for value in (*graph.value_info, *graph.input):
        sizes = value.type.tensor_type.shape.dim
        if value.name == name and sizes and sizes[0].HasField("dim_value"):
            return int(sizes[0].dim_value)
    return None


def is_truth(model: onnx.ModelProto, name: str) -> bool:
    """Whether a value is made by a comparison."""
    node = next((n for n in model.graph.node if name in n.output), None)
    return node is not None and node.op_type in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal", "Not")


def is_constant(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether a node follows from constants alone; integers that are made floats again stay as they are."""
    if node.op_type in ("DequantizeLinear", "Constant") or node.domain not in _STANDARD:
        return False
    constants = {t.name for t in model.graph.initializer}
    return all(name in constants for name in node.input if name)


def known_side(model: onnx.ModelProto, node: onnx.NodeProto) -> int | None:
    """Return which input a Where takes for a reading that is there; None where it asks something else."""
    if node.op_type != "Where":
        return None
    made = {o: n for n in model.graph.node for o in n.output}
    inputs = {i.name for i in model.graph.input}
    at, name = 1, node.input[0]
    while (source := made.get(name)) is not None:
        if source.op_type == "Not":
            at = 3 - at
        elif source.op_type in ("IsNaN", "IsInf"):
            return 3 - at
        elif source.op_type == "LessOrEqual" and _largest(model, source):
            lifted = made.get(source.input[0])
            read = lifted is not None and lifted.op_type == "Abs" and lifted.input[0] in inputs
            return at if read else None
        elif source.op_type not in ("Gather", "Slice", "And", "Unsqueeze"):
            return None
        name = source.input[0]
    return None


def _largest(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Whether a comparison is with the largest float: so readings are asked whether they are finite numbers."""
    tensor: Any = next((t for t in model.graph.initializer if t.name == node.input[1]), None)
    return tensor is not None and bool(np.all(onnx.numpy_helper.to_array(tensor) >= np.finfo(np.float32).max))


def constant(name: str, values: Any) -> onnx.TensorProto:
    """Return an array as a named constant."""
    return onnx.numpy_helper.from_array(np.asarray(values), name)


def node(op: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node that is named after what it makes."""
    return helper.make_node(op, inputs, [output], name=f"{output}/{op}", **attributes)
