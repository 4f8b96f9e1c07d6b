"""Every generator: the seeds' columns and dtypes, limits kept, repeatable, and bad input refused in words."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pandas as pd
import pytest

from nightshift.errors import DataError, UnknownNameError, UsageError
from nightshift.settings import Home
from nightshift.simulate.generators.base import GENERATORS, FitContext, Generator, TvaeConfig, fit
from nightshift.simulate.generators.limits import rows_outside, within_limits
from nightshift.simulate.profile import load_profile, profile_names
from nightshift.simulate.units import UnitColumn, draw_units, unit_columns

pytestmark = pytest.mark.slow

HOME = Home(Path("no-home"))
PROFILE = load_profile(HOME, "motor_siemens_1la7_001")
COLUMNS = unit_columns(PROFILE)
TINY = TvaeConfig(epochs=3, hidden=(16,), embedding=8, batch_size=100, max_modes=3)
CONTEXT = FitContext(seed=4, device="cpu", threads=1)


@pytest.fixture(scope="module")
def units() -> pd.DataFrame:
    return draw_units(PROFILE, 400, 3)


@pytest.fixture(scope="module", params=GENERATORS)
def generator(request: pytest.FixtureRequest, units: pd.DataFrame) -> Generator:
    return fit(request.param, units, COLUMNS, CONTEXT, TINY)


def test_a_generator_knows_its_name(generator: Generator) -> None:
    assert generator.name in GENERATORS


def test_drawn_units_look_like_seed_units(generator: Generator, units: pd.DataFrame) -> None:
    drawn = generator.sample(700, 1)
    assert list(drawn.columns) == list(units.columns)
    assert list(drawn.dtypes) == list(units.dtypes)
    assert list(drawn.index) == list(range(700))
    assert not drawn.isna().any().any()


def test_drawn_units_stay_within_limits_and_categories(generator: Generator) -> None:
    drawn = generator.sample(3000, 2)
    assert not rows_outside(drawn, COLUMNS).any()
    for column in COLUMNS:
        if column.discrete:
            assert set(drawn[column.name]) == set(column.categories)


def test_the_seed_decides_the_draw(generator: Generator) -> None:
    first, same, other = (generator.sample(50, s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first, same, check_exact=True)
    assert not first.equals(other)


def test_one_unit_can_be_drawn_and_none_is_refused(generator: Generator) -> None:
    assert len(generator.sample(1, 1)) == 1
    with pytest.raises(UsageError, match="number of units must be 1 or more, got 0"):
        generator.sample(0, 1)


def test_the_training_table_is_not_changed(units: pd.DataFrame) -> None:
    before = units.copy(deep=True)
    for name in GENERATORS:
        fit(name, units, COLUMNS, CONTEXT, TINY).sample(20, 1)
    pd.testing.assert_frame_equal(units, before, check_exact=True)


@pytest.mark.parametrize("machine", profile_names(HOME))
@pytest.mark.parametrize("name", GENERATORS)
def test_every_shipped_machines_units_can_be_learnt(machine: str, name: str) -> None:
    profile = load_profile(HOME, machine)
    seeds, columns = draw_units(profile, 60, 1), unit_columns(profile)
    drawn = fit(name, seeds, columns, CONTEXT, TINY.model_copy(update={"epochs": 1, "max_modes": 2})).sample(60, 1)
    assert list(drawn.dtypes) == list(seeds.dtypes)
    assert not rows_outside(drawn, columns).any()


def test_an_unknown_generator_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown generator 'TVEA'\. Did you mean 'tvae'"):
        fit("TVEA", draw_units(PROFILE, 60, 1), COLUMNS, CONTEXT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda u: u.drop(columns="life_h"), "units must have the columns .*life_h.*, got"),
        (lambda u: u.iloc[:10], "needs 50 units or more, got 10"),
        (lambda u: u.assign(usage_mode="idle"), "usage_mode must be one of parcels, bulk, got idle"),
        (lambda u: u.assign(life_h=np.nan), r"life_h must be a number within \[72, 4320\]"),
        (lambda u: u.assign(load_level=3.0), r"load_level must be a number within \[0.1, 1.2\]"),
    ],
)
def test_a_table_that_cannot_be_learnt_is_refused(units: pd.DataFrame, change: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit("copula", change(units), COLUMNS, CONTEXT)


def test_values_outside_are_drawn_again_and_not_heaped_on_the_limit() -> None:
    column = (UnitColumn("x", low=-1.0, high=1.0), UnitColumn("kind", ("a", "b")))
    rng = np.random.default_rng(1)

    def draw(n: int) -> pd.DataFrame:
        return pd.DataFrame({"x": rng.standard_normal(n), "kind": rng.choice(["a", "b"], n)})

    drawn = within_limits(draw, 5000, column)
    assert (drawn["x"].abs() <= 1).all()
    assert (drawn["x"].abs() == 1).sum() == 0
    assert drawn["x"].std() == pytest.approx(0.54, abs=0.02)  # of a normal distribution cut at one sigma


def test_what_never_comes_inside_is_clipped_in_the_end() -> None:
    asked = []

    def draw(n: int) -> pd.DataFrame:
        asked.append(n)
        return pd.DataFrame({"x": np.full(n, 7.0)})

    drawn = within_limits(draw, 4, (UnitColumn("x", low=0.0, high=2.0),))
    assert list(drawn["x"]) == [2.0] * 4
    assert asked == [4] * 11


def test_naming_the_generators_loads_no_torch() -> None:
    code = (
        "import sys; from nightshift.simulate.generators.base import GENERATORS; "
        "print(sorted({'torch', 'sklearn', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
