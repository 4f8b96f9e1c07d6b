"""Forecast parameters into one ONNX graph: all sensors of a machine, with their bands.

The graph builds the horizon itself from the civil time of the last row, computes in double and answers in float32.
Sensors are one axis, so the number of nodes does not grow with them; each is forecast by Prophet or by seasonal naive.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import onnx
from numpy.typing import NDArray

from nightshift.graphs.build import Dim, Graph
from nightshift.graphs.forecast_calendar import DAY_S, WEEK_S
from nightshift.graphs.forecast_parameters import (
    BANDS,
    ForecastParameters,
    ProphetParameters,
    Seasonality,
    SeasonalNaiveParameters,
)

#: yhat, lo80, hi80, lo95, hi95 as value names, each (batch, steps, sensors of one kind), double.
BandNames = list[str]
#: How a term acts: added to the trend, or as a share of it.
MODES = ("additive", "multiplicative")


def forecast_graph(parameters: ForecastParameters) -> onnx.ModelProto:
    """Write the forecast of all sensors as one model.

    Inputs are `window` float32 `(batch, window_rows, n_columns)`, oldest first, NaN or infinite = missing, and
    `time_s` int64 `(batch,)`, the civil time of the window's last row. Outputs are `yhat, lo80, hi80, lo95, hi95`
    float32 `(batch, steps, sensors)`. A window that no sensor reads stays an input, so that every bundle is fed alike.
    """
    graph = Graph("forecast")
    window = graph.input("window", "float32", ["batch", parameters.window_rows, parameters.n_columns])
    origin = graph.input("time_s", "int64", ["batch"])
    time = graph.add(  # (batch, steps, 1)
        "Add",
        graph.add("Unsqueeze", origin, graph.const([1, 2], "int64")),
        graph.const(parameters.step_s * np.arange(1, parameters.steps + 1, dtype=np.int64)[None, :, None]),
    )
    prophets = [s.model for s in parameters.sensors if isinstance(s.model, ProphetParameters)]
    naives = [(s.column, s.model) for s in parameters.sensors if isinstance(s.model, SeasonalNaiveParameters)]
    parts: list[BandNames] = []
    if prophets:
        parts.append(_prophet_bands(graph, prophets, time, parameters.step_s))
    if naives:
        parts.append(_naive_bands(graph, parameters, naives, window, time))
    values = parts[0] if len(parts) == 1 else _in_declared_order(graph, parameters, parts)
    shape: list[Dim] = ["batch", parameters.steps, len(parameters.sensors)]
    for name, value in zip(BANDS, values, strict=True):
        graph.output(graph.add("Cast", value, to=onnx.TensorProto.FLOAT), name, "float32", shape)
    return graph.build()


def _in_declared_order(graph: Graph, parameters: ForecastParameters, parts: Sequence[BandNames]) -> BandNames:
    """Join Prophet's sensors and the seasonal naive ones, and undo that grouping."""
    grouped = sorted(range(len(parameters.sensors)), key=lambda i: parameters.sensors[i].model.kind != "prophet")
    order = graph.const(np.argsort(grouped).astype(np.int64))
    return [graph.add("Gather", graph.add("Concat", *both, axis=2), order, axis=2) for both in zip(*parts, strict=True)]


def _prophet_bands(graph: Graph, models: Sequence[ProphetParameters], time: str, step_s: int) -> BandNames:
    """See `forecast_parameters.prophet_bands` for the formula; here sensors are the last axis."""
    elapsed = graph.add("Sub", time, graph.const([m.start_s for m in models], "int64"))
    t = graph.add("Div", _double(graph, elapsed), graph.const([m.t_scale_s for m in models], "float64"))
    trend, slope_of_z = _trend(graph, models, t)
    y_scale = graph.const([m.y_scale for m in models], "float64")
    level = graph.add("Mul", trend, y_scale)
    if any(m.floor for m in models):
        level = graph.add("Add", level, graph.const([m.floor for m in models], "float64"))
    spread = _future_spread(graph, models, t, step_s)
    if slope_of_z is not None:
        spread = graph.add("Mul", spread, _square(graph, slope_of_z))
    additive, multiplicative = _seasonal(graph, models, time)
    if multiplicative is not None:
        factor = graph.add("Add", multiplicative, graph.const(1.0, "float64"))
        level = graph.add("Mul", level, factor)
        spread = graph.add("Mul", spread, _square(graph, factor))
    yhat = level if additive is None else graph.add("Add", level, graph.add("Mul", additive, y_scale))
    noise = graph.const([m.sigma_obs**2 for m in models], "float64")
    sd = graph.add("Mul", graph.add("Sqrt", graph.add("Add", spread, noise)), y_scale)
    bands = [yhat]
    for widths in ([m.band80 for m in models], [m.band95 for m in models]):
        half = graph.add("Mul", sd, graph.const(widths, "float64"))
        bands += [graph.add("Sub", yhat, half), graph.add("Add", yhat, half)]
    return bands


