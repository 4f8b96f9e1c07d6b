"""What will the sensors read tomorrow? Prophet per critical sensor, or yesterday again where that is better.

The shipped model is refitted on all rows up to the newest, test included, because a forecast goes stale by the day;
what is judged is the procedure, by rolling origin (see `_forecast_backtest`). `train` therefore walks through
validation and test, each fit reading only rows before its origin, and `evaluate` makes the tables of that walk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nightshift.edge.manifest import Column, Interface, Output
from nightshift.errors import DataError, UnknownNameError
from nightshift.families._forecast_backtest import Backtest, choose, run_backtest, shipped_sensors, walk
from nightshift.families._forecast_bounds import bounds_of, check_measured
from nightshift.families._forecast_fit import ForecastConfig, prophet_frame, quiet_prophet
from nightshift.families._forecast_report import BACKTEST, Judged, figures, findings, members, notes, score_rows
from nightshift.families._forecast_series import Series, even_series
from nightshift.family import Arrays, RunContext
from nightshift.findings import cost_remedy, finding
from nightshift.graphs.forecast import forecast_graph
from nightshift.graphs.forecast_calendar import DAY_S, WEEK_S
from nightshift.graphs.forecast_parameters import (
    BANDS,
    ForecastParameters,
    ProphetParameters,
    SensorForecast,
    day_steps,
    horizon_s,
    naive_bands,
    prophet_bands,
)
from nightshift.graphs.parity import CasedInputs
from nightshift.problems.evaluation import Evaluation
from nightshift.problems.forecast import PROBLEM, naive_scale, unit_sums
from nightshift.problems.problem import Samples

if TYPE_CHECKING:
    import onnx
    import pandas as pd
    from prophet import Prophet

    from nightshift.data.dataset import Dataset

#: A forecast of a part is asked at most at this many origins.
_SAMPLE_ORIGINS = 200
#: Less history than this holds no daily pattern.
_MIN_DAYS = 3


@dataclass(frozen=True)
class ForecastModel:
    """A fitted forecast of one machine.

    Attributes:
        interface: what goes in and comes out.
        parameters: everything that the graph computes with.
        natives: sensor -> Prophet's own JSON, for the sensors that Prophet forecasts.
        backtest: what both methods said at each origin.
        band_days: as in the config; the walk through the backtest needs it.
    """

    interface: Interface
    parameters: ForecastParameters
    natives: Mapping[str, str]
    backtest: Backtest
    band_days: float

    @property
    def summary(self) -> Mapping[str, str | int | float | bool]:
        """What MLflow keeps as parameters."""
        models = {s.sensor: s.model for s in self.parameters.sensors}
        prophets = {name: m for name, m in models.items() if isinstance(m, ProphetParameters)}
        return {
            "sensors": ",".join(models),
            "prophet_sensors": ",".join(prophets),
            "steps": self.parameters.steps,
            "step_s": self.parameters.step_s,
            "origins_test": int(self.backtest.is_test.sum()),
            "origins_val": int((~self.backtest.is_test).sum()),
            **{f"band95_{name}": m.band95 for name, m in prophets.items()},
        }

    @cached_property
    def prophets(self) -> dict[str, Prophet]:
        """Prophet's own objects by sensor."""
        from prophet.serialize import model_from_json

        quiet_prophet()
        found = {name: model_from_json(text) for name, text in self.natives.items()}
        for model in found.values():
            model.uncertainty_samples = 0
        return found


