"""The copula keeps marginals and rank correlations; resampling keeps whole rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr

from nightshift.simulate.generators.base import FitContext, fit
from nightshift.simulate.units import UnitColumn

COLUMNS = (
    UnitColumn("kind", ("low", "high", "never")),
    UnitColumn("x", low=0, high=1e3),
    UnitColumn("y", low=-9, high=9),
)
CONTEXT = FitContext(seed=1)


@pytest.fixture(scope="module")
def units() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    z, other = rng.standard_normal((2, 3000))
    y = np.clip(0.7 * z + np.sqrt(1 - 0.49) * other, -8, 8)
    kind = np.where(z + 0.5 * rng.standard_normal(3000) > 0.8, "high", "low").astype(object)
    return pd.DataFrame({"kind": kind, "x": np.exp(z), "y": y})


@pytest.fixture(scope="module")
def drawn(units: pd.DataFrame) -> pd.DataFrame:
    return fit("copula", units, COLUMNS, CONTEXT).sample(3000, 1)


def test_marginals_are_the_training_rows_own(units: pd.DataFrame, drawn: pd.DataFrame) -> None:
    for column in ("x", "y"):
        assert ks_2samp(units[column], drawn[column]).statistic < 0.045
    assert (drawn["kind"] == "high").mean() == pytest.approx((units["kind"] == "high").mean(), abs=0.03)


def test_a_category_that_never_came_is_never_drawn(drawn: pd.DataFrame) -> None:
    assert set(drawn["kind"]) == {"low", "high"}


def test_rank_correlation_is_kept(units: pd.DataFrame, drawn: pd.DataFrame) -> None:
    ours, theirs = (spearmanr(t["x"], t["y"]).statistic for t in (drawn, units))
    assert theirs > 0.6
    assert ours == pytest.approx(theirs, abs=0.05)


def test_categories_stay_tied_to_the_numbers(units: pd.DataFrame, drawn: pd.DataFrame) -> None:
    def gap(table: pd.DataFrame) -> float:
        medians = table.groupby("kind")["x"].median()
        return float(np.log(medians["high"] / medians["low"]))

    assert gap(units) > 1
    assert gap(drawn) > 0.6 * gap(units)


def test_new_values_lie_between_the_old_ones(units: pd.DataFrame, drawn: pd.DataFrame) -> None:
    assert drawn["x"].between(units["x"].min(), units["x"].max()).all()
    assert not set(drawn["x"]) & set(units["x"])


def test_constant_and_doubled_columns_do_no_harm() -> None:
    x = np.linspace(1, 2, 60)
    columns = (UnitColumn("only", ("one",)), *(UnitColumn(n, low=0, high=9) for n in ("x", "again", "flat")))
    units = pd.DataFrame({"only": np.full(60, "one", dtype=object), "x": x, "again": x, "flat": np.full(60, 3.0)})
    drawn = fit("copula", units, columns, CONTEXT).sample(500, 1)
    assert (drawn["flat"] == 3).all()
    assert set(drawn["only"]) == {"one"}
    assert drawn["x"].corr(drawn["again"]) > 0.999


def test_resampled_rows_are_training_rows_and_repeat(units: pd.DataFrame) -> None:
    some = units.iloc[:80]
    drawn = fit("resample", some, COLUMNS, CONTEXT).sample(400, 1)
    known = set(some.itertuples(index=False, name=None))
    rows = list(drawn.itertuples(index=False, name=None))
    assert set(rows) <= known
    assert 60 < len(set(rows)) <= 80
