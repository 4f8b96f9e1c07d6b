"""Shapes, dependences and copies in tables of units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.quality.tables import column_shapes, dcr_protection, pair_trends
from nightshift.simulate.units import SeedUnits, draw_units, split_units, unit_columns
from tests.simulate.quality.made import motor

PROFILE = motor()
COLUMNS = unit_columns(PROFILE)


@pytest.fixture(scope="module")
def seeds() -> SeedUnits:
    return split_units(draw_units(PROFILE, 1500, 1))


@pytest.fixture(scope="module")
def sound() -> pd.DataFrame:
    return draw_units(PROFILE, 900, 2)


def _shuffled(table: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: table[name].to_numpy()[rng.permutation(len(table))] for name in table})


def test_other_draws_of_the_same_machine_reach_nearly_one(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    assert column_shapes(seeds.judge, sound, COLUMNS) > 0.93
    assert pair_trends(seeds.judge, sound, COLUMNS) > 0.93


def test_a_table_with_itself_reaches_one(seeds: SeedUnits) -> None:
    assert column_shapes(seeds.judge, seeds.judge, COLUMNS) == pytest.approx(1.0)
    assert pair_trends(seeds.judge, seeds.judge, COLUMNS) == pytest.approx(1.0)


def test_shuffled_columns_keep_their_shapes_and_lose_their_dependences(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    shuffled = _shuffled(sound)
    assert column_shapes(seeds.judge, shuffled, COLUMNS) == pytest.approx(column_shapes(seeds.judge, sound, COLUMNS))
    assert pair_trends(seeds.judge, shuffled, COLUMNS) < 0.75


def test_an_invented_dependence_costs_too(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    invented = sound.assign(severity=sound["secondary_wear"].to_numpy(), onset=sound["noise_scale"].to_numpy())
    assert pair_trends(seeds.judge, invented, COLUMNS) < pair_trends(seeds.judge, sound, COLUMNS) - 0.02


def test_shifted_loads_cost_shape(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    one = tuple(c for c in COLUMNS if c.name == "load_level")
    shifted = sound.assign(load_level=0.7 * sound["load_level"])
    assert column_shapes(seeds.judge, shifted, one) < 0.5 < column_shapes(seeds.judge, sound, one)


def test_a_category_that_real_units_do_not_have_is_no_error(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    strange = sound.assign(usage_mode="elsewhere")
    one = tuple(c for c in COLUMNS if c.name == "usage_mode")
    assert column_shapes(seeds.judge, strange, one) == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < pair_trends(seeds.judge, strange, COLUMNS) < pair_trends(seeds.judge, sound, COLUMNS)


def test_a_parameter_that_never_varies_has_no_trends(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    still = sound.assign(severity=1.0)
    assert pair_trends(seeds.judge, still, COLUMNS) > 0.93


def test_independent_parameters_have_nothing_to_lose() -> None:
    only = tuple(c for c in COLUMNS if c.name in {"severity", "noise_scale"})
    first, second = draw_units(PROFILE, 900, 3), draw_units(PROFILE, 900, 4)
    assert pair_trends(first, second, only) == 1.0


def test_copies_of_training_units_are_told_from_fresh_ones(seeds: SeedUnits, sound: pd.DataFrame) -> None:
    copies = seeds.train.sample(len(seeds.train), replace=True, random_state=5).reset_index(drop=True)
    fresh = [dcr_protection(seeds.train, seeds.judge, sound, COLUMNS, s) for s in range(3)]
    copied = [dcr_protection(seeds.train, seeds.judge, copies, COLUMNS, s) for s in range(3)]
    assert np.mean(fresh) > 0.8 > np.mean(copied) + 0.05
    assert dcr_protection(seeds.train, seeds.judge, sound, COLUMNS, 0) == fresh[0]
