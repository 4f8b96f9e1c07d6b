"""What a forecast needs to be computed: plain, serialisable parameters, and their reference in numpy.

The parameters are JSON, so a forecast's native file can be opened without executing anything. The numpy functions state
the arithmetic that `nightshift.graphs.forecast` writes as ONNX; rolling-origin evaluation uses them directly, because
building a graph for every origin would cost more than the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nightshift.graphs.forecast_calendar import DAY_S, HolidayEffect, Mode, PatternEffect

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Two-sided 80 % and 95 % standard normal quantiles.
Z80 = 1.2815515655446004
Z95 = 1.959963984540054
#: The names of a forecast's outputs, in order.
BANDS = ("yhat", "lo80", "hi80", "lo95", "hi95")
#: Prophet adds this to the mean absolute slope change, so that a trend without changes still has a scale.
_LAMBDA_FLOOR = 1e-8


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Seasonality(_Frozen):
    """One Fourier seasonality; `day_type` limits it to working days (Monday to Friday) or to the weekend."""

    name: str
    period_days: float = Field(gt=0)
    fourier_order: int = Field(ge=1)
    mode: Mode = "additive"
    day_type: Literal["any", "workday", "weekend"] = "any"


class ProphetParameters(_Frozen):
    """A fitted Prophet model without posterior samples.

    Times are scaled as Prophet does: t = (civil seconds - `start_s`) / `t_scale_s`, so training ends at t = 1. `beta`
    lists the sine and cosine of each order, seasonality by seasonality. `band80` and `band95` are half-widths in
    standard deviations: the normal quantiles unless they were calibrated.
    """

    kind: Literal["prophet"] = "prophet"
    growth: Literal["linear", "flat", "logistic"] = "linear"
    k: float
    m: float
    delta: tuple[float, ...]
    changepoints_t: tuple[float, ...]
    beta: tuple[float, ...]
    sigma_obs: float = Field(ge=0)
    y_scale: float = Field(gt=0)
    floor: float = 0.0
    cap: float | None = None
    start_s: int
    t_scale_s: int = Field(gt=0)
    seasonalities: tuple[Seasonality, ...] = ()
    holidays: tuple[HolidayEffect, ...] = ()
    patterns: tuple[PatternEffect, ...] = ()
    band80: float = Field(default=Z80, gt=0)
    band95: float = Field(default=Z95, gt=0)

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        if len(self.delta) != len(self.changepoints_t):
            raise ValueError(f"{len(self.delta)} slope changes for {len(self.changepoints_t)} changepoints")
        expected = 2 * sum(s.fourier_order for s in self.seasonalities)
        if len(self.beta) != expected:
            raise ValueError(f"{len(self.beta)} seasonal coefficients, expected {expected}")
        if self.growth == "logistic" and (self.cap is None or self.cap <= self.floor):
            raise ValueError("logistic growth needs a cap above the floor")
        return self

    @property
    def calendar(self) -> tuple[HolidayEffect | PatternEffect, ...]:
        """What follows from dates, weekdays and hours."""
        return (*self.holidays, *self.patterns)

    @property
    def parts(self) -> tuple[Seasonality | HolidayEffect | PatternEffect, ...]:
        """Everything that is not the trend."""
        return (*self.seasonalities, *self.calendar)

    def spread_per_step(self, dt: float) -> float:
        """Return the factor 2·q·lambda²·dt² of the variance of z that future slope changes bring.

        Args:
            dt: length of one step in units of the training time.
        """
        if self.growth == "flat" or not self.delta:
            return 0.0
        rate = min(1.0, len(self.changepoints_t) * dt)
        scale = float(np.mean(np.abs(self.delta))) + _LAMBDA_FLOOR
        return 2.0 * rate * scale**2 * dt**2

    def offset_changes(self) -> tuple[float, Floats]:
        """Return z's constant at the start and its change at each changepoint, where z(t) = slope(t)·t + constant(t).

        z is the trend itself for linear and flat growth, and the logit of its share of the cap for logistic growth.

        Returns:
            The starting constant, and the changes `(changepoints,)`.
        """
        changepoints, delta = np.asarray(self.changepoints_t), np.asarray(self.delta)
        start = -self.k * self.m if self.growth == "logistic" else self.m
        # A slope change d at time s must leave z continuous, so the constant changes by -s·d, whatever the growth.
        return start, -changepoints * delta


class SeasonalNaiveParameters(_Frozen):
    """The value 24 hours before, with an empirical band.

    `profile` holds the training median of each step of the day, used where all earlier days are missing. The offsets
    are added to the forecast, one per step of the horizon.
    """

    kind: Literal["seasonal_naive"] = "seasonal_naive"
    profile: tuple[float, ...] = Field(min_length=1)
    offset_lo80: tuple[float, ...]
    offset_hi80: tuple[float, ...]
    offset_lo95: tuple[float, ...]
    offset_hi95: tuple[float, ...]

    def offsets(self) -> Floats:
        """Return the band's offsets `(4, steps)` in the order lo80, hi80, lo95, hi95."""
        return np.array([self.offset_lo80, self.offset_hi80, self.offset_lo95, self.offset_hi95])


