"""Which generator lands, and the gate's lines."""

from __future__ import annotations

import pytest

from nightshift.simulate.quality.choose import decide
from nightshift.simulate.quality.limits import QualityLimits
from nightshift.simulate.quality.report import SOUND_SEEDS, GeneratorScores, ProblemScores, QualityReport
from tests.simulate.quality.made import motor, problems, scores

TRTR = (problems(), problems(), problems())


def _decide(*every: GeneratorScores, trtr: tuple[ProblemScores, ...] = TRTR, **limits: float) -> QualityReport:
    return decide("motor_1", motor(), every, trtr, QualityLimits.model_validate(limits))


def test_the_tvae_lands_where_it_passes_and_beats_one_baseline() -> None:
    report = _decide(scores("tvae"), scores("copula", shift=0.01), scores("resample", shift=-0.05))
    assert (report.chosen, report.passed) == ("tvae", True)
    assert "beats resample" in report.why
    assert "copula" not in report.why


def test_a_tvae_that_beats_neither_gives_way_to_the_best_that_passes() -> None:
    report = _decide(scores("tvae", shift=-0.01), scores("copula"), scores("resample", shift=0.005))
    assert (report.chosen, report.passed) == ("resample", True)
    assert "tvae beats neither baseline" in report.why


def test_a_tvae_whose_f1_falls_behind_a_baseline_does_not_land_whatever_its_utility() -> None:
    behind = scores("tvae", utility=1.5, tstr=problems(0.77, 0.71))
    report = _decide(behind, scores("copula"), scores("resample", shift=-0.001))
    assert report.chosen == "copula"
    missed = {line.name for line in report.score("tvae").gates if not line.ok}
    assert missed == {
        "failure within the horizon, F1: worse than copula",
        "failure within the horizon, F1: worse than resample",
    }
    assert all(name in report.why for name in missed)


def test_a_more_useful_generator_that_copies_is_passed_over_and_the_sentence_says_so() -> None:
    copies = scores("resample", shift=0.01, dcr_protection=0.5)
    report = _decide(scores("tvae", column_shapes=0.7), scores("copula"), copies)
    assert report.chosen == "copula"
    assert "resample (1.010) misses DCR protection" in report.why


def test_a_tvae_that_beats_neither_lands_where_it_alone_passes() -> None:
    copies = scores("resample", shift=0.01, dcr_protection=0.5)
    report = _decide(scores("tvae"), scores("copula", shift=0.005, pair_trends=0.8), copies)
    assert (report.chosen, report.passed) == ("tvae", True)
    assert "tvae beats neither baseline" in report.why
    assert "yet it is the best of those that pass" in report.why


def test_where_none_passes_the_most_useful_is_named_and_refused() -> None:
    report = _decide(*(scores(n, pair_trends=0.6, shift=s) for n, s in (("tvae", 0.0), ("copula", 0.01))))
    assert (report.chosen, report.passed) == ("copula", False)
    assert "No generator passes" in report.why
    assert report.refusal() == f"pair trends is 0.600, wanted ≥ 0.9; {SOUND_SEEDS} is 0, wanted ≥ 1"


def test_of_the_chosen_generator_s_seeds_the_most_useful_sound_one_lands() -> None:
    """Means hide a bad seed; only one seed's units land."""
    mixed = scores("tvae", seeds=3)
    figures: list[dict[str, object]] = [
        {"pair_trends": 0.85, "utility": 1.2},
        {"utility": 1.0},
        {"utility": 1.1},
    ]
    seeds = tuple(s.model_copy(update=f) for s, f in zip(mixed.seeds, figures, strict=True))
    report = _decide(mixed.model_copy(update={"seeds": seeds}))
    assert (report.passed, report.seed) == (True, 2)
    assert ("seed that lands", "2", "", "") in report.table().rows


def test_without_a_seed_that_passes_by_itself_nothing_lands() -> None:
    """Every mean holds, and every seed misses another figure."""
    mixed = scores("tvae", seeds=3, column_shapes=0.97, pair_trends=0.97, dcr_protection=0.97)
    figures = ({"column_shapes": 0.85}, {"pair_trends": 0.85}, {"dcr_protection": 0.7})
    seeds = tuple(s.model_copy(update=f) for s, f in zip(mixed.seeds, figures, strict=True))
    report = _decide(mixed.model_copy(update={"seeds": seeds}))
    assert [line.name for line in report.missed] == [SOUND_SEEDS]
    assert (report.passed, report.seed) == (False, None)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"column_shapes": 0.89}, "column shapes"),
        ({"pair_trends": 0.89}, "pair trends"),
        ({"dcr_protection": 0.79}, "DCR protection"),
        ({"row_shapes": 0.89}, "sensor shapes"),
        ({"autocorrelation": 0.89}, "autocorrelation match"),
        ({"daily_pattern": 0.89}, "daily-pattern match"),
        ({"violations": {"damage only grows": 1}}, "physics violations"),
        ({"failure_share": 0.09}, "share of failing rows"),
        ({"failure_share": 0.21}, "share of failing rows"),
        ({"sensor_auc": 0.985}, "best single sensor's AUC"),
        ({"tstr": problems(0.72, 0.71)}, "TSTR / TRTR: failure within the horizon, F1"),
        ({"tstr": problems(0.81, 0.6)}, "TSTR / TRTR: remaining life, R²"),
    ],
)
def test_each_limit_refuses_by_name_what_lies_beyond_it(change: dict[str, object], name: str) -> None:
    assert _decide(scores("tvae")).passed
    report = _decide(scores("tvae", **change))
    assert [line.name for line in report.missed if line.name != SOUND_SEEDS] == [name]
    assert not report.passed
    assert name in report.refusal()


def test_limits_can_be_overridden() -> None:
    poor = scores("tvae", column_shapes=0.85)
    assert not _decide(poor).passed
    assert _decide(poor, column_shapes=0.8).passed


def test_labels_that_the_profile_does_not_have_are_not_asked_for() -> None:
    without = motor(labels={"horizon_h": 36, "failure_status": False})
    unlabelled = scores("tvae", failure_share=None, sensor_auc=None, tstr=problems(None, 0.71))
    report = decide("motor_1", without, [unlabelled], (problems(None),) * 3, QualityLimits())
    assert report.passed
    assert not any("F1" in line.name or "failing" in line.name for line in report.gates)


def test_a_figure_that_could_not_be_told_is_missed() -> None:
    nothing_learned = (problems(0.8, 0.01),) * 3
    report = _decide(scores("tvae"), trtr=nothing_learned)
    assert [line.name for line in report.missed] == ["TSTR / TRTR: remaining life, R²"]
    assert "is not known, wanted ≥ 0.9" in report.refusal()


def test_losses_are_paired_by_seed() -> None:
    report = _decide(scores("tvae", shift=-0.015), scores("copula"))
    line = next(g for g in report.score("tvae").gates if g.name.endswith("F1: worse than copula"))
    assert line.value == pytest.approx(0.015)
    assert line.ok
