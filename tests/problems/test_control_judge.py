"""A policy's table, figures and findings beside the rule-based drivers."""

from __future__ import annotations

from typing import Literal

import pytest

from nightshift.problems import control_judge as judge
from nightshift.problems.control_judge import Driven, Episode
from nightshift.problems.evaluation import Evaluation

SUB = {"no_at_fault_collision": 1.0, "comfort": 1.0, "ttc": 1.0}


def drive(scenario: str, traffic: str, score: float, *, collision: float = 0.0, kind: str = "highway") -> Episode:
    return Episode(scenario, kind, traffic, {"collision": collision, "score": score, "progress": score} | SUB)


def driver(
    who: str, idm: tuple[float, float], gipps: tuple[float, float], kind: Literal["model", "baseline"] = "baseline"
) -> Driven:
    pairs = (("idm", idm), ("gipps", gipps))
    return Driven(
        who,
        kind,
        tuple(
            drive(name, traffic, score, kind=of, collision=float(score == 0.0))
            for traffic, scores in pairs
            for name, of, score in zip(("s1", "s2"), ("highway", "merge"), scores, strict=True)
        ),
    )


def judged(model: Driven) -> Evaluation:
    idm = driver(judge.IDM_DRIVER, (0.8, 0.6), (0.8, 0.4))
    return judge.evaluation({"val": [model], "test": [model, idm, driver(judge.CONSTANT_SPEED, (0.1, 0), (0, 0))]})


GOOD = driver("ppo", (0.9, 0.8), (0.9, 0.8), "model")
MIXED = driver("ppo", (1.0, 1.0), (0.9, 0.0), "model")


def test_every_part_has_a_row_over_all_traffic_and_one_of_each() -> None:
    got = judged(MIXED)
    rows = {(r.who, r.part): r.metrics for r in got.rows}
    parts = ("val", "val_idm", "val_gipps", "test", "test_idm", "test_gipps")
    assert [part for who, part in rows if who == "ppo"] == list(parts)
    assert rows["ppo", "test"]["score"] == pytest.approx(2.9 / 4)
    assert rows["ppo", "test_gipps"]["score"] == pytest.approx(0.45)
    assert rows["ppo", "test"]["collision"] == 0.25
    assert rows["ppo", "test"]["episodes"] == 4.0
    assert list(rows["ppo", "test"])[:4] == ["score", "collision", "progress", "comfort"]
    assert got.best_baseline() == (judge.IDM_DRIVER, pytest.approx(0.65))
    assert got.score("test") == pytest.approx(2.9 / 4)


def test_people_are_no_baseline_to_beat() -> None:
    log = Driven(judge.LOG_REPLAY, "reference", GOOD.episodes)
    got = judge.evaluation({"test": [MIXED, driver(judge.IDM_DRIVER, (0.1, 0.1), (0.1, 0.1)), log]})
    assert got.best_baseline() == (judge.IDM_DRIVER, pytest.approx(0.1))


def test_scenarios_are_the_gates_units() -> None:
    statistics = judged(MIXED).statistics
    assert statistics is not None
    assert statistics.units == ["s1", "s2"]
    assert statistics.values == [[pytest.approx(1.9), 2.0], [pytest.approx(1.0), 2.0]]


def found(model: Driven, **wanted: float) -> list[tuple[str, str]]:
    got = judge.findings(judged(model), max_gap=0.5, wanted=wanted, try_next="Train longer.")
    return [(f.code, f"{f.what} {f.remedy}") for f in got]


def test_a_good_policy_leaves_nothing_to_remark() -> None:
    assert found(GOOD, collision=0.05, progress=0.8) == []


def test_missed_figures_are_named_with_what_was_wanted() -> None:
    got = found(MIXED, collision=0.05, progress=0.85)
    assert ("T007", "collision on test is 0.25, wanted 0.05. Train longer.") in got
    assert ("T007", "progress on test is 0.725, wanted 0.85. Train longer.") in got


def test_a_policy_below_the_idm_driver_in_one_traffic_is_told_so() -> None:
    codes = found(MIXED)
    assert [code for code, _ in codes] == ["T006"]
    assert "test_gipps is 0.45, that of 'IDM driver' is 0.6" in codes[0][1]
    # No features, no labels: what helps a policy is the family's to say.
    assert codes[0][1].endswith("Train longer.")


def test_a_policy_below_it_over_all_traffic_is_told_so_too() -> None:
    poor = driver("ppo", (0.7, 0.5), (0.1, 0.1), "model")
    assert [w.split(" is ")[0] for c, w in found(poor)] == ["score on test", "score on test_idm", "score on test_gipps"]
    assert all(word.endswith("Train longer.") for _, word in found(poor))


def test_figures_show_kinds_traffic_parts_and_each_scenario() -> None:
    figures = {f.key: f for f in judged(MIXED).figures}
    assert set(figures) == {"sub_scores", "score_by_kind", "score_by_traffic", "score_by_scenario"}
    by_kind = figures["score_by_kind"].series
    assert [s.label for s in by_kind] == ["ppo", judge.IDM_DRIVER, judge.CONSTANT_SPEED]
    assert by_kind[0].x == ["highway", "merge"]
    assert by_kind[0].y == [pytest.approx(0.95), pytest.approx(0.5)]
    assert "collision" not in figures["sub_scores"].series[0].x
    points = figures["score_by_scenario"].series[1]
    assert list(zip(points.x, points.y, strict=True)) == [(0.8, 1.0), (0.6, 1.0), (0.8, 0.9), (0.4, 0.0)]


def test_one_traffic_model_has_no_rows_of_its_own() -> None:
    one = Driven("ppo", "model", GOOD.within("idm"))
    assert [r.part for r in one.rows("test")] == ["test"]


def test_the_report_knows_which_way_measures_go() -> None:
    from nightshift.tracking.results import higher_is_better

    got = judged(GOOD)
    assert [higher_is_better(got, m) for m in ("score", "collision", "progress", "ttc")] == [True, False, True, True]
