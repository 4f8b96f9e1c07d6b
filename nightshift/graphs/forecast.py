"""Forecast parameters into one ONNX graph: all sensors of a machine, with their bands.

The graph builds the horizon itself from the civil time of the last row, computes in double and answers in float32.
Sensors are one axis, so the number of nodes does not grow with them; each is forecast by Prophet or by seasonal naive.
On one row it is nodes that cost time, not numbers: what can be multiplied out beforehand stands in tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    SeasonalNaiveParameters,
)

Floats = NDArray[np.float64]
#: How a term acts: added to the trend, or as a share of it.
MODES = ("additive", "multiplicative")
#: From civil seconds to seconds since a Monday, 1969-12-29: the week then begins where it does for people.
_MONDAY_S = 3 * DAY_S


@dataclass(frozen=True)
class _Horizon:
    """Times of the forecast as value names.

    Attributes:
        origin: double `(batch, 1, 1)`, civil seconds of the window's last row.
        time: int64 `(batch, steps, 1)`, seconds since a Monday.
        steps, step_s: of the forecast.
    """

    origin: str
    time: str
    steps: int
    step_s: int


@dataclass(frozen=True)
class _Part:
    """A term of the answers.

    Attributes:
        value: double `(batch, steps, n)`.
        share: `(n, 5, sensors)`, what each of its columns adds to yhat, lo80, hi80, lo95 and hi95.
    """

    value: str
    share: Floats


def forecast_graph(parameters: ForecastParameters) -> onnx.ModelProto:
    """Write the forecast of all sensors as one model.

    Inputs are `window` float32 `(batch, window_rows, n_columns)`, oldest first, NaN or infinite = missing, and
    `time_s` int64 `(batch,)`, the civil time of the window's last row. Outputs are `yhat, lo80, hi80, lo95, hi95`
    float32 `(batch, steps, sensors)`. A window that no sensor reads stays an input, so that every bundle is fed alike.
    """
    graph = Graph("forecast")
    window = graph.input("window", "float32", ["batch", parameters.window_rows, parameters.n_columns])
    origin = graph.add("Unsqueeze", graph.input("time_s", "int64", ["batch"]), graph.const([1, 2], "int64"))
    ahead = parameters.step_s * np.arange(1, parameters.steps + 1, dtype=np.int64)[None, :, None]
    time = graph.add("Add", origin, graph.const(ahead + _MONDAY_S))
    horizon = _Horizon(_double(graph, origin), time, parameters.steps, parameters.step_s)
    prophets = [(i, s.model) for i, s in enumerate(parameters.sensors) if isinstance(s.model, ProphetParameters)]
    naives = [(i, s.model) for i, s in enumerate(parameters.sensors) if isinstance(s.model, SeasonalNaiveParameters)]
    parts = _prophet_parts(graph, prophets, horizon, len(parameters.sensors)) if prophets else []
    if naives:
        value = _naive(graph, parameters, naives, window, time)
        parts.append(_Part(value, _spread_over([i for i, _ in naives], len(parameters.sensors))))
    bands = _bands(graph, parts, _offsets(parameters, naives) if naives else None)
    shape: list[Dim] = ["batch", parameters.steps, len(parameters.sensors)]
    for name, value in zip(BANDS, bands, strict=True):
        graph.output(value, name, "float32", shape)
    return graph.build()


def _bands(graph: Graph, parts: Sequence[_Part], offsets: Floats | None) -> list[str]:
    """Return the sum of the parts as float32 `(batch, steps, sensors)` for each of the five outputs.

    One product puts the sensors in their order and widens the bands; nothing in it is ever NaN or infinite, which a
    factor of 0 would spread to other sensors.
    """
    values = [part.value for part in parts]
    side_by_side = graph.add("Concat", *values, axis=2) if len(values) > 1 else values[0]
    share = np.concatenate([part.share for part in parts])
    total = graph.add("MatMul", side_by_side, graph.const(share.reshape(len(share), -1)))
    if offsets is not None:
        total = graph.add("Add", total, graph.const(offsets))
    answers = graph.add("Cast", total, to=onnx.TensorProto.FLOAT)
    return graph.add_many("Split", [answers], len(BANDS), axis=2, num_outputs=len(BANDS))


def _spread_over(sensors: Sequence[int], n_sensors: int, widths: Floats | None = None) -> Floats:
    """Return the shares of a part with a column for each of `sensors`.

    Args:
        sensors: their places among all.
        n_sensors: how many there are.
        widths: `(5, len(sensors))`; 1 throughout when left out.
    """
    share = np.zeros((len(sensors), len(BANDS), n_sensors))
    for column, sensor in enumerate(sensors):
        share[column, :, sensor] = 1.0 if widths is None else widths[:, column]
    return share


def _offsets(parameters: ForecastParameters, naives: Sequence[tuple[int, SeasonalNaiveParameters]]) -> Floats:
    """Return what is added to the five outputs, `(steps, 5·sensors)`: the seasonal naive sensors' bands."""
    added = np.zeros((parameters.steps, len(BANDS), len(parameters.sensors)))
    for i, model in naives:
        added[:, 1:, i] = model.offsets().T
    return added.reshape(parameters.steps, -1)