def _trend(graph: Graph, models: Sequence[ProphetParameters], t: str) -> tuple[str, str | None]:
    """Return the scaled trend without its floor, and its derivative by z where it is not one."""
    n = max(1, *(len(m.delta) for m in models))
    # An unused changepoint lies beyond every time and changes nothing.
    at = np.full((len(models), n), np.finfo(np.float64).max)
    slopes, offsets = np.zeros((2, len(models), n))
    k, start = np.zeros((2, len(models)))
    for i, model in enumerate(models):
        start[i], changes = model.offset_changes()
        if model.growth != "flat":
            k[i] = model.k
            used = slice(0, len(model.delta))
            at[i, used], slopes[i, used], offsets[i, used] = model.changepoints_t, model.delta, changes
    passed = graph.add("GreaterOrEqual", graph.add("Unsqueeze", t, graph.const([-1], "int64")), graph.const(at))
    # Counted from the front: onnxruntime reduces nothing of an empty batch over a negative axis.
    zero, axis = graph.const(0.0, "float64"), graph.const([3], "int64")

    def accumulated(changes: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
        chosen = graph.add("Where", passed, graph.const(changes), zero)
        return graph.add("ReduceSum", chosen, axis, keepdims=0)

    rate = graph.add("Add", accumulated(slopes), graph.const(k))
    constant = graph.add("Add", accumulated(offsets), graph.const(start))
    z = graph.add("Add", graph.add("Mul", rate, t), constant)
    logistic = [m.growth == "logistic" for m in models]
    if not any(logistic):
        return z, None
    caps = [1.0 if m.cap is None else (m.cap - m.floor) / m.y_scale for m in models]
    share = graph.add("Sigmoid", z)
    grown = graph.add("Mul", share, graph.const(caps, "float64"))
    slope = graph.add("Mul", grown, graph.add("Sub", graph.const(1.0, "float64"), share))
    mask = graph.const(logistic, "bool")
    return graph.add("Where", mask, grown, z), graph.add("Where", mask, slope, graph.const(1.0, "float64"))


def _future_spread(graph: Graph, models: Sequence[ProphetParameters], t: str, step_s: int) -> str:
    """Return the variance of future slope changes in z, shaped like `t`."""
    dt = np.array([step_s / m.t_scale_s for m in models])
    per_step = graph.const(np.array([m.spread_per_step(d) for m, d in zip(models, dt, strict=True)]))
    ahead = graph.add("Div", graph.add("Sub", t, graph.const(1.0, "float64")), graph.const(dt))
    n = graph.add("Relu", ahead)
    cube = graph.add("Div", graph.add("Mul", _square(graph, n), n), graph.const(3.0, "float64"))
    total = graph.add("Sub", cube, graph.add("Div", n, graph.const(12.0, "float64")))
    return graph.add("Mul", per_step, graph.add("Relu", total))


def _seasonal(graph: Graph, models: Sequence[ProphetParameters], time: str) -> tuple[str | None, str | None]:
    """Return the additive and the multiplicative term (both scaled), None where no sensor has one."""
    terms: dict[str, list[str]] = {mode: [] for mode in MODES}
    for found in (_waves(graph, models, time), _holidays(graph, models, time), _patterns(graph, models, time)):
        for mode, value in found.items():
            terms[mode].append(value)
    additive, multiplicative = (
        reduce(lambda one, other: graph.add("Add", one, other), values) if values else None for values in terms.values()
    )
    return additive, multiplicative


def _waves(graph: Graph, models: Sequence[ProphetParameters], time: str) -> dict[str, str]:
    """Return the sum of the Fourier seasonalities by mode, `(batch, steps, sensors)`."""
    seasons = [season for model in models for season in model.seasonalities]
    columns = sorted({(s.period_days, order, s.day_type) for s in seasons for order in _orders(s)})
    if not columns:
        return {}
    place = {column: 2 * i for i, column in enumerate(columns)}
    betas = {mode: np.zeros((2 * len(columns), len(models))) for mode in MODES}
    for i, model in enumerate(models):
        beta = iter(model.beta)
        for season in model.seasonalities:
            for order in _orders(season):
                row = place[season.period_days, order, season.day_type]
                betas[season.mode][row, i] += next(beta)
                betas[season.mode][row + 1, i] += next(beta)
    features = _fourier(graph, columns, time)
    return {mode: graph.add("MatMul", features, graph.const(b)) for mode, b in betas.items() if b.any()}


def _holidays(graph: Graph, models: Sequence[ProphetParameters], time: str) -> dict[str, str]:
    """Return the sum of the holidays' effects by mode, `(batch, steps, sensors)`.

    One table says of each day which of the few kinds of days it is, one what each kind adds. Days before the first and
    after the last holiday are ordinary.
    """
    effects = [(i, effect) for i, model in enumerate(models) for effect in model.holidays if effect.beta]
    days = sorted({day for _, effect in effects for day in effect.days})
    if not days:
        return {}
    first, n_days = days[0] - 1, days[-1] - days[0] + 3
    added = np.zeros((n_days, len(MODES) * len(models)))
    for i, effect in effects:
        added[np.array(effect.days, dtype=np.int64) - first, MODES.index(effect.mode) * len(models) + i] += effect.beta
    kinds, kind_of_day = np.unique(added, axis=0, return_inverse=True)
    day = graph.add("Sub", _day(graph, time), graph.const(first, "int64"))
    place = graph.add("Clip", day, graph.const(0, "int64"), graph.const(n_days - 1, "int64"))
    kind = graph.add("Gather", graph.const(kind_of_day.reshape(-1).astype(np.int32)), place, axis=0)
    return _rows_by_mode(graph, kinds, graph.add("Squeeze", kind, graph.const([2], "int64")))


def _patterns(graph: Graph, models: Sequence[ProphetParameters], time: str) -> dict[str, str]:
    """Return the sum of the effects of weekday and hour by mode, `(batch, steps, sensors)`.

    Between two edges of all spans nothing changes: the number of edges passed in this week is the row of a table.
    """
    effects = [(i, effect) for i, model in enumerate(models) for effect in model.patterns]
    edges = sorted({edge for _, effect in effects for span in effect.pattern.spans for edge in span})
    if not effects:
        return {}
    monday = graph.add("Add", time, graph.const(3 * DAY_S, "int64"))
    passed = graph.add("GreaterOrEqual", _mod(graph, monday, WEEK_S), graph.const(edges, "int64"))
    row = graph.add(
        "ReduceSum", graph.add("Cast", passed, to=onnx.TensorProto.INT64), graph.const([2], "int64"), keepdims=0
    )
    # 1970-01-05 was a Monday; each row of the table begins at its edge.
    begins = np.array([0, *edges], dtype=np.int64) + 4 * DAY_S
    added = np.zeros((len(begins), len(MODES) * len(models)))
    for i, effect in effects:
        added[:, MODES.index(effect.mode) * len(models) + i] += effect.values(begins)
    return _rows_by_mode(graph, added, row)


def _rows_by_mode(graph: Graph, table: NDArray[np.float64], row: str) -> dict[str, str]:
    """Look rows `(batch, steps)` up in a table whose columns are the sensors, once for each mode."""
    parts = zip(MODES, np.split(table, len(MODES), axis=1), strict=True)
    return {mode: graph.add("Gather", graph.const(part), row, axis=0) for mode, part in parts if part.any()}


def _orders(season: Seasonality) -> range:
    """Return the Fourier orders of a seasonality."""
    return range(1, season.fourier_order + 1)


def _fourier(graph: Graph, columns: Sequence[tuple[float, int, str]], time: str) -> str:
    """Return sine and cosine of each (period, order, day type), `(batch, steps, 2·columns)`."""
    days = graph.add("Div", _double(graph, time), graph.const(float(DAY_S), "float64"))
    angle = graph.add("Mul", days, graph.const(np.pi * 2, "float64"))
    # Prophet's own order of operations: the angle is some 1e5, and rounding elsewhere would cost digits.
    rates = np.repeat([order / period for period, order, _ in columns], 2)
    # onnxruntime 1.22 has no Cos in double: a quarter turn ahead, at most 1e-10 off at such angles.
    quarter = np.tile([0.0, np.pi / 2], len(columns))
    c = graph.add("Mul", angle, graph.const(rates))
    features = graph.add("Sin", graph.add("Add", c, graph.const(quarter)))
    if all(day_type == "any" for _, _, day_type in columns):
        return features
    weekday = _mod(graph, graph.add("Add", _day(graph, time), graph.const(3, "int64")), 7)
    workday = graph.add("Less", weekday, graph.const(5, "int64"))
    on_workday = np.repeat([day_type != "weekend" for _, _, day_type in columns], 2)
    on_weekend = np.repeat([day_type != "workday" for _, _, day_type in columns], 2)
    # onnxruntime has no Where on booleans.
    active = graph.add(
        "Or",
        graph.add("And", workday, graph.const(on_workday)),
        graph.add("And", graph.add("Not", workday), graph.const(on_weekend)),
    )
    return graph.add("Where", active, features, graph.const(0.0, "float64"))


def _naive_bands(
    graph: Graph,
    parameters: ForecastParameters,
    models: Sequence[tuple[int, SeasonalNaiveParameters]],
    window: str,
    time: str,
) -> BandNames:
    """See `forecast_parameters.naive_bands`; here sensors are the last axis."""
    history = _step_means(graph, parameters, [column for column, _ in models], window)
    day = parameters.day_steps
    step = np.arange(1, parameters.steps + 1)
    first = -(-step // day)
    value = _profile(graph, parameters, [m for _, m in models], time)
    # From the oldest day to the newest, so that the newest present value is the last written.
    for back in range(parameters.window_days - 1, -1, -1):
        lag = np.minimum(first + back, parameters.window_days) * day
        index = parameters.window_days * day - 1 + step - lag
        earlier = graph.add("Gather", history, graph.const(index.astype(np.int64)), axis=1)
        value = graph.add("Where", graph.add("IsNaN", earlier), value, earlier)
    offsets = np.stack([m.offsets() for _, m in models], axis=-1)
    return [value, *(graph.add("Add", value, graph.const(offset)) for offset in offsets)]


def _step_means(graph: Graph, parameters: ForecastParameters, columns: Sequence[int], window: str) -> str:
    """Return the newest whole days as steps, `(batch, days·steps, sensors)` double, NaN where no row is present."""
    rows = parameters.window_days * parameters.day_steps * parameters.rows_per_step
    newest = graph.add(
        "Slice",
        graph.add("Gather", window, graph.const(list(columns), "int64"), axis=2),
        graph.const([parameters.window_rows - rows], "int64"),
        graph.const([parameters.window_rows], "int64"),
        graph.const([1], "int64"),
    )
    newest = graph.add("Where", graph.add("IsInf", newest), graph.const(float("nan"), "float32"), newest)
    if parameters.rows_per_step == 1:
        return _double(graph, newest)
    shape = [0, rows // parameters.rows_per_step, parameters.rows_per_step, len(columns)]
    cells = _double(graph, graph.add("Reshape", newest, graph.const(shape, "int64")))
    missing, axis = graph.add("IsNaN", cells), graph.const([2], "int64")
    zero, one = graph.const(0.0, "float64"), graph.const(1.0, "float64")
    total = graph.add("ReduceSum", graph.add("Where", missing, zero, cells), axis, keepdims=0)
    count = graph.add("ReduceSum", graph.add("Where", missing, zero, one), axis, keepdims=0)
    # 0/0 is the NaN that says: nothing present in this step.
    return graph.add("Div", total, count)


def _profile(graph: Graph, parameters: ForecastParameters, models: Sequence[SeasonalNaiveParameters], time: str) -> str:
    """Return the training profile at the horizon's times of day, `(batch, steps, sensors)`."""
    slot_of = graph.add("Add", _mod(graph, time, DAY_S), graph.const(parameters.step_s // 2, "int64"))
    slot = _mod(graph, graph.add("Div", slot_of, graph.const(parameters.step_s, "int64")), parameters.day_steps)
    table = graph.const(np.array([m.profile for m in models]).T)
    return graph.add("Gather", table, graph.add("Squeeze", slot, graph.const([2], "int64")), axis=0)


def _double(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=onnx.TensorProto.DOUBLE)


def _day(graph: Graph, time: str) -> str:
    """Return the civil day since 1970-01-01."""
    return graph.add("Div", graph.add("Sub", time, _mod(graph, time, DAY_S)), graph.const(DAY_S, "int64"))


def _mod(graph: Graph, value: str, divisor: int) -> str:
    return graph.add("Mod", value, graph.const(divisor, "int64"))


def _square(graph: Graph, value: str) -> str:
    return graph.add("Mul", value, value)
