"""Statistics over the rows of a window, as graph nodes that skip missing values."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import onnx

from nightshift.graphs.build import Graph

#: Added to each squared row number, an exact sum in double: the slope of one value is then 0 / this, not 0 / 0. Next to
#: the least spread of two row numbers, 1 / 2, it is lost in float32.
_SPECK = 2.0**-30


class Moments:
    """Statistics over axis 1 of `(batch, rows, n)`; NaN and infinite values are missing.

    Nodes are shared, and added when first asked for. Sums are products with a constant, in double: one node takes
    several. Rows are the last axis for that, since onnxruntime refuses a constant from the left on an empty batch. Each
    statistic is double `(batch, n, 1)`, and NaN where nothing is there, unless it says otherwise.

    Args:
        graph: receives the nodes.
        rows: float32 value.
        window_rows: how many rows it has.
    """

    def __init__(self, graph: Graph, rows: str, window_rows: int) -> None:
        self._graph, self._rows = graph, rows
        # Row numbers are centred on the window before anything is squared; halves are exact.
        self._clock = np.arange(window_rows, dtype=np.float64)[:, None] - (window_rows - 1) / 2

    @cached_property
    def _values(self) -> str:
        turned = self._graph.add("Transpose", self._rows, perm=[0, 2, 1])
        return self._graph.add("Cast", turned, to=int(onnx.TensorProto.DOUBLE))

    @cached_property
    def _there(self) -> str:
        largest = self._graph.const(float(np.finfo(np.float32).max), "float64")
        return self._graph.add("LessOrEqual", self._graph.add("Abs", self._values), largest)

    @cached_property
    def _weight(self) -> str:
        """1 where a value is there, else 0."""
        return self._graph.add("Cast", self._there, to=int(onnx.TensorProto.DOUBLE))

    @cached_property
    def _clock_sums(self) -> list[str]:
        """How many values are there, the sum of their row numbers, and that of the squares."""
        powers = np.hstack([np.ones_like(self._clock), self._clock, self._clock**2 + _SPECK])
        sums = self._graph.add("MatMul", self._weight, self._graph.const(powers))
        return self._graph.add_many("Split", [sums], 3, axis=2, num_outputs=3)

    @cached_property
    def _count(self) -> str:
        return self._clock_sums[0]

    @cached_property
    def _held(self) -> str:
        return self._or(0.0)

    @cached_property
    def _mean(self) -> str:
        total = self._graph.add("MatMul", self._held, self._graph.const(np.ones_like(self._clock)))
        return self._graph.add("Div", total, self._count)

    @cached_property
    def _rest(self) -> str:
        """Values minus their mean; 0 where missing."""
        return self._graph.add("Sub", self._held, self._graph.add("Mul", self._mean, self._weight))

    def _or(self, filler: float) -> str:
        return self._graph.add("Where", self._there, self._values, self._graph.const(filler, "float64"))

    def last(self) -> str:
        """Return the newest row's own value, missing or not."""
        return self._graph.add("Gather", self._values, self._graph.const([-1], "int64"), axis=2)

    def mean(self) -> str:
        """Return the mean."""
        return self._mean

    def spread(self) -> str:
        """Return the population standard deviation."""
        squares = self._graph.add("ReduceSumSquare", self._rest, self._graph.const([2], "int64"), keepdims=1)
        return self._graph.add("Sqrt", self._graph.add("Div", squares, self._count))

    def slope(self) -> str:
        """Return the least-squares slope per row; 0 of one value."""
        graph = self._graph
        count, total, squares = self._clock_sums
        bottom = graph.add("Sub", squares, graph.add("Div", graph.add("Mul", total, total), count))
        return graph.add("Div", graph.add("MatMul", self._rest, graph.const(self._clock)), bottom)

    def extreme(self, op: str, filler: float) -> str:
        """Return what `op` (ReduceMin, ReduceMax) finds; `filler` where nothing is there."""
        return self._graph.add(op, self._or(filler), self._graph.const([2], "int64"), keepdims=1)
