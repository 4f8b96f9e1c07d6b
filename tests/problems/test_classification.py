"""Classifier metrics against scikit-learn, and thresholds that keep their promise."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.errors import DataError
from nightshift.problems import classification_judge as judge
from nightshift.problems.classification import PROBLEM, choose_threshold, metrics, roc_auc
from nightshift.problems.problem import Samples, get


def made(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.3).astype(np.int64)
    probability = np.clip(0.3 + 0.25 * label + rng.normal(0, 0.2, n), 0, 1)
    return label, np.round(probability, 2)  # ties


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn import metrics as sk

    label, probability = made()
    predicted = (probability >= 0.5).astype(np.int64)
    got = metrics(label, probability, predicted)
    want = {
        "accuracy": sk.accuracy_score(label, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(label, predicted),
        "precision": sk.precision_score(label, predicted),
        "recall": sk.recall_score(label, predicted),
        "f1": sk.f1_score(label, predicted),
        "roc_auc": sk.roc_auc_score(label, probability),
        "pr_auc": sk.average_precision_score(label, probability),
        "brier": sk.brier_score_loss(label, probability),
    }
    for name, value in want.items():
        assert got[name] == pytest.approx(value, abs=1e-12), name


def test_one_class_leaves_rankings_undefined_instead_of_wrong() -> None:
    got = metrics(np.zeros(5, np.int64), np.full(5, 0.2), np.zeros(5, np.int64))
    assert got["roc_auc"] is None
    assert got["pr_auc"] is None
    assert got["f1"] is None
    assert got["accuracy"] == 1.0
    assert roc_auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5


def test_a_perfectly_calibrated_answer_has_no_calibration_error() -> None:
    label = np.array([0, 0, 0, 1] * 10)
    assert metrics(label, np.full(40, 0.25), label)["calibration_error"] == pytest.approx(0.0)
    assert metrics(label, np.full(40, 0.75), label)["calibration_error"] == pytest.approx(0.5)


def test_best_f1_is_not_beaten_by_any_other_threshold() -> None:
    from sklearn.metrics import f1_score

    label, probability = made(300, 1)
    chosen = choose_threshold(label, probability.astype(np.float32), "best_f1", 0.0)
    own = f1_score(label, probability >= chosen)
    assert own == pytest.approx(max(f1_score(label, probability >= t) for t in np.linspace(0.001, 1, 997)))
    assert not np.isin(np.float32(chosen), probability.astype(np.float32))


@pytest.mark.parametrize("budget", [0.0, 0.02, 0.1, 1.0])
def test_the_false_alarm_budget_is_kept_on_the_rows_it_was_chosen_by(budget: float) -> None:
    label, probability = made(400, 2)
    chosen = choose_threshold(label, probability.astype(np.float32), "false_alarm_budget", budget)
    assert np.mean(probability[label == 0] >= chosen) <= budget
    if budget == 1.0:
        assert chosen == choose_threshold(label, probability.astype(np.float32), "best_f1", 0.0)


def test_a_threshold_needs_a_failing_row() -> None:
    with pytest.raises(DataError, match="no failing row"):
        choose_threshold(np.zeros(4, np.int64), np.linspace(0, 1, 4, dtype=np.float32), "best_f1", 0.1)


def test_the_sums_per_run_give_the_f1_of_all_rows() -> None:
    label, probability = made(200, 3)
    predicted = (probability >= 0.5).astype(np.int64)
    unit = np.repeat(["b", "a", "c", "d"], 50)
    samples = Samples({}, {"label": label}, unit, np.full(200, np.nan))
    statistics = PROBLEM.statistics({"label": predicted}, samples)
    assert statistics.units == ["a", "b", "c", "d"]
    assert statistics.positives == label.sum()
    sums = np.array(statistics.values)
    assert PROBLEM.from_sums(sums.sum(axis=0)) == pytest.approx(metrics(label, probability, predicted)["f1"])
    assert np.isnan(PROBLEM.from_sums(np.zeros((1, 4)))).all()
    assert get("classification") is PROBLEM


def test_the_best_single_threshold_finds_the_column_and_the_side() -> None:
    rng = np.random.default_rng(4)
    label = (rng.random(400) < 0.2).astype(np.int64)
    rows = rng.normal(size=(400, 3)).astype(np.float32)
    rows[:, 1] = np.where(label == 1, -5.0, 0.0) + rng.normal(0, 0.1, 400)
    rows[::7, 1] = np.nan
    rule = judge.best_single_threshold(rows, label)
    assert np.isfinite(rule.below).tolist() == [False, True, False]
    assert not np.isfinite(rule.above).any()
    answered = rule.answers(rows)
    there = np.isfinite(rows[:, 1])
    np.testing.assert_array_equal(answered.predicted[there], label[there])
    assert not answered.predicted[~there].any()


def test_rules_without_a_limit_are_none_and_majority_says_the_frequent_class() -> None:
    assert judge.alarm_rule(np.full((2, 2), np.nan)) is None
    rule = judge.alarm_rule(np.array([[np.nan, 5.0], [1.0, np.nan]]))
    assert rule is not None
    np.testing.assert_array_equal(rule.answers(np.array([[6, 2], [5, 1], [0, 0.5]], np.float32)).predicted, [1, 0, 1])
    assert judge.majority(0.2, 3).predicted.tolist() == [0, 0, 0]
    assert judge.majority(0.7, 2).predicted.tolist() == [1, 1]


def test_remarkable_figures_become_findings() -> None:
    label, probability = made(400, 5)
    good, bad = label.copy(), np.zeros_like(label)
    rows = [
        judge.Judged("model", "model", probability, good).row("train", label),
        judge.Judged("model", "model", probability, bad).row("test", label),
        judge.majority(0.3, len(label)).row("test", label),
    ]
    judged = judge.evaluation(rows)
    found = {
        f.code: f
        for f in judge.findings(
            judged, max_gap=0.2, wanted={"f1": 0.8, "brier": 1.0}, source="thresholds", threshold=0.4
        )
    }
    assert sorted(found) == ["T001", "T002", "T005", "T006", "T007"]
    assert "threshold 0.4" in found["T002"].what
    assert "30" in found["T002"].what or "%" in found["T002"].what
    assert "sensor thresholds" in found["T002"].what


def test_a_rare_class_and_nothing_else_is_one_finding() -> None:
    label = np.array([1] * 5 + [0] * 195)
    rows = [judge.Judged("model", "model", label * 0.9, label).row(part, label) for part in ("train", "test")]
    found = list(judge.findings(judge.evaluation(rows), max_gap=0.2, wanted={"f1": 0.8}, source="given", threshold=0.5))
    assert [f.code for f in found] == ["T003"]


def test_figures_can_be_stored_and_hold_every_answer() -> None:
    label, probability = made(300, 6)
    answers = [
        judge.Judged("model", "model", probability, (probability > 0.5).astype(np.int64)),
        judge.majority(0.3, 300),
    ]
    drawn = judge.figures(label, answers)
    assert [f.key for f in drawn] == ["confusion", "roc", "precision_recall", "calibration"]
    assert sum(map(sum, drawn[0].cells or [])) == 300
    assert [s.label for s in drawn[1].series] == ["model", "majority class"]
    assert drawn[1].series[0].x[0] == 0.0
    assert drawn[1].series[0].y[-1] == 1.0
    assert [f.key for f in judge.figures(np.zeros(3, np.int64), [judge.majority(0.0, 3)])] == ["confusion"]
