"""What a smaller forest costs is tried where a forest was made smaller, told with both scores, and bounded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss

from nightshift.family import Limits, RunContext
from nightshift.trainer.gluon import forest_cost
from nightshift.trainer.gluon.forest_cost import with_cost
from nightshift.trainer.gluon.forest_size import Plan
from nightshift.trainer.gluon.tabular import TrainingTable
from nightshift.trainer.tree_cost import size_mb

SETTINGS = {"n_estimators": 12, "max_leaf_nodes": 60, "min_samples_leaf": 2, "max_features": 0.5, "random_state": 3}
CONFIGURED: dict[str, dict[str, Any]] = {"GBM": {"num_boost_round": 9}, "RF": {**SETTINGS, "ag_args": 1}}
SMALLER = {**CONFIGURED, "RF": {**SETTINGS, "n_estimators": 7, "max_leaf_nodes": 4}}
PLAN = Plan(SMALLER, {}, said="Forests were made smaller.")


def context(folder: Path) -> RunContext:
    return RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=folder, checkpoints=folder / "c", time_limit_s=60.0, threads=1
    )


def table() -> TrainingTable:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(700, 4)).astype(np.float32)
    target = (np.sin(2 * features[:, 0]) * features[:, 1] > 0).astype(np.int64)
    features[::9, 2] = np.nan
    return TrainingTable(
        tuple("abcd"), features[:500], target[:500], np.arange(500) // 50, features[500:], target[500:]
    )


def forest(given: TrainingTable, settings: dict[str, Any]) -> RandomForestClassifier:
    return RandomForestClassifier(**settings).fit(np.nan_to_num(given.train), given.target)


@pytest.mark.parametrize("leaves", [4, 60], ids=["fewer leaves", "fewer trees alone"])
def test_both_sizes_are_told_with_what_they_score_on_the_tuning_rows(leaves: int, tmp_path: Path) -> None:
    ctx, given = context(tmp_path), table()
    ours = {**SETTINGS, "n_estimators": 7, "max_leaf_nodes": leaves}
    planned = replace(PLAN, members={**CONFIGURED, "RF": {**ours, "ag_args": 1}})
    plan = with_cost(planned, CONFIGURED, given, ctx, classes=True, left_s=60.0)
    [found] = ctx.findings
    assert (found.code, found.what) == ("T015", plan.said)
    assert replace(plan, said=PLAN.said) == planned
    told = []
    for made in (forest(given, SETTINGS), forest(given, ours)):
        said = np.clip(made.predict_proba(np.nan_to_num(given.tuning)), 1e-7, 1 - 1e-7)
        most = max(tree.get_n_leaves() for tree in made.estimators_)
        megabytes = size_mb(sum(tree.tree_.node_count for tree in made.estimators_))
        shape = f"{len(made.estimators_)} trees of up to {most} leaves"
        told.append(f"{log_loss(given.tuning_target, said):.4g} ({shape}, {megabytes:.3g} MB)")
    assert plan.said == (
        "Forests were made smaller. log_loss on the tuning rows, each forest alone, grown on 500 rows: "
        f"RF {told[0]} → {told[1]}."
    )


def test_where_nothing_was_made_smaller_nothing_is_grown(tmp_path: Path) -> None:
    plan, ctx = Plan(CONFIGURED, {}), context(tmp_path)
    # A number of trees that no forest could have: growing it would fail.
    assert with_cost(plan, {"RF": {"n_estimators": "many"}}, table(), ctx, classes=True, left_s=60.0) is plan
    assert not ctx.findings


def test_a_forest_of_numbers_is_judged_by_its_error(tmp_path: Path) -> None:
    given = table()
    given = replace(given, target=given.train[:, 0] * 10, tuning_target=given.tuning[:, 0] * 10)
    plan = with_cost(PLAN, CONFIGURED, given, context(tmp_path), classes=False, left_s=60.0)
    scores = re.search(r"root_mean_squared_error .* RF ([\d.]+) \(12 .* → ([\d.]+) \(7 trees of up to 4", plan.said)
    assert scores
    assert float(scores[1]) < float(scores[2])


def test_rows_and_time_are_bounded_and_what_is_not_known_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forest_cost, "MOST_ROWS", 90)
    assert "grown on 90 rows" in with_cost(PLAN, CONFIGURED, table(), context(tmp_path), classes=True, left_s=60.0).said
    late = with_cost(PLAN, CONFIGURED, table(), context(tmp_path), classes=True, left_s=-1.0).said
    assert late.endswith("What that costs RF is not known: there was too little time to grow the larger one.")
    endless = {**CONFIGURED, "RF": {**SETTINGS, "n_estimators": 10_000_000}}
    part = with_cost(PLAN, endless, table(), context(tmp_path), classes=True, left_s=0.5).said
    assert re.search(r"RF [\d.]+ \(\d+ of 10000000 trees .* → [\d.]+ \(7 trees", part)


def test_rows_of_one_class_alone_still_have_a_score(tmp_path: Path) -> None:
    given = replace(table(), target=np.ones(500, dtype=np.int64))
    assert "RF " in with_cost(PLAN, CONFIGURED, given, context(tmp_path), classes=True, left_s=60.0).said
