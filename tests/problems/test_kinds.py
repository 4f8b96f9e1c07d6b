"""Many kinds are judged kind by kind, against scikit-learn; the binary sums stay what they were."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.problems import kinds_judge as judge
from nightshift.problems.classification import PROBLEM, kind_metrics
from nightshift.problems.problem import Samples

CLASSES = ("calm", "normal", "aggressive")


def made(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    probability = rng.dirichlet(np.ones(3), n) + 0.7 * np.eye(3)[kind]
    probability /= probability.sum(axis=1, keepdims=True)
    return kind, probability, probability.argmax(axis=1)


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn import metrics as sk

    kind, probability, said = made()
    got = kind_metrics(kind, probability, said, CLASSES)
    assert got["macro_f1"] == pytest.approx(sk.f1_score(kind, said, average="macro"))
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(kind, said))
    assert got["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(kind, said))
    assert got["log_loss"] == pytest.approx(sk.log_loss(kind, probability))
    for measure, score in (("f1", sk.f1_score), ("recall", sk.recall_score), ("precision", sk.precision_score)):
        each = score(kind, said, average=None)
        assert [got[f"{measure}_{name}"] for name in CLASSES] == pytest.approx(list(each)), measure


def test_a_kind_that_is_not_there_counts_neither_way() -> None:
    kind, said = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])
    got = kind_metrics(kind, np.eye(3)[said], said, CLASSES)
    assert got["f1_aggressive"] is None
    assert got["recall_aggressive"] is None
    assert got["precision_aggressive"] == 0.0
    assert got["macro_f1"] == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert got["balanced_accuracy"] == pytest.approx(0.5)


def test_the_sums_per_trip_give_the_macro_f1_of_all_windows() -> None:
    kind, probability, said = made(300, 1)
    unit = np.repeat(["b", "a", "c"], 100)
    samples = Samples({}, {"kind": kind}, unit, np.full(300, np.nan))
    found = PROBLEM.statistics({"probability": probability, "label": said}, samples)
    assert found.units == ["a", "b", "c"]
    assert found.positives == min(np.bincount(kind))
    sums = np.array(found.values)
    want = kind_metrics(kind, probability, said, CLASSES)["macro_f1"]
    assert PROBLEM.from_sums(sums.sum(axis=0)) == pytest.approx(want)
    resampled = PROBLEM.from_sums(np.array([[1, 1, 1], [3, 0, 0], [0, 0, 0]]) @ sums)
    assert resampled[0] == pytest.approx(want)
    a = unit == "a"
    assert resampled[1] == pytest.approx(kind_metrics(kind[a], probability[a], said[a], CLASSES)["macro_f1"])
    assert np.isnan(resampled[2])


def test_a_kind_that_the_model_does_not_know_counts_against_what_it_said() -> None:
    samples = Samples({}, {"kind": np.array([0, 1, -1])}, np.array(["a"] * 3), np.full(3, np.nan))
    outputs = {"probability": np.eye(2)[[0, 1, 1]], "label": np.array([0, 1, 1])}
    [row] = PROBLEM.statistics(outputs, samples).values
    assert row == [1, 1, 1, 1, 2, 1]
    assert PROBLEM.from_sums(np.array(row)) == pytest.approx((1 + 2 / 3) / 2)


def test_one_rule_finds_the_feature_that_tells_most_and_reads_a_missing_value() -> None:
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 600)
    features = rng.normal(size=(600, 4)).astype(np.float32)
    features[:, 2] = kind + rng.normal(0, 0.2, 600)
    features[kind == 1, 1] = np.nan  # says one kind for certain, and nothing of the others
    rule = judge.OneRule.fit(features, kind, 3)
    assert rule.feature == 2
    assert np.mean(rule.answers(features).predicted == kind) > 0.95
    gaps = features.copy()
    gaps[:, 2] = np.nan
    assert len(set(rule.answers(gaps).predicted.tolist())) == 1
    assert judge.OneRule.fit(np.full((600, 1), np.nan, np.float32), kind, 3).edges.size == 0


def test_remarkable_figures_become_findings() -> None:
    kind, probability, _ = made(400, 3)
    poor = np.zeros_like(kind)
    rows = [
        judge.Judged("model", "model", probability, kind).row("train", kind, CLASSES),
        judge.Judged("model", "model", probability, poor).row("test", kind, CLASSES),
        judge.majority(np.array([0.5, 0.3, 0.2]), len(kind)).row("test", kind, CLASSES),
    ]
    counts = {"train": np.array([95, 100, 5]), "val": np.array([1, 1, 0]), "test": np.array([1, 1, 1])}
    wanted = {"accuracy": 0.9, "recall_calm": 0.9, "log_loss": 9.0}
    found = judge.findings(
        judge.evaluation(rows), max_gap=0.2, wanted=wanted, counts=counts, classes=CLASSES, try_next="Train longer."
    )
    said_of = {f.code: f for f in found}
    assert sorted(said_of) == ["T001", "T002", "T003", "T006", "T007", "T018"]
    assert [f.what.split()[0] for f in found if f.code == "T007"] == ["accuracy"]
    assert said_of["T007"].remedy == "Train longer."
    assert said_of["T018"].what == (
        "The val part has no window of: aggressive. Trips of train stopped training early in its place."
    )
    assert said_of["T003"].what.endswith(": aggressive.")


def test_figures_hold_every_kind_and_answer() -> None:
    kind, probability, said = made(200, 4)
    answers = [judge.Judged("model", "model", probability, said), judge.majority(np.array([0.5, 0.3, 0.2]), 200)]
    drawn = {f.key: f for f in judge.figures(kind, answers, CLASSES)}
    assert sorted(drawn) == ["calibration", "confusion", "f1_by_kind"]
    assert drawn["confusion"].ticks == list(CLASSES)
    assert np.array(drawn["confusion"].cells).sum() == 200
    assert np.trace(np.array(drawn["confusion"].cells)) == (kind == said).sum()
    assert [s.label for s in drawn["f1_by_kind"].series] == ["model", "majority kind"]
    # A square for each pair of hundreds takes minutes, and shows nothing.
    wide = judge.Judged("model", "model", np.pad(probability, ((0, 0), (0, 97))), said)
    assert [f.key for f in judge.figures(kind, [wide], [str(n) for n in range(100)])] == ["calibration"]