def _prophet_parts(
    graph: Graph, prophets: Sequence[tuple[int, ProphetParameters]], horizon: _Horizon, n_sensors: int
) -> list[_Part]:
    """See `forecast_parameters.prophet_bands` for the formula; here sensors are the last axis, in their own unit."""
    places, models = [i for i, _ in prophets], [model for _, model in prophets]
    time = _double(graph, horizon.time)
    level, slope_of_z = _trend(graph, models, time)
    spread = _future_spread(graph, models, time, horizon.step_s)
    if slope_of_z is not None:
        spread = graph.add("Mul", spread, _square(graph, slope_of_z))
    terms = _seasonal(graph, models, horizon)
    if terms["multiplicative"]:
        factor = reduce(
            lambda one, other: graph.add("Add", one, other),
            terms["multiplicative"],
            graph.const(1.0, "float64"),
        )
        level = graph.add("Mul", level, factor)
        spread = graph.add("Mul", spread, _square(graph, factor))
    noise = graph.const([(m.sigma_obs * m.y_scale) ** 2 for m in models], "float64")
    sd = graph.add("Sqrt", graph.add("Add", spread, noise))
    widths = np.array([[0.0, -m.band80, m.band80, -m.band95, m.band95] for m in models]).T
    centre = _spread_over(places, n_sensors)
    return [
        *(_Part(value, centre) for value in (level, *terms["additive"])),
        _Part(sd, _spread_over(places, n_sensors, widths)),
    ]


def _trend(graph: Graph, models: Sequence[ProphetParameters], time: str) -> tuple[str, str | None]:
    """Return the trend in the sensors' units, and its derivative by z where it is not one.

    z is a sum of ramps: one column is time itself, one is 1, and the others are the time since a changepoint, 0 before.
    """
    logistic = [m.growth == "logistic" for m in models]
    scaled = any(logistic)
    end = max(m.start_s + m.t_scale_s for m in models)
    knots = sorted({m.start_s + s * m.t_scale_s for m in models if m.growth != "flat" for s in m.changepoints_t})
    place = {knot: 2 + i for i, knot in enumerate(knots)}
    slopes = np.zeros((2 + len(knots), len(models)))
    for i, m in enumerate(models):
        unit = 1.0 if scaled else m.y_scale
        k, delta = (0.0, ()) if m.growth == "flat" else (m.k, m.delta)
        slopes[0, i] = unit * k / m.t_scale_s
        slopes[1, i] = unit * (m.offset_changes()[0] + k * (end - m.start_s) / m.t_scale_s)
        slopes[1, i] += 0.0 if scaled else m.floor
        for s, change in zip(m.changepoints_t[: len(delta)], delta, strict=True):
            slopes[place[m.start_s + s * m.t_scale_s], i] += unit * change / m.t_scale_s
    huge = np.finfo(np.float64).max
    since = graph.add("Sub", time, graph.const(np.array([end, huge, *knots]) + _MONDAY_S))
    ramps = graph.add("Max", since, graph.const(np.array([-huge, 1.0, *np.zeros(len(knots))])))
    z = graph.add("MatMul", ramps, graph.const(slopes))
    if not scaled:
        return z, None
    caps = [1.0 if m.cap is None else (m.cap - m.floor) / m.y_scale for m in models]
    share = graph.add("Sigmoid", z)
    grown = graph.add("Mul", share, graph.const(caps, "float64"))
    slope = graph.add("Mul", grown, graph.add("Sub", graph.const(1.0, "float64"), share))
    mask = graph.const(logistic, "bool")
    trend = graph.add("Where", mask, grown, z)
    level = graph.add("Mul", trend, graph.const([m.y_scale for m in models], "float64"))
    level = graph.add("Add", level, graph.const([m.floor for m in models], "float64"))
    return level, graph.add("Where", mask, slope, graph.const(1.0, "float64"))


