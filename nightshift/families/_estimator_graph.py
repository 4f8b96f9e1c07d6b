"""The graph of an estimator: a bundle's window in front of the trainer's own graph of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.data.tables import is_flag
from nightshift.edge.manifest import Column
from nightshift.errors import ExportError
from nightshift.families._estimator import EstimatorModel, unseen_of
from nightshift.graphs.build import ELEMENT_TYPES, Graph

if TYPE_CHECKING:
    import onnx

#: Its one input where no column holds words.
_ALL = "x"


def graph_of(fitted: EstimatorModel, name: str) -> onnx.ModelProto:
    """Return the graph: window, gaps filled, words for codes, the model, its answers as the bundle names them.

    Raises:
        ExportError: when the model has no ONNX form, or its graph answers otherwise.
    """
    from nightshift.trainer.keep.onnx_graph import OPSETS
    from nightshift.trainer.keep.onnx_out import exported

    inner = exported(fitted.model, fitted.frame(fitted.example)).model
    graph = Graph(name)
    columns = fitted.interface.columns
    window = graph.input("window", "float32", ("batch", 1, len(columns)))
    row = _filled(graph, graph.add("Squeeze", window, graph.const([1], "int64")), fitted)
    answers = graph.inline(inner, _given(graph, row, inner, columns))
    if "value" in answers:
        value = graph.add("Cast", answers["value"], to=ELEMENT_TYPES["float32"])
        graph.output(graph.add("Reshape", value, graph.const([-1], "int64")), "value", "float32", ("batch",))
        return graph.build(OPSETS[""])
    if "probabilities" not in answers:
        raise ExportError("the model's graph tells no probabilities.", hint="Take logistic or random_forest.")
    classes = fitted.interface.classes
    probability = graph.add("Cast", answers["probabilities"], to=ELEMENT_TYPES["float32"])
    graph.output(probability, "probability", "float32", ("batch", len(classes)))
    label = next(output for output in inner.graph.output if output.name == "label")
    kind = label.type.tensor_type.elem_type
    graph.output(_code(graph, answers["label"], kind, fitted), "label", "int64", ("batch",))
    return graph.build(OPSETS[""])


def _filled(graph: Graph, row: str, fitted: EstimatorModel) -> str:
    """Return the row `(batch, columns)` as numbers without infinities: gaps filled, flags 0 or 1, words as codes."""
    columns = fitted.interface.columns
    flags = np.array([is_flag(column.categories) for column in columns])
    words = np.array([bool(column.categories) for column in columns]) & ~flags
    bad = graph.add("Or", graph.add("IsNaN", row), graph.add("IsInf", row))
    if flags.any() or words.any():
        coded = graph.const(flags | words)
        bad = graph.add("Or", bad, graph.add("And", coded, graph.add("Less", row, graph.const(0.0, "float32"))))
    if flags.any():
        odd = graph.add("Mod", row, graph.const(2.0, "float32"), fmod=1)
        row = graph.add("Where", graph.const(flags), odd, row)
    return graph.add("Where", bad, graph.const(np.where(words, np.float32(-1), fitted.fill).astype(np.float32)), row)


def _given(graph: Graph, row: str, inner: Any, columns: tuple[Column, ...]) -> dict[str, str]:
    """Return what each input of the model's graph is given: all columns, or each by its name."""
    names = [value.name for value in inner.graph.input]
    if names == [_ALL]:
        return {_ALL: row}
    found: dict[str, str] = {}
    for place, column in enumerate(columns):
        if column.name not in names:
            continue
        value = graph.add("Gather", row, graph.const([place], "int64"), axis=1)
        if column.categories and not is_flag(column.categories):
            value = graph.add(
                "LabelEncoder",
                graph.add("Cast", value, to=ELEMENT_TYPES["int64"]),
                domain="ai.onnx.ml",
                keys_int64s=list(range(len(column.categories))),
                values_strings=list(column.categories),
                default_string=unseen_of(column),
            )
        found[column.name] = value
    return found


def _code(graph: Graph, label: str, kind: int, fitted: EstimatorModel) -> str:
    """Return the place of a label, of whatever type, among the classes, `(batch,)` int64."""
    from onnx import TensorProto

    classes = [one.item() if hasattr(one, "item") else one for one in fitted.model.classes_]
    keys: dict[str, Any]
    if kind == TensorProto.STRING:
        keys = {"keys_strings": [str(one) for one in classes]}
    elif kind == TensorProto.FLOAT:
        keys = {"keys_floats": [float(one) for one in classes]}
    else:
        label = graph.add("Cast", label, to=ELEMENT_TYPES["int64"])
        keys = {"keys_int64s": [int(one) for one in classes]}
    places = list(range(len(classes)))
    code = graph.add("LabelEncoder", label, domain="ai.onnx.ml", values_int64s=places, default_int64=-1, **keys)
    return graph.add("Reshape", code, graph.const([-1], "int64"))
