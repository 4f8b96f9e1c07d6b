"""Rolling origins: refit at each, forecast the next day, then look. One walk over validation and test in time order.

A forecast has no fixed test set: at every origin the fit, the choice between Prophet and the seasonal rule, and the
width of the bands come only from what had been seen by then. The model that ships is the same procedure at the newest
row. So metrics belong to the procedure, and no row is both fitted on and judged.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import DataError, InterruptedTraining
from nightshift.families._forecast_fit import ForecastConfig, ProphetFit, fit_naive, fit_prophet, quiet_prophet
from nightshift.families._forecast_series import Series
from nightshift.family import RunContext
from nightshift.graphs.forecast_parameters import (
    BANDS,
    Z80,
    Z95,
    ForecastParameters,
    SensorForecast,
    day_steps,
    naive_bands,
    prophet_bands,
)
from nightshift.problems.forecast import Forecasts, naive_scale

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: With fewer finished origins than this the bands keep Prophet's own width.
_MIN_BAND_ORIGINS = 5
_SMALLEST_BAND = 1e-6
#: With fewer finished origins than this Prophet is not yet given up for the seasonal rule.
_MIN_CHOICE_ORIGINS = 3


@dataclass(frozen=True)
class Backtest:
    """What both methods said at each origin, and what came.

    Attributes:
        origin_s: civil time of each origin `(origins,)`, ascending.
        is_test: whether it lies in the test part `(origins,)`.
        day: civil day of each origin, the independent unit `(origins,)`.
        horizon_s: how far each forecast reaches.
        truth: `(origins, steps, sensors)`.
        prophet: centre of Prophet's forecast, same shape; NaN where no fit was made.
        prophet_sd: its standard deviation, same shape.
        naive: `(5, origins, steps, sensors)` the seasonal rule's yhat, lo80, hi80, lo95, hi95.
        persistence: `(origins, sensors)` the newest value.
        scale: `(sensors,)` of the errors: repeating yesterday, on train.
    """

    origin_s: Ints
    is_test: NDArray[np.bool_]
    day: NDArray[np.str_]
    horizon_s: int
    truth: Floats
    prophet: Floats
    prophet_sd: Floats
    naive: Floats
    persistence: Floats
    scale: Floats

    def save(self, path: Path) -> None:
        """Write the arrays; no pickle."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def load(cls, path: Path) -> Backtest:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            fields = {name: arrays[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "horizon_s": int(fields["horizon_s"])})


@dataclass(frozen=True)
class Walk:
    """The procedure's own forecasts, origin by origin.

    Attributes:
        shipped: of the method chosen at each origin.
        prophet: Prophet alone, with its calibrated bands.
        naive: the seasonal rule alone.
        chose_prophet: `(origins, sensors)`.
    """

    shipped: Forecasts
    prophet: Forecasts
    naive: Forecasts
    chose_prophet: NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """What ships: per sensor Prophet or not, and its bands' half-widths in standard deviations."""

    prophet: NDArray[np.bool_]
    band80: Floats
    band95: Floats


@dataclass(frozen=True)
class Origins:
    """Steps at which a forecast begins."""

    steps: Ints
    is_test: NDArray[np.bool_]


def pick_origins(series: Series, horizon: int, config: ForecastConfig) -> Origins:
    """Spread origins evenly over validation and test, so that hours and weekdays differ.

    Raises:
        DataError: when test holds no whole horizon.
    """
    val = _spread(series.parts.get("val"), horizon, config.val_origins)
    test = _spread(series.parts.get("test"), horizon, config.test_origins)
    if not len(test):
        raise DataError(
            f"the test part is shorter than one forecast of {horizon} steps of {series.step_s} s.",
            hint="Lower `forecast_h` (--forecast-hours), or land more data.",
        )
    return Origins(np.concatenate([val, test]), np.arange(len(val) + len(test)) >= len(val))


def _spread(bounds: tuple[int, int] | None, horizon: int, n: int) -> Ints:
    if bounds is None or bounds[1] - horizon < bounds[0]:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(bounds[0], bounds[1] - horizon, n).astype(np.int64))


def run_backtest(
    series: Series, parameters: ForecastParameters, config: ForecastConfig, ctx: RunContext
) -> tuple[Backtest, list[ProphetFit | None], int]:
    """Fit every sensor at the newest row and at every origin.

    Args:
        series: all sensors.
        parameters: the horizon and the window; its sensors are not used.
        config: of the fits.
        ctx: seed, threads, time limit, progress.

    Returns:
        The backtest, the fits at the newest row, and how many fits the time limit cut.

    Raises:
        InterruptedTraining: when asked to stop.
    """
    origins = pick_origins(series, parameters.steps, config)
    n_sensors = len(series.sensors)
    newest = len(series.values) - 1
    # The fits that ship come first, so that a time limit cannot cut them.
    tasks = [(newest, s) for s in range(n_sensors)] + [(int(o), s) for o in origins.steps for s in range(n_sensors)]
    fits, cut = _fit_all(series, tasks, config, ctx)
    shape = (len(origins.steps), parameters.steps, n_sensors)
    prophet, sd, naive = np.full(shape, np.nan), np.full(shape, np.nan), np.full((len(BANDS), *shape), np.nan)
    windows = series.windows(origins.steps, parameters.window_rows).astype(np.float64)
    for (origin, sensor), fit in zip(tasks[n_sensors:], fits[n_sensors:], strict=True):
        i = int(np.searchsorted(origins.steps, origin))
        at = series.time_s(origins.steps[i : i + 1])
        if fit is not None:
            bands = prophet_bands(fit.parameters, at, parameters.steps, parameters.step_s)
            prophet[i, :, sensor], sd[i, :, sensor] = bands.yhat[0], (bands.hi95 - bands.yhat)[0] / Z95
        rule = fit_naive(series, sensor, origin, parameters.steps, config)
        said = naive_bands(parameters, rule, windows[i : i + 1, :, sensor], at)
        naive[:, i, :, sensor] = np.array([getattr(said, name)[0] for name in BANDS])
    first, last = series.parts["train"]
    backtest = Backtest(
        origin_s=series.time_s(origins.steps),
        is_test=origins.is_test,
        day=series.days(origins.steps),
        horizon_s=parameters.steps * parameters.step_s,
        truth=series.horizon(origins.steps, parameters.steps),
        prophet=prophet,
        prophet_sd=sd,
        naive=naive,
        persistence=series.last_known(origins.steps),
        scale=naive_scale(series.values[first : last + 1], day_steps(series.step_s)),
    )
    return backtest, fits[:n_sensors], cut


