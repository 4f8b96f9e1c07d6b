"""Forests are planned as large as the target has room for, and no larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nightshift.trainer.gluon.config import TabularConfig, member_hyperparameters
from nightshift.trainer.gluon.forest_size import Grown, leaves_grown, most_nodes, planned

CONFIG = TabularConfig()
MEMBERS = member_hyperparameters(CONFIG)
MANY = Grown(n_rows=50_000, n_features=20)


def large(kind: str, settings: Mapping[str, Any]) -> int:
    """Trees that take all the leaves they may."""
    return 10_000


def never(kind: str, settings: Mapping[str, Any]) -> int:
    raise AssertionError("no tree need be grown to know this")


def test_what_fits_is_left_as_configured() -> None:
    plan = planned(MEMBERS, MANY, 350_000, never)
    assert plan.members is MEMBERS
    assert plan.said == ""
    assert plan.most_nodes == 400 * 61 + 400 * 127 + 400 * 127 + 100 * 999


def test_forests_give_up_trees_first_and_then_leaves() -> None:
    for room, trees, leaves in ((190_000, 95, 500), (60_000, 50, 300)):
        plan = planned(MEMBERS, MANY, room, large)
        forest = plan.members["RF"]
        assert (forest["n_estimators"], forest["max_leaf_nodes"]) == (trees, leaves)
        assert plan.nodes["RF"] <= room / 2, "half the room is the forests' whatever boosted members could take"
        assert {kind: plan.members[kind] for kind in ("GBM", "XGB", "CAT")} == {
            kind: MEMBERS[kind] for kind in ("GBM", "XGB", "CAT")
        }
        assert f"RF 100 trees of 500 leaves → {trees} trees of {leaves} leaves" in plan.said
        assert "MB of memory" in plan.said
    assert MEMBERS["RF"]["n_estimators"] == 100


def test_forests_that_stay_small_on_these_rows_are_left_as_configured() -> None:
    plan = planned(MEMBERS, MANY, 190_000, lambda kind, settings: 20)
    assert plan.members is MEMBERS
    assert plan.nodes["RF"] == 100 * 39


def test_the_leaves_of_a_forest_are_seen_on_a_few_trees() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2_000, 3)).astype(np.float32)
    features[::7, 1] = np.nan
    easy, noise = (features[:, 0] > 0).astype(np.int64), rng.integers(0, 2, 2_000)
    for kind in ("RF", "XT"):
        settings = {**MEMBERS[kind], "max_leaf_nodes": 300} if kind in MEMBERS else {"max_leaf_nodes": 300}
        assert leaves_grown(kind, settings, features, noise, classes=True) > 250
    assert leaves_grown("RF", MEMBERS["RF"], features, easy, classes=True) < 30
    assert leaves_grown("RF", MEMBERS["RF"], features, features[:, 0], classes=False) > 100


def test_two_forests_share_the_room_and_folds_count() -> None:
    members = dict.fromkeys(("RF", "XT"), MEMBERS["RF"])
    plan = planned(members, Grown(50_000, 20, copies=3), 120_000, large)
    assert plan.nodes["RF"] == plan.nodes["XT"]
    assert 0.9 * 120_000 <= plan.most_nodes <= 120_000


@pytest.mark.parametrize(
    ("kind", "settings", "nodes"),
    [
        ("RF", {"n_estimators": 10, "max_leaf_nodes": 500, "min_samples_leaf": 4}, 10 * (2 * 25 - 1)),
        ("XT", {"n_estimators": 10, "max_leaf_nodes": 500, "min_samples_leaf": 0.1}, 10 * (2 * 10 - 1)),
        ("GBM", {"num_boost_round": 7, "num_leaves": 31, "min_data_in_leaf": 20}, 7 * 9),
        ("XGB", {"n_estimators": 7, "max_depth": 3}, 7 * 15),
        ("CAT", {"iterations": 7, "depth": 3}, 7 * 15),
    ],
)
def test_few_rows_grow_few_leaves(kind: str, settings: dict[str, float], nodes: int) -> None:
    assert most_nodes(kind, settings, Grown(100, 5)) == nodes
    assert most_nodes(kind, settings, Grown(100, 5, copies=3)) == 3 * nodes
