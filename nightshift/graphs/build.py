"""A small builder for ONNX graphs: every graph that Nightshift writes goes through it.

Opset and IR version are held low enough for onnxruntime 1.22, the oldest that runs on a Raspberry Pi.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
ML_OPSET = 3
IR_VERSION = 9

#: numpy dtype name -> ONNX element type, for the few types that cross a bundle's border.
ELEMENT_TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}

Dim = int | str | None


class Graph:
    """Collects nodes, constants, inputs and outputs, then builds one checked model.

    Values are named by the builder; `add` and `const` return the name to pass on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._published: list[tuple[str, str]] = []
        self._count = 0

    def fresh(self, stem: str) -> str:
        """Return a value name that is not yet used."""
        self._count += 1
        return f"{stem}_{self._count}"

    def input(self, name: str, dtype: str, shape: Sequence[Dim]) -> str:
        """Declare a graph input; `shape` uses a string for a free dimension."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], list(shape)))
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[Dim]) -> None:
        """Publish `value` as the graph output `name`."""
        self._published.append((value, name))
        self._outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], list(shape)))

    def const(self, array: NDArray[Any] | Sequence[Any] | float | int, dtype: str | None = None) -> str:
        """Store a constant and return its name; give `dtype` for anything but an ndarray."""
        values = np.asarray(array, dtype=dtype)
        name = self.fresh("c")
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name; an empty input name is an omitted one."""
        return self.add_many(op, inputs, 1, domain=domain, **attributes)[0]

    def add_many(
        self, op: str, inputs: Iterable[str], n_outputs: int, *, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs and return their names in order."""
        outputs = [self.fresh(op.lower()) for _ in range(n_outputs)]
        self._nodes.append(
            helper.make_node(op, list(inputs), outputs, name=self.fresh("n"), domain=domain, **attributes)
        )
        return outputs

    def inline(self, model: onnx.ModelProto, inputs: Mapping[str, str]) -> dict[str, str]:
        """Copy another model's nodes into this graph.

        Args:
            model: a model at this builder's opset or an upward-compatible one.
            inputs: the other model's input name -> this graph's value name.

        Returns:
            The other model's output name -> this graph's value name.
        """
        prefix = self.fresh("g")
        rename = dict(inputs)

        def local(name: str) -> str:
            return "" if not name else rename.setdefault(name, f"{prefix}/{name}")

        for tensor in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = local(tensor.name)
            self._initializers.append(copy)
        for node in model.graph.node:
            clone = onnx.NodeProto()
            clone.CopyFrom(node)
            clone.name = f"{prefix}/{node.name}" if node.name else self.fresh("n")
            clone.ClearField("input")
            clone.ClearField("output")
            clone.input.extend(local(n) for n in node.input)
            clone.output.extend(local(n) for n in node.output)
            self._nodes.append(clone)
        return {o.name: local(o.name) for o in model.graph.output}

    def build(self, opset: int = OPSET) -> onnx.ModelProto:
        """Assemble and check the model.

        Args:
            opset: of the graphs that were taken in, where that is an older one.

        Raises:
            onnx.checker.ValidationError: when a node is malformed.
        """
        graph = helper.make_graph(self._published_nodes(), self.name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
            producer_name="nightshift",
        )
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model

    def _published_nodes(self) -> list[onnx.NodeProto]:
        """Return the nodes, the outputs' values under the outputs' names.

        A value is renamed where a node makes it, since a node that only hands it on would cost as much as any other;
        an input, a constant, or a value that is published twice needs one.
        """
        made = {output for node in self._nodes for output in node.output}
        renamed: dict[str, str] = {}
        handed_on = []
        for value, name in self._published:
            if value in made and value not in renamed:
                renamed[value] = name
            else:
                handed_on.append(helper.make_node("Identity", [renamed.get(value, value)], [name], name=f"out/{name}"))
        return [_with_names(node, renamed) for node in self._nodes] + handed_on


def _with_names(node: onnx.NodeProto, renamed: Mapping[str, str]) -> onnx.NodeProto:
    if not any(name in renamed for name in (*node.input, *node.output)):
        return node
    clone = onnx.NodeProto()
    clone.CopyFrom(node)
    for names in (clone.input, clone.output):
        names[:] = [renamed.get(name, name) for name in names]
    return clone
