"""Forecast graphs: the same answer as Prophet, and as the seasonal rule, from onnxruntime alone."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
from numpy.typing import NDArray

from nightshift.errors import ExportError
from nightshift.graphs.forecast import forecast_graph
from nightshift.graphs.forecast_parameters import (
    BANDS,
    Z80,
    Z95,
    ForecastParameters,
    ProphetParameters,
    SeasonalNaiveParameters,
    SensorForecast,
    naive_bands,
    prophet_bands,
)
from nightshift.graphs.forecast_prophet import prophet_parameters

START = pd.Timestamp("2024-03-04 00:00")
HOUR_S = 3600


def seconds(time: Any) -> NDArray[np.int64]:
    return pd.DatetimeIndex(time).to_numpy().astype("datetime64[s]").astype(np.int64)


def history(days: int = 28, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    ds = pd.date_range(START, periods=days * 24, freq="1h")
    hour, day = np.arange(len(ds)) / 24, ds.dayofweek.to_numpy()
    wave = 8 * np.sin(2 * np.pi * hour) + np.where(day < 5, 3 * np.cos(4 * np.pi * hour), 0)
    bend = np.where(hour > days / 2, 0.8 * (hour - days / 2), 0)
    return pd.DataFrame({"ds": ds, "y": 60 + 0.2 * hour + bend + wave + rng.normal(0, 1.0, len(ds))})


def fitted(frame: pd.DataFrame, *, day_types: bool = False, **options: Any) -> Any:
    from prophet import Prophet

    logging.getLogger("cmdstanpy").disabled = True
    kwargs: dict[str, Any] = {"daily_seasonality": True, "weekly_seasonality": True, "yearly_seasonality": False}
    model = Prophet(**{**kwargs, "uncertainty_samples": 0, **options})
    if day_types:
        for name in ("workday", "weekend"):
            model.add_seasonality(f"daily_{name}", 1, 4, condition_name=name)
    model.fit(with_conditions(frame), seed=1)
    return model


def with_conditions(frame: pd.DataFrame) -> pd.DataFrame:
    workday = frame["ds"].dt.dayofweek < 5
    return frame.assign(workday=workday, weekend=~workday)


def run(parameters: ForecastParameters, window: NDArray[np.float32], time_s: NDArray[np.int64]) -> dict[str, Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(forecast_graph(parameters).SerializeToString(), options)
    return dict(zip(BANDS, session.run(list(BANDS), {"window": window, "time_s": time_s}), strict=True))


def one_prophet(model: ProphetParameters, steps: int = 24) -> ForecastParameters:
    sensor = SensorForecast(sensor="temperature_c", column=0, model=model)
    return ForecastParameters(steps=steps, step_s=HOUR_S, window_rows=1, n_columns=1, sensors=(sensor,))


def answer(model: ProphetParameters, origins: list[pd.Timestamp], steps: int = 24) -> dict[str, NDArray[np.float64]]:
    window = np.full((len(origins), 1, 1), np.nan, dtype=np.float32)
    out = run(one_prophet(model, steps), window, seconds(origins))
    return {name: out[name][:, :, 0].astype(float) for name in BANDS}


@pytest.mark.parametrize(
    "options",
    [
        {"day_types": False},
        {"day_types": True, "daily_seasonality": False},
        {"seasonality_mode": "multiplicative"},
        {"growth": "flat", "weekly_seasonality": False},
        {"growth": "logistic"},
        {"scaling": "minmax", "yearly_seasonality": 3},
        {"n_changepoints": 0},
        {"daily_seasonality": False, "weekly_seasonality": False},
    ],
    ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items()),
)
def test_yhat_equals_prophet_before_at_and_after_the_end_of_training(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "prophet")
    frame = history().assign(cap=150.0, floor=0.0)
    model = fitted(frame, **options)
    parameters = prophet_parameters(model)
    assert ProphetParameters.model_validate_json(parameters.model_dump_json()) == parameters
    origins = [START + pd.Timedelta(hours=h) for h in (120, 312, 480, 672, 1447.5)]
    got = answer(parameters, origins)
    reference = prophet_bands(parameters, seconds(origins), 24, HOUR_S)
    for row, origin in enumerate(origins):
        ds = pd.date_range(origin, periods=25, freq="1h")[1:]
        expected = model.predict(with_conditions(pd.DataFrame({"ds": ds, "cap": 150.0, "floor": 0.0})))
        yhat = expected["yhat"].to_numpy()
        assert np.abs(reference.yhat[row] - yhat).max() <= 1e-9 * np.abs(yhat).max()
        assert np.abs(got["yhat"][row] - yhat).max() <= 1e-6 * np.abs(yhat).max()
    for name in BANDS:
        np.testing.assert_allclose(got[name], getattr(reference, name), rtol=2e-7)


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_bands_equal_prophets_own_sampling_with_many_draws(mode: str) -> None:
    frame = history()
    # One holiday that the fit has seen, and that comes again within the horizon.
    dates = pd.DataFrame({"holiday": "stop", "ds": [START + pd.Timedelta(days=9), START + pd.Timedelta(days=28)]})
    frame.loc[9 * 24 : 10 * 24 - 1, "y"] *= 0.7
    options = {"weekly_seasonality": False, "changepoint_prior_scale": 0.05, "holidays": dates}
    model = fitted(frame, seasonality_mode=mode, **options)
    ds = pd.date_range(frame["ds"].iloc[-1], periods=25, freq="1h")[1:]
    np.random.seed(7)  # Prophet draws from the global generator.
    model.uncertainty_samples = 10_000
    draws = np.concatenate([model.predictive_samples(pd.DataFrame({"ds": ds}))["yhat"] for _ in range(10)], axis=1)
    assert draws.shape == (24, 100_000)
    bands = answer(prophet_parameters(model), [frame["ds"].iloc[-1]])
    sd = draws.std(axis=1)
    measured = (bands["hi95"][0] - bands["yhat"][0]) / Z95
    np.testing.assert_allclose(measured, sd, rtol=0.01)
    for name, percent in (("lo80", 10.0), ("hi80", 90.0), ("lo95", 2.5), ("hi95", 97.5)):
        quantile = np.percentile(draws, percent, axis=1)
        assert np.abs(bands[name][0] - quantile).max() <= 0.03 * sd.max(), name


def test_band_widens_after_training_and_calibrated_widths_are_used() -> None:
    model = prophet_parameters(fitted(history(), changepoint_prior_scale=0.5))
    origin = [START + pd.Timedelta(days=28)]
    plain = answer(model, origin, steps=96)
    width = plain["hi95"][0] - plain["lo95"][0]
    assert np.all(np.diff(width) >= -1e-4)
    assert width[-1] > 1.01 * width[0]
    wide = answer(model.model_copy(update={"band80": 2 * Z80, "band95": 3 * Z95}), origin, steps=96)
    np.testing.assert_allclose(wide["hi80"] - wide["lo80"], 2 * (plain["hi80"] - plain["lo80"]), rtol=1e-4)
    np.testing.assert_allclose(wide["hi95"] - wide["lo95"], 3 * (plain["hi95"] - plain["lo95"]), rtol=1e-4)


def naive_model(day_steps: int, steps: int, level: float = 0.0) -> SeasonalNaiveParameters:
    ramp = np.linspace(1, 2, steps)
    return SeasonalNaiveParameters(
        profile=tuple((level + 1000 + np.arange(day_steps)).tolist()),
        offset_lo80=tuple((-ramp).tolist()),
        offset_hi80=tuple((1.5 * ramp).tolist()),
        offset_lo95=tuple((-2 * ramp).tolist()),
        offset_hi95=tuple((3 * ramp).tolist()),
    )


def naive_only(*, steps: int = 24, rows_per_step: int = 1, window_rows: int = 72) -> ForecastParameters:
    sensor = SensorForecast(sensor="load", column=1, model=naive_model(24, steps))
    return ForecastParameters(
        steps=steps, step_s=HOUR_S, rows_per_step=rows_per_step, window_rows=window_rows, n_columns=2, sensors=(sensor,)
    )


def test_seasonal_naive_repeats_the_last_day_over_a_longer_horizon() -> None:
    window = np.zeros((1, 72, 2), dtype=np.float32)
    window[0, :, 1] = np.arange(72)
    out = run(naive_only(steps=60), window, seconds([START]))
    assert run(naive_only(steps=60), window[:0], seconds([START])[:0])["yhat"].shape == (0, 60, 1)
    np.testing.assert_array_equal(out["yhat"][0, :, 0], np.resize(np.arange(48, 72), 60))
    np.testing.assert_allclose(out["hi95"][0, -1, 0] - out["yhat"][0, -1, 0], 6.0, rtol=1e-6)


def test_seasonal_naive_takes_an_earlier_day_then_the_profile_where_values_are_missing() -> None:
    window = np.zeros((2, 72, 2), dtype=np.float32)
    window[:, :, 1] = np.arange(72)
    window[0, 50, 1] = np.nan
    window[0, [4, 28, 52], 1] = [np.nan, np.inf, -np.inf]  # infinite is missing
    window[1] = np.nan
    time_s = seconds([START + pd.Timedelta(hours=6), START + pd.Timedelta(hours=22)])
    got = run(naive_only(), window, time_s)["yhat"][:, :, 0]
    expected = np.arange(48.0, 72.0)
    expected[2], expected[4] = 26, 1000 + (6 + 5) % 24
    np.testing.assert_array_equal(got[0], expected)
    np.testing.assert_array_equal(got[1], 1000 + (22 + np.arange(1, 25)) % 24)


def test_seasonal_naive_averages_rows_into_steps_without_the_missing() -> None:
    parameters = naive_only(rows_per_step=4, window_rows=4 * 24 + 3)
    rng = np.random.default_rng(3)
    window = rng.normal(50, 10, (5, parameters.window_rows, 2)).astype(np.float32)
    window[rng.random(window.shape) < 0.4] = np.nan
    window[rng.random(window.shape) < 0.1] = np.inf
    time_s = seconds([START + pd.Timedelta(minutes=37 * i) for i in range(5)])
    out = run(parameters, window, time_s)
    model = parameters.sensors[0].model
    assert isinstance(model, SeasonalNaiveParameters)
    reference = naive_bands(parameters, model, window[:, :, 1].astype(float), time_s)
    assert np.isfinite(out["yhat"]).all()
    for name in BANDS:
        np.testing.assert_allclose(out[name][:, :, 0], getattr(reference, name), rtol=2e-7)
    assert (reference.yhat < 900).any()


def test_one_graph_keeps_the_order_of_sensors_of_both_kinds() -> None:
    model = prophet_parameters(fitted(history()))
    fewer = {"delta": model.delta[:3], "changepoints_t": model.changepoints_t[:3]}
    other = model.model_copy(update={"m": model.m + 1.0, **fewer})
    sensors = tuple(
        SensorForecast(sensor=name, column=column, model=m)
        for name, column, m in (
            ("a", 2, naive_model(24, 12)),
            ("b", 0, model),
            ("c", 1, naive_model(24, 12, level=500)),
            ("d", 3, other),
        )
    )
    parameters = ForecastParameters(steps=12, step_s=HOUR_S, window_rows=24, n_columns=4, sensors=sensors)
    assert ForecastParameters.model_validate_json(parameters.model_dump_json()) == parameters
    window = np.random.default_rng(1).normal(size=(3, 24, 4)).astype(np.float32)
    time_s = seconds([START + pd.Timedelta(days=d) for d in (10, 28, 40)])
    out = run(parameters, window, time_s)
    assert out["lo95"].shape == (3, 12, 4)
    assert run(parameters, window[:0], time_s[:0])["lo95"].shape == (0, 12, 4)
    np.testing.assert_array_equal(out["yhat"][:, :, 0], window[:, :12, 2])
    np.testing.assert_array_equal(out["yhat"][:, :, 2], window[:, :12, 1])
    for position, each in ((1, model), (3, other)):
        reference = prophet_bands(each, time_s, 12, HOUR_S)
        for name in BANDS:
            np.testing.assert_allclose(out[name][:, :, position], getattr(reference, name), rtol=2e-7)


def test_graph_is_small_and_uses_only_what_the_oldest_supported_runtime_has() -> None:
    prophet = prophet_parameters(fitted(history()))
    sensors = tuple(
        SensorForecast(sensor=f"s{i}", column=i, model=prophet if i % 2 else naive_model(24, 24)) for i in range(8)
    )
    model = forecast_graph(ForecastParameters(steps=24, step_s=HOUR_S, window_rows=48, n_columns=8, sensors=sensors))
    # onnxruntime 1.22 has neither Cos in double nor any Where on booleans.
    assert "Cos" not in {node.op_type for node in model.graph.node}
    # On one row nodes cost time, numbers hardly: what a wave is at each step stands in a table.
    assert len(model.graph.node) < 50
    assert model.ByteSize() < 40_000
    assert model.ir_version == 9
    assert {o.domain: o.version for o in model.opset_import}[""] == 18


def test_a_model_that_cannot_be_exported_is_refused() -> None:
    from prophet import Prophet

    frame = history(days=4)
    with pytest.raises(ExportError, match="not fitted"):
        prophet_parameters(Prophet())
    regressed = Prophet(weekly_seasonality=False)
    regressed.add_regressor("load")
    with pytest.raises(ExportError, match="'load' cannot be exported"):
        prophet_parameters(regressed)
    varying = fitted(frame.assign(cap=np.linspace(200, 300, len(frame))), growth="logistic", weekly_seasonality=False)
    with pytest.raises(ExportError, match="cap varies"):
        prophet_parameters(varying)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_rows": 20}, "needs 24"),
        ({"rows_per_step": 4}, "needs 96"),
        ({"n_columns": 1}, "column 1"),
        ({"steps": 23}, "needs 23 steps"),
        ({"step_s": 1800}, "expected 48"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change: dict[str, int], message: str) -> None:
    fields = naive_only().model_dump()
    with pytest.raises(ValueError, match=message):
        ForecastParameters.model_validate({**fields, **change})