def _future_spread(graph: Graph, models: Sequence[ProphetParameters], time: str, step_s: int) -> str:
    """Return the variance that future slope changes bring, `(batch, steps, sensors)`, in the sensors' units squared.

    With u seconds after training, n = u / step: n³/3 - n/12 = u·(u² - (step/2)²) / (3·step³), which is 0 at half a step
    and is taken as 0 before.
    """
    ends = graph.const([m.start_s + m.t_scale_s + _MONDAY_S for m in models], "float64")
    after = graph.add("Max", graph.add("Sub", time, ends), graph.const(step_s / 2, "float64"))
    rest = graph.add("Sub", _square(graph, after), graph.const((step_s / 2) ** 2, "float64"))
    factor = [m.spread_per_step(step_s / m.t_scale_s) * m.y_scale**2 / (3.0 * float(step_s) ** 3) for m in models]
    return graph.add("Mul", graph.add("Mul", after, rest), graph.const(factor, "float64"))


def _seasonal(graph: Graph, models: Sequence[ProphetParameters], horizon: _Horizon) -> dict[str, list[str]]:
    """Return the terms of each mode, `(batch, steps, sensors)`: additive in the sensors' units, others as shares."""
    terms: dict[str, list[str]] = {mode: [] for mode in MODES}
    time = horizon.time
    for found in (_waves(graph, models, horizon), _holidays(graph, models, time), _patterns(graph, models, time)):
        for mode, value in found.items():
            terms[mode].append(value)
    return terms


def _unit(model: ProphetParameters, mode: str) -> float:
    return model.y_scale if mode == "additive" else 1.0


def _waves(graph: Graph, models: Sequence[ProphetParameters], horizon: _Horizon) -> dict[str, str]:
    """Return the sum of the Fourier seasonalities by mode, `(batch, steps, sensors)`.

    A wave some steps ahead is the wave at the origin turned by a known angle, so that sines are taken at the origin
    alone, and a table turns them to each step. Where days differ, both kinds are computed and the day's own is taken.
    """
    seasons = [season for model in models for season in model.seasonalities]
    waves = sorted({(s.period_days, order) for s in seasons for order in range(1, s.fourier_order + 1)})
    if not waves:
        return {}
    kinds = ("workday", "weekend") if any(s.day_type != "any" for s in seasons) else ("any",)
    tables = {
        (mode, kind): _turned(models, waves, horizon, mode, kind)
        for mode in MODES
        if any(s.mode == mode for s in seasons)
        for kind in kinds
    }
    rates = np.repeat([2 * np.pi * order / (period * DAY_S) for period, order in waves], 2)
    # onnxruntime 1.22 has no Cos in double: a quarter turn ahead, at most 1e-10 off at such angles.
    quarter = np.tile([0.0, np.pi / 2], len(waves))
    angle = graph.add("Add", graph.add("Mul", horizon.origin, graph.const(rates)), graph.const(quarter))
    table = np.concatenate(list(tables.values()), axis=2)
    flat = graph.add("MatMul", graph.add("Sin", angle), graph.const(table.reshape(len(table), -1)))
    stacked = graph.add("Reshape", flat, graph.const([0, horizon.steps, table.shape[2]], "int64"))
    parts = [stacked]
    if len(tables) > 1:
        parts = graph.add_many("Split", [stacked], len(tables), axis=2, num_outputs=len(tables))
    found = dict(zip(tables, parts, strict=True))
    modes = dict.fromkeys(mode for mode, _ in tables)
    if kinds == ("any",):
        return {mode: found[mode, "any"] for mode in modes}
    workday = graph.add("Less", _mod(graph, horizon.time, WEEK_S), graph.const(5 * DAY_S, "int64"))
    return {mode: graph.add("Where", workday, found[mode, "workday"], found[mode, "weekend"]) for mode in modes}