class SensorForecast(_Frozen):
    """One sensor's forecast: its name, its column in the window, and its model."""

    sensor: str
    column: int = Field(ge=0)
    model: Annotated[ProphetParameters | SeasonalNaiveParameters, Field(discriminator="kind")]


class ForecastParameters(_Frozen):
    """All sensors of one machine.

    The window holds rows at even distances, oldest first; the forecast has `steps` steps of `step_s` seconds after the
    last of them. A step's value is the mean of the `rows_per_step` rows that it spans.
    """

    steps: int = Field(ge=1)
    step_s: int = Field(ge=1)
    rows_per_step: int = Field(default=1, ge=1)
    window_rows: int = Field(ge=1)
    n_columns: int = Field(ge=1)
    sensors: tuple[SensorForecast, ...] = Field(min_length=1)

    @property
    def day_steps(self) -> int:
        """Steps in 24 hours."""
        return day_steps(self.step_s)

    @property
    def window_days(self) -> int:
        """Whole days of steps that the window holds."""
        return self.window_rows // (self.rows_per_step * self.day_steps)

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        for sensor in self.sensors:
            if sensor.column >= self.n_columns:
                raise ValueError(f"{sensor.sensor}: column {sensor.column} of a window with {self.n_columns}")
            if isinstance(sensor.model, SeasonalNaiveParameters):
                self._check_naive(sensor.sensor, sensor.model)
        return self

    def _check_naive(self, sensor: str, model: SeasonalNaiveParameters) -> None:
        days = -(-self.steps // self.day_steps)
        if self.window_days < days:
            needed = days * self.rows_per_step * self.day_steps
            raise ValueError(f"{sensor}: the window has {self.window_rows} rows, a seasonal forecast needs {needed}")
        if len(model.profile) != self.day_steps:
            raise ValueError(f"{sensor}: a profile of {len(model.profile)} steps, expected {self.day_steps}")
        if any(len(row) != self.steps for row in model.offsets().tolist()):
            raise ValueError(f"{sensor}: every band offset needs {self.steps} steps")


@dataclass(frozen=True, slots=True)
class Bands:
    """A forecast and its bands, each `(batch, steps)` in the sensor's unit, double."""

    yhat: Floats
    lo80: Floats
    hi80: Floats
    lo95: Floats
    hi95: Floats


def horizon_s(time_s: Ints, steps: int, step_s: int) -> Ints:
    """Return the forecast's civil times `(batch, steps)` after the origins `time_s` `(batch,)`, s."""
    return np.asarray(time_s, dtype=np.int64)[:, None] + step_s * np.arange(1, steps + 1, dtype=np.int64)


def is_workday(time_s: Ints) -> NDArray[np.bool_]:
    """Return True from Monday to Friday; civil seconds of any shape (1970-01-01 was a Thursday)."""
    return np.asarray((time_s // DAY_S + 3) % 7 < 5)


def prophet_trend(model: ProphetParameters, time_s: Ints) -> Floats:
    """Return the trend at civil times of any shape, in the sensor's unit."""
    z, _ = _trend(model, (time_s - model.start_s) / model.t_scale_s)
    return z * model.y_scale + model.floor


def prophet_bands(model: ProphetParameters, time_s: Ints, steps: int, step_s: int) -> Bands:
    """Forecast from the origins `time_s` `(batch,)`, civil seconds.

    The variance is Prophet's own uncertainty model in closed form. Each of the n steps since the end of training
    changes the slope with probability q = changepoints·dt by a Laplace variate of scale lambda, and a change j steps
    ago moves the trend by (j + 1/2)·dt times itself: var = 2·q·lambda²·dt²·sum of (j + 1/2)² = 2·q·lambda²·dt²·(n³/3 -
    n/12). Logistic growth takes the first-order image of the same change in its logit.

    Source:
        Taylor and Letham (2018), "Forecasting at scale", section 3.1.4, as sampled by `Prophet.predict`.
    """
    time = horizon_s(time_s, steps, step_s)
    t = (time - model.start_s) / model.t_scale_s
    trend, slope_of_z = _trend(model, t)
    additive, factor = _seasonal(model, time)
    dt = step_s / model.t_scale_s
    n = np.maximum((t - 1.0) / dt, 0.0)
    spread = model.spread_per_step(dt) * np.maximum(n * n * n / 3.0 - n / 12.0, 0.0) * slope_of_z**2
    sd = model.y_scale * np.sqrt(model.sigma_obs**2 + spread * factor**2)
    yhat = (trend * model.y_scale + model.floor) * factor + additive
    return Bands(
        yhat, yhat - model.band80 * sd, yhat + model.band80 * sd, yhat - model.band95 * sd, yhat + model.band95 * sd
    )


def _trend(model: ProphetParameters, t: Floats) -> tuple[Floats, Floats]:
    """Return the scaled trend without its floor and its derivative by z, both shaped like `t`."""
    start, changes = model.offset_changes()
    if model.growth == "flat":
        return np.full_like(t, start), np.ones_like(t)
    passed = (np.asarray(model.changepoints_t) <= t[..., None]).astype(float)
    z = (model.k + passed @ np.asarray(model.delta)) * t + (start + passed @ changes)
    if model.growth == "linear" or model.cap is None:
        return z, np.ones_like(z)
    cap = (model.cap - model.floor) / model.y_scale
    share = 1.0 / (1.0 + np.exp(-z))
    return cap * share, cap * share * (1.0 - share)


def prophet_components(model: ProphetParameters, time_s: Ints) -> dict[str, Floats]:
    """Return what each part adds, by name, at civil times of any shape; additive ones in the sensor's unit.

    A daily pattern that differs between working days and weekends is one entry per day type, zero on the other days.
    """
    angle = np.pi * 2 * (time_s / DAY_S)
    beta = np.asarray(model.beta)
    found: dict[str, Floats] = {}
    for season in model.seasonalities:
        mine, beta = beta[: 2 * season.fourier_order], beta[2 * season.fourier_order :]
        term = np.zeros(time_s.shape)
        for order in range(1, season.fourier_order + 1):
            c = order / season.period_days * angle
            term += mine[2 * order - 2] * np.sin(c) + mine[2 * order - 1] * np.cos(c)
        if season.day_type != "any":
            term = np.where(is_workday(time_s) == (season.day_type == "workday"), term, 0.0)
        found[season.name] = term * (model.y_scale if season.mode == "additive" else 1.0)
    for effect in model.calendar:
        found[effect.name] = effect.values(time_s) * (model.y_scale if effect.mode == "additive" else 1.0)
    return found


def _seasonal(model: ProphetParameters, time_s: Ints) -> tuple[Floats, Floats]:
    """Return the additive term in the sensor's unit and 1 + the multiplicative term, both shaped like `time_s`."""
    additive, factor = np.zeros(time_s.shape), np.ones(time_s.shape)
    terms = prophet_components(model, time_s)
    for part in model.parts:
        if part.mode == "additive":
            additive = additive + terms[part.name]
        else:
            factor = factor + terms[part.name]
    return additive, factor


def naive_bands(parameters: ForecastParameters, model: SeasonalNaiveParameters, values: Floats, time_s: Ints) -> Bands:
    """Forecast each step by the value of the same time on the newest earlier day that has one.

    Args:
        parameters: the horizon and the window's shape.
        model: the sensor's profile and band.
        values: the sensor's rows `(batch, window_rows)`, oldest first, NaN or infinite = missing.
        time_s: civil times of the last rows `(batch,)`, s.
    """
    history = step_means(values, parameters.rows_per_step)
    steps, day, days = parameters.steps, parameters.day_steps, parameters.window_days
    step = np.arange(1, steps + 1)
    yhat = np.asarray(model.profile)[day_slot(horizon_s(time_s, steps, parameters.step_s), parameters.step_s)]
    for back in range(days - 1, -1, -1):
        lag = np.minimum(-(-step // day) + back, days) * day
        earlier = history[:, history.shape[1] - 1 + step - lag]
        yhat = np.where(np.isnan(earlier), yhat, earlier)
    return Bands(yhat, *(yhat + offset for offset in model.offsets()))


def step_means(values: Floats, rows_per_step: int) -> Floats:
    """Return means of the newest whole groups of rows `(batch, rows // rows_per_step)`, NaN where all are missing."""
    rows = values.shape[1] // rows_per_step * rows_per_step
    cells = values[:, values.shape[1] - rows :].reshape(len(values), -1, rows_per_step)
    present = np.isfinite(cells)
    count = present.sum(axis=2)
    total = np.where(present, cells, 0.0).sum(axis=2)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def day_slot(time_s: Ints, step_s: int) -> Ints:
    """Return which step of the day each civil time is nearest to."""
    return np.asarray((time_s % DAY_S + step_s // 2) // step_s % day_steps(step_s))


def day_steps(step_s: int) -> int:
    """Return the steps in 24 hours, at least one."""
    return max(1, round(DAY_S / step_s))
