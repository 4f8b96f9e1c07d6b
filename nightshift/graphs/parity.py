"""Rows on which a converted model is most likely to differ from its library, and the figures of the comparison.

Random rows hide converter faults: a threshold that is off by one float32 step misroutes one row in a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.manifest import Parity

if TYPE_CHECKING:
    import onnx

Float32 = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]

_TREE_OPS = {"TreeEnsembleRegressor", "TreeEnsembleClassifier"}
#: Values that tree code reads specially: zeros, subnormals, and what a broken sensor sends.
EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-35, -1e-35, 1e-30, 1e9, -1e9, 1e30, -1e30], np.float32)
#: Rows are compared in slices of about this many input values, which bounds the memory of large windows.
CHUNK_VALUES = 8_000_000


def compare(
    model: bytes, library: Callable[[Arrays], Arrays], inputs: Arrays, tolerances: Mapping[str, float]
) -> Parity:
    """Run the graph and the training library on the same inputs.

    Args:
        model: the serialised graph.
        library: answers inputs with the training library, by output name.
        inputs: by name, all with the same first dimension.
        tolerances: float output -> largest accepted absolute difference, in the output's unit.

    Returns:
        Figures per float output, and the rows where any integer output differs. NaN equals NaN, and only NaN.
    """
    from nightshift.edge.session import open_session

    session = open_session(model)
    names = [output.name for output in session.get_outputs()]
    n_rows = len(next(iter(inputs.values())))
    worst = dict.fromkeys(tolerances, 0.0)
    flips = 0
    for start, stop in _slices(inputs, n_rows):
        part = {name: values[start:stop] for name, values in inputs.items()}
        got = dict(zip(names, session.run(None, dict(part)), strict=True))
        want = library(part)
        flipped = np.zeros(stop - start, np.bool_)
        for name in names:
            if np.issubdtype(got[name].dtype, np.floating):
                worst[name] = max(worst.get(name, 0.0), max_abs_delta(want[name], got[name]))
            else:
                flipped |= _any_differs(np.asarray(want[name]), got[name])
        flips += int(flipped.sum())
    ok = flips == 0 and all(delta <= tolerances.get(name, 0.0) for name, delta in worst.items())
    return Parity(rows=n_rows, max_abs=worst, tolerance=dict(tolerances), flips=flips, ok=ok)


def max_abs_delta(want: NDArray[Any], got: NDArray[Any]) -> float:
    """Return the largest absolute difference, infinite where shapes differ or NaN meets a number."""
    one, other = np.asarray(want, np.float64), np.asarray(got, np.float64)
    if one.shape != other.shape:
        return float("inf")
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        delta = np.where(same, 0.0, np.abs(one - other))
    return float(np.nan_to_num(delta, nan=np.inf, posinf=np.inf).max(initial=0.0))


def _any_differs(want: NDArray[Any], got: NDArray[Any]) -> NDArray[np.bool_]:
    if want.shape != got.shape:
        return np.ones(len(got), np.bool_)
    differs: NDArray[np.bool_] = (want != got).reshape(len(got), -1).any(axis=1)
    return differs


def _slices(inputs: Arrays, n_rows: int) -> Iterator[tuple[int, int]]:
    values_a_row = sum(int(np.prod(values.shape[1:], dtype=np.int64)) for values in inputs.values())
    step = max(1, CHUNK_VALUES // max(1, values_a_row))
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def split_thresholds(model: onnx.ModelProto) -> dict[int, Float32]:
    """Return the sorted thresholds of each feature index that the graph's tree nodes split on.

    Indices are those of the value that enters the trees, followed back through a Gather of columns. A stacked model's
    trees also split on predictions appended behind the features: those have indices beyond the features.
    """
    found: dict[int, list[float]] = {}
    columns = _GatheredColumns(model)
    for node in model.graph.node:
        if node.op_type not in _TREE_OPS:
            continue
        lists = {attribute.name: attribute for attribute in node.attribute}
        gathered = columns.of(node.input[0])
        modes, features = lists["nodes_modes"].strings, lists["nodes_featureids"].ints
        for mode, feature, threshold in zip(modes, features, lists["nodes_values"].floats, strict=True):
            if mode != b"LEAF":
                found.setdefault(int(gathered[feature]) if gathered is not None else feature, []).append(threshold)
    return {feature: np.unique(np.array(values, np.float32)) for feature, values in sorted(found.items())}


class _GatheredColumns:
    """Finds which columns of the features a tree node's input was gathered from."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self._made_by = {output: node for node in model.graph.node for output in node.output}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._read = numpy_helper.to_array

    def of(self, value: str) -> NDArray[np.int64] | None:
        """Return the original index of each column of `value`, or None when they are in their own order."""
        node = self._made_by.get(value)
        while node is not None and node.op_type in ("Where", "Identity", "Cast"):
            node = self._made_by.get(node.input[2] if node.op_type == "Where" else node.input[0])
        if node is None or node.op_type != "Gather" or node.input[1] not in self._constants:
            return None
        index = np.asarray(self._read(self._constants[node.input[1]]), np.int64)
        # A lone number takes a row, the newest of a window: its columns are in their own order.
        return index if index.ndim else None


