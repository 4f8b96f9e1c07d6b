"""Anomaly metrics: counted by hand on small timelines, and held against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from nightshift.problems.anomaly import PROBLEM, Onsets, Timeline, kind_metrics, metrics, pr_auc
from nightshift.problems.anomaly_judge import (
    Answers,
    ThresholdRule,
    constant,
    evaluation,
    figures,
    findings,
    score_rows,
)
from nightshift.problems.problem import Samples, get

DAY_S = 86_400.0


def timeline(label: list[int], run: list[int] | None = None, step_s: float = 3_600.0) -> Timeline:
    n = len(label)
    return Timeline(
        np.array(label), np.array(run) if run else np.zeros(n, dtype=np.int64), np.arange(n, dtype=float) * step_s
    )


def votes(*fired: int) -> NDArray[np.int64]:
    return np.array(fired, dtype=np.int64)


def test_counts_rows_events_and_false_alarms() -> None:
    truth = timeline([0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0], step_s=7_200.0)
    said = votes(0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0)
    found = metrics(truth, said, said.astype(float))
    assert found["precision"] == pytest.approx(1 / 3)
    assert found["recall"] == pytest.approx(1 / 5)
    assert found["f1"] == pytest.approx(2 / 8)
    assert found["fpr"] == pytest.approx(2 / 7)
    assert found["event_recall"] == 0.5
    assert found["false_alarms_per_day"] == pytest.approx(2.0)  # two alarms over 12 rows of two hours
    assert found["false_alarms_per_1000_rows"] == pytest.approx(2 / 12 * 1000)


def test_alarms_within_an_hour_are_one_and_touching_an_event_is_not_false() -> None:
    truth = timeline([0, 0, 0, 0, 0, 0, 0, 1, 0, 0], step_s=1_200.0)
    assert len(truth.alarms(votes(1, 0, 0, 1, 0, 0, 0, 0, 0, 0))) == 1
    assert len(truth.alarms(votes(1, 0, 0, 0, 1, 0, 0, 0, 0, 0))) == 2
    found = metrics(truth, votes(0, 0, 0, 0, 0, 0, 0, 1, 1, 1), np.zeros(10))
    assert found["false_alarms_per_day"] == 0.0


def test_events_and_alarms_never_cross_runs() -> None:
    truth = timeline([0, 1, 1, 1, 1, 0], run=[0, 0, 0, 1, 1, 1], step_s=60.0)
    assert truth.events() == [(1, 3), (3, 5)]
    assert truth.alarms(votes(0, 1, 1, 1, 0, 0)) == [(1, 3), (3, 4)]


def test_without_a_clock_false_alarms_are_per_thousand_rows_only() -> None:
    truth = Timeline(np.array([0, 0, 1]), np.zeros(3, dtype=np.int64), np.full(3, np.nan))
    found = metrics(truth, votes(1, 0, 1), np.arange(3.0))
    assert found["false_alarms_per_day"] is None
    assert found["false_alarms_per_1000_rows"] == pytest.approx(1000 / 3)


def test_undefined_metrics_are_none() -> None:
    found = metrics(timeline([0, 0, 0]), votes(0, 0, 0), np.zeros(3))
    assert {found[k] for k in ("precision", "recall", "f1", "pr_auc", "event_recall")} == {None}
    assert metrics(timeline([]), votes(), np.zeros(0))["f1"] is None


@pytest.mark.parametrize("digits", [1, 6])
def test_pr_auc_is_average_precision_also_with_ties(digits: int) -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.2).astype(np.int64)
    strength = np.round(rng.normal(size=400) + label, digits)
    assert pr_auc(label, strength) == pytest.approx(average_precision_score(label, strength))


def test_sums_give_the_same_f1_as_the_rows() -> None:
    rng = np.random.default_rng(1)
    label, vote = rng.integers(0, 2, (2, 300))
    samples = Samples({}, {"label": label}, rng.integers(0, 7, 300).astype(str), np.zeros(300))
    statistics = get("anomaly").statistics({"vote": vote}, samples)
    sums = np.array(statistics.values).sum(axis=0)
    assert PROBLEM.from_sums(sums) == pytest.approx(f1_score(label, vote))
    assert statistics.positives == label.sum()
    assert statistics.runs == 7
    assert np.isnan(PROBLEM.from_sums(np.array([[0.0, 3.0, 0.0, 5.0]]))).all()


def test_threshold_rule_takes_declared_alarms_before_quantiles() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5_000, 3)).astype(np.float32)
    looked_at = np.array([True, True, False])
    none = np.full((3, 2), np.nan)
    learned = ThresholdRule.fit(rows, none, looked_at, 0.04)
    assert learned.answers(rows).vote.mean() == pytest.approx(0.04, abs=0.01)
    assert np.isinf(learned.upper[2])
    declared = none.copy()
    declared[0, 1] = 2.5
    rule = ThresholdRule.fit(rows, declared, looked_at, 0.04)
    np.testing.assert_array_equal(rule.answers(rows).vote, rows[:, 0] > 2.5)
    assert rule.answers(np.full((1, 3), np.nan, dtype=np.float32)).vote.tolist() == [0]


def test_a_confident_loser_is_remarked_on() -> None:
    truth = timeline([0, 0, 1, 1, 0, 1])
    poor = Answers("vote", "model", votes(1, 1, 0, 0, 1, 1), np.array([1.0, 1, 0, 0, 1, 1]))
    rule = Answers("threshold rule", "baseline", truth.label, truth.label.astype(float))
    rows = [*score_rows("train", truth, [rule]), *score_rows("test", truth, [poor, rule, constant(6)])]
    judged = evaluation(rows)
    codes = {f.code for f in findings(judged, 0.25, {"event_recall": 1.1}, "labels given", None)}
    assert codes == {"T002", "T006", "T007"}
    injected = findings(judged, 0.25, {}, "injected", np.array(["", "spike", "lag"]))
    assert "lag, spike" in next(f.what for f in injected if f.code == "T010")


def test_pictures_show_events_votes_and_kinds() -> None:
    rng = np.random.default_rng(3)
    label = np.zeros(9_000, dtype=np.int64)
    label[1_000:1_020] = label[5_000:5_030] = 1
    kind = np.where(label == 1, "drift", "")
    kind[5_000:5_030] = "lag"
    strength = rng.normal(size=9_000)
    strength[1_005], vote = 50.0, np.zeros(9_000, dtype=np.int64)
    vote[1_005] = 1
    truth = Timeline(label, np.zeros(9_000, dtype=np.int64), np.arange(0.0, 600.0 * 9_000, 600.0))
    drawn = {f.key: f for f in figures(truth, [Answers("vote", "model", vote, strength)], kind)}
    assert set(drawn) == {"anomaly_timeline", "confusion", "precision_recall", "recall_by_kind"}
    line = next(s for s in drawn["anomaly_timeline"].series if s.style == "line")
    assert len(line.x) <= 2_000
    assert max(v for v in line.y if v is not None) == 50.0
    assert drawn["confusion"].cells == [[8_950.0, 0.0], [49.0, 1.0]]
    assert drawn["recall_by_kind"].series[0].y == [1.0, 0.0]
    recall, _, _ = (np.asarray(v) for v in precision_recall_curve(label, strength))
    assert recall.max() == drawn["precision_recall"].series[0].x[-1]


def test_recall_by_kind_and_the_delay_until_an_event_is_met() -> None:
    label = np.array([0, 1, 1, 1, 0, 1, 1, 0, 1, 0])
    kind = np.array(["", "dos", "dos", "dos", "", "fuzzy", "fuzzy", "", "dos", ""])
    vote = np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 0])
    lines = timeline(label.tolist(), step_s=2.0)
    found = kind_metrics(lines, vote, kind)
    assert found["recall_dos"] == pytest.approx(1 / 4)
    assert found["recall_fuzzy"] == pytest.approx(1 / 2)
    assert found["detection_delay_rows"] == pytest.approx(1.0)  # two rows, and none; the third event is missed
    assert found["detection_delay_s"] == pytest.approx(2.0)
    never = kind_metrics(lines, np.zeros(10, np.int64), kind)
    assert never["detection_delay_s"] is None
    assert never["recall_dos"] == 0.0
    unclocked = Timeline(label, np.zeros(10, np.int64), np.full(10, np.nan))
    assert kind_metrics(unclocked, vote, kind)["detection_delay_s"] is None


def test_the_delay_of_windows_counts_from_the_first_odd_row_and_not_from_the_first_window() -> None:
    """Windows that end every 30 s; it begins 12 s before the first of them ends, and the second is voted odd."""
    end = np.array([59, 89, 119, 149])
    lines = Timeline(np.array([0, 1, 1, 0]), np.zeros(4, np.int64), end.astype(float))
    first = np.array([59, 77, 77, 149])
    kind, vote = np.array(["", "dos", "dos", ""]), np.array([0, 0, 1, 0])
    found = kind_metrics(lines, vote, kind, Onsets(end, first, first.astype(float)))
    assert found["detection_delay_s"] == found["detection_delay_rows"] == 119 - 77
    [row] = score_rows("val", lines, [Answers("vote", "model", vote, vote * 1.0)], kind, Onsets(end, first, first / 1))
    assert row.metrics["detection_delay_s"] == 42


def drawn_line(run: list[int], time_s: list[float]) -> tuple[str, list[float | str], list[float | None]]:
    truth = Timeline(np.array([0, 1] * (len(run) // 2)), np.array(run), np.array(time_s))
    strength = np.arange(len(run), dtype=np.float64)
    drawn = figures(truth, [Answers("vote", "model", truth.label, strength)], None)[0]
    line = next(s for s in drawn.series if s.style == "line")
    return drawn.x_label, line.x, line.y


def test_the_line_over_time_ends_with_its_run_and_trips_beside_each_other_are_drawn_by_row() -> None:
    label, x, y = drawn_line([0, 0, 1, 1], [0, 60, 9_000, 9_060])
    assert label == "time (UTC)"
    assert x == [0, 60, 60, 9_000, 9_060]
    assert y == [0, 1, None, 2, 3]
    label, x, y = drawn_line([0, 0, 1, 1], [0, 60, 30, 90])
    assert label == "row, run after run"
    assert x == y == [0, 1, 2, 3]
    # No more points for being cut, and a run for every few rows is drawn by row.
    many = np.arange(6_000)
    assert len(drawn_line((many // 600).tolist(), many.tolist())[1]) <= 2_000
    assert drawn_line((many // 6).tolist(), many.tolist())[0] == "row, run after run"


def test_where_all_is_normal_f1_is_undefined_and_said_to_be() -> None:
    answer = constant(20)
    rows = score_rows("test", timeline([0] * 20), [answer], np.full(20, ""))
    assert rows[0].metrics["f1"] is None
    found = findings(evaluation(rows), 0.5, {}, "attacks", np.full(20, ""), injected=False)
    assert [f.code for f in found] == ["T017"]
