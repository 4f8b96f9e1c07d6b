"""The bank of a set: its scenarios by part and kind, made when they are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.splits import split
from nightshift.data.store import land, open_dataset
from nightshift.driving import made
from nightshift.driving.bank import ScenarioBank, with_expert
from nightshift.driving.landing import MadeSet, land_made
from nightshift.errors import DataError, UnknownNameError
from nightshift.settings import Home


@pytest.fixture
def data(home: Home) -> Dataset:
    land_made(home, MadeSet(("curve", "intersection"), scenarios=8, seed=1))
    return open_dataset(home, "adplanning")


def test_scenarios_are_made_by_kind_and_only_those_that_are_asked_for(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_now: list[tuple[str, int]] = []
    real = made.make
    monkeypatch.setattr(
        made, "make", lambda kind, seed, **how: made_now.append((kind, seed)) or real(kind, seed, **how)
    )
    bank = ScenarioBank.open(data)
    assert bank.names("train") == ("curve_010000", "curve_010001", "intersection_010000", "intersection_010001")
    assert not made_now
    heard: list[int] = []
    curves = bank.scenarios("train", ["curve"], on_made=heard.append)
    assert heard == [1, 2]
    assert [s.name for s in curves] == ["curve_010000", "curve_010001"]
    assert made_now == [("curve", 10_000), ("curve", 10_001)]
    assert tuple(s.name for s in bank.scenarios("train")) == bank.names("train")
    made_now.clear()
    # Spread over the part, so over its kinds.
    assert [s.name for s in bank.scenarios("train", at_most=2)] == ["curve_010000", "intersection_010001"]
    assert bank.names("train", None, 2) == ("curve_010000", "intersection_010001")
    assert bank.names("train", ["intersection"]) == ("intersection_010000", "intersection_010001")
    assert len(made_now) == 2
    assert len(bank.scenarios("train", ["curve"], at_most=9)) == 2
    assert not bank.recorded
    with pytest.raises(UnknownNameError, match="curve"):
        bank.scenarios("val", ["curves"])


def test_seeds_that_give_other_scenarios_now_are_refused(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(made, "VERSION", made.VERSION + 1)
        with pytest.raises(DataError, match=f"are of version {made.VERSION - 1}; this program makes version"):
            ScenarioBank.open(data)
    real = made.make
    monkeypatch.setattr(made, "make", lambda kind, seed, **_: replace(real(kind, seed + 1), name=f"{kind}_{seed:06d}"))
    with pytest.raises(DataError, match="'curve_010000' of 'adplanning' is another one than was landed"):
        ScenarioBank.open(data).scenarios("train")


def test_a_machines_data_are_no_bank(home: Home) -> None:
    metadata = describe("pump_1")
    with pytest.raises(DataError, match="'pump_1' holds no driving scenarios"):
        ScenarioBank.open(land(home, split(calendar_rows(), metadata), metadata))


def test_an_experts_metres_are_taken_where_there_are_any() -> None:
    scenarios = [made.make("curve", seed) for seed in range(2)]
    first, second = with_expert(scenarios, lambda some: [123.0, float("nan")])
    assert first.expert_m == 123.0
    assert second.expert_m == scenarios[1].expert_m
