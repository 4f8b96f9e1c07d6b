"""Forests are planned as large as the target has room for, and no larger."""

from __future__ import annotations

import pytest

from nightshift.trainer.room import Grown, most_nodes, planned
from nightshift.trainer.tabular_config import TabularConfig, member_hyperparameters

CONFIG = TabularConfig()
MEMBERS = member_hyperparameters(CONFIG)
MANY = Grown(n_rows=50_000, n_features=20)


def test_what_fits_is_left_as_configured() -> None:
    plan = planned(MEMBERS, MANY, room=350_000)
    assert plan.members is MEMBERS
    assert plan.said == ""
    assert plan.most_nodes == 400 * 61 + 400 * 127 + 400 * 127 + 100 * 999


def test_forests_give_up_trees_first_and_then_leaves() -> None:
    for room, trees, leaves in ((190_000, 95, 500), (60_000, 50, 300)):
        plan = planned(MEMBERS, MANY, room)
        forest = plan.members["RF"]
        assert (forest["n_estimators"], forest["max_leaf_nodes"]) == (trees, leaves)
        assert plan.nodes["RF"] <= room / 2, "half the room is the forests' whatever boosted members could take"
        assert {kind: plan.members[kind] for kind in ("GBM", "XGB", "CAT")} == {
            kind: MEMBERS[kind] for kind in ("GBM", "XGB", "CAT")
        }
        assert f"RF 100 trees of 500 leaves → {trees} trees of {leaves} leaves" in plan.said
        assert "MB of memory" in plan.said
    assert MEMBERS["RF"]["n_estimators"] == 100


def test_two_forests_share_the_room_and_folds_count() -> None:
    members = dict.fromkeys(("RF", "XT"), MEMBERS["RF"])
    plan = planned(members, Grown(50_000, 20, copies=3), room=120_000)
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
