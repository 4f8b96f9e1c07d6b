"""Shapes, dependences and copies in tables of units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.quality.limits import QualityLimits
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


@pytest.fixture(scope="module")
def unseen() -> pd.DataFrame:
    return draw_units(PROFILE, 900, 6)


def _half_copied(seeds: SeedUnits, sound: pd.DataFrame) -> pd.DataFrame:
    copies = seeds.train.sample(450, replace=True, random_state=5)
    return pd.concat([copies, sound.head(450)], ignore_index=True)


def test_copies_even_of_one_half_are_told_from_fresh_units(
    seeds: SeedUnits, sound: pd.DataFrame, unseen: pd.DataFrame
) -> None:
    copies = seeds.train.sample(900, replace=True, random_state=5).reset_index(drop=True)
    limit = QualityLimits().dcr_protection
    assert dcr_protection(seeds.train, unseen, sound, COLUMNS) > limit + 0.1
    assert dcr_protection(seeds.train, unseen, _half_copied(seeds, sound), COLUMNS) < limit - 0.2
    assert dcr_protection(seeds.train, unseen, copies, COLUMNS) == 0.0


def test_protection_is_sdmetrics_own(seeds: SeedUnits, sound: pd.DataFrame, unseen: pd.DataFrame) -> None:
    """It scales by the range, which ranks leave nearly as it is."""
    from sdmetrics.single_table import DCROverfittingProtection

    kinds = {c.name: {"sdtype": "categorical" if c.discrete else "numerical"} for c in COLUMNS}
    ranked = [t.head(120).reset_index(drop=True) for t in (seeds.train, _half_copied(seeds, sound)[400:], unseen)]
    learned = ranked[0].copy()
    for table in ranked:
        for name in (c.name for c in COLUMNS if not c.discrete):
            ordered = np.sort(learned[name])
            table[name] = np.interp(table[name], ordered, np.linspace(0, 1, len(ordered)))
    theirs = DCROverfittingProtection.compute(*ranked, {"columns": kinds}, None)
    ours = dcr_protection(learned, unseen.head(120), _half_copied(seeds, sound)[400:520], COLUMNS)
    assert 0.5 < ours < 1.0
    assert ours == pytest.approx(theirs, abs=0.04)
