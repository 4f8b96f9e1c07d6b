"""Statistics over the rows of a window, as graph nodes that skip missing values."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx

from nightshift.graphs.build import Graph


class Moments:
    """Statistics over axis 1 of `(batch, rows, n)` that skip NaN; shared nodes are added once, when first asked for.

    A column at 1e6 with a spread of 1 would lose its spread in float32 sums, so the rough mean is subtracted first
    (exact for values near it), and every further sum runs over the small rest.
    """

    def __init__(self, graph: Graph, rows: str) -> None:
        self._graph, self._rows = graph, rows

    @cached_property
    def _axis(self) -> str:
        return self._graph.const([1], "int64")

    @cached_property
    def _zero(self) -> str:
        return self._graph.const(0.0, "float32")

    @cached_property
    def _missing(self) -> str:
        return self._graph.add("IsNaN", self._rows)

    @cached_property
    def _weight(self) -> str:
        """1 where a value is there, else 0."""
        return self._graph.add("Cast", self._graph.add("Not", self._missing), to=int(onnx.TensorProto.FLOAT))

    @cached_property
    def _count(self) -> str:
        return self._total(self._weight)

    @cached_property
    def _rough(self) -> str:
        return self._graph.add("Div", self._total(self._present(self._rows)), self._count)

    @cached_property
    def _rest(self) -> str:
        """Values minus the rough mean; 0 where missing."""
        return self._present(self._graph.add("Sub", self._rows, self._rough))

    @cached_property
    def _rest_mean(self) -> str:
        return self._graph.add("Div", self._total(self._rest), self._count)

    def _present(self, value: str) -> str:
        return self._graph.add("Where", self._missing, self._zero, value)

    def _total(self, value: str) -> str:
        return self._graph.add("ReduceSum", value, self._axis, keepdims=1)

    def mean(self) -> str:
        """Return the mean, `(batch, n)`."""
        return self._graph.add("Squeeze", self._graph.add("Add", self._rough, self._rest_mean), self._axis)

    def spread(self) -> str:
        """Return the population standard deviation, `(batch, n)`."""
        inner = self._graph.add("Mul", self._graph.add("Sub", self._rest, self._rest_mean), self._weight)
        squares = self._graph.add("ReduceSumSquare", inner, self._axis, keepdims=1)
        root = self._graph.add("Sqrt", self._graph.add("Div", squares, self._count))
        return self._graph.add("Squeeze", root, self._axis)

    def slope(self, window_rows: int) -> str:
        """Return the least-squares slope per row, `(batch, n)`."""
        graph = self._graph
        # Row numbers are centred on the window, then on the rows that are there, before anything is squared.
        clock = graph.const(np.arange(window_rows, dtype=np.float32)[None, :, None] - (window_rows - 1) / 2, "float32")
        middle = graph.add("Div", self._total(graph.add("Mul", clock, self._weight)), self._count)
        lever = graph.add("Mul", graph.add("Sub", clock, middle), self._weight)
        top = graph.add("ReduceSum", graph.add("Mul", lever, self._rest), self._axis, keepdims=0)
        bottom = graph.add("ReduceSumSquare", lever, self._axis, keepdims=0)
        # One value alone gives 0 / 0, which is no slope; no value at all gives NaN / NaN and stays missing.
        flat = graph.add("Equal", bottom, self._zero)
        return graph.add("Where", flat, self._zero, graph.add("Div", top, bottom))

    def extreme(self, op: str, filler: float) -> str:
        """Return what `op` (ReduceMin, ReduceMax) finds; `filler` where nothing is there, `(batch, n)`."""
        held = self._graph.add("Where", self._missing, self._graph.const(filler, "float32"), self._rows)
        return self._graph.add(op, held, self._axis, keepdims=0)
