"""Fits one sensor's forecast at one origin: Prophet on the history before it, and the seasonal rule beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from nightshift.families._forecast_bounds import Bounds, check_caps, check_floors
from nightshift.families._forecast_calendar import (
    PUBLIC_HOLIDAY,
    HolidayConfig,
    RegressorConfig,
    check_names,
    holiday_table,
)
from nightshift.families._forecast_series import Series
from nightshift.family import FamilyConfig
from nightshift.graphs.forecast_calendar import DAY_S, WeekPattern
from nightshift.graphs.forecast_parameters import (
    ProphetParameters,
    SeasonalNaiveParameters,
    day_slot,
    day_steps,
    is_workday,
)
from nightshift.graphs.forecast_prophet import prophet_parameters

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

#: Fewer values than this do not hold a seasonal model.
MIN_VALUES = 48
#: Day types need this many days, so that each weekend pattern is seen some times.
_DAY_TYPE_DAYS = 28


class ForecastConfig(FamilyConfig):
    """How sensors are forecast.

    Attributes:
        forecast_h: hours ahead.
        sensors: sensors to forecast; empty = the critical ones.
        min_step_min: a step is the sampling interval, but at least this long.
        history_days: each fit uses this much history before its origin.
        fit_step_min: the history is thinned to one value in this many minutes: the fit costs more than linearly, and
            a daily pattern of a few harmonics needs no more.
        growth: of the trend; `logistic` levels off between a floor and a cap.
        cap: sensor -> where a logistic trend levels off, in the sensor's unit; above everything measured.
        floor: sensor -> what a logistic trend begins from, in the sensor's unit; 0 where none is named.
        daily_order, weekly_order, yearly_order: Fourier orders; 0 = off. Weekly needs 14 days of history, yearly 730.
        day_types: working days and weekends each have their own daily pattern (needs 28 days of history).
        seasonality_mode: whether patterns add to the trend or scale with it.
        holidays: days unlike others of their weekday, by country and by date.
        regressors: known ahead by weekday and hour, such as shifts, by name.
        seasonality_prior_scale, changepoint_prior_scale, n_changepoints, changepoint_range: as in Prophet.
        test_origins: origins of the backtest over the test part, at most; 14 or more.
        val_origins: origins over the validation part, at most; they choose the model and set the width of the bands.
        band_days: the bands are as wide as the errors of this many newest days ask for.
        window_days: days of rows that the bundle takes; the seasonal rule looks back this far.
        coverage_margin_pct: a band whose coverage is further from nominal makes a finding.
    """

    forecast_h: float = Field(default=24.0, gt=0, le=336, json_schema_extra={"flag": "--forecast-hours"})
    sensors: tuple[str, ...] = ()
    min_step_min: float = Field(default=10.0, gt=0)
    history_days: float = Field(default=90.0, ge=2)
    fit_step_min: float = Field(default=60.0, gt=0)
    growth: Literal["linear", "flat", "logistic"] = "linear"
    cap: dict[str, float] = Field(default_factory=dict, validate_default=True)
    floor: dict[str, float] = Field(default_factory=dict, validate_default=True)
    daily_order: int = Field(default=4, ge=0, le=30)
    weekly_order: int = Field(default=3, ge=0, le=30)
    yearly_order: int = Field(default=0, ge=0, le=30)
    day_types: bool = True
    seasonality_mode: Literal["additive", "multiplicative"] = "additive"
    holidays: HolidayConfig = HolidayConfig()
    regressors: dict[str, RegressorConfig] = Field(default_factory=dict)
    seasonality_prior_scale: float = Field(default=10.0, gt=0)
    changepoint_prior_scale: float = Field(default=0.05, gt=0)
    n_changepoints: int = Field(default=25, ge=0, le=100)
    changepoint_range: float = Field(default=0.8, gt=0, le=1)
    test_origins: int = Field(default=28, ge=14)
    val_origins: int = Field(default=14, ge=1)
    band_days: float = Field(default=28.0, ge=5)
    window_days: int = Field(default=2, ge=1, le=14)
    coverage_margin_pct: float = Field(default=5.0, ge=0)

    @field_validator("cap")
    @classmethod
    def _capped(cls, cap: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        check_caps(cap, info.data.get("growth"))
        return cap

    @field_validator("floor")
    @classmethod
    def _floored(cls, floor: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        check_floors(floor, info.data.get("cap"))
        return floor

    @field_validator("regressors")
    @classmethod
    def _named(cls, regressors: dict[str, RegressorConfig]) -> dict[str, RegressorConfig]:
        check_names(regressors)
        return regressors

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for name in self.regressors:
            if name == PUBLIC_HOLIDAY or name in self.holidays.dates:
                raise ValueError(f"'{name}' is the name of a holiday and of a regressor")
        return self

    def bounds(self, sensor: str) -> Bounds | None:
        """Return what a sensor's trend stays between; None where nothing bounds it."""
        return Bounds(self.floor.get(sensor, 0.0), self.cap[sensor]) if self.growth == "logistic" else None

    def patterns(self) -> dict[str, WeekPattern]:
        """Return when each regressor is on."""
        return {name: regressor.pattern() for name, regressor in self.regressors.items()}


