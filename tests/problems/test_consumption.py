"""What a vehicle uses: accuracy as the share not missed, trips, and baselines that know no model."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems import consumption_judge as judge
from nightshift.problems.problem import Samples
from nightshift.problems.regression import PROBLEM


def truth(value: list[float], trip: list[int] | None = None, before: list[float] | None = None) -> judge.Truth:
    n = len(value)
    return judge.Truth(
        np.array(value),
        np.array(before if before is not None else [np.nan] * n, dtype=np.float64),
        np.array(trip or [0] * n),
        np.arange(n) * 60.0,
    )


def test_accuracy_is_the_share_of_all_that_was_not_missed() -> None:
    got = judge.metrics(truth([1.0, 2.0, 5.0]), np.array([1.1, 1.8, 5.4]))
    assert got["accuracy_pct"] == pytest.approx(100 * (1 - 0.7 / 8.0))
    assert got["mae"] == pytest.approx(0.7 / 3)
    assert got["bias"] == pytest.approx(0.3 / 3)
    assert got["within_15_pct"] == pytest.approx(100.0)
    assert got["r2"] == pytest.approx(1 - 0.21 / ((np.array([1, 2, 5]) - 8 / 3) ** 2).sum())
    far = judge.metrics(truth([1.0, 1.0]), np.array([4.0, 1.2]))
    assert far["accuracy_pct"] == pytest.approx(-60.0), "it may be negative"
    assert far["within_15_pct"] == 0.0


def test_a_window_that_uses_nothing_is_met_by_nothing_alone() -> None:
    got = judge.metrics(truth([0.0, 0.0]), np.array([0.0, 0.01]))
    assert (got["within_15_pct"], got["accuracy_pct"], got["r2"]) == (50.0, None, None)
    assert got["trip_error_pct"] is None
    assert set(judge.metrics(truth([]), np.zeros(0)).values()) == {None}


def test_in_a_trip_too_much_pays_for_too_little_and_the_sign_is_kept() -> None:
    of = truth([2.0, 2.0, 4.0, 4.0], trip=[1, 1, 2, 2])
    got = judge.metrics(of, np.array([3.0, 1.0, 5.0, 5.0]))
    assert got["trip_error_pct"] == pytest.approx((0.0 + 25.0) / 2)
    less = judge.metrics(of, np.array([1.0, 1.0, 5.0, 5.0]))
    assert less["trip_error_pct"] == pytest.approx((-50.0 + 25.0) / 2)
    assert less["trip_abs_error_pct"] == pytest.approx(37.5)


def test_persistence_says_the_window_before_and_the_mean_where_there_is_none() -> None:
    train = truth([1.0, 3.0])
    of = truth([2.0, 2.5], before=[np.nan, 2.0])
    mean, last = judge.Baselines.fit(train).rows("test", of)
    assert (mean.who, last.who) == ("mean", "persistence")
    assert mean.metrics["mae"] == pytest.approx(0.25)
    assert last.metrics["mae"] == pytest.approx((0.0 + 0.5) / 2)


def test_the_gate_sums_squares_of_a_number_called_value() -> None:
    samples = Samples({}, {"value": np.array([1.0, 2.0, 3.0])}, np.array(["a", "a", "b"]), np.full(3, np.nan))
    found = PROBLEM.statistics({"value": np.array([1.0, 4.0, 2.0], np.float32)}, samples)
    assert found.values == [[4.0, 2.0], [1.0, 1.0]]
    assert PROBLEM.from_sums(np.array(found.values).sum(axis=0)) == pytest.approx(np.sqrt(5 / 3))


def test_a_missed_target_says_what_to_try() -> None:
    of = truth([1.0, 2.0, 5.0], before=[1.0, 2.0, 5.0])
    baselines = judge.Baselines.fit(of)
    rows = []
    for part, said in (("train", of.value + 0.1), ("test", of.value + 2.0)):
        rows += [judge.score_row("model", "model", part, of, said), *baselines.rows(part, of)]
    judged = judge.evaluation(rows)
    found = {
        f.code: f
        for f in judge.findings(judged, max_gap=0.5, wanted={"accuracy_pct": 90, "mae": 3}, try_next="Train longer.")
    }
    assert sorted(found) == ["T001", "T006", "T007"]
    assert "accuracy_pct" in found["T007"].what
    assert found["T007"].remedy == "Train longer."
    assert "persistence" in found["T006"].what


def test_figures_show_windows_trips_and_errors() -> None:
    of = truth([1.0, 2.0, 5.0, 3.0], trip=[1, 1, 2, 2])
    drawn = {f.key: f for f in judge.figures(of, of.value + 0.1, "CO2 rate", "g/s")}
    assert sorted(drawn) == ["consumption_errors", "consumption_predicted_true", "consumption_trips"]
    assert [s.label for s in drawn["consumption_trips"].series] == ["trip 1: true", "trip 1", "trip 2: true", "trip 2"]
    assert drawn["consumption_trips"].series[0].x == [0.0, 1.0]
    assert judge.figures(truth([]), np.zeros(0), "CO2 rate", "g/s"), "an empty part draws too"
