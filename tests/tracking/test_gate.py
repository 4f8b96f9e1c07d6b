"""The gate: what promotes a challenger, and each thing that does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nightshift.edge.manifest import BundleManifest, Column, DeviceCheck, Footprint, Latency, Parity
from nightshift.family import Limits
from nightshift.findings import finding
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, ScoreRow, UnitStatistics
from nightshift.problems.problem import Samples
from nightshift.tracking.gate import Champion, Comparison, GateInput, decide, paired_bound
from tests.tracking.cells import a_cell, a_manifest

RUNS = [f"run {i}" for i in range(40)]


class RmseProblem:
    """Root mean square error from (sum of squares, rows)."""

    name = "regression"
    primary = "rmse"
    higher_is_better = False
    min_positives = 0

    def statistics(self, outputs: Mapping[str, NDArray[Any]], samples: Samples) -> UnitStatistics:
        raise AssertionError("the gate is given statistics")

    def from_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sqrt(sums[..., 0] / sums[..., 1])


def counts(hits: int, misses: int, false_alarms: int = 1, units: list[str] | None = None) -> UnitStatistics:
    """TP, FP, FN, TN of the anomaly problem, the same in every run."""
    units = units or RUNS
    positives = (hits + misses) * len(units)
    rows = [[float(hits), float(false_alarms), float(misses), 50.0]] * len(units)
    return UnitStatistics(units=units, values=rows, positives=positives, runs=len(units))


def squares(error: float, units: list[str] | None = None, spread: float = 0.0) -> UnitStatistics:
    units = units or RUNS
    rng = np.random.default_rng(3)
    errors = error + spread * rng.standard_normal(len(units))
    return UnitStatistics(units=units, values=[[float(e * e * 10), 10.0] for e in errors], runs=len(units))


def evaluation(own: float | None = 0.9, baseline: float | None = 0.5, **change: Any) -> Evaluation:
    rows = [ScoreRow(who="vote", kind="model", part="test", metrics={"f1": own})]
    if baseline is not None:
        rows.append(ScoreRow(who="threshold rule", kind="baseline", part="test", metrics={"f1": baseline}))
    given = {"problem": "anomaly", "primary": "f1", "higher_is_better": True, "statistics": counts(9, 1), **change}
    return Evaluation(rows=rows, **given)


def manifest(**change: Any) -> BundleManifest:
    return a_manifest(a_cell("anomaly")).model_copy(update={"problem": "anomaly", "label_source": "given", **change})


def given(**change: Any) -> GateInput:
    whole = GateInput(
        problem=problems.get("anomaly"),
        manifest=manifest(),
        evaluation=evaluation(),
        limits=Limits(size_mb=50, latency_ms=10, memory_mb=100),
        margin=0.02,
    )
    return replace(whole, **change)


def check(p99_ms: float = 2.0, memory_mb: float = 80.0, flips: int = 0, **change: Any) -> DeviceCheck:
    """What a board has found."""
    found = DeviceCheck(
        bundle_id="b" * 64,
        device="pi-5",
        architecture="aarch64",
        board="Raspberry Pi 5 Model B",
        onnxruntime="1.22.1",
        parity=Parity(rows=256, max_abs={"score": 0.5 * flips}, tolerance={"score": 1e-6}, flips=flips, ok=not flips),
        latency=Latency(p50_ms=1, p99_ms=p99_ms, runs=300),
        footprint=Footprint(memory_mb=memory_mb, start_s=0.9),
        checked_at="2026-01-01T00:00:00Z",
    )
    return found.model_copy(update=change)


def champion(challenger: UnitStatistics, present: UnitStatistics, **change: Any) -> Champion:
    return replace(Champion(3, manifest().interface, comparison=Comparison(challenger, present)), **change)


def codes(asked: GateInput) -> list[str]:
    decision = decide(asked)
    assert not decision.promote
    assert decision.reasons
    return [f.code for f in decision.findings]


def test_the_first_good_model_becomes_champion() -> None:
    decision = decide(given())
    assert decision.promote
    assert "beats baseline threshold rule" in decision.reasons[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"findings": (finding("E001", "the graph is not the model"),)}, "blocker E001"),
        ({"manifest": manifest(size_bytes=60_000_000)}, "size 60.0 MB"),
        ({"manifest": manifest(latency=Latency(p50_ms=1, p99_ms=12, runs=300))}, "latency p99 12.0 ms"),
        ({"manifest": manifest(footprint=Footprint(memory_mb=140.2, start_s=1))}, "memory 140 MB is above the"),
        ({"device": check(p99_ms=30)}, "latency p99 30.0 ms on pi-5 is above the target's 10 ms"),
        ({"device": check(memory_mb=788)}, "memory 788 MB on pi-5 is above the target's 100 MB"),
        ({"device": check(flips=3)}, "on pi-5 the graph is not the model: 3 of 256 rows are labelled otherwise; score"),
        ({"manifest": manifest(parity=Parity(rows=9, max_abs={}, tolerance={}, flips=2, ok=False))}, "2 flips"),
    ],
)
def test_a_fault_that_has_its_own_finding_stops_it(change: dict[str, Any], reason: str) -> None:
    decision = decide(given(**change))
    assert not decision.promote
    assert any(reason in line for line in decision.reasons)
    assert decision.findings == ()


def test_what_the_device_measured_counts_and_not_the_exporting_machine() -> None:
    slow_here = manifest(latency=Latency(p50_ms=1, p99_ms=12, runs=300))
    decision = decide(given(manifest=slow_here, device=check()))
    assert decision.promote
    assert decision.reasons[0].endswith("; checked on pi-5 (Raspberry Pi 5 Model B)")
    stand_in = check(board="", device="desk", stand_in="x86_64 in place of aarch64")
    assert "checked on desk, a stand-in: x86_64 in place of aarch64" in decide(given(device=stand_in)).reasons[0]


def test_a_target_that_wants_its_devices_word_waits_for_it_and_for_nothing_else() -> None:
    slow_here = manifest(latency=Latency(p50_ms=1, p99_ms=12, runs=300))
    decision = decide(given(manifest=slow_here, awaits_device=True))
    assert (decision.promote, decision.awaiting) == (False, True)
    assert decision.reasons == ("awaiting its device check",)
    assert [f.code for f in decision.findings] == ["G005"]
    assert decide(given(manifest=slow_here, awaits_device=True, device=check())).promote
    worse = decide(given(evaluation=evaluation(0.5, 0.5), awaits_device=True))
    assert (worse.awaiting, [f.code for f in worse.findings]) == (False, ["G001"])


@pytest.mark.parametrize(
    ("judged", "code"),
    [
        (evaluation(0.5, 0.5), "G001"),
        (evaluation(0.3, 0.5), "G001"),
        (evaluation(None, 0.5), "G003"),
        (evaluation(0.9, None), "G003"),
        (evaluation(statistics=None), "G003"),
        (evaluation(statistics=counts(9, 1, units=RUNS[:4])), "G003"),
        (evaluation(statistics=counts(0, 1, units=RUNS[:29])), "G003"),
    ],
    ids=["as good", "worse", "undefined", "no baseline", "no statistics", "4 runs", "29 positives"],
)
def test_too_weak_or_too_little_is_not_promoted(judged: Evaluation, code: str) -> None:
    assert codes(given(evaluation=judged)) == [code]


def test_enough_is_exactly_five_runs_and_the_problems_own_number_of_positives() -> None:
    needed = problems.get("anomaly").min_positives
    assert decide(given(evaluation=evaluation(statistics=counts(needed, 0, units=RUNS[:5])))).promote
    few = counts(0, 1, units=RUNS[:needed])
    assert decide(given(evaluation=evaluation(statistics=few))).promote


@pytest.mark.parametrize(
    ("primary", "window_rows", "counted"),
    [
        ("f1", 30, "positive rows"),
        ("macro_f1", 30, "windows of its rarest kind"),
        ("macro_f1", 1, "rows of its rarest kind"),
    ],
)
def test_of_many_kinds_the_rarest_one_is_counted(primary: str, window_rows: int, counted: str) -> None:
    judged = evaluation(statistics=counts(0, 1, units=RUNS[:29])).model_copy(update={"primary": primary})
    plain = manifest()
    made = plain.model_copy(update={"interface": plain.interface.model_copy(update={"window_rows": window_rows})})
    reasons = decide(given(evaluation=judged, manifest=made)).reasons
    assert any(f"{counted}, fewer than 30" in reason for reason in reasons), reasons


def test_labels_made_from_thresholds_leave_the_choice_to_a_person() -> None:
    made = manifest(label_source="thresholds")
    assert codes(given(manifest=made)) == ["G003"]
    rmse = evaluation(0.3, 0.5, problem="regression", primary="f1", higher_is_better=False, statistics=squares(0.3))
    assert decide(given(manifest=made, problem=RmseProblem(), evaluation=rmse)).promote


def test_a_challenger_as_good_as_the_champion_takes_its_place() -> None:
    decision = decide(given(champion=champion(counts(9, 1), counts(9, 1))))
    assert decision.promote
    assert decision.difference == 0
    assert "not worse than champion v3" in decision.reasons[0]


def test_a_worse_challenger_is_refused_with_the_figures() -> None:
    decision = decide(given(champion=champion(counts(7, 3), counts(9, 1))))
    assert [f.code for f in decision.findings] == ["G002"]
    assert decision.difference is not None
    assert decision.difference < -0.05
    assert decision.bound is not None
    assert decision.bound <= decision.difference


def test_a_little_worse_within_the_margin_passes_and_beyond_it_does_not() -> None:
    against = champion(counts(90, 10), counts(91, 9))
    assert decide(given(champion=against, margin=0.02)).promote
    assert codes(given(champion=against, margin=0.001)) == ["G002"]


def test_the_margin_of_an_error_is_a_share_of_the_champions_own() -> None:
    judged = evaluation(10.1, 40, problem="regression", higher_is_better=False, statistics=squares(10.1))
    asked = given(problem=RmseProblem(), evaluation=judged, champion=champion(squares(10.1), squares(10.0)))
    assert decide(replace(asked, margin=0.02)).promote
    assert codes(replace(asked, margin=0.005)) == ["G002"]
    assert decide(replace(asked, margin=0.02)).margin == pytest.approx(0.2)


def test_a_difference_that_varies_from_run_to_run_is_judged_by_its_lower_end() -> None:
    steady, shaky = squares(10.0), squares(10.0, spread=3.0)
    judged = evaluation(10.0, 40, problem="regression", higher_is_better=False, statistics=shaky)
    asked = given(problem=RmseProblem(), evaluation=judged, champion=champion(shaky, steady), margin=0.02)
    decision = decide(asked)
    assert not decision.promote
    assert decision.bound is not None
    assert decision.difference is not None
    assert decision.bound < decision.difference - 0.2


def test_the_bound_covers_the_truth_about_nine_times_in_ten() -> None:
    """Draws two models of equal error many times: the lower bound must lie below 0 in about 90 % of them."""
    rng = np.random.default_rng(11)
    below = 0
    for _ in range(300):
        both = rng.normal(0, 1, (60, 2)) ** 2
        sides = [UnitStatistics(units=RUNS, values=[[float(v), 1.0] for v in both[:, i]], runs=60) for i in (0, 1)]
        _, bound = paired_bound(RmseProblem(), Comparison(*sides), draws=300)
        below += bound is not None and bound < 0
    assert 0.84 <= below / 300 <= 0.95


def test_two_calls_say_the_same() -> None:
    asked = given(champion=champion(counts(9, 1), counts(8, 2)))
    assert decide(asked) == decide(asked)


@pytest.mark.parametrize(
    ("interface", "named"),
    [
        ({"columns": (Column(name="temperature_c", unit="K"),)}, "columns"),
        ({"columns": (Column(name="other", unit="degC"),)}, "columns"),
        ({"window_rows": 60}, "window_rows"),
        ({"uses_time": True}, "uses_time"),
        ({"outputs": ()}, "outputs"),
    ],
)
def test_changed_inputs_wait_for_a_person(interface: dict[str, Any], named: str) -> None:
    other = manifest().interface.model_copy(update=interface)
    decision = decide(given(champion=champion(counts(9, 1), counts(5, 5), interface=other)))
    assert [f.code for f in decision.findings] == ["G004"]
    assert named in decision.reasons[0]


def test_new_limits_or_thresholds_are_no_changed_inputs() -> None:
    column = Column(name="temperature_c", unit="degC", minimum=-40)
    other = manifest().interface.model_copy(update={"columns": (column,), "thresholds": {"vote": 2.0}})
    assert decide(given(champion=champion(counts(9, 1), counts(9, 1), interface=other))).promote


def test_a_champion_that_cannot_be_compared_stays() -> None:
    missing = champion(counts(9, 1), counts(9, 1), comparison=None, why_not="its bundle is gone")
    decision = decide(given(champion=missing))
    assert [f.code for f in decision.findings] == ["G003"]
    assert "its bundle is gone" in decision.reasons[0]
    assert codes(given(champion=champion(counts(9, 1), counts(9, 1, units=RUNS[::-1])))) == ["G003"]
    assert codes(given(champion=champion(counts(9, 1, units=RUNS[:3]), counts(9, 1, units=RUNS[:3])))) == ["G003"]


def test_a_metric_that_is_undefined_in_the_comparison_is_not_read_as_zero() -> None:
    nothing = counts(0, 0, 0)
    assert codes(given(champion=champion(nothing, nothing))) == ["G003", "G003"]


@pytest.mark.parametrize(
    ("dropped", "members", "was_cut", "promoted"),
    [
        (("CatBoost",), ("LightGBM_BAG_L1", "CatBoost_BAG_L1"), False, False),
        (("CatBoost",), ("LightGBM",), False, True),
        ((), ("LightGBM",), False, False),
        ((), ("LightGBM",), True, True),
    ],
    ids=["the champion has it", "the champion lacks it", "unnamed", "unnamed, and the champion's were cut too"],
)
def test_members_cut_by_the_time_limit(
    dropped: tuple[str, ...], members: tuple[str, ...], was_cut: bool, promoted: bool
) -> None:
    cut = finding("T004", "the time limit cut members", columns=dropped)
    present = champion(counts(9, 1), counts(9, 1), members=members, members_cut=was_cut)
    decision = decide(given(findings=(cut,), champion=present))
    assert decision.promote is promoted
    assert [f.code for f in decision.findings] == ([] if promoted else ["G003"])


def test_members_cut_do_not_matter_without_a_champion() -> None:
    assert decide(given(findings=(finding("T004", "cut", columns=["CatBoost"]),))).promote


def test_many_independent_rows_are_drawn_in_pieces() -> None:
    units = [str(i) for i in range(30_000)]
    rows = UnitStatistics(units=units, values=[[1.0, 2.0]] * len(units), runs=len(units))
    difference, bound = paired_bound(RmseProblem(), Comparison(rows, rows), draws=200)
    assert (difference, bound) == (0.0, 0.0)
