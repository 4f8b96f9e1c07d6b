"""Measures a bundle where it stands: one row, one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.manifest import Latency
from nightshift.edge.runtime import Model

#: Calls before measuring: the first ones allocate.
_WARM_UP = 30
#: Rounds are repeated while they take less than this in all.
_ROUNDS, _ROUNDS_S = 5, 3.0
#: Two rounds whose p99 differ by less than this factor were both calm: more would show the same.
_CALM = 1.1


def measure(model: Model, inputs: Mapping[str, NDArray[Any]] | None = None, *, runs: int = 300) -> Latency:
    """Return the latency of one row, of the calmest of up to five rounds; no more once two of them agree.

    Other processes of a busy machine reach into the slowest calls of a round; what the model itself needs is what
    the calmest round shows.

    Args:
        model: to be measured.
        inputs: rows to take in turn; the middle of every column's range when left out.
        runs: calls in a round, after a warm-up.
    """
    given = dict(inputs) if inputs is not None else middle_row(model)
    n_rows = len(given[model.interface.takes])
    ones = [{name: values[i : i + 1] for name, values in given.items()} for i in range(min(n_rows, runs))]
    for i in range(_WARM_UP):
        model.run(ones[i % len(ones)])
    began = time.perf_counter()
    rounds: list[NDArray[np.float64]] = []
    while len(rounds) < _ROUNDS and (not rounds or time.perf_counter() - began < _ROUNDS_S):
        rounds.append(np.percentile(_round(model, ones, runs), [50, 99]) * 1e3)
        calmest = sorted(float(p99) for _, p99 in rounds)[:2]
        if len(calmest) == 2 and calmest[1] < _CALM * calmest[0]:
            break
    p50, p99 = min(rounds, key=lambda percentiles: percentiles[1])
    return Latency(p50_ms=float(p50), p99_ms=float(p99), runs=runs)


def _round(model: Model, ones: Sequence[Mapping[str, NDArray[Any]]], runs: int) -> NDArray[np.float64]:
    seconds = np.empty(runs)
    for i in range(runs):
        start = time.perf_counter()
        model.run(ones[i % len(ones)])
        seconds[i] = time.perf_counter() - start
    return seconds


def middle_row(model: Model) -> dict[str, NDArray[Any]]:
    """Return inputs of one row that stands in the middle of every column's range, 0 where none is known."""
    interface = model.interface
    middle = [
        0.0 if column.minimum is None or column.maximum is None else (column.minimum + column.maximum) / 2
        for column in interface.columns
    ]
    shapes = {name: (1, *(int(size) for size in shape[1:])) for name, (_, shape) in interface.inputs().items()}
    inputs: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.int64) for name, shape in shapes.items()}
    inputs[interface.takes] = np.broadcast_to(np.array(middle, np.float32), shapes[interface.takes]).copy()
    return inputs
