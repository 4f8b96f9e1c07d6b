"""A lighter ensemble: the best of those that fit, told with what it cost, and nothing else kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightshift.family import Limits, RunContext
from nightshift.trainer.gluon.config import TabularConfig
from nightshift.trainer.gluon.lighter import lighter
from nightshift.trainer.gluon.tabular import TabularModel, TrainingTable, fit_tabular

CONFIG = TabularConfig(boost_rounds=25, forest_trees=12, min_leaf_rows=5, model_types=("GBM", "RF", "XT"))
NODES = {"LightGBM": 300, "RandomForest": 900, "ExtraTrees": 500}


def table() -> TrainingTable:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4)).astype(np.float32)
    target = (features[:, 0] + 0.5 * features[:, 1] ** 2 + rng.normal(0, 0.4, 300) > 0.3).astype(np.int64)
    group = np.repeat(np.arange(12), 20)
    return TrainingTable(("a", "b", "c", "d"), features[:240], target[:240], group, features[240:], target[240:])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> TabularModel:
    """A model with two members or more in its best ensemble; a test that changes it takes a copy."""
    return fit_tabular(table(), CONFIG, context(tmp_path_factory.mktemp("fit")), problem="binary")


def copy_of(model: TabularModel, folder: Path) -> TabularModel:
    folder.mkdir()
    model.save(folder)
    return TabularModel.load(folder)


def context(folder: Path) -> RunContext:
    return RunContext(
        cell="0" * 64, seed=1, limits=Limits(), work=folder, checkpoints=folder / "c", time_limit_s=120.0, threads=1
    )


def weights(model: TabularModel) -> dict[str, float]:
    return {m.name: m.weight for m in model.notes.members if m.weight}


def test_an_ensemble_that_fits_is_left_alone(kept: TabularModel, tmp_path: Path) -> None:
    ctx = context(tmp_path)
    assert lighter(kept, table(), NODES, 1700, ctx) is kept
    assert not ctx.findings


def test_the_best_of_the_sets_that_fit_ships_and_its_cost_is_said(kept: TabularModel, tmp_path: Path) -> None:
    whole = weights(kept)
    assert len(whole) >= 2, "the test needs an ensemble with something to give up"
    room = max(NODES[name] for name in whole)
    nodes = {**NODES, max(whole, key=lambda name: whole[name]): room + 1}
    ctx = context(tmp_path)
    model = lighter(copy_of(kept, tmp_path / "copy"), table(), nodes, room, ctx)
    shipped = weights(model)
    assert sum(nodes[name] for name in shipped) <= room
    assert sum(shipped.values()) == pytest.approx(1.0)
    assert model.notes.best == model.predictor.model_best
    assert set(model.predictor.model_names()) == {*shipped, model.notes.best}
    [found] = ctx.findings
    assert found.code == "T015"
    assert model.notes.remarks == (found.what,)
    scores = {m.name: m.score for m in model.notes.members}
    assert f"{scores[kept.notes.best]:.4g} → {scores[model.notes.best]:.4g}" in found.what
    dropped = sorted(set(whole) - set(shipped))
    assert dropped
    assert f"without {', '.join(dropped)}: about" in found.what
    for name in set(NODES) - {n for n, count in nodes.items() if count > room}:
        assert scores[model.notes.best] <= scores[name] + 1e-9, "no member that fits alone is better"
    loaded = copy_of(model, tmp_path / "again")
    np.testing.assert_array_equal(loaded.answer(table().tuning), model.answer(table().tuning))


def test_where_nothing_fits_the_lightest_member_ships_and_that_is_said(kept: TabularModel, tmp_path: Path) -> None:
    ctx = context(tmp_path)
    model = lighter(copy_of(kept, tmp_path / "copy"), table(), NODES, 10, ctx)
    assert model.notes.best == "LightGBM"
    assert model.predictor.model_names() == ["LightGBM"]
    assert "No member alone is small enough" in ctx.findings[0].what
    assert model.answer(table().tuning).shape == (60, 2)
