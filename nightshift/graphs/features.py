"""Features, written once: a fitted description and the ONNX graph that computes it.

Training runs this very graph with onnxruntime to make its table, and the exported model holds it, so that what a model
is trained on and what a device feeds it cannot differ.

Rules, each for one window and one column:

- NaN and infinite values are missing; every statistic is taken over the values that are there, in double, and is NaN
  where none is. `last` is the newest row's own value, missing or not.
- `spread` is the population standard deviation; `slope` is the least-squares slope per row. Both are 0 where a single
  value is there: one value shows no change.
- A ratio whose divisor is zero is missing, and so is a result beyond float32.
- Categorical columns enter as their index (the mapping stands in the dataset's metadata and in `bundle.json`) and leave
  as that number. They are not spread over one column a level: trees split on an ordinal in any case, the graph stays
  small, and a level unseen in training has a stated code of its own, so that it lands beside the first level
  instead of failing.
- With operating regimes, each row's sensors are normalised by the mean and standard deviation that the row's regime
  had in training; a row with a missing setting has no regime, and its sensors are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, Self

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nightshift.edge.window import build_windows
from nightshift.graphs.build import Graph
from nightshift.graphs.moments import Moments

Statistic = Literal["last", "mean", "spread", "slope", "minimum", "maximum"]

#: Windows are computed in slices of about this many values, which bounds the memory at about ten times 64 MiB.
CHUNK_VALUES = 8_000_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DerivedColumn(_Frozen):
    """A column made from two others, row by row: `left - right`, `left * right` or `left / right`."""

    name: str
    kind: Literal["difference", "product", "ratio"]
    left: str
    right: str


class Regimes(_Frozen):
    """Operating regimes of a machine, fitted on training rows.

    Attributes:
        settings: columns that tell the regime.
        offset: `(n_settings,)`, subtracted from the settings first, in their units.
        scale: `(n_settings,)`, by which they are then divided.
        centres: `(k, n_settings)`, in scaled settings; a row belongs to the nearest.
        sensors: columns (raw or derived) that are normalised.
        means: `(k, n_sensors)`, in the sensors' units.
        spreads: `(k, n_sensors)`, in the sensors' units; 1 where a sensor stands still in a regime.
    """

    settings: tuple[str, ...] = Field(min_length=1)
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...] = Field(min_length=2)
    sensors: tuple[str, ...] = Field(min_length=1)
    means: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        n_settings, n_sensors, k = len(self.settings), len(self.sensors), len(self.centres)
        rows = [self.offset, self.scale, *self.centres]
        tables = [*self.means, *self.spreads]
        if any(len(row) != n_settings for row in rows) or any(len(row) != n_sensors for row in tables):
            raise ValueError("regimes: a row's length differs from the number of settings or sensors")
        if len(self.means) != k or len(self.spreads) != k:
            raise ValueError(f"regimes: {k} centres need {k} rows of means and of spreads")
        if min(self.scale) <= 0 or any(value <= 0 for row in self.spreads for value in row):
            raise ValueError("regimes: every scale and spread must be above 0")
        return self


class FeatureSpec(_Frozen):
    """Everything that turns a raw window into a row of features.

    Attributes:
        window_rows: rows of a window, oldest first.
        columns: the window's columns in order, as named in the dataset.
        statistics: what is taken of every column over the window; `last` alone where a window is one row.
        derived: columns made of two raw ones, appended after `columns`.
        categorical: those of `columns` that hold an index; only their newest value is a feature.
        instant: numeric columns of which only the newest value is a feature (an hour meter, say).
        ignored: columns of the window of which no feature is made.
        regimes: operating regimes, or None where the settings form none.
    """

    window_rows: int = Field(ge=1)
    columns: tuple[str, ...] = Field(min_length=1)
    statistics: tuple[Statistic, ...] = Field(default=("last",), min_length=1)
    derived: tuple[DerivedColumn, ...] = ()
    categorical: tuple[str, ...] = ()
    instant: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    regimes: Regimes | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        self._check_parts()
        if self.window_rows == 1 and self.statistics != ("last",):
            raise ValueError(f"a window of one row has only the statistic 'last', got {list(self.statistics)}")
        if len(set(self.statistics)) != len(self.statistics):
            raise ValueError(f"a statistic is named twice: {list(self.statistics)}")
        if self.regimes is not None:
            self._check_regimes(self.regimes)
        if not self.feature_names:
            raise ValueError("no column is left to make features of")
        names = [*self.columns, *(item.name for item in self.derived)]
        for group in (names, self.feature_names):
            if len(set(group)) != len(group):
                raise ValueError(f"a name occurs twice: {sorted({name for name in group if group.count(name) > 1})}")
        return self

    def _check_parts(self) -> None:
        special = [*self.categorical, *self.instant, *self.ignored]
        if not set(special) <= set(self.columns):
            raise ValueError(f"not among the columns: {sorted(set(special) - set(self.columns))}")
        if len(set(special)) != len(special):
            raise ValueError("a column has one part to play: categorical, instant or ignored")
        numeric = set(self.columns) - set(self.categorical)
        for item in self.derived:
            if item.left not in numeric or item.right not in numeric:
                raise ValueError(f"derived column {item.name!r} needs two numeric columns of: {sorted(numeric)}")

    def _check_regimes(self, regimes: Regimes) -> None:
        if not set(regimes.settings) <= set(self.columns):
            raise ValueError(f"regime settings are not among the columns: {list(regimes.settings)}")
        strange = set(regimes.sensors) - set(self.numeric_columns)
        if strange:
            raise ValueError(f"regime sensors are not among the numeric columns: {sorted(strange)}")

    @property
    def numeric_columns(self) -> tuple[str, ...]:
        """Raw columns of which statistics are taken, in order, then the derived ones."""
        special = {*self.categorical, *self.instant, *self.ignored}
        raw = tuple(name for name in self.columns if name not in special)
        return raw + tuple(item.name for item in self.derived)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in the order in which the graph gives them.

        A statistic over a longer window is called `<column>__<statistic>`; a newest value by its column's name where
        the column has no other.
        """
        newest = self.instant + self.categorical
        if self.window_rows == 1:
            return self.numeric_columns + newest
        return tuple(f"{c}__{s}" for s in self.statistics for c in self.numeric_columns) + newest


