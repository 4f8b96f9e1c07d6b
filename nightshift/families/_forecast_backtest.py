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
from nightshift.graphs.forecast_calendar import DAY_S
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

#: With a record shorter than this the bands keep Prophet's own width.
_MIN_BAND_DAYS = 5
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
        record_s: civil times `(rows,)` of an unbroken record from the first origin on.
        record: `(rows, sensors)` absolute error of the newest fit before each row, in its standard deviations.
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
    record_s: Ints
    record: Floats

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
class Spent:
    """What the fits took: `seconds` `(sensors,)` of all fits of each, and how many fits the time limit cut."""

    seconds: Floats
    cut: int


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
) -> tuple[Backtest, list[ProphetFit | None], Spent]:
    """Fit every sensor at the newest row and at every origin.

    Args:
        series: all sensors.
        parameters: the horizon and the window; its sensors are not used.
        config: of the fits.
        ctx: seed, threads, time limit, progress.

    Returns:
        The backtest, the fits at the newest row, and what the fits took.

    Raises:
        InterruptedTraining: when asked to stop.
    """
    origins = pick_origins(series, parameters.steps, config)
    n_sensors = len(series.sensors)
    newest = len(series.values) - 1
    # The fits that ship come first, so that a time limit cannot cut them.
    tasks = [(newest, s) for s in range(n_sensors)] + [(int(o), s) for o in origins.steps for s in range(n_sensors)]
    fits, spent = _fit_all(series, tasks, config, ctx)
    by_origin = [fits[i : i + n_sensors] for i in range(n_sensors, len(fits), n_sensors)]
    said = _prophet_said(series, parameters, origins, by_origin)
    first, last = series.parts["train"]
    backtest = Backtest(
        origin_s=series.time_s(origins.steps),
        is_test=origins.is_test,
        day=series.days(origins.steps),
        horizon_s=parameters.steps * parameters.step_s,
        truth=series.horizon(origins.steps, parameters.steps),
        prophet=said.yhat,
        prophet_sd=said.sd,
        naive=_naive_said(series, parameters, origins, config),
        persistence=series.last_known(origins.steps),
        scale=naive_scale(series.values[first : last + 1], day_steps(series.step_s)),
        record_s=series.time_s(said.record_steps),
        record=said.record,
    )
    return backtest, fits[:n_sensors], spent


@dataclass(frozen=True)
class _ProphetSaid:
    yhat: Floats
    sd: Floats
    record_steps: Ints
    record: Floats


def _prophet_said(
    series: Series, parameters: ForecastParameters, origins: Origins, fits: list[list[ProphetFit | None]]
) -> _ProphetSaid:
    """Forecast the horizon of each origin, and on to the next origin for the record."""
    steps = parameters.steps
    yhat, sd = np.full((2, len(origins.steps), steps, len(series.sensors)), np.nan)
    ends = np.append(origins.steps[1:], min(origins.steps[-1] + steps, len(series.values) - 1))
    record_steps = np.arange(origins.steps[0] + 1, ends[-1] + 1)
    record = np.full((len(record_steps), len(series.sensors)), np.nan)
    for i, (origin, end) in enumerate(zip(origins.steps, ends, strict=True)):
        at, until = series.time_s(origins.steps[i : i + 1]), slice(origin + 1, end + 1)
        rows = slice(origin - origins.steps[0], end - origins.steps[0])
        for sensor, fit in enumerate(fits[i]):
            if fit is None:
                continue
            bands = prophet_bands(fit.parameters, at, max(steps, end - origin), parameters.step_s)
            spread = (bands.hi95 - bands.yhat)[0] / Z95
            yhat[i, :, sensor], sd[i, :, sensor] = bands.yhat[0, :steps], spread[:steps]
            error = np.abs(series.values[until, sensor] - bands.yhat[0, : end - origin])
            with np.errstate(divide="ignore", invalid="ignore"):
                record[rows, sensor] = error / spread[: end - origin]
    return _ProphetSaid(yhat, sd, record_steps, record)


def _naive_said(series: Series, parameters: ForecastParameters, origins: Origins, config: ForecastConfig) -> Floats:
    """Return the seasonal rule's yhat and bands, `(5, origins, steps, sensors)`."""
    windows = series.windows(origins.steps, parameters.window_rows).astype(np.float64)
    time_s = series.time_s(origins.steps)
    said = np.full((len(BANDS), len(origins.steps), parameters.steps, len(series.sensors)), np.nan)
    for i, origin in enumerate(origins.steps):
        for sensor in range(len(series.sensors)):
            rule = fit_naive(series, sensor, int(origin), parameters.steps, config)
            bands = naive_bands(parameters, rule, windows[i : i + 1, :, sensor], time_s[i : i + 1])
            said[:, i, :, sensor] = np.array([getattr(bands, name)[0] for name in BANDS])
    return said


