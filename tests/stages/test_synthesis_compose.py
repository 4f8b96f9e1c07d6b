"""What lands: generated units as train, unseen seed units as val and test, on one calendar, exactly as many rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightshift.errors import NightshiftError, UsageError
from nightshift.settings import Home
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import Profile, load_profile
from nightshift.simulate.units import SeedUnits, draw_units, split_units
from nightshift.stages.synthesis.compose import Composed, compose, units_needed

ROWS, EMBARGO_S = 24_000, 132 * 3600.0
PARTS = ("train", "val", "test")


@pytest.fixture(scope="module")
def machine() -> Profile:
    return load_profile(Home(Path("no_configs_of_its_own")), "motor_siemens_1la7_001")


@pytest.fixture(scope="module")
def seeds(machine: Profile) -> SeedUnits:
    return split_units(draw_units(machine, 500, 7))


def composed(machine: Profile, seeds: SeedUnits, rows: int = ROWS, embargo_s: float = EMBARGO_S) -> Composed:
    units = draw_units(machine, units_needed(machine, rows), 99)
    return compose(machine, units, seeds.val, seeds.test, rows=rows, seed=7, embargo_s=embargo_s)


@pytest.fixture(scope="module")
def whole(machine: Profile, seeds: SeedUnits) -> Composed:
    return composed(machine, seeds)


def test_exactly_the_rows_asked_for_remain_after_the_embargo(whole: Composed) -> None:
    assert sum(len(part) for part in whole.parts.values()) == ROWS


@pytest.mark.parametrize(("rows", "embargo_s"), [(23_761, EMBARGO_S), (30_000, 0.0), (40_001, 1000 * 3600.0)])
def test_so_they_do_for_any_number_of_rows_and_any_embargo(
    machine: Profile, seeds: SeedUnits, rows: int, embargo_s: float
) -> None:
    parts = composed(machine, seeds, rows, embargo_s).parts
    assert sum(map(len, parts.values())) == rows


def test_parts_are_near_70_15_15_and_follow_each_other_by_the_embargo(whole: Composed) -> None:
    shares = [len(whole.parts[p]) / ROWS for p in PARTS]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.025)
    for before, after in (("train", "val"), ("val", "test")):
        gap = whole.parts[after]["time"].min() - whole.parts[before]["time"].max()
        assert gap > pd.Timedelta(seconds=EMBARGO_S)
    assert [set(whole.parts[a]["run"]) & set(whole.parts[b]["run"]) for a in PARTS for b in PARTS if a < b] == [
        set()
    ] * 3
    assert whole.units == {p: whole.parts[p]["run"].nunique() for p in PARTS}
    assert sum(whole.units.values()) >= 30


def test_train_are_the_generated_units_and_the_rest_the_seeds_own(
    machine: Profile, seeds: SeedUnits, whole: Composed
) -> None:
    """A run's remaining life at its first row is its unit's life."""

    def lives(part: str) -> list[float]:
        first = whole.parts[part].groupby("run")["rul"].first().dropna()
        return [float(v) for v in first.iloc[1:-1]]

    units = draw_units(machine, units_needed(machine, ROWS), 99)
    for part, table in (("train", units), ("val", seeds.val), ("test", seeds.test)):
        known = np.round(table["life_h"].to_numpy())
        found = lives(part)
        assert found, part
        assert set(found) <= set(known), part


def test_the_same_call_gives_the_same_rows(machine: Profile, seeds: SeedUnits, whole: Composed) -> None:
    again = composed(machine, seeds)
    for part in PARTS:
        pd.testing.assert_frame_equal(whole.parts[part], again.parts[part])


def test_a_dataset_larger_than_the_seed_draws_more_unseen_units(machine: Profile, seeds: SeedUnits) -> None:
    few = SeedUnits(seeds.train, seeds.judge, seeds.val.head(2), seeds.test.head(2))
    parts = composed(machine, few, rows=60_000).parts
    for part in ("val", "test"):
        assert parts[part]["run"].nunique() > 5
        lives_h = parts[part].groupby("run")["rul"].first().dropna()
        assert lives_h.nunique() > 0.8 * len(lives_h)  # two, if the seed's were used again and again


def test_units_that_do_not_last_are_refused(machine: Profile, seeds: SeedUnits) -> None:
    short = draw_units(machine, units_needed(machine, ROWS), 99).assign(life_h=80.0)
    with pytest.raises(NightshiftError, match="far shorter"):
        compose(machine, short, seeds.val, seeds.test, rows=ROWS, seed=7, embargo_s=EMBARGO_S)


def test_units_that_live_so_long_that_there_are_few_are_refused_with_enough_rows(
    machine: Profile, seeds: SeedUnits
) -> None:
    units = draw_units(machine, units_needed(machine, ROWS), 99).assign(life_h=2_000.0)
    with pytest.raises(UsageError, match=r"24,000 rows hold \d+ runs of these units, at least 30") as raised:
        compose(machine, units, seeds.val, seeds.test, rows=ROWS, seed=7, embargo_s=EMBARGO_S)
    rows = int(raised.value.hint.split()[-1].rstrip("."))
    assert rows > ROWS


def test_the_parts_are_what_one_roll_out_gives(machine: Profile, seeds: SeedUnits, whole: Composed) -> None:
    """Cut out of one calendar: no run begins before the one before it has ended."""
    every = pd.concat([whole.parts[p] for p in PARTS])
    times = every.groupby("run")["time"].agg(["min", "max"])
    assert (times["min"].to_numpy()[1:] > times["max"].to_numpy()[:-1]).all()
    rolled = roll(machine, draw_units(machine, 40, 1), seed=7)
    assert list(rolled.frame.columns) == list(every.columns)