def _fit_all(
    series: Series, tasks: list[tuple[int, int]], config: ForecastConfig, ctx: RunContext
) -> tuple[list[ProphetFit | None], int]:
    deadline = time.monotonic() + ctx.time_limit_s
    newest = len(series.values) - 1
    quiet_prophet()

    def fit(task: tuple[int, int]) -> tuple[ProphetFit | None, bool]:
        origin, sensor = task
        if ctx.should_stop():
            raise InterruptedTraining("the forecast was stopped between two fits.", hint="Its cell starts anew.")
        if origin != newest and time.monotonic() > deadline:
            return None, True
        return fit_prophet(series, sensor, origin, config, ctx.seed, keep_native=origin == newest), False

    results = []
    with ThreadPoolExecutor(max_workers=max(1, ctx.threads)) as pool:
        for done, result in enumerate(pool.map(fit, tasks), start=1):
            results.append(result)
            ctx.step(done, len(tasks), f"{series.sensors[tasks[done - 1][1]]}, fit {done} of {len(tasks)}")
    return [fitted for fitted, _ in results], sum(was_cut for _, was_cut in results)


def walk(backtest: Backtest, band_origins: int) -> Walk:
    """Go through the origins, at each one choosing and widening by those whose day was already over."""
    shape = backtest.truth.shape
    prophet = {name: np.full(shape, np.nan) for name in BANDS[1:]}
    chose = np.zeros((shape[0], shape[2]), dtype=bool)
    for i, origin in enumerate(backtest.origin_s):
        past = np.flatnonzero(backtest.origin_s + backtest.horizon_s <= origin)
        choice = choose(backtest, past, band_origins)
        chose[i] = choice.prophet & np.isfinite(backtest.prophet[i]).all(axis=0)
        centre, sd = backtest.prophet[i], backtest.prophet_sd[i]
        for name, half in (("80", choice.band80), ("95", choice.band95)):
            prophet[f"lo{name}"][i], prophet[f"hi{name}"][i] = centre - half * sd, centre + half * sd
    alone = Forecasts(backtest.prophet, prophet)
    naive = Forecasts(backtest.naive[0], dict(zip(BANDS[1:], backtest.naive[1:], strict=True)))
    mask = chose[:, None, :]
    shipped = Forecasts(
        np.where(mask, alone.yhat, naive.yhat),
        {name: np.where(mask, alone.bands[name], naive.bands[name]) for name in BANDS[1:]},
    )
    return Walk(shipped, alone, naive, chose)


def choose(backtest: Backtest, past: Ints, band_origins: int) -> Choice:
    """Choose per sensor by the errors at `past` origins (ascending): Prophet unless the seasonal rule was better.

    The bands are as wide as the share of errors, in Prophet's standard deviations, that they promise to hold asks for:
    residuals of one day hang together, so the fit's own residuals make bands that are too narrow (Victoria electricity:
    73 and 90 % held instead of 80 and 95).
    """
    n_sensors = backtest.truth.shape[2]
    error = np.abs(backtest.truth[past] - backtest.prophet[past])
    rule = np.abs(backtest.truth[past] - backtest.naive[0, past])
    both = np.isfinite(error) & np.isfinite(rule)
    ours, theirs = (np.where(both, e, 0.0).sum(axis=(0, 1)) for e in (error, rule))
    widths = np.tile([[Z80], [Z95]], (1, n_sensors))
    recent = past[-band_origins:]
    if len(recent) >= _MIN_BAND_ORIGINS:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = error[-len(recent) :] / backtest.prophet_sd[recent]
        for sensor in range(n_sensors):
            known = ratio[:, :, sensor][np.isfinite(ratio[:, :, sensor])]
            if len(known):
                widths[:, sensor] = np.maximum(np.quantile(known, [0.80, 0.95]), _SMALLEST_BAND)
    prophet = (ours <= theirs) | (len(past) < _MIN_CHOICE_ORIGINS)
    return Choice(prophet=prophet, band80=widths[0], band95=widths[1])


def shipped_sensors(
    series: Series, fits: list[ProphetFit | None], choice: Choice, steps: int, config: ForecastConfig
) -> tuple[SensorForecast, ...]:
    """Return each sensor's model at the newest row: the chosen one, with its bands."""
    found = []
    for i, (name, fit) in enumerate(zip(series.sensors, fits, strict=True)):
        model = (
            fit.parameters.model_copy(update={"band80": float(choice.band80[i]), "band95": float(choice.band95[i])})
            if fit is not None and choice.prophet[i]
            else fit_naive(series, i, len(series.values) - 1, steps, config)
        )
        found.append(SensorForecast(sensor=name, column=i, model=model))
    return tuple(found)


def persistence(backtest: Backtest) -> Forecasts:
    """Return the newest value, repeated."""
    return Forecasts(np.broadcast_to(backtest.persistence[:, None, :], backtest.truth.shape).copy(), {})