def _fit_all(
    series: Series, tasks: list[tuple[int, int]], config: ForecastConfig, ctx: RunContext
) -> tuple[list[ProphetFit | None], Spent]:
    deadline = time.monotonic() + ctx.time_limit_s
    newest = len(series.values) - 1
    quiet_prophet()

    def fit(task: tuple[int, int]) -> tuple[ProphetFit | None, float | None]:
        origin, sensor = task
        if ctx.should_stop():
            raise InterruptedTraining("the forecast was stopped between two fits.", hint="Its cell starts anew.")
        if origin != newest and time.monotonic() > deadline:
            return None, None
        start = time.monotonic()
        fitted = fit_prophet(series, sensor, origin, config, ctx.seed, keep_native=origin == newest)
        return fitted, time.monotonic() - start

    results = []
    with ThreadPoolExecutor(max_workers=max(1, ctx.threads)) as pool:
        for done, result in enumerate(pool.map(fit, tasks), start=1):
            results.append(result)
            ctx.step(done, len(tasks), f"{series.sensors[tasks[done - 1][1]]}, fit {done} of {len(tasks)}")
    seconds = np.zeros(len(series.sensors))
    for (_, sensor), (_, took_s) in zip(tasks, results, strict=True):
        seconds[sensor] += took_s or 0.0
    return [fitted for fitted, _ in results], Spent(seconds, sum(took_s is None for _, took_s in results))


def walk(backtest: Backtest, band_days: float) -> Walk:
    """Go through the origins, at each one choosing and widening by what had come true by then."""
    shape = backtest.truth.shape
    prophet = {name: np.full(shape, np.nan) for name in BANDS[1:]}
    chose = np.zeros((shape[0], shape[2]), dtype=bool)
    for i, origin in enumerate(backtest.origin_s):
        choice = choose(backtest, int(origin), band_days)
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


def choose(backtest: Backtest, now_s: int, band_days: float) -> Choice:
    """Choose per sensor by what had come true at the civil time `now_s`.

    Prophet ships unless the seasonal rule made smaller errors at the origins whose horizon was over. Its bands are as
    wide as the record of the newest days asks for: residuals of one day hang together, so the fit's own make bands that
    are too narrow (Victoria electricity: 69 and 87 % held instead of 80 and 95).
    """
    past = np.flatnonzero(backtest.origin_s + backtest.horizon_s <= now_s)
    error = np.abs(backtest.truth[past] - backtest.prophet[past])
    rule = np.abs(backtest.truth[past] - backtest.naive[0, past])
    both = np.isfinite(error) & np.isfinite(rule)
    ours, theirs = (np.where(both, e, 0.0).sum(axis=(0, 1)) for e in (error, rule))
    recent = (backtest.record_s <= now_s) & (backtest.record_s > now_s - band_days * DAY_S)
    day = backtest.record_s[recent] // DAY_S
    widths = np.array([_band_widths(column, day) for column in backtest.record[recent].T]).T
    prophet = (ours <= theirs) | (len(past) < _MIN_CHOICE_ORIGINS)
    return Choice(prophet=prophet, band80=widths[0], band95=widths[1])


def _band_widths(ratio: Floats, day: Ints) -> tuple[float, float]:
    """Return the half-widths, in standard deviations, that hold 80 and 95 % of a record of errors.

    A quantile of few errors falls short on the next ones by one part in their number (split conformal prediction); the
    number that counts is that of independent errors, read from how much the share held differs from day to day.

    Args:
        ratio: `(rows,)` absolute errors in standard deviations, NaN where nothing was measured.
        day: civil day of each row.
    """
    known = np.isfinite(ratio)
    days, index = np.unique(day[known], return_inverse=True)
    if len(days) < _MIN_BAND_DAYS:
        return Z80, Z95
    widths = []
    for level in (0.80, 0.95):
        held = ratio[known] <= np.quantile(ratio[known], level)
        spread = float(np.var(np.bincount(index, weights=held) / np.bincount(index), ddof=1))
        independent = len(days) * max(1.0, level * (1 - level) / spread) if spread > 0 else float(known.sum())
        width = float(np.quantile(ratio[known], min(1.0, level * (1 + 1 / independent))))
        widths.append(max(width, _SMALLEST_BAND))
    return widths[0], widths[1]


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
