"""Mends what can be mended in a graph that is to become a DLC file; see `graphs/dlc.py` for the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nightshift.graphs.dlc import constant, is_constant, is_truth, known_side, lint, node, rows_of, versions_of


def fix(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph for one row, without what the converter would not take as far as that can be mended.

    Missing readings are no longer looked for: a DSP has no NaN, so whoever calls it fills gaps before.

    Args:
        model: it is not changed.
    """
    mended = onnx.ModelProto()
    mended.CopyFrom(model)
    _one_row(mended)
    _drop_missing(mended)
    _rewrite(mended, _clip_as_bounds)
    _rewrite(mended, _truth_as_numbers)
    _rewrite(mended, _row_by_comparison)
    _rewrite(mended, _steps)
    _drop_identities(mended)
    _fold(mended)
    _sweep(mended)
    onnx.checker.check_model(mended)
    return mended


def fixable(model: onnx.ModelProto) -> bool:
    """Whether anything in a graph can be mended."""
    return any(remark.fixable for remark in lint(model))


def _one_row(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.dim_value = 1
    del model.graph.value_info[:]


def _drop_missing(model: onnx.ModelProto) -> None:
    taken = {n.output[0]: n.input[side] for n in model.graph.node if (side := known_side(model, n)) is not None}
    _replace(model, taken)


def _drop_identities(model: onnx.ModelProto) -> None:
    outputs = {o.name for o in model.graph.output}
    made = {o for n in model.graph.node for o in n.output}
    idle = [n for n in model.graph.node if n.op_type == "Identity"]
    _replace(model, {n.output[0]: n.input[0] for n in idle if n.output[0] not in outputs})
    for last in [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in made - outputs]:
        source, name = last.input[0], last.output[0]
        model.graph.node.remove(last)
        for each in model.graph.node:
            for names in (each.input, each.output):
                names[:] = [name if n == source else n for n in names]


def _replace(model: onnx.ModelProto, taken: dict[str, str]) -> None:
    """Let readers of some values read others, and remove the nodes that made them."""

    def final(name: str) -> str:
        while name in taken:
            name = taken[name]
        return name

    kept = [n for n in model.graph.node if not any(o in taken for o in n.output)]
    for each in kept:
        each.input[:] = [final(name) for name in each.input]
    nodes = [n.SerializeToString() for n in kept]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(n) for n in nodes)


def _rewrite(model: onnx.ModelProto, how: Any) -> None:
    """Replace nodes by others: `how` yields them, or nothing where a node stays."""
    nodes = []
    for each in list(model.graph.node):
        nodes += list(how(model, each)) or [each]
    copies = [n.SerializeToString() for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(n) for n in copies)


def _clip_as_bounds(model: onnx.ModelProto, each: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    if each.op_type != "Clip" or versions_of(model)(each) <= 12:
        return
    bounds = [(op, name) for op, name in zip(("Max", "Min"), each.input[1:], strict=False) if name]
    value = each.input[0]
    for i, (op, bound) in enumerate(bounds):
        made = each.output[0] if i == len(bounds) - 1 else f"{each.output[0]}/{op}"
        yield node(op, [value, bound], made)
        value = made


def _truth_as_numbers(model: onnx.ModelProto, each: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    if each.op_type != "Cast" or not is_truth(model, each.input[0]):
        return
    dtype = helper.tensor_dtype_to_np_dtype(next(a.i for a in each.attribute if a.name == "to"))
    names = [f"{each.output[0]}/{value}" for value in (1, 0)]
    model.graph.initializer.extend(constant(n, np.array(v, dtype)) for n, v in zip(names, (1, 0), strict=True))
    yield node("Where", [each.input[0], *names], each.output[0])


def _row_by_comparison(model: onnx.ModelProto, each: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Let a row of a table be found by comparing a class's code, a float, instead of casting it to an integer.

    In a graph of opset 21, which 16 bits need, the converter takes no cast at all.
    """
    cast = next((n for n in model.graph.node if each.op_type == "Gather" and n.output[0] == each.input[1]), None)
    table: Any = next((t for t in model.graph.initializer if t.name == each.input[0]), None)
    if cast is None or cast.op_type != "Cast" or table is None or len(table.dims) != 2:
        return
    if any(a.name == "axis" and a.i for a in each.attribute):
        return
    stem = each.output[0]
    made = {
        "axes": np.array([-2, -1], np.int64),
        "codes": np.arange(table.dims[0], dtype=np.float32)[:, None],
        "none": np.array(0.0, np.float32),
        "axis": np.array([-2], np.int64),
    }
    model.graph.initializer.extend(constant(f"{stem}/{name}", values) for name, values in made.items())
    yield node("Unsqueeze", [cast.input[0], f"{stem}/axes"], f"{stem}/code")
    yield node("Equal", [f"{stem}/code", f"{stem}/codes"], f"{stem}/is")
    yield node("Where", [f"{stem}/is", each.input[0], f"{stem}/none"], f"{stem}/row")
    yield node("ReduceSum", [f"{stem}/row", f"{stem}/axis"], stem, keepdims=0)


def _steps(model: onnx.ModelProto, each: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Unroll an LSTM: a node for each step, which hands its state on."""
    if each.op_type != "LSTM" or any(each.input[4:5]):
        return
    rows = rows_of(model, each.input[0])
    if rows is None or rows < 2:
        return
    stem, attributes = each.output[0] or each.name, {a.name: helper.get_attribute_value(a) for a in each.attribute}
    given = [*each.input, *[""] * (8 - len(each.input))]
    state, drawn = given[5:7], []
    model.graph.initializer.append(constant(f"{stem}/axis", np.array([0], np.int64)))
    for row in range(rows):
        at = f"{stem}/{row}"
        model.graph.initializer.append(constant(f"{at}/at", np.array([row], np.int64)))
        model.graph.initializer.append(constant(f"{at}/to", np.array([row + 1], np.int64)))
        yield node("Slice", [given[0], f"{at}/at", f"{at}/to", f"{stem}/axis"], f"{at}/x")
        made = [f"{at}/y", f"{at}/h", f"{at}/c"]
        inputs = [f"{at}/x", *given[1:4], "", *state, given[7]]
        while not inputs[-1]:
            inputs.pop()
        yield helper.make_node("LSTM", inputs, made, name=f"{at}/LSTM", **attributes)
        state = made[1:]
        drawn.append(made[0])
    outputs = [*each.output, *[""] * (3 - len(each.output))]
    if outputs[0]:
        yield node("Concat", drawn, outputs[0], axis=0)
    for last, name in zip(state, outputs[1:], strict=True):
        if name:
            yield node("Identity", [last], name)


def _fold(model: onnx.ModelProto) -> None:
    """Compute what follows from constants alone."""
    from onnx.reference import ReferenceEvaluator

    while True:
        found = next((n for n in model.graph.node if is_constant(model, n)), None)
        if found is None:
            return
        arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in found.input}
        values = ReferenceEvaluator(found).run(None, arrays)
        names = list(found.output)
        model.graph.initializer.extend(constant(n, v) for n, v in zip(names, values, strict=True))
        model.graph.node.remove(found)


def _sweep(model: onnx.ModelProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
    outputs = {o.name for o in model.graph.output}
    while True:
        read = outputs | {name for n in model.graph.node for name in n.input}
        idle = [n for n in model.graph.node if not any(o in read for o in n.output)]
        if not idle:
            break
        for each in idle:
            model.graph.node.remove(each)
    for tensor in [t for t in model.graph.initializer if t.name not in read]:
        model.graph.initializer.remove(tensor)