class ForecastFamily:
    """The family; see the module."""

    name = "forecast"
    config = ForecastConfig
    problem = "forecast"
    group = "machine"
    needs: frozenset[str] = frozenset({"clock"})
    libraries = ("cmdstanpy", "holidays", "numpy", "onnx", "pandas", "prophet")
    checkpoints = False

    def train(self, data: Dataset, config: ForecastConfig, ctx: RunContext) -> ForecastModel:
        """Walk the rolling origins, then fit the newest row's model.

        Raises:
            UnknownNameError: for a sensor that the dataset does not have.
            ConfigError: for a logistic trend without a cap above the data, or with a floor that is not below it.
            DataError: when there is too little history, or a sensor has no value.
            InterruptedTraining: when asked to stop.
        """
        series = even_series(data, _sensors(data, config), config.min_step_min * 60)
        check_measured(series, config.growth, config.cap, config.floor)
        shape = _shape(series, data, config)
        backtest, fits, spent = run_backtest(series, shape, config, ctx)
        if spent.cut:
            total = len(backtest.origin_s) * len(series.sensors)
            ctx.note(
                finding(
                    "T013",
                    f"The time limit of {ctx.time_limit_s:g} s cut {spent.cut} of {total} backtest fits; the seasonal "
                    "rule stands in for them.",
                    remedy=f"Raise time_limit_s={ctx.time_limit_s:g} or fit_step_min={config.fit_step_min:g}. "
                    + cost_remedy(
                        {key: getattr(config, key) for key in ("test_origins", "val_origins", "history_days")},
                        dict(zip(series.sensors, spent.seconds.tolist(), strict=True)),
                        "s to fit",
                    ),
                )
            )
        choice = choose(backtest, series.end_s, config.band_days)
        sensors = shipped_sensors(series, fits, choice, shape.steps, config)
        parameters = shape.model_copy(update={"sensors": sensors})
        natives = {
            s.sensor: fit.native
            for s, fit in zip(sensors, fits, strict=True)
            if s.model.kind == "prophet" and fit is not None and fit.native is not None
        }
        return ForecastModel(_interface(data, parameters), parameters, natives, backtest, config.band_days)

    def predict(self, fitted: ForecastModel, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Forecast with Prophet itself, and with the seasonal rule in numpy.

        Prophet draws its bands at random; theirs is the closed form around Prophet's own `yhat`.
        """
        parameters, time_s = fitted.parameters, np.asarray(inputs["time_s"], dtype=np.int64)
        out = {
            name: np.empty((len(time_s), parameters.steps, len(parameters.sensors)), dtype=np.float32) for name in BANDS
        }
        for i, sensor in enumerate(parameters.sensors):
            if isinstance(sensor.model, ProphetParameters):
                bands = prophet_bands(sensor.model, time_s, parameters.steps, parameters.step_s)
                patterns = {effect.name: effect.pattern for effect in sensor.model.patterns}
                frame = partial(prophet_frame, patterns=patterns, bounds=bounds_of(sensor.model))
                shift = _library_yhat(fitted.prophets[sensor.sensor], frame, parameters, time_s) - bands.yhat
            else:
                window = np.asarray(inputs["window"], dtype=np.float64)[:, :, sensor.column]
                bands, shift = naive_bands(parameters, sensor.model, window, time_s), np.zeros(())
            for name in BANDS:
                out[name][:, :, i] = getattr(bands, name) + shift
        return out

    def evaluate(self, fitted: ForecastModel, data: Dataset, config: ForecastConfig, ctx: RunContext) -> Evaluation:
        """Make the tables of the walk that training recorded; no fit is made here."""
        series = even_series(data, fitted.interface.sensors, config.min_step_min * 60)
        backtest = fitted.backtest
        judged = Judged(backtest, walk(backtest, fitted.band_days), fitted.parameters, series)
        rows = score_rows(judged, config)
        test = backtest.is_test
        ctx.step(1, 1, "backtest judged")
        return Evaluation(
            problem=self.problem,
            primary=PROBLEM.primary,
            higher_is_better=PROBLEM.higher_is_better,
            headline_part=BACKTEST,
            rows=rows,
            figures=figures(judged, config),
            findings=findings(rows, judged, config),
            members=members(judged),
            statistics=unit_sums(
                backtest.truth[test], judged.walked.shipped.yhat[test], backtest.scale, backtest.day[test].tolist()
            ),
            notes=notes(judged, config),
        )

    def samples(self, interface: Interface, data: Dataset, part: str) -> Samples:
        """Return origins spread over a part, with what came after each and the scale of the errors."""
        steps, step_s = interface.steps or 1, interface.step_s or 1.0
        series = even_series(data, interface.sensors, step_s)
        first, last = series.parts.get(part, (0, -1))
        origins = np.unique(np.linspace(first, last - steps, _SAMPLE_ORIGINS).astype(np.int64))
        origins = origins[(origins >= first) & (origins <= last - steps)]
        train = slice(series.parts["train"][0], series.parts["train"][1] + 1)
        scale = naive_scale(series.values[train], day_steps(series.step_s))
        return Samples(
            inputs={"window": series.windows(origins, interface.window_rows), "time_s": series.time_s(origins)},
            truth={"values": series.horizon(origins, steps), "scale": np.tile(scale, (len(origins), 1))},
            unit=series.days(origins),
            time=series.utc_s(origins),
        )

    def save(self, fitted: ForecastModel, folder: Path) -> None:
        """Write parameters, interface and Prophet's own models as JSON, and the backtest's arrays."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "parameters.json").write_text(fitted.parameters.model_dump_json(), encoding="utf-8")
        (folder / "interface.json").write_text(fitted.interface.model_dump_json(indent=1), encoding="utf-8")
        more = {"prophets": dict(fitted.natives), "band_days": fitted.band_days}
        (folder / "prophet.json").write_text(json.dumps(more), encoding="utf-8")
        fitted.backtest.save(folder / "backtest.npz")

    def load(self, folder: Path) -> ForecastModel:
        """Read what `save` wrote; no pickle."""
        more = json.loads((folder / "prophet.json").read_text(encoding="utf-8"))
        return ForecastModel(
            interface=Interface.model_validate_json((folder / "interface.json").read_bytes()),
            parameters=ForecastParameters.model_validate_json((folder / "parameters.json").read_bytes()),
            natives=more["prophets"],
            backtest=Backtest.load(folder / "backtest.npz"),
            band_days=more["band_days"],
        )

    def export(self, fitted: ForecastModel, ctx: RunContext) -> onnx.ModelProto:
        """Return the graph: window and civil time in, forecast and bands of all sensors out."""
        return forecast_graph(fitted.parameters)

    def parity_inputs(self, fitted: ForecastModel, data: Dataset, ctx: RunContext) -> dict[str, NDArray[Any]]:
        """Return origins of val, and around what a forecast may stumble on.

        Those are the ends of training, changepoints, midnight, the border of the week, holidays and shifts, each a
        second before, on and after, with windows of which ever more rows are missing, and then infinite.
        """
        samples = self.samples(fitted.interface, data, "val")
        real = samples.select(np.arange(0, len(samples.time), 2)).inputs
        edges = _edge_times(fitted.parameters, int(real["time_s"][-1]) if len(real["time_s"]) else 0)
        rng = np.random.default_rng(ctx.seed)
        shape = (len(edges), fitted.interface.window_rows, len(fitted.interface.columns))
        base = real["window"] if len(real["window"]) else np.zeros((1, *shape[1:]), dtype=np.float32)
        window = np.resize(base, shape).astype(np.float32)
        spoilt = rng.random(shape) < np.linspace(0, 1, len(edges))[:, None, None]
        infinite = np.where(rng.random(shape) < 0.5, np.float32(np.inf), np.float32(-np.inf))
        missing = np.where(spoilt, np.float32(np.nan), window)
        case = np.repeat(["real", "on a border", "infinite"], [len(real["time_s"]), len(edges), len(edges)])
        return CasedInputs(
            {
                "window": np.concatenate([real["window"], missing, np.where(spoilt, infinite, window)]),
                "time_s": np.concatenate([real["time_s"], edges, edges]),
            },
            case,
        )

    def tolerances(self, fitted: ForecastModel) -> Mapping[str, float]:
        """Both sides compute in double; what is left is one float32 step of the largest sensor."""
        largest = max(
            (abs(m.floor) + 3 * m.y_scale if isinstance(m, ProphetParameters) else float(np.abs(m.profile).max()))
            for m in (s.model for s in fitted.parameters.sensors)
        )
        return {name: 1e-6 * max(largest, 1e-6) for name in BANDS}


FAMILY = ForecastFamily()


def _sensors(data: Dataset, config: ForecastConfig) -> list[str]:
    """The configured sensors, else the critical ones; text cannot be forecast, and a counter of age need not be."""
    numeric = [s.name for s in data.metadata.sensors if s.role not in ("category", "age")]
    for name in config.sensors:
        if name not in numeric:
            raise UnknownNameError("sensor", name, numeric)
    chosen = list(config.sensors) or [name for name in data.metadata.critical if name in numeric]
    if not chosen:
        raise DataError(f"'{data.subject}' has no numeric critical sensor to forecast.", hint="Name some in `sensors`.")
    return chosen


def _shape(series: Series, data: Dataset, config: ForecastConfig) -> ForecastParameters:
    """Horizon and window, with placeholders that no one reads for the sensors' models."""
    days = len(series.values) * series.step_s / DAY_S
    steps = round(config.forecast_h * 3600 / series.step_s)
    if steps < 1:
        raise DataError(
            f"a forecast of {config.forecast_h:g} h is shorter than one step of {series.step_s} s.",
            hint="Raise `forecast_h` (--forecast-hours).",
        )
    if days < _MIN_DAYS:
        raise DataError(
            f"'{data.subject}' covers {days:.1f} days; a forecast needs at least {_MIN_DAYS}.",
            hint="Land more history, or train other families.",
        )
    day = day_steps(series.step_s)
    window_days = max(config.window_days, -(-steps // day))
    blank = ProphetParameters(
        k=0, m=0, delta=(), changepoints_t=(), beta=(), sigma_obs=0, y_scale=1, start_s=0, t_scale_s=1
    )
    return ForecastParameters(
        steps=steps,
        step_s=series.step_s,
        rows_per_step=series.rows_per_step,
        window_rows=window_days * day * series.rows_per_step,
        n_columns=len(series.sensors),
        sensors=tuple(SensorForecast(sensor=n, column=i, model=blank) for i, n in enumerate(series.sensors)),
    )


def _interface(data: Dataset, parameters: ForecastParameters) -> Interface:
    known = {s.name: s for s in data.metadata.sensors}
    sensors = [known[s.sensor] for s in parameters.sensors]
    shape = ("batch", parameters.steps, len(sensors))
    meaning = {"yhat": "forecast", "lo80": "80 % band", "hi80": "80 % band", "lo95": "95 % band", "hi95": "95 % band"}
    return Interface(
        columns=tuple(Column(name=s.name, unit=s.unit, minimum=s.minimum, maximum=s.maximum) for s in sensors),
        window_rows=parameters.window_rows,
        uses_time=True,
        outputs=tuple(Output(name=n, dtype="float32", shape=shape, meaning=meaning[n]) for n in BANDS),
        sensors=tuple(s.name for s in sensors),
        steps=parameters.steps,
        step_s=parameters.step_s,
    )


def _library_yhat(
    model: Prophet,
    frame: Callable[[NDArray[np.int64]], pd.DataFrame],
    parameters: ForecastParameters,
    time_s: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return Prophet's own forecast `(batch, steps)`; each moment is asked once."""
    if not len(time_s):
        return np.zeros((0, parameters.steps))
    moments, where = np.unique(horizon_s(time_s, parameters.steps, parameters.step_s), return_inverse=True)
    yhat = model.predict(frame(moments))["yhat"].to_numpy(np.float64)
    return np.asarray(yhat[where].reshape(len(time_s), parameters.steps))


def _edge_times(parameters: ForecastParameters, newest_s: int) -> NDArray[np.int64]:
    """Civil times at which a graph and Prophet would part if they disagreed on a border."""
    marks = {newest_s, newest_s // DAY_S * DAY_S, newest_s // WEEK_S * WEEK_S}
    for sensor in parameters.sensors:
        if isinstance(sensor.model, ProphetParameters):
            marks |= set(_borders(sensor.model, newest_s))
    # So that the first step of the horizon, not the origin, meets the mark.
    at = np.array(sorted(marks)) - parameters.step_s
    return np.unique(np.concatenate([at - 1, at, at + 1]))


def _borders(model: ProphetParameters, newest_s: int) -> Iterator[int]:
    yield from (model.start_s, model.start_s + model.t_scale_s, model.start_s + model.t_scale_s + 30 * DAY_S)
    yield from (model.start_s + round(t * model.t_scale_s) for t in model.changepoints_t[:5])
    today = newest_s // DAY_S
    for holiday in model.holidays:
        days = np.asarray(holiday.days)
        for day in {*days[days <= today][-1:].tolist(), *days[days > today][:1].tolist(), *days[-1:].tolist()}:
            yield from (day * DAY_S, (day + 1) * DAY_S)
    monday = (newest_s - 4 * DAY_S) // WEEK_S * WEEK_S + 4 * DAY_S
    for effect in model.patterns:
        yield from (monday + edge for span in effect.pattern.spans[:3] for edge in span)