def thresholds_by_column(
    thresholds: Mapping[int, Float32], feature_names: Sequence[str], columns: Sequence[str]
) -> dict[int, Float32]:
    """Gather the thresholds of all features of a column (`<column>` or `<column>__<statistic>`) under its index."""
    index = {name: i for i, name in enumerate(columns)}
    found: dict[int, list[Float32]] = {}
    for feature, values in thresholds.items():
        if feature >= len(feature_names):
            continue
        name = feature_names[feature]
        column = index.get(name, index.get(name.rsplit("__", 1)[0]))
        if column is not None:
            found.setdefault(column, []).append(values)
    return {column: np.unique(np.concatenate(lists)) for column, lists in sorted(found.items())}


def adversarial_rows(rows: Float32, thresholds: Mapping[int, Float32], *, per_column: int = 100) -> Float32:
    """Build rows that sit where converters fail.

    Args:
        rows: `(n, f)` real rows; each is used as it is, and in turn as the background of the made-up ones.
        thresholds: feature index -> thresholds, as from `split_thresholds`; indices beyond `f` are left out.
        per_column: at most this many thresholds of a column, spread evenly over their order.

    Returns:
        `(m, f)`: the rows themselves; one column exactly on a threshold, one float32 step below and above it; NaN in
        each column, in every second one and in all; extremes in each column.
    """
    return adversarial_windows(rows[:, None, :], thresholds, per_column=per_column)[:, 0, :]


def adversarial_windows(windows: Float32, thresholds: Mapping[int, Float32], *, per_column: int = 100) -> Float32:
    """Build windows that sit where converters fail, as `adversarial_rows` does for rows.

    A column is set to its value throughout the window in every second window, so that last, mean, minimum and maximum
    all sit on the threshold, and in the newest row alone in the others.

    Args:
        windows: `(n, window_rows, columns)` real windows, oldest row first.
        thresholds: column index -> thresholds.
        per_column: at most this many thresholds of a column.

    Returns:
        `(m, window_rows, columns)`.
    """
    made = list(_one_column_changes(windows.shape[2], thresholds, per_column))
    background = np.resize(np.arange(len(windows)), len(made))
    changed = windows[background]
    for i, (window, (column, value)) in enumerate(zip(changed, made, strict=True)):
        window[slice(None) if i % 2 else -1, column] = value
    missing = np.repeat(windows[:1], 2, axis=0)
    missing[0, :, ::2] = np.nan
    missing[1] = np.nan
    return np.concatenate([windows, changed, missing]).astype(np.float32)


def _one_column_changes(
    n_columns: int, thresholds: Mapping[int, Float32], per_column: int
) -> Iterator[tuple[int, np.float32]]:
    up, down = np.float32(np.inf), np.float32(-np.inf)
    for column in range(n_columns):
        at = np.asarray(thresholds.get(column, np.zeros(0)), np.float32)
        if len(at) > per_column:
            at = at[np.linspace(0, len(at) - 1, per_column).astype(np.int64)]
        with np.errstate(over="ignore"):  # a library writes "always" as the largest float32, whose next is infinite
            around = [np.nextafter(at, up), np.nextafter(at, down)]
        for value in np.concatenate([at, *around, EXTREMES]):
            if np.isfinite(value):
                yield column, value
        for _ in range(3):
            yield column, np.float32(np.nan)
