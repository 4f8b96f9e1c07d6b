"""How a forecast is judged, on numbers small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems.forecast import (
    PROBLEM,
    Forecasts,
    metrics,
    naive_scale,
    trend_r2,
    unit_sums,
    winkler,
)
from nightshift.problems.problem import Samples, get


def said(yhat: np.ndarray, half80: float = 1.0, half95: float = 2.0) -> Forecasts:
    bands = {"lo80": yhat - half80, "hi80": yhat + half80, "lo95": yhat - half95, "hi95": yhat + half95}
    return Forecasts(yhat, bands)


def test_mase_averages_sensors_of_different_units_after_scaling() -> None:
    truth = np.array([[[1.0, 1000.0], [3.0, 1000.0]]])
    yhat = np.array([[[2.0, 1100.0], [3.0, 1300.0]]])
    found = metrics(truth, said(yhat), np.array([0.5, 400.0]))
    assert found["mase"] == pytest.approx((1 / 0.5 + 0 + 100 / 400 + 300 / 400) / 4)
    assert found["mape_pct"] == pytest.approx(100 * (1 + 0 + 0.1 + 0.3) / 4)


def test_missing_truth_is_left_out_and_zero_truth_has_no_percentage() -> None:
    truth = np.array([[[0.0], [np.nan], [4.0]]])
    found = metrics(truth, said(np.array([[[1.0], [9.0], [5.0]]])), np.array([1.0]))
    assert found["mase"] == pytest.approx(1.0)
    assert found["mape_pct"] == pytest.approx(25.0)
    assert metrics(np.full((1, 2, 1), np.nan), said(np.zeros((1, 2, 1))), np.ones(1))["mase"] is None


def test_coverage_counts_what_lies_inside_the_band() -> None:
    truth = np.arange(10.0).reshape(1, 10, 1)
    yhat = truth + np.array([0, 0.5, -1, 1.5, 1.9, -2, 2.5, 0, 0, 9]).reshape(1, 10, 1)
    found = metrics(truth, said(yhat), np.ones(1))
    assert found["coverage80_pct"] == pytest.approx(50.0)
    assert found["coverage95_pct"] == pytest.approx(80.0)


def test_a_method_without_bands_has_no_coverage() -> None:
    found = metrics(np.ones((3, 2, 1)), Forecasts(np.ones((3, 2, 1)), {}), np.ones(1))
    assert found["mase"] == 0.0
    assert found["coverage80_pct"] is None
    assert found["winkler95"] is None


def test_winkler_adds_two_over_alpha_for_what_lies_outside() -> None:
    truth = np.array([[[0.0], [3.0], [-1.5]]])
    score = winkler(truth, np.full_like(truth, -1.0), np.full_like(truth, 1.0), 80)
    np.testing.assert_allclose(score.ravel(), [2.0, 2.0 + 10 * 2.0, 2.0 + 10 * 0.5])


def test_trend_r2_looks_at_the_level_of_the_day_only() -> None:
    level = np.array([1.0, 2.0, 3.0, 4.0])[:, None, None]
    pattern = np.array([-1.0, 1.0, -1.0, 1.0])[None, :, None]
    assert trend_r2(level + pattern, level - pattern) == pytest.approx(1.0)
    assert trend_r2(level + pattern, np.full((4, 4, 1), 2.5)) == pytest.approx(0.0)
    assert trend_r2(np.ones((4, 4, 1)), np.ones((4, 4, 1))) is None


def test_scale_is_the_error_of_repeating_yesterday_on_train() -> None:
    steps = np.array([[1.0, 5.0, np.nan], [2.0, 5.0, np.nan], [4.0, 5.0, np.nan], [8.0, 5.0, np.nan]])
    scale = naive_scale(steps, 2)
    assert scale[0] == pytest.approx((3 + 6) / 2)
    assert np.isnan(scale[1:]).all()


def test_unit_sums_give_back_the_metric_and_pair_by_day() -> None:
    rng = np.random.default_rng(0)
    truth, yhat, scale = rng.normal(size=(6, 4, 2)), rng.normal(size=(6, 4, 2)), np.array([0.5, 2.0])
    truth[0, 0, 0] = np.nan
    sums = unit_sums(truth, yhat, scale, ["a", "a", "b", "c", "c", "c"])
    assert sums.units == ["a", "b", "c"]
    assert sums.runs == 3
    whole = PROBLEM.from_sums(np.array(sums.values).sum(axis=0))
    assert whole == pytest.approx(metrics(truth, said(yhat), scale)["mase"])
    samples = Samples(
        inputs={},
        truth={"values": truth, "scale": np.tile(scale, (6, 1))},
        unit=np.array(["a", "a", "b", "c", "c", "c"]),
        time=np.zeros(6),
    )
    assert get("forecast").statistics({"yhat": yhat}, samples) == sums


def test_metric_of_nothing_is_undefined() -> None:
    assert np.isnan(PROBLEM.from_sums(np.zeros((3, 2)))).all()
