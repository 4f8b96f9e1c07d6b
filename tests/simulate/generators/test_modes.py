"""Mode-specific normalisation: there and back without loss, and modes where the data has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nightshift.simulate.generators.modes import Modes, fit_modes
from nightshift.simulate.units import UnitColumn

KIND = UnitColumn("kind", ("a", "b", "c"))
COLUMNS = (KIND, UnitColumn("two", low=-100, high=100), UnitColumn("flat", low=0, high=9))


def table(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    two = np.where(rng.random(n) < 0.3, rng.normal(-20, 1, n), rng.normal(10, 2, n))
    return pd.DataFrame({"kind": rng.choice(["a", "b"], n), "two": two, "flat": np.full(n, 5.0)})


@pytest.fixture(scope="module")
def modes() -> Modes:
    return fit_modes(table(), COLUMNS, max_modes=5, min_weight=0.02, seed=1)


def test_encoding_and_decoding_gives_the_units_back(modes: Modes) -> None:
    units = table()
    rows = modes.encode(units, np.random.default_rng(1)).astype(np.float64)
    assert rows.shape == (400, modes.width)
    back = modes.decode(rows[:, modes.place_of_mode], rows[:, modes.choices])
    assert list(back["kind"]) == list(units["kind"])
    # Places are float32 of a mode that reaches 4 spreads.
    np.testing.assert_allclose(back["two"], units["two"], atol=1e-4)
    np.testing.assert_allclose(back["flat"], units["flat"])
    assert [str(t) for t in back.dtypes] == [str(t) for t in units.dtypes]


def test_a_row_has_one_choice_per_column_and_a_place_within_its_mode(modes: Modes) -> None:
    rows = modes.encode(table(), np.random.default_rng(1))
    for block in modes.blocks:
        np.testing.assert_array_equal(rows[:, block.choices].sum(axis=1), 1.0)
        if block.place is not None:
            assert np.abs(rows[:, block.place]).max() <= 0.99
    np.testing.assert_array_equal(rows[:, modes.modes].sum(axis=1), 2.0)


def test_the_mixture_finds_both_heaps_and_their_weights(modes: Modes) -> None:
    two = modes.blocks[1]
    left = two.means < -5
    assert left.any()
    assert not left.all()
    assert two.weights[left].sum() == pytest.approx(0.3, abs=0.06)
    assert two.means[left] @ two.weights[left] / two.weights[left].sum() == pytest.approx(-20, abs=0.5)


def test_a_constant_column_has_one_mode_and_stays_constant(modes: Modes) -> None:
    flat = modes.blocks[2]
    assert len(flat.means) == 1
    anywhere = modes.decode(np.full((3, len(modes.modes)), 0.5), np.zeros((3, len(modes.choices))))
    np.testing.assert_allclose(anywhere["flat"], 5.0, atol=1e-6)


def test_a_value_between_modes_takes_each_as_often_as_it_is_likely() -> None:
    rng = np.random.default_rng(5)
    column = (UnitColumn("x", low=-99, high=99),)
    wide = pd.DataFrame({"x": np.concatenate([rng.normal(-1.5, 1, 500), rng.normal(1.5, 1, 500)])})
    fitted = fit_modes(wide, column, max_modes=2, min_weight=0.005, seed=1)
    between = pd.DataFrame({"x": np.full(4000, fitted.blocks[0].means.mean())})
    share = fitted.encode(between, rng)[:, fitted.blocks[0].choices].mean(axis=0)
    block = fitted.blocks[0]
    density = block.weights / block.spreads * np.exp(-(((between["x"][0] - block.means) / block.spreads) ** 2) / 2)
    np.testing.assert_allclose(share, density / density.sum(), atol=0.03)
    assert share.min() > 0.2


def test_the_fill_of_short_columns_is_marked_as_no_choice(modes: Modes) -> None:
    index, is_real = modes.padded_choices
    np.testing.assert_array_equal(np.sort(index[is_real]), np.arange(len(modes.choices)))
    assert index.shape == is_real.shape == (3, max(3, len(modes.blocks[1].means)))
