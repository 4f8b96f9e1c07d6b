"""Recommendations: each rule on figures that must trigger it, and on those that must not."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from support.driving_runs import levelled, rising, rows

from nightshift import families
from nightshift.driving.runs import MetricsRow
from nightshift.tracking.driving_rules import Told, recommend


def told(found: list[MetricsRow], total: int = 100_000, **more: Any) -> Told:
    return Told(run_id="ppo_v1", rows=found, total_steps=total, **more)


def names(given: Told) -> list[str]:
    return [found.rule for found in recommend(given)]


def test_a_run_that_learns_is_left_alone() -> None:
    calm = rows(
        60,
        mean_reward=rising,
        score=rising,
        collision=lambda s: 0.6 - 0.5 * s,
        entropy=lambda s: 2.8 - s,
        value_loss=lambda s: 5 - 4 * s,
    )
    assert recommend(told(calm)) == ()
    assert recommend(told([])) == ()
    assert recommend(told(calm[:3], device="cuda", gpu_use_pct=95.0)) == ()


def test_a_curve_that_is_level_says_stop_with_its_figures() -> None:
    (found,) = recommend(told(rows(60, score=levelled)))
    assert found.rule == "converged"
    assert "score 10 against 9.99" in found.what
    assert "60% done" in found.what
    assert "nightshift driving stop ppo_v1" in found.do
    assert found.figures["now"] == pytest.approx(10, abs=0.01)
    assert found.figures["done_pct"] == pytest.approx(60)


@pytest.mark.parametrize(
    ("curve", "total"),
    [
        (rising, 100_000),
        (levelled, 61_000),  # nearly done: stopping saves nothing
        (lambda s: 1.0, 100_000),  # never changed: nothing was learnt that could have converged
        (lambda s: 0.01 * math.sin(99 * s) + (10 if s == 0.5 else 0), 100_000),  # one peak, and low since
        (lambda s: levelled(s) if s < 0.75 else 4.0, 100_000),  # it falls: that is no plateau
    ],
)
def test_other_curves_do_not(curve: Any, total: int) -> None:
    assert names(told(rows(60, mean_reward=curve), total)) == []


def test_a_gpu_that_waits_says_raise_the_batch() -> None:
    few = rows(12, mean_reward=rising)
    (found,) = recommend(told(few, device="cuda", gpu_use_pct=7.0, gpu_free_mb=130_000.0))
    assert (found.rule, found.figures) == ("gpu_idle", {"use_pct": 7.0, "free_mb": 130_000.0})
    assert "7 % of the time, 130.0 GB of its memory are free" in found.what
    assert names(told(few, device="cpu", gpu_use_pct=7.0)) == []
    assert names(told(few, device="cuda", gpu_use_pct=None)) == []


def test_entropy_that_collapses_early_says_explore() -> None:
    def falls(share: float) -> float:
        return 2.8 - 6 * share

    (found,) = recommend(told(rows(20, entropy=falls)))
    assert found.rule == "entropy_collapsing"
    assert found.figures["first"] - found.figures["now"] > 2.8
    assert "--ent-coef" in found.do
    # At the end of a training a policy may be sure of itself.
    assert names(told(rows(20, entropy=falls), total=21_000)) == []


def test_value_loss_that_grows_is_told_and_one_that_settles_is_not() -> None:
    (found,) = recommend(told(rows(40, value_loss=lambda s: 1.0 if s < 0.7 else 1.0 + 60 * (s - 0.7))))
    assert found.rule == "value_loss_diverging"
    assert found.figures["times"] > 5
    assert "a checkpoint before it rose, with --init-from: `nightshift driving checkpoints ppo_v1`" in found.do
    assert names(told(rows(40, value_loss=lambda s: 50 * math.exp(-5 * s)))) == []
    assert names(told(rows(5, value_loss=lambda s: 100 * s))) == []


def test_a_value_loss_that_is_no_number_is_told_at_once() -> None:
    (found,) = recommend(told(rows(3, value_loss=lambda s: math.nan if s == 1 else 1.0)))
    assert found.rule == "value_loss_diverging"
    assert "no finite number at step 3,000" in found.what


def test_collisions_that_stay_are_told_and_rare_or_falling_ones_are_not() -> None:
    (found,) = recommend(told(rows(40, collision=lambda s: max(0.3, 0.9 - 2 * s))))
    assert (found.rule, found.figures) == (
        "collision_flat",
        {"before": pytest.approx(0.3), "now": pytest.approx(0.3), "rows": 40.0},
    )
    assert "30.0%" in found.what
    assert names(told(rows(40, collision=0.03))) == []
    assert names(told(rows(40, collision=lambda s: 0.9 - 0.6 * s))) == []
    assert names(told(rows(12, collision=0.3))) == []


def test_the_gravest_comes_first() -> None:
    both = rows(40, value_loss=lambda s: math.exp(6 * s), collision=0.5)
    assert names(told(both, device="cuda", gpu_use_pct=1.0)) == ["value_loss_diverging", "collision_flat", "gpu_idle"]


@pytest.mark.parametrize("algorithm", [n for n in families.names() if families.get(n).group == "driving"])
def test_advice_names_settings_that_the_family_has(algorithm: str) -> None:
    told_of = {"value_loss": lambda s: math.exp(6 * s), "collision": 0.5, "entropy": lambda s: 2.8 - 6 * s}
    # Each learner is advised on the figures that it tells of.
    own = {"bc": ("collision",), "sac": ("value_loss", "collision")}.get(algorithm, tuple(told_of))
    given = told(rows(40, **{name: told_of[name] for name in own}), device="cuda", gpu_use_pct=1.0, algorithm=algorithm)
    found = recommend(given)
    assert len(found) == len(own) + 1
    config = families.get(algorithm).config
    for advice in found:
        named = set(re.findall(r"--([a-z-]+)", advice.do)) - {"set"}
        assert {name.replace("-", "_") for name in named} <= set(config.model_fields), advice.do
        for outer, inner in re.findall(r"--set ([a-z_]+)\.([a-z_]+)=", advice.do):
            assert inner in type(getattr(config(), outer)).model_fields


def test_advice_on_runs_of_ml_agents_names_its_own_settings() -> None:
    both = rows(40, value_loss=lambda s: math.exp(6 * s), entropy=lambda s: 2.8 - 6 * s)
    found = recommend(told(both, algorithm="mlagents"))
    assert [advice.rule for advice in found] == ["value_loss_diverging", "entropy_collapsing"]
    assert all("in its trainer config" in advice.do and "--" not in advice.do for advice in found)
