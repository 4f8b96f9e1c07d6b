"""Rows on which a converted model is most likely to differ from its library, and the figures of the comparison.

Random rows hide converter faults: a threshold that is off by one float32 step misroutes one row in a thousand.
Infinite readings are missing readings, to every family's library side and to its graph alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.agree import any_differs, max_abs_delta, worst_beside
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
#: A runtime may compute a large batch by other code than one row: tree nodes do from some dozens of rows on.
BATCHES = (0, 1, 2, 7, 1_000)
#: Between batches of other sizes a score may differ by this share of itself beside its tolerance: a sum depends on the
#: kernel that adds it up (3.3e-6 of a One-Class SVM's score was seen, of windows summed in float32; they are summed in
#: double since). Labels may not differ.
BATCH_SHARE = 2e-5
#: So many rows are asked one by one, spread over all cases.
_ONE_BY_ONE_ROWS = 128


class CasedInputs(dict[str, NDArray[Any]]):
    """Inputs by name that tell what each row is there for.

    Attributes:
        case: `(rows,)`, `real` or what was done to the row.
    """

    def __init__(self, inputs: Arrays, case: NDArray[np.str_]) -> None:
        super().__init__(inputs)
        self.case = case


def compare(
    model: bytes, library: Callable[[Arrays], Arrays], inputs: Arrays, tolerances: Mapping[str, float]
) -> Parity:
    """Run the graph and the training library on the same inputs, and the graph on the same rows in other batches.

    Args:
        model: the serialised graph.
        library: answers inputs with the training library, by output name.
        inputs: by name, all with the same first dimension; `CasedInputs` are counted by case.
        tolerances: float output -> largest accepted absolute difference, in the output's unit.

    Returns:
        Figures per float output, and the rows where any integer output differs. NaN equals NaN, and only NaN.
    """
    from nightshift.edge.session import open_session

    session = open_session(model)
    names = [output.name for output in session.get_outputs()]

    def graph(part: Arrays) -> Arrays:
        return dict(zip(names, session.run(None, dict(part)), strict=True))

    n_rows = len(next(iter(inputs.values())))
    told = _Differences(tolerances)
    for start, stop in _slices(inputs, n_rows):
        part = {name: values[start:stop] for name, values in inputs.items()}
        told.add(library(part), graph(part))
    between = _Differences(tolerances, BATCH_SHARE)
    batches = _compare_batches(graph, inputs, between) if n_rows else ()
    return Parity(
        rows=n_rows,
        max_abs=told.worst,
        tolerance=dict(tolerances),
        flips=told.flips + between.flips,
        ok=told.ok and between.ok,
        cases=_count(inputs.case) if isinstance(inputs, CasedInputs) else {},
        batches=batches,
        between_batches=between.worst,
    )


class _Differences:
    """The largest difference of each float output so far, and the rows with another integer output.

    Attributes:
        ok: no such row, and every difference within the tolerance and a share of the value itself.
    """

    def __init__(self, tolerances: Mapping[str, float], share: float = 0.0) -> None:
        self.worst = dict.fromkeys(tolerances, 0.0)
        self.flips = 0
        self._tolerances, self._share, self._within = tolerances, share, True

    @property
    def ok(self) -> bool:
        return self._within and self.flips == 0

    def add(self, want: Arrays, got: Arrays) -> None:
        flipped = np.zeros(len(next(iter(got.values()))), np.bool_)
        misshapen = False
        for name, values in got.items():
            if np.issubdtype(values.dtype, np.floating):
                self.worst[name] = max(self.worst.get(name, 0.0), max_abs_delta(want[name], values))
                self._within &= self._accepts(name, want[name], values)
            else:
                flipped |= any_differs(np.asarray(want[name]), values)
                misshapen |= np.shape(want[name]) != values.shape
        # An answer of no rows can be wrong by its shape alone.
        self.flips += max(int(flipped.sum()), int(misshapen))

    def _accepts(self, name: str, want: NDArray[Any], got: NDArray[Any]) -> bool:
        delta, accepted = worst_beside(np.asarray(want), got, self._tolerances.get(name, 0.0), self._share)
        return delta <= accepted


def _compare_batches(graph: Callable[[Arrays], Arrays], inputs: Arrays, told: _Differences) -> tuple[int, ...]:
    """Ask the graph the same rows one by one and in batches.

    Returns:
        The sizes compared; the largest is smaller where so many windows would fill the memory.
    """
    n_rows = len(next(iter(inputs.values())))
    largest = min(BATCHES[-1], max(1, CHUNK_VALUES // max(1, _values_a_row(inputs))))
    rows = np.linspace(0, n_rows - 1, largest).astype(np.int64)
    drawn = {name: values[rows] for name, values in inputs.items()}
    at_once = graph(drawn)
    asked = np.unique(np.linspace(0, largest - 1, _ONE_BY_ONE_ROWS).astype(np.int64))
    alone = _in_batches(graph, drawn, asked, 1)
    told.add(alone, {name: values[asked] for name, values in at_once.items()})
    for size in BATCHES[2:-1]:
        told.add(alone, _in_batches(graph, drawn, asked, size))
    nothing = graph({name: values[:0] for name, values in drawn.items()})
    told.add({name: values[:0] for name, values in alone.items()}, nothing)
    return tuple(sorted({*BATCHES[:-1], largest}))


def _in_batches(
    graph: Callable[[Arrays], Arrays], inputs: Arrays, rows: NDArray[np.int64], size: int
) -> dict[str, NDArray[Any]]:
    parts = [
        graph({name: values[rows[start : start + size]] for name, values in inputs.items()})
        for start in range(0, len(rows), size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _count(case: NDArray[np.str_]) -> dict[str, int]:
    """Return the rows of each case, in the order in which they first come."""
    return {str(name): int((case == name).sum()) for name in dict.fromkeys(case.tolist())}


def _slices(inputs: Arrays, n_rows: int) -> Iterator[tuple[int, int]]:
    step = max(1, CHUNK_VALUES // max(1, _values_a_row(inputs)))
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def _values_a_row(inputs: Arrays) -> int:
    return sum(int(np.prod(values.shape[1:], dtype=np.int64)) for values in inputs.values())


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
    """Build rows of features that sit where converters fail.

    Args:
        rows: `(n, f)` real rows; each is used as it is, and in turn as the background of the made-up ones.
        thresholds: feature index -> thresholds, as from `split_thresholds`; indices beyond `f` are left out.
        per_column: at most this many thresholds of a column, spread evenly over their order.

    Returns:
        `(m, f)`: the rows themselves; one column exactly on a threshold, one float32 step below and above it; NaN in
        each column, in every second one and in all; extremes in each column. Features are never infinite.
    """
    made = adversarial_windows(rows[:, None, :], thresholds, per_column=per_column)
    changed: Float32 = made["window"][made.case != "infinite", 0, :]
    return changed


def adversarial_windows(windows: Float32, thresholds: Mapping[int, Float32], *, per_column: int = 100) -> CasedInputs:
    """Build windows of readings that sit where converters fail, as `adversarial_rows` does for features.

    A column is set to its value throughout the window in every second window, so that last, mean, minimum and maximum
    all sit on the threshold, and in the newest row alone in the others. Readings may be infinite too.

    Args:
        windows: `(n, window_rows, columns)` real windows, oldest row first.
        thresholds: column index -> thresholds.
        per_column: at most this many thresholds of a column.

    Returns:
        `window` `(m, window_rows, columns)`, with what each is there for.
    """
    made = list(_one_column_changes(windows.shape[2], thresholds, per_column))
    background = np.resize(np.arange(len(windows)), len(made))
    changed = windows[background]
    for i, (window, change) in enumerate(zip(changed, made, strict=True)):
        window[slice(None) if i % 2 else -1, change.column] = change.value
    missing = np.repeat(windows[:1], 2, axis=0)
    missing[0, :, ::2] = np.nan
    missing[1] = np.nan
    case = ["real"] * len(windows) + [change.case for change in made] + ["missing"] * 2
    return CasedInputs({"window": np.concatenate([windows, changed, missing]).astype(np.float32)}, np.array(case))


@dataclass(frozen=True)
class _Change:
    """A value put into one column of a window, and what it is called."""

    case: str
    column: int
    value: np.float32


def _one_column_changes(n_columns: int, thresholds: Mapping[int, Float32], per_column: int) -> Iterator[_Change]:
    up, down, nan = np.float32(np.inf), np.float32(-np.inf), np.float32(np.nan)
    for column in range(n_columns):
        at = np.asarray(thresholds.get(column, np.zeros(0)), np.float32)
        if len(at) > per_column:
            at = at[np.linspace(0, len(at) - 1, per_column).astype(np.int64)]
        with np.errstate(over="ignore"):  # a library writes "always" as the largest float32, whose next is infinite
            cases = {
                "on a split": at,
                "one step above": np.nextafter(at, up),
                "one step below": np.nextafter(at, down),
                "extreme": EXTREMES,
            }
        for case, values in cases.items():
            yield from (_Change(case, column, value) for value in values if np.isfinite(value))
        # Twice each, so that one fills the window and the other its newest row alone.
        yield from (_Change("infinite", column, value) for value in (up, up, down, down))
        yield from (_Change("missing", column, value) for value in (nan, nan, nan))