@dataclass(frozen=True)
class ProphetFit:
    """A fitted Prophet: its parameters, and the library's own JSON where it was asked for."""

    parameters: ProphetParameters
    native: str | None


def quiet_prophet() -> None:
    """Import Prophet in this thread, and keep its and cmdstan's lines (four a fit) out of the logs."""
    import prophet  # noqa: F401 - sets its loggers' levels at import

    for name in ("cmdstanpy", "prophet", "prophet.models"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL)
        logger.propagate = False
        if not logger.handlers:
            # cmdstanpy gives itself a handler and its own level at the first fit, unless it finds one.
            logger.addHandler(logging.NullHandler())


def fit_prophet(
    series: Series, sensor: int, origin: int, config: ForecastConfig, seed: int, *, keep_native: bool = False
) -> ProphetFit | None:
    """Fit Prophet on the history up to and with `origin`.

    Each fit is a cmdstan process of its own, so threads fit in parallel.

    Returns:
        The fit, or None when the history is too short or the optimiser found nothing.
    """
    from prophet import Prophet
    from prophet.serialize import model_to_json

    time, values = history(series, sensor, origin, config)
    if len(values) < MIN_VALUES:
        return None
    model = Prophet(
        growth=config.growth,
        n_changepoints=config.n_changepoints,
        changepoint_range=config.changepoint_range,
        changepoint_prior_scale=config.changepoint_prior_scale,
        daily_seasonality=False,
        weekly_seasonality=False,
        yearly_seasonality=False,
        # The bands are closed-form; Prophet's own draws would be thrown away.
        uncertainty_samples=0,
        holidays=_holidays(series, config),
        holidays_prior_scale=config.holidays.prior_scale,
        holidays_mode=config.holidays.mode or config.seasonality_mode,
    )
    for name, known in config.regressors.items():
        mode = known.mode or config.seasonality_mode
        model.add_regressor(name, prior_scale=known.prior_scale, standardize=False, mode=mode)
    for season in seasonalities(config, days=(time[-1] - time[0]) / DAY_S, step_s=series.step_s):
        model.add_seasonality(mode=config.seasonality_mode, prior_scale=config.seasonality_prior_scale, **season)
    patterns = config.patterns()
    frame = prophet_frame(time, patterns, config.bounds(series.sensors[sensor]))
    try:
        model.fit(frame.assign(y=values), seed=seed)
    except RuntimeError:
        return None
    finally:
        model.stan_backend.cleanup()
    return ProphetFit(prophet_parameters(model, patterns), model_to_json(model) if keep_native else None)


def _holidays(series: Series, config: ForecastConfig) -> pd.DataFrame | None:
    """Return Prophet's table, the same at every origin: holidays are known ahead."""
    ends = series.time_s(np.array([0, len(series.values) - 1]))
    first, newest = ends.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    return holiday_table(config.holidays, int(first), int(newest))