def feature_model(spec: FeatureSpec) -> onnx.ModelProto:
    """Return a model with input `window` (batch, window_rows, n_columns) and output `features` (batch, n_features)."""
    graph = Graph("features")
    window = graph.input("window", "float32", ("batch", spec.window_rows, len(spec.columns)))
    graph.output(add_features(graph, spec, window), "features", "float32", ("batch", len(spec.feature_names)))
    return graph.build()


def compute_features(spec: FeatureSpec, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the feature graph over windows that are already built.

    Args:
        spec: the features.
        windows: `(n, window_rows, n_columns)`, oldest row first.

    Returns:
        `(n, n_features)` float32, columns as in `spec.feature_names`.

    Raises:
        ValueError: when the windows' shape is not the spec's.
    """
    if windows.ndim != 3 or windows.shape[1:] != (spec.window_rows, len(spec.columns)):
        raise ValueError(f"windows must be (n, {spec.window_rows}, {len(spec.columns)}), got {windows.shape}")
    run = _runner(spec)
    parts = [run(windows[start : start + run.chunk_rows]) for start in range(0, len(windows), run.chunk_rows)]
    return np.concatenate([run.empty(), *parts])


def compute_table_features(
    spec: FeatureSpec,
    values: NDArray[np.float32],
    run: NDArray[np.generic],
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.float32]:
    """Build windows and run the feature graph slice by slice, so that all windows never exist at once.

    Args:
        spec: the features.
        values: `(n_rows, n_columns)`, columns as in `spec.columns`, oldest row first.
        run: `(n_rows,)`, the run of each row.
        rows: indices of the rows that get features, `(n,)`; every row when left out.

    Returns:
        `(n, n_features)` float32.
    """
    ends = np.arange(len(values)) if rows is None else np.asarray(rows)
    runner = _runner(spec)
    step = runner.chunk_rows
    parts = [
        runner(build_windows(values, run, spec.window_rows, ends[start : start + step]))
        for start in range(0, len(ends), step)
    ]
    return np.concatenate([runner.empty(), *parts])


@lru_cache(maxsize=4)
def _runner(spec: FeatureSpec) -> _Runner:
    """Return the spec's session: opening one costs as much as a thousand single rows."""
    return _Runner(spec)


class _Runner:
    """One onnxruntime session of the feature graph."""

    def __init__(self, spec: FeatureSpec) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        # One thread: the order of float32 sums, and so a model's training table, must not depend on the machine.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            feature_model(spec).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._n_features = len(spec.feature_names)
        self._width = spec.window_rows * (len(spec.columns) + len(spec.derived))

    @property
    def chunk_rows(self) -> int:
        """Windows in one slice."""
        return max(1, CHUNK_VALUES // self._width)

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.ascontiguousarray(windows, dtype=np.float32)
        return np.asarray(self._session.run(["features"], {"window": values})[0], dtype=np.float32)

    def empty(self) -> NDArray[np.float32]:
        return np.empty((0, self._n_features), dtype=np.float32)


def add_features(graph: Graph, spec: FeatureSpec, window_value: str) -> str:
    """Add the feature nodes to a graph.

    Args:
        graph: the graph to extend.
        spec: the features.
        window_value: name of a float32 value `(batch, window_rows, n_columns)`.

    Returns:
        Name of a float32 value `(batch, n_features)`, columns as in `spec.feature_names`.
    """
    rows = window_value
    if spec.window_rows > 1 and spec.statistics == ("last",):
        rows = graph.add("Slice", rows, _ints(graph, -1), _ints(graph, _INT_MAX), _ints(graph, 1))
    newest_only = spec.statistics == ("last",)
    # Sums skip infinite values themselves; what is made of two columns, or looked up by one, must not see them.
    if newest_only or spec.derived or spec.regimes is not None:
        rows = _without_infinities(graph, rows)
    parts = []
    if spec.numeric_columns:
        numeric = _numeric(graph, spec, rows)
        parts.append(_newest(graph, numeric) if newest_only else _statistics(graph, spec, numeric))
    alone = spec.instant + spec.categorical
    if alone:
        parts.append(_newest(graph, _gather(graph, rows, [spec.columns.index(name) for name in alone])))
    features = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    # A slope beyond float32 must not reach the models either: XGBoost refuses infinities in training.
    needs_cleaning = not newest_only or spec.regimes is not None
    return _without_infinities(graph, features) if needs_cleaning else features


_INT_MAX = int(np.iinfo(np.int64).max)


def _ints(graph: Graph, *values: int) -> str:
    return graph.const(list(values), "int64")


def _nan(graph: Graph) -> str:
    return graph.const(float("nan"), "float32")


def _gather(graph: Graph, value: str, index: list[int], axis: int = 2) -> str:
    return graph.add("Gather", value, _ints(graph, *index), axis=axis)


def _without_infinities(graph: Graph, value: str) -> str:
    """Turn infinite values into NaN: one minus itself is NaN, any other value minus itself 0. Quicker than a choice."""
    return graph.add("Add", value, graph.add("Sub", value, value))


def _newest(graph: Graph, rows: str) -> str:
    """Return the last row of `(batch, rows, n)` as `(batch, n)`."""
    return graph.add("Gather", rows, graph.const(-1, "int64"), axis=1)


def _numeric(graph: Graph, spec: FeatureSpec, rows: str) -> str:
    """Return raw numeric and derived columns, normalised by regime, `(batch, rows, n_numeric)`."""
    raw = [spec.columns.index(name) for name in spec.numeric_columns if name in spec.columns]
    numeric = rows if len(raw) == len(spec.columns) else _gather(graph, rows, raw)
    if spec.derived:
        # One node per kind over all its pairs, since nodes, not numbers, cost time on one row.
        parts, order = ([numeric] if raw else []), []
        for kind, op in (("difference", "Sub"), ("product", "Mul"), ("ratio", "Div")):
            items = [item for item in spec.derived if item.kind == kind]
            if not items:
                continue
            left = _gather(graph, rows, [spec.columns.index(item.left) for item in items])
            right = _gather(graph, rows, [spec.columns.index(item.right) for item in items])
            parts.append(graph.add(op, left, right))
            order += [spec.derived.index(item) for item in items]
        numeric = _without_infinities(graph, graph.add("Concat", *parts, axis=2) if len(parts) > 1 else parts[0])
        if order != sorted(order):
            position = np.argsort(order) + len(raw)
            numeric = _gather(graph, numeric, [*range(len(raw)), *(int(p) for p in position)])
    return numeric if spec.regimes is None else _normalised(graph, spec, spec.regimes, rows, numeric)


def _normalised(graph: Graph, spec: FeatureSpec, regimes: Regimes, rows: str, numeric: str) -> str:
    """Return `numeric` with each regime sensor centred and scaled by the regime of its row."""
    settings = _gather(graph, rows, [spec.columns.index(name) for name in regimes.settings])
    scaled = graph.add("Sub", settings, graph.const(regimes.offset, "float32"))
    scaled = graph.add("Div", scaled, graph.const(regimes.scale, "float32"))
    away = graph.add("Sub", graph.add("Unsqueeze", scaled, _ints(graph, 2)), graph.const(regimes.centres, "float32"))
    distance = graph.add("ReduceSumSquare", away, _ints(graph, 3), keepdims=0)
    regime = graph.add("ArgMin", distance, axis=2, keepdims=0)

    names = spec.numeric_columns
    means = np.zeros((len(regimes.centres), len(names)), dtype=np.float32)
    spreads = np.ones_like(means)
    slots = [names.index(name) for name in regimes.sensors]
    means[:, slots], spreads[:, slots] = regimes.means, regimes.spreads
    centred = graph.add("Sub", numeric, graph.add("Gather", graph.const(means), regime, axis=0))
    normal = graph.add("Div", centred, graph.add("Gather", graph.const(spreads), regime, axis=0))
    # A missing setting leaves the regime unknown; only sensors depend on it, so settings themselves stay.
    unknown = graph.add("IsNaN", graph.add("ReduceSum", scaled, _ints(graph, 2), keepdims=1))
    touched = np.isin(np.arange(len(names)), slots)
    return graph.add("Where", graph.add("And", unknown, graph.const(touched)), _nan(graph), normal)


def _statistics(graph: Graph, spec: FeatureSpec, rows: str) -> str:
    """Return the statistics `(batch, n_statistics · n_numeric)`, in the spec's order."""
    moments = Moments(graph, rows, spec.window_rows)
    make: dict[Statistic, Callable[[], str]] = {
        "last": moments.last,
        "mean": moments.mean,
        "spread": moments.spread,
        "slope": moments.slope,
        # Where all is missing the filler, an infinity, is left, which the graph's last node turns into NaN.
        "minimum": lambda: moments.extreme("ReduceMin", np.inf),
        "maximum": lambda: moments.extreme("ReduceMax", -np.inf),
    }
    values = [make[statistic]() for statistic in spec.statistics]
    stacked = graph.add("Concat", *values, axis=1) if len(values) > 1 else values[0]
    answers = graph.add("Cast", stacked, to=onnx.TensorProto.FLOAT)
    return graph.add("Squeeze", answers, _ints(graph, 2))
