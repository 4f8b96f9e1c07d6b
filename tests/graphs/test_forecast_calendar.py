"""Holidays and shifts in the forecast: the graph says what Prophet says, years ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from prophet import Prophet

from nightshift.edge.session import open_session
from nightshift.errors import ExportError
from nightshift.families._forecast_fit import prophet_frame, quiet_prophet
from nightshift.graphs.forecast import forecast_graph
from nightshift.graphs.forecast_calendar import DAY_S, WEEK_S, HolidayEffect, PatternEffect, WeekPattern
from nightshift.graphs.forecast_parameters import (
    BANDS,
    ForecastParameters,
    ProphetParameters,
    SensorForecast,
    prophet_bands,
)
from nightshift.graphs.forecast_prophet import prophet_parameters

HOUR_S = 3600
EARLY = WeekPattern.of([(day * DAY_S + 6 * HOUR_S, day * DAY_S + 14 * HOUR_S) for day in range(5)])
NIGHT = WeekPattern.of([(6 * DAY_S + 22 * HOUR_S, 7 * DAY_S + 6 * HOUR_S), (2 * DAY_S, 2 * DAY_S + 1800)])
PATTERNS = {"early": EARLY, "night": NIGHT}


def seconds(time: Any) -> NDArray[np.int64]:
    return pd.DatetimeIndex(time).to_numpy().astype("datetime64[s]").astype(np.int64)


def history() -> pd.DataFrame:
    """Ten weeks of hours over Easter and Labour Day; holidays stand still, the early shift adds."""
    ds = pd.date_range("2024-03-04", periods=70 * 24, freq="1h")
    time_s, rng = seconds(ds), np.random.default_rng(0)
    off = np.isin(ds.strftime("%m-%d"), ["03-29", "04-01", "05-01"])
    y = 60 + 8 * np.sin(2 * np.pi * ds.hour / 24) + 5 * EARLY.on(time_s) - 20 * off + rng.normal(0, 1, len(ds))
    return prophet_frame(time_s, PATTERNS).assign(y=y)


def holiday_dates() -> pd.DataFrame:
    names = {"stop": ["2024-03-29", "2024-04-01", "2024-05-01", "2024-12-24", "2034-12-24"], "unseen": ["2034-12-25"]}
    rows = [(pd.Timestamp(day), name, -1, int(name == "stop")) for name, days in names.items() for day in days]
    return pd.DataFrame(rows, columns=["ds", "holiday", "lower_window", "upper_window"])


@pytest.fixture(scope="module")
def model() -> Prophet:
    quiet_prophet()
    made = Prophet(holidays=holiday_dates(), holidays_mode="multiplicative", uncertainty_samples=0)
    made.add_regressor("early", standardize=True)
    made.add_regressor("night", standardize=False, mode="multiplicative")
    return made.fit(history(), seed=1)


def run(models: list[ProphetParameters], time_s: NDArray[np.int64], steps: int = 24) -> dict[str, NDArray[Any]]:
    sensors = tuple(SensorForecast(sensor=f"s{i}", column=0, model=m) for i, m in enumerate(models))
    parameters = ForecastParameters(steps=steps, step_s=HOUR_S, window_rows=1, n_columns=1, sensors=sensors)
    session = open_session(forecast_graph(parameters).SerializeToString())
    window = np.full((len(time_s), 1, 1), np.nan, dtype=np.float32)
    return dict(zip(BANDS, session.run(list(BANDS), {"window": window, "time_s": time_s}), strict=True))


def test_the_graph_equals_prophet_at_holidays_and_shifts_and_after_the_last_date(model: Prophet) -> None:
    parameters = prophet_parameters(model, PATTERNS)
    assert ProphetParameters.model_validate_json(parameters.model_dump_json()) == parameters
    effects = {effect.name: effect for effect in parameters.calendar}
    assert list(effects) == ["stop", "stop +1", "stop -1", "unseen", "unseen -1", "early", "night"]
    stop, early = effects["stop"], effects["early"]
    assert isinstance(stop, HolidayEffect)
    assert isinstance(early, PatternEffect)
    assert stop.beta == pytest.approx(-20 / 60, abs=0.05)
    assert (early.on - early.off) * parameters.y_scale == pytest.approx(5, abs=0.5)
    times = ["2024-03-01", "2024-03-30 12:00", "2024-05-11", "2024-12-23 22:30", "2034-12-23", "2034-12-25 05:59:59"]
    origins = [*pd.DatetimeIndex(times), *pd.date_range("2024-05-12 23:59:59", periods=8, freq="1d"), "2041-01-01"]
    time_s = seconds([pd.Timestamp(o) for o in origins])
    got, reference = run([parameters], time_s), prophet_bands(parameters, time_s, 24, HOUR_S)
    for row, origin in enumerate(time_s):
        horizon = origin + HOUR_S * np.arange(1, 25)
        yhat = model.predict(prophet_frame(horizon, PATTERNS))["yhat"].to_numpy()
        assert np.abs(reference.yhat[row] - yhat).max() <= 1e-9 * np.abs(yhat).max(), origins[row]
        assert np.abs(got["yhat"][row, :, 0] - yhat).max() <= 1e-6 * np.abs(yhat).max(), origins[row]
    for name in BANDS:
        np.testing.assert_allclose(got[name][:, :, 0], getattr(reference, name), rtol=2e-7)
    assert run([parameters], time_s[:0])["yhat"].shape == (0, 24, 1)


def test_prophets_own_holidays_of_a_country_are_written_down_for_ten_years() -> None:
    quiet_prophet()
    made = Prophet(uncertainty_samples=0, weekly_seasonality=False)
    made.add_country_holidays("DE")
    made.fit(history()[["ds", "y"]], seed=1)
    parameters = prophet_parameters(made)
    named = {holiday.name: holiday for holiday in parameters.holidays}
    last = np.array(named["Good Friday"].days[-1], dtype="datetime64[D]")
    assert str(last) == "2034-04-07"
    time_s = seconds([pd.Timestamp("2024-05-08"), pd.Timestamp("2034-04-06 12:00")])
    got = run([parameters], time_s)["yhat"][:, :, 0]
    for row, origin in enumerate(time_s):
        yhat = made.predict(prophet_frame(origin + HOUR_S * np.arange(1, 25)))["yhat"].to_numpy()
        assert np.abs(got[row] - yhat).max() <= 1e-6 * np.abs(yhat).max()


def test_sensors_keep_their_own_calendars_in_one_graph(model: Prophet) -> None:
    first = prophet_parameters(model, PATTERNS)
    moved = [h.model_copy(update={"days": tuple(d + 3 for d in h.days), "mode": "additive"}) for h in first.holidays]
    only_shifts = first.model_copy(update={"holidays": (), "patterns": first.patterns[:1]})
    models = [first, first.model_copy(update={"holidays": tuple(moved)}), only_shifts]
    models.append(only_shifts.model_copy(update={"patterns": ()}))
    time_s = seconds(pd.date_range("2024-04-26", periods=12, freq="13h"))
    got = run(models, time_s, steps=48)
    for i, each in enumerate(models):
        reference = prophet_bands(each, time_s, 48, HOUR_S)
        for name in BANDS:
            np.testing.assert_allclose(got[name][:, :, i], getattr(reference, name), rtol=2e-7)
    assert not np.allclose(got["yhat"][..., 0], got["yhat"][..., 1])


def test_a_regressor_whose_future_nobody_knows_is_refused_with_the_reason(model: Prophet) -> None:
    with pytest.raises(ExportError, match="'night' cannot be exported: its future values are not known on the device"):
        prophet_parameters(model, {"early": EARLY})


def test_a_pattern_is_on_within_its_spans_alone_and_runs_over_the_end_of_the_week() -> None:
    assert NIGHT.spans == ((0, 6 * HOUR_S), (2 * DAY_S, 2 * DAY_S + 1800), (6 * DAY_S + 22 * HOUR_S, WEEK_S))
    sunday = seconds([pd.Timestamp("2024-03-03 21:59:59")])[0]
    time_s = sunday + np.array([0, 1, 8 * HOUR_S, 8 * HOUR_S + 1])
    assert NIGHT.on(time_s).tolist() == [False, True, True, False]
    joined = WeekPattern.of([(10, 20), (0, 10), (15, 30), (40, 50)])
    assert joined.spans == ((0, 30), (40, 50))


@pytest.mark.parametrize("spans", [((20, 10),), ((0, 10), (5, 15)), ((-1, 5),), ((0, WEEK_S + 1),), ()])
def test_spans_that_are_none_are_refused(spans: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="spans"):
        WeekPattern(spans=spans)
