"""A fitted Prophet model as plain parameters: everything that its `predict` computes with, or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.graphs.forecast_calendar import DAY_S, HOLIDAY_YEARS, HolidayEffect, PatternEffect, WeekPattern
from nightshift.graphs.forecast_parameters import ProphetParameters, Seasonality

if TYPE_CHECKING:
    from prophet import Prophet

#: Between a holiday's name and the day beside it, in the names of Prophet's columns.
_DELIMITER = "_delim_"


def prophet_parameters(model: Prophet, patterns: Mapping[str, WeekPattern] | None = None) -> ProphetParameters:
    """Read a fitted Prophet's parameters.

    Args:
        model: fitted by optimisation, on times without a zone.
        patterns: what the model's regressors are, by name: those that follow from weekday and hour.

    Raises:
        ExportError: when the model has parts that the parameters cannot hold: regressors whose future a device cannot
            know, posterior samples, a cap or a floor that varies, an unknown condition.
    """
    known = patterns or {}
    start, scale, history = model.start, model.t_scale, model.history
    if int(model.mcmc_samples) > 0:
        raise ExportError("a Prophet model with posterior samples cannot be exported.", hint="Fit it without MCMC.")
    for name in model.extra_regressors:
        if name not in known:
            raise ExportError(
                f"the regressor '{name}' cannot be exported: its future values are not known on the device.",
                hint="Regressors follow from weekday and hour (`regressors`) or from dates (`holidays`).",
            )
    if start is None or scale is None or history is None:
        raise ExportError("the Prophet model is not fitted.")
    beta = np.ravel(model.params["beta"]).astype(float)
    n_seasonal = 2 * sum(int(props["fourier_order"]) for props in model.seasonalities.values())
    holidays = _holidays(model, beta[n_seasonal:])
    return ProphetParameters(
        growth=model.growth,
        k=_scalar(model.params["k"]),
        m=_scalar(model.params["m"]),
        delta=tuple(np.ravel(model.params["delta"]).tolist()),
        changepoints_t=tuple(np.ravel(model.changepoints_t).astype(float).tolist()),
        beta=tuple(beta[:n_seasonal].tolist()),
        sigma_obs=_scalar(model.params["sigma_obs"]),
        y_scale=float(model.y_scale),
        floor=_constant(history["floor"].to_numpy(), "floor"),
        cap=_constant(history["cap"].to_numpy(), "cap") if model.growth == "logistic" else None,
        start_s=int(start.value // 1_000_000_000),
        t_scale_s=int(scale.total_seconds()),
        seasonalities=tuple(_seasonality(name, props) for name, props in model.seasonalities.items()),
        holidays=holidays,
        patterns=_patterns(model, beta[n_seasonal + len(holidays) :], known),
    )


def _holidays(model: Prophet, beta: NDArray[np.float64]) -> tuple[HolidayEffect, ...]:
    """Return the effects of the holidays, whose coefficients stand first in `beta`, in the order of their columns."""
    import pandas as pd

    start, scale = model.start, model.t_scale
    if start is None or scale is None or model.train_holiday_names is None:
        return ()
    last = start + scale
    years = pd.Series(pd.to_datetime([f"{y}-07-01" for y in range(start.year, last.year + HOLIDAY_YEARS + 1)]))
    days: dict[str, set[int]] = {}
    # Prophet's own table of the country, or the one that it was given.
    for row in model.construct_holiday_dataframe(years).itertuples():
        for offset in _window(row):
            found = days.setdefault(f"{row.holiday}{_DELIMITER}{'+' if offset >= 0 else '-'}{abs(offset)}", set())
            if not pd.isna(row.ds):
                found.add(row.ds.value // (DAY_S * 1_000_000_000) + offset)
    return tuple(
        HolidayEffect(
            name=_holiday_name(column), days=tuple(sorted(days[column])), beta=float(value), mode=model.holidays_mode
        )
        for column, value in zip(sorted(days), beta[: len(days)], strict=True)
    )


def _window(row: object) -> range:
    """Return the days from before to after a holiday that are its own, as offsets."""
    before, after = (getattr(row, name, 0) for name in ("lower_window", "upper_window"))
    # As Prophet reads it: a row without one has none.
    return range(0, 1) if np.isnan(before) or np.isnan(after) else range(int(before), int(after) + 1)


def _holiday_name(column: str) -> str:
    holiday, _, offset = column.rpartition(_DELIMITER)
    return holiday if offset == "+0" else f"{holiday} {offset}"


def _patterns(model: Prophet, beta: NDArray[np.float64], known: Mapping[str, WeekPattern]) -> tuple[PatternEffect, ...]:
    """Return the effects of the regressors, whose coefficients stand first in `beta`."""
    return tuple(
        PatternEffect(
            name=name,
            pattern=known[name],
            on=float(value * (1.0 - props["mu"]) / props["std"]),
            off=float(value * (0.0 - props["mu"]) / props["std"]),
            mode=props["mode"],
        )
        # Without any column Prophet fits one of zeros, so beta may be longer.
        for (name, props), value in zip(model.extra_regressors.items(), beta, strict=False)
    )


def _scalar(value: NDArray[np.float64]) -> float:
    return float(np.ravel(value)[0])


def _constant(values: NDArray[np.float64], name: str) -> float:
    if np.unique(values).size != 1:
        raise ExportError(f"a Prophet model whose {name} varies cannot be exported.")
    return float(values[0])


def _seasonality(name: str, props: dict[str, object]) -> Seasonality:
    condition = props["condition_name"]
    if condition not in (None, "workday", "weekend"):
        raise ExportError(f"seasonality '{name}' has the unknown condition '{condition}'; known: workday, weekend.")
    return Seasonality.model_validate(
        {
            "name": name,
            "period_days": props["period"],
            "fourier_order": props["fourier_order"],
            "mode": props["mode"],
            "day_type": condition or "any",
        }
    )