def history(series: Series, sensor: int, origin: int, config: ForecastConfig) -> tuple[NDArray[np.int64], Floats]:
    """Return the civil times and values that a fit at `origin` sees: known, thinned, the newest always in."""
    every = max(1, round(config.fit_step_min * 60 / series.step_s))
    first = max(0, origin - int(config.history_days * DAY_S / series.step_s) + 1)
    steps = np.arange(origin, first - 1, -every)[::-1]
    known = steps[np.isfinite(series.values[steps, sensor])]
    return series.time_s(known), series.values[known, sensor]


def seasonalities(config: ForecastConfig, *, days: float, step_s: int) -> list[dict[str, Any]]:
    """Return the keyword arguments of Prophet's `add_seasonality` that a history of this length can hold."""
    found: list[dict[str, Any]] = []
    daily = config.daily_order > 0 and days >= 2 and step_s <= DAY_S // 4
    weekly = config.weekly_order > 0 and days >= 14 and step_s <= DAY_S
    if daily and config.day_types and days >= _DAY_TYPE_DAYS:
        found += [
            {"name": f"daily_{kind}", "period": 1, "fourier_order": config.daily_order, "condition_name": kind}
            for kind in ("workday", "weekend")
        ]
    elif daily:
        found.append({"name": "daily", "period": 1, "fourier_order": config.daily_order})
    if weekly:
        found.append({"name": "weekly", "period": 7, "fourier_order": config.weekly_order})
    if config.yearly_order > 0 and days >= 730:
        found.append({"name": "yearly", "period": 365.25, "fourier_order": config.yearly_order})
    return found


def prophet_frame(
    time_s: NDArray[np.int64], patterns: Mapping[str, WeekPattern] | None = None, bounds: Bounds | None = None
) -> pd.DataFrame:
    """Return Prophet's table of civil times, with the day types, regressors and bounds that its parts ask for."""
    import pandas as pd

    workday = is_workday(time_s)
    frame = pd.DataFrame({"ds": pd.to_datetime(time_s, unit="s"), "workday": workday, "weekend": ~workday})
    if bounds:
        frame = frame.assign(floor=bounds.floor, cap=bounds.cap)
    return frame.assign(**{name: pattern.on(time_s).astype(float) for name, pattern in (patterns or {}).items()})


def fit_naive(series: Series, sensor: int, origin: int, steps: int, config: ForecastConfig) -> SeasonalNaiveParameters:
    """Fit the seasonal rule's band and profile on the history up to and with `origin`."""
    first = max(0, origin - int(config.history_days * DAY_S / series.step_s) + 1)
    position = np.arange(first, origin + 1)
    values = series.values[position, sensor]
    day = day_steps(series.step_s)
    back = -(-np.arange(1, steps + 1) // day)
    offsets = np.array([_lag_quantiles(values, days * day) for days in range(1, back[-1] + 1)])[back - 1]
    profile = _profile(values, day_slot(series.time_s(position), series.step_s), day)
    columns = [tuple(column.tolist()) for column in offsets.T]
    return SeasonalNaiveParameters(
        profile=tuple(profile.tolist()),
        offset_lo80=columns[0],
        offset_hi80=columns[1],
        offset_lo95=columns[2],
        offset_hi95=columns[3],
    )


def _lag_quantiles(values: Floats, lag: int) -> Floats:
    """Return the quantiles lo80, hi80, lo95, hi95 of the change over `lag` steps; 0 where none is known."""
    change = values[lag:] - values[: max(0, len(values) - lag)]
    change = change[np.isfinite(change)]
    if not len(change):
        return np.zeros(4)
    quantiles = np.quantile(change, [0.1, 0.9, 0.025, 0.975])
    return quantiles.astype(np.float64)


def _profile(values: Floats, slot: NDArray[np.int64], n_slots: int) -> Floats:
    """Return the median of each step of the day; an unseen one gets the median of all."""
    import pandas as pd

    medians = pd.Series(values).groupby(slot).median().reindex(range(n_slots))
    overall = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    return np.asarray(medians.fillna(overall), dtype=np.float64)
