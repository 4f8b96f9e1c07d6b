"""A table lands in the parts that it is given, as data of its own group, or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support import tables

from nightshift.data.dataset import Dataset
from nightshift.data.groups import group_of
from nightshift.data.store import subjects, versions
from nightshift.data.tables import land_table
from nightshift.data.validate import validate
from nightshift.errors import BlockedError, DataError, NightshiftError, UnknownNameError, UsageError
from nightshift.settings import Home

PARTS = {"train": np.arange(140), "val": np.arange(140, 160), "test": np.arange(160, 200)}


def landed(home: Home, subject: str = "shop", table: pd.DataFrame | None = None, **told: object) -> Dataset:
    table = tables.made(200) if table is None else table
    X, y = table.drop(columns=["y", "v"]), table["y"]
    given = {"parts": PARTS, "classes": ("no", "yes"), **told}
    return land_table(home, subject, X, y, **given)  # type: ignore[arg-type]


def test_a_table_is_its_columns_its_parts_and_its_target(home: Home) -> None:
    data = landed(home, source="shop.csv")
    assert group_of(home, "shop", data.fingerprint) == "estimator"
    assert data.metadata.offers == {"class"}
    assert {part: figures.rows for part, figures in data.metadata.parts.items()} == {
        "train": 140,
        "val": 20,
        "test": 40,
    }
    colours = next(sensor for sensor in data.metadata.sensors if sensor.name == "colour")
    assert colours.categories == ("blue", "green", "red")
    assert data.truth("test", "class").tolist() == (tables.made(200)["y"][160:] == "yes").astype(float).tolist()
    assert len(np.unique(data.runs("train"))) == 140
    assert [found.code for found in validate(data, frozenset({"class"})) if found.severity == "blocker"] == []
    assert "D001" in {found.code for found in validate(data, frozenset({"value"}))}


def test_the_same_table_lands_once_and_other_parts_are_another(home: Home) -> None:
    assert landed(home).new
    assert not landed(home).new
    assert landed(home, parts={**PARTS, "train": np.arange(139)}).new
    assert len(versions(home, "shop")) == 2


def test_what_belongs_together_is_a_run(home: Home) -> None:
    groups = pd.Series([f"car {number // 20}" for number in range(200)])
    data = landed(home, groups=groups)
    assert [len(np.unique(data.runs(part))) for part in ("train", "val", "test")] == [7, 1, 2]


@pytest.mark.parametrize(
    ("change", "told", "kind", "said"),
    [
        ({"day": pd.Timestamp("2024-01-01")}, {}, DataError, "column 'day' holds datetime64"),
        ({"time": 1.0}, {}, DataError, "column 'time' has no place in a dataset.*reserved"),
        ({"a/b": 1.0}, {}, DataError, "column 'a/b' has no place in a dataset: its name holds '/'"),
        ({"words": pd.Series([None] * 200, dtype=object)}, {}, DataError, "column 'words' has no value"),
        ({"n": pd.Categorical([1, 2] * 100)}, {}, DataError, "column 'n' holds int as categories"),
        ({"f": pd.Series([True, None] * 100, dtype=object)}, {}, DataError, "column 'f' holds bool as categories"),
        ({"a": np.inf}, {}, DataError, "column 'a' holds an infinite value"),
        (
            {},
            {"parts": {part: rows[:10] for part, rows in PARTS.items()}},
            BlockedError,
            "D017: the dataset has 30 rows",
        ),
        ({}, {"subject": "../shop"}, UsageError, "'../shop' is not a machine id"),
        ({}, {"parts": {**PARTS, "test": np.arange(0)}}, DataError, "the test part is empty"),
    ],
)
def test_what_has_no_place_in_a_bundle_is_refused_whole(
    home: Home, change: dict[str, object], told: dict[str, object], kind: type[NightshiftError], said: str
) -> None:
    subject = str(told.pop("subject", "shop"))
    with pytest.raises(kind, match=said):
        landed(home, subject, tables.made(200).assign(**change), **told)
    assert subjects(home) == ()


def test_other_data_keep_their_name(home: Home) -> None:
    landed(home)
    table = tables.made(200)
    with pytest.raises(UnknownNameError, match=r"unknown target of the table 'shop': 'v'.*y"):
        land_table(home, "shop", table.drop(columns=["y", "v"]), table["v"], PARTS)
    from support.machine import land_demo

    machine = land_demo(home, seed=3)
    with pytest.raises(UsageError, match="holds data of a machine, no table"):
        landed(home, machine.subject)
