"""Remaining-life metrics, their baselines, and what the gate sums."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems import regression_judge as judge
from nightshift.problems.problem import Samples, get
from nightshift.problems.regression import PROBLEM, metrics, nasa_score


def test_metrics_by_hand() -> None:
    stored = np.array([200.0, 100.0, 20.0, 0.0])
    got = metrics(np.minimum(stored, 125), stored, np.array([125.0, 90.0, 30.0, 0.0]))
    assert got["rmse"] == pytest.approx(np.sqrt(50.0))
    assert got["rmse_uncapped"] == pytest.approx(np.sqrt((75**2 + 200) / 4))
    assert got["mae"] == pytest.approx(5.0)
    assert got["bias"] == pytest.approx(0.0)
    assert got["mape_pct"] == pytest.approx(100 * (0 + 0.1 + 0.5) / 3), "the row without life left does not count"
    assert got["rmse_below_30"] == pytest.approx(np.sqrt(50.0))
    assert got["nasa_score"] == pytest.approx(np.expm1(75 / 13) + np.expm1(10 / 13) + np.expm1(10 / 10))


def test_undefined_figures_are_none() -> None:
    got = metrics(np.zeros(3), np.zeros(3), np.ones(3))
    assert got["r2"] is None
    assert got["mape_pct"] is None
    assert nasa_score(np.array([1e5])) is None
    assert set(metrics(np.zeros(0), np.zeros(0), np.zeros(0)).values()) == {None}


def test_late_costs_more_than_early() -> None:
    late, early = nasa_score(np.array([20.0])), nasa_score(np.array([-20.0]))
    assert late is not None
    assert early is not None
    assert late > early


def truth_of(lives: list[int], cap: float = np.inf, cut: int = 0) -> judge.Truth:
    run = np.repeat(np.arange(len(lives)), [life - cut for life in lives])
    elapsed = np.concatenate([np.arange(life - cut, dtype=float) for life in lives])
    stored = np.repeat(np.array(lives, dtype=float), [life - cut for life in lives]) - elapsed
    return judge.Truth(np.minimum(stored, cap), stored, elapsed, run)


def test_the_elapsed_time_baseline_is_the_mean_life_left_of_those_still_alive() -> None:
    baselines = judge.LifeBaselines.fit(truth_of([10, 20, 40], cut=3), np.inf)
    np.testing.assert_allclose(baselines.lives, [10, 20, 40])
    np.testing.assert_allclose(baselines.by_elapsed(np.array([0.0, 15.0, 30.0, 50.0])), [70 / 3, 15.0, 10.0, 0.0])
    capped = judge.LifeBaselines.fit(truth_of([10, 20, 40], cap=12), 12.0)
    np.testing.assert_allclose(capped.by_elapsed(np.array([0.0])), [(10 + 12 + 12) / 3])


def test_without_whole_runs_there_is_no_elapsed_time_baseline() -> None:
    train = truth_of([10, 20, 40])
    rows = judge.LifeBaselines.fit(train, np.inf, whole_runs=False).rows("train", train)
    assert [row.who for row in rows] == ["constant"]


def test_the_constant_baseline_has_no_r2_on_train() -> None:
    train = truth_of([10, 20, 40])
    rows = {row.who: row for row in judge.LifeBaselines.fit(train, np.inf).rows("train", train)}
    assert rows["constant"].metrics["r2"] == pytest.approx(0.0)
    assert rows["constant"].kind == "baseline"
    assert rows["elapsed time"].metrics["rmse"] < rows["constant"].metrics["rmse"]  # type: ignore[operator]


def test_only_headline_rows_count_for_the_gate() -> None:
    samples = Samples(
        {},
        {"rul": np.array([10.0, 5.0, 8.0, 2.0]), "headline": np.array([False, True, False, True])},
        np.array(["1", "1", "2", "2"]),
        np.full(4, np.nan),
    )
    statistics = PROBLEM.statistics({"value": np.array([0, 7, 0, 2], np.float32)}, samples)
    assert statistics.values == [[4.0, 1.0], [0.0, 1.0]]
    sums = np.array(statistics.values)
    assert PROBLEM.from_sums(sums.sum(axis=0)) == pytest.approx(np.sqrt(2.0))
    assert np.isnan(PROBLEM.from_sums(np.zeros(2)))
    assert get("regression") is PROBLEM
    everything = Samples({}, {"rul": samples.truth["rul"]}, samples.unit, samples.time)
    assert np.array(PROBLEM.statistics({"value": np.zeros(4)}, everything).values)[:, 1].tolist() == [2.0, 2.0]


def test_findings_name_the_gap_the_baseline_and_the_missed_target() -> None:
    truth = truth_of([10, 20])
    exact, wrong = truth.capped, np.zeros_like(truth.capped)
    rows = [
        judge.score_row("model", "model", "train", truth, exact + 0.1),
        judge.score_row("model", "model", "test", truth, wrong),
        judge.score_row("constant", "baseline", "test", truth, exact),
    ]
    found = [f.code for f in judge.findings(judge.evaluation(rows), max_gap=0.5, wanted={"rmse": 1.0, "r2": -99.0})]
    assert found == ["T001", "T006", "T007"]


def test_figures_show_whole_runs() -> None:
    every = truth_of([10, 20, 30, 40, 50, 60])
    last = np.append(every.run[1:] != every.run[:-1], True)
    drawn = judge.figures(every.at(last), np.ones(6), every, every.capped, "cycles")
    assert [f.key for f in drawn] == ["rul_predicted_true", "rul_runs", "rul_errors"]
    assert len(drawn[0].series[1].x) == 6
    assert len(drawn[1].series) == 8
    assert sum(y or 0 for y in drawn[2].series[0].y) == 6
