"""Units: dependent draws with the mean life of the profile, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightshift.settings import Home
from nightshift.simulate.profile import Profile, load_profile, parse_profile, profile_names
from nightshift.simulate.units import FAILURE, USAGE, draw_units, mean_load, split_units, unit_columns

NOWHERE = Home(Path("nowhere"))
SHIPPED = profile_names(NOWHERE)
MOTOR = "motor_siemens_1la7_001"


@pytest.fixture(scope="module", params=SHIPPED)
def profile(request: pytest.FixtureRequest) -> Profile:
    return load_profile(NOWHERE, request.param)


def rank_correlation(table: pd.DataFrame, left: str, right: str) -> float:
    return float(table[left].rank().corr(table[right].rank()))


def test_the_same_seed_gives_the_same_table_and_another_another() -> None:
    motor = load_profile(NOWHERE, MOTOR)
    pd.testing.assert_frame_equal(draw_units(motor, 200, 7), draw_units(motor, 200, 7), check_exact=True)
    assert not draw_units(motor, 200, 7)["life_h"].equals(draw_units(motor, 200, 8)["life_h"])


def test_the_mean_life_is_the_profile_s(profile: Profile) -> None:
    lives = draw_units(profile, 8_000, 3)["life_h"]
    assert lives.mean() == pytest.approx(profile.life.mean_h, rel=0.02)


def test_load_wear_and_life_hang_together(profile: Profile) -> None:
    units = draw_units(profile, 4_000, 5)
    assert rank_correlation(units, "load_level", "wear_rate") > 0.3
    assert rank_correlation(units, "load_level", "life_h") < -0.3
    assert rank_correlation(units, "wear_rate", "life_h") < -0.4
    # Also within one usage mode, so that the mode alone does not tell all.
    for _, group in units.groupby(USAGE):
        assert rank_correlation(group, "load_level", "wear_rate") > 0.2
        assert rank_correlation(group, "wear_rate", "life_h") < -0.3
    # Hard use is told from mild use by load and by life.
    means = units.groupby(USAGE)[["load_level", "life_h"]].mean()
    assert means["load_level"].max() - means["load_level"].min() >= 0.15
    assert means["life_h"].max() / means["life_h"].min() >= 1.15


def test_categories_come_at_their_shares_and_hard_use_shifts_the_failures(profile: Profile) -> None:
    units = draw_units(profile, 8_000, 9)
    used = units[USAGE].value_counts(normalize=True)
    for mode in profile.usage_modes:
        assert used[mode.name] == pytest.approx(mode.share, abs=0.02)
    failed = units[FAILURE].value_counts(normalize=True)
    for failure in profile.failure_modes:
        # Shares hold at the mean load; a steep load exponent takes a little more over all loads.
        assert failed[str(failure.mode)] == pytest.approx(failure.share, abs=0.05)


def test_a_mode_with_a_steeper_load_exponent_ends_more_of_the_hard_used() -> None:
    motor = load_profile(NOWHERE, MOTOR)
    units = draw_units(motor, 8_000, 1)
    bearing = units[FAILURE] == "bearing_wear"
    hard = units["load_level"] > mean_load(motor)
    assert bearing[hard].mean() > bearing[~hard].mean() + 0.05


def test_units_and_physics_ask_the_same_exponent_and_only_a_default_knows_the_bearing() -> None:
    motor = load_profile(NOWHERE, MOTOR)
    content = motor.model_dump(mode="json")
    rollers = [{"designation": "NU209", "kind": "roller"}]

    def exponent(bearings: list[dict[str, str]], **stated: float) -> float:
        modes = [{"mode": "bearing_wear", "share": 1, **stated}]
        plate = {**content["nameplate"], "bearings": bearings}
        made = parse_profile({**content, "nameplate": plate, "failure_modes": modes}, "made.yaml")
        # Written out and read again, it is the same machine.
        again = parse_profile(made.model_dump(mode="json"), "again.yaml")
        assert again.load_exponent(again.failure_modes[0]) == made.load_exponent(made.failure_modes[0])
        return made.load_exponent(made.failure_modes[0])

    balls = content["nameplate"]["bearings"]
    assert exponent(balls) == 3
    assert exponent(rollers) == pytest.approx(10 / 3)
    assert exponent(rollers, load_exponent=3.0) == 3
    assert exponent(balls, load_exponent=4.0) == exponent(rollers, load_exponent=4.0) == 4
    others = [m for m in motor.failure_modes if m.mode != "bearing_wear"]
    assert {motor.load_exponent(m) for m in others} == {2.0}


def test_every_parameter_is_within_its_limits(profile: Profile) -> None:
    units = draw_units(profile, 4_000, 11)
    columns = unit_columns(profile)
    assert list(units.columns) == [c.name for c in columns]
    for column in columns:
        values = units[column.name]
        if column.discrete:
            assert set(values) == set(column.categories)
        else:
            assert values.dtype == np.float64
            assert values.between(column.low, column.high).all()
            # Limits are far from what is drawn: no heap at an end that a generator would learn.
            assert ((values == column.low) | (values == column.high)).mean() < 0.001


def test_the_split_takes_every_unit_once() -> None:
    units = draw_units(load_profile(NOWHERE, MOTOR), 500, 2)
    parts = split_units(units)
    assert [len(p) for p in (parts.train, parts.judge, parts.val, parts.test)] == [300, 100, 50, 50]
    together = pd.concat([parts.train, parts.judge, parts.val, parts.test], ignore_index=True)
    pd.testing.assert_frame_equal(together, units)