def _turned(
    models: Sequence[ProphetParameters], waves: Sequence[tuple[float, int]], horizon: _Horizon, mode: str, kind: str
) -> Floats:
    """Return what sine and cosine of each wave at the origin add to each step, `(2·waves, steps, sensors)`.

    Args:
        models: of the sensors.
        waves: (period in days, order).
        horizon: of the forecast.
        mode: of the seasonalities that are taken.
        kind: of the day.
    """
    ahead_days = horizon.step_s * np.arange(1, horizon.steps + 1) / DAY_S
    table = np.zeros((2 * len(waves), horizon.steps, len(models)))
    for i, model in enumerate(models):
        beta = iter(model.beta)
        for season in model.seasonalities:
            for order in range(1, season.fourier_order + 1):
                sine, cosine = next(beta), next(beta)
                if season.mode != mode or season.day_type not in ("any", kind):
                    continue
                turn = 2 * np.pi * order / season.period_days * ahead_days
                row = 2 * waves.index((season.period_days, order))
                unit = _unit(model, mode)
                table[row, :, i] += unit * (sine * np.cos(turn) - cosine * np.sin(turn))
                table[row + 1, :, i] += unit * (sine * np.sin(turn) + cosine * np.cos(turn))
    return table


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
        value = effect.beta * _unit(models[i], effect.mode)
        added[np.array(effect.days, dtype=np.int64) - first, MODES.index(effect.mode) * len(models) + i] += value
    kinds, kind_of_day = np.unique(added, axis=0, return_inverse=True)
    day = graph.add("Div", graph.add("Sub", time, _mod(graph, time, DAY_S)), graph.const(DAY_S, "int64"))
    day = graph.add("Sub", day, graph.const(first + _MONDAY_S // DAY_S, "int64"))
    place = graph.add("Clip", day, graph.const(0, "int64"), graph.const(n_days - 1, "int64"))
    kind = graph.add("Gather", graph.const(kind_of_day.reshape(-1).astype(np.int32)), place, axis=0)
    return _rows_by_mode(graph, kinds, graph.add("Cast", kind, to=onnx.TensorProto.INT64))


def _patterns(graph: Graph, models: Sequence[ProphetParameters], time: str) -> dict[str, str]:
    """Return the sum of the effects of weekday and hour by mode, `(batch, steps, sensors)`.

    Between two edges of all spans nothing changes: the number of edges passed in this week is the row of a table.
    """
    effects = [(i, effect) for i, model in enumerate(models) for effect in model.patterns]
    edges = sorted({edge for _, effect in effects for span in effect.pattern.spans for edge in span})
    if not effects:
        return {}
    passed = graph.add("GreaterOrEqual", _mod(graph, time, WEEK_S), graph.const(edges, "int64"))
    row = graph.add("ReduceSum", graph.add("Cast", passed, to=onnx.TensorProto.INT64), graph.const([2], "int64"))
    # 1970-01-05 was a Monday; each row of the table begins at its edge.
    begins = np.array([0, *edges], dtype=np.int64) + 4 * DAY_S
    added = np.zeros((len(begins), len(MODES) * len(models)))
    for i, effect in effects:
        column = MODES.index(effect.mode) * len(models) + i
        added[:, column] += effect.values(begins) * _unit(models[i], effect.mode)
    return _rows_by_mode(graph, added, row)


def _rows_by_mode(graph: Graph, table: Floats, row: str) -> dict[str, str]:
    """Look rows int64 `(batch, steps, 1)` up in a table whose columns are the sensors, once for each mode."""
    parts = zip(MODES, np.split(table, len(MODES), axis=1), strict=True)
    return {mode: graph.add("GatherND", graph.const(part), row) for mode, part in parts if part.any()}


def _naive(
    graph: Graph,
    parameters: ForecastParameters,
    models: Sequence[tuple[int, SeasonalNaiveParameters]],
    window: str,
    time: str,
) -> str:
    """See `forecast_parameters.naive_bands`; here sensors are the last axis. Never NaN: a profile has every step."""
    columns = [parameters.sensors[i].column for i, _ in models]
    history = _step_means(graph, parameters, columns, window)
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
    return value


def _step_means(graph: Graph, parameters: ForecastParameters, columns: Sequence[int], window: str) -> str:
    """Return the newest whole days as steps, `(batch, days·steps, sensors)` double, NaN where no row is present."""
    rows = parameters.window_days * parameters.day_steps * parameters.rows_per_step
    newest = graph.add("Gather", window, graph.const(list(columns), "int64"), axis=2)
    if rows < parameters.window_rows:
        bounds = [graph.const([bound], "int64") for bound in (parameters.window_rows - rows, parameters.window_rows, 1)]
        newest = graph.add("Slice", newest, *bounds)
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
    return graph.add("GatherND", graph.const(np.array([m.profile for m in models]).T), slot)


def _double(graph: Graph, value: str) -> str:
    return graph.add("Cast", value, to=onnx.TensorProto.DOUBLE)


def _mod(graph: Graph, value: str, divisor: int) -> str:
    return graph.add("Mod", value, graph.const(divisor, "int64"))


def _square(graph: Graph, value: str) -> str:
    return graph.add("Mul", value, value)
