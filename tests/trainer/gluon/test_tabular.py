"""The AutoGluon fit: what it is given, what it keeps, and what it says when cut short."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nightshift.errors import ConfigError, DataError, InterruptedTraining
from nightshift.family import Limits, RunContext
from nightshift.progress import ProgressEvent
from nightshift.trainer.gluon.config import Budget, TabularConfig, member_hyperparameters
from nightshift.trainer.gluon.tabular import (
    TabularModel,
    TrainingTable,
    _note_late,
    _time_remedy,
    fit_tabular,
    run_folds,
)
from nightshift.trainer.tree_cost import memory_mb

SMALL = TabularConfig(boost_rounds=12, forest_trees=8, min_leaf_rows=5)
PI = Limits(model_types=("GBM", "RF", "XGB", "CAT", "XT"), ceilings={"num_bag_folds": 3})


def context(folder: Path, **changes: object) -> RunContext:
    ctx = RunContext(
        cell="0" * 64, seed=1, limits=PI, work=folder, checkpoints=folder / "c", time_limit_s=120.0, threads=1
    )
    return replace(ctx, **changes)  # type: ignore[arg-type]


def table(seed: int = 0, n: int = 240) -> TrainingTable:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + 60, 4)).astype(np.float32)
    features[:, 3] = 7.0
    target = (features[:, 0] + 0.5 * features[:, 1] + rng.normal(0, 0.3, n + 60) > 0.3).astype(np.int64)
    features[rng.random(features.shape) < 0.05] = np.nan
    names = ("load [Nm]", "a,b", "speed__mean", "still")
    return TrainingTable(names, features[:n], target[:n], np.repeat(np.arange(12), n // 12), features[n:], target[n:])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TabularModel, list[ProgressEvent]]:
    events: list[ProgressEvent] = []
    ctx = context(tmp_path_factory.mktemp("fit"), progress=events.append)
    return fit_tabular(table(), SMALL, ctx, problem="binary"), events


def test_every_configured_member_is_fitted_weighed_and_reported(
    fitted: tuple[TabularModel, list[ProgressEvent]],
) -> None:
    model, events = fitted
    names = {m.name for m in model.notes.members}
    assert {"LightGBM", "RandomForest", "XGBoost", "CatBoost"} < names
    weights = [m.weight for m in model.notes.members if m.weight is not None]
    assert sum(weights) == pytest.approx(1.0)
    assert all(m.size_mb for m in model.notes.members)
    assert [e.message for e in events][:4] == ["LightGBM", "RandomForest", "CatBoost", "XGBoost"]
    assert all(e.step <= (e.total or 0) for e in events)


def test_answers_are_probabilities_for_any_number_of_rows(fitted: tuple[TabularModel, list[ProgressEvent]]) -> None:
    model, _ = fitted
    for rows in (0, 1, 60):
        answer = model.answer(table().tuning[:rows])
        assert answer.shape == (rows, 2)
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer.sum(axis=1), 1.0, rtol=1e-6)


def test_a_kept_model_answers_the_same(fitted: tuple[TabularModel, list[ProgressEvent]], tmp_path: Path) -> None:
    model, _ = fitted
    model.save(tmp_path)
    loaded = TabularModel.load(tmp_path)
    assert loaded.notes == model.notes
    np.testing.assert_array_equal(loaded.answer(table().tuning), model.answer(table().tuning))


def test_packages_are_read_once_and_members_are_not_measured(
    fitted: tuple[TabularModel, list[ProgressEvent]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autogluon.core.models import AbstractModel

    done: list[str] = []
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: done.append("packages") or ())
    monkeypatch.setattr(AbstractModel, "_get_memory_size", lambda _self: done.append("memory") or 0)
    fitted[0].save(tmp_path)
    loaded = TabularModel.load(tmp_path)
    assert loaded.predictor.model_names(persisted=True)
    assert not done


def test_bagging_keeps_runs_whole_and_stays_within_the_target(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"preset": "high", "model_types": ("GBM",)})
    model = fit_tabular(table(), config, context(tmp_path), problem="binary")
    assert model.notes.bag_folds == 3, "the preset asks for 5, the target allows 3"
    assert any("BAG" in m.name for m in model.notes.members)
    assert model.answer(table().tuning).shape == (60, 2)


def test_folds_hold_whole_runs_and_nearly_as_many_each() -> None:
    group = np.repeat(np.arange(11), 5)
    fold = run_folds(group, 3, seed=4)
    assert all(len(set(fold[group == run])) == 1 for run in range(11))
    assert sorted(np.bincount(fold[::5])) == [3, 4, 4]
    np.testing.assert_array_equal(fold, run_folds(group, 3, seed=4))
    with pytest.raises(DataError, match="2 training runs make no 3 folds"):
        run_folds(group[:10], 3, seed=4)


def test_an_autogluon_preset_passes_through_with_our_models(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"preset": "medium_quality", "model_types": ("GBM", "RF")})
    model = fit_tabular(table(), config, context(tmp_path), problem="binary")
    assert {m.name for m in model.notes.members} == {"LightGBM", "RandomForest", "WeightedEnsemble_L2"}


def test_regression_answers_one_value_a_row(tmp_path: Path) -> None:
    given = table()
    given = replace(given, target=given.train[:, 2] * 10 + 50, tuning_target=given.tuning[:, 2] * 10 + 50)
    good = np.isfinite(given.target)
    given = replace(given, train=given.train[good], target=given.target[good], group=given.group[good])
    good = np.isfinite(given.tuning_target)
    given = replace(given, tuning=given.tuning[good], tuning_target=given.tuning_target[good])
    config = SMALL.model_copy(update={"model_types": ("GBM", "XT"), "boost_rounds": 60})
    model = fit_tabular(given, config, context(tmp_path), problem="regression")
    answer = model.answer(given.tuning)
    assert answer.shape == (len(given.tuning),)
    assert np.corrcoef(answer, given.tuning_target)[0, 1] > 0.9
    assert model.answer(given.tuning[:0]).shape == (0,)


def test_too_many_rows_are_thinned_and_said(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    config = SMALL.model_copy(update={"max_rows": 100, "model_types": ("GBM",)})
    model = fit_tabular(table(), config, ctx, problem="binary")
    assert model.notes.train_rows == 100
    assert [f.code for f in ctx.findings] == ["T008"]
    assert "100 of 240" in ctx.findings[0].what


def test_members_that_the_time_limit_cut_are_named(tmp_path: Path) -> None:
    ctx = context(tmp_path, time_limit_s=2.0)
    config = SMALL.model_copy(update={"model_types": ("RF",), "forest_trees": 20_000, "forest_leaf_nodes": 2})
    rng = np.random.default_rng(0)
    given = table()
    more = rng.normal(size=(4000, 4)).astype(np.float32)
    given = replace(given, train=more, target=rng.integers(0, 2, 4000), group=np.arange(4000))
    fit_tabular(given, config, ctx, problem="binary")
    assert ctx.findings[0].code == "T004"
    assert "RandomForest" in ctx.findings[0].what
    said = ctx.findings[0].remedy
    assert "time_limit_s=2," in said
    assert "forest_trees=20000, max_rows=50000" in said
    assert "'RandomForest' costs most" in said
    assert "boost_rounds" not in said, "no boosted member is trained"


def test_a_fit_over_its_time_names_keys_values_and_the_slowest_member(tmp_path: Path) -> None:
    ctx = context(tmp_path, time_limit_s=0.5)
    remedy = _time_remedy(SMALL, member_hyperparameters(SMALL), {"LightGBM": 0.2, "CatBoost": 0.4}, ctx)
    _note_late(0.4, ctx, remedy)
    assert not ctx.findings
    _note_late(0.6, ctx, remedy)
    [found] = ctx.findings
    assert found.code == "T013"
    assert "0.6 s, the time limit is 0.5 s" in found.what
    assert "time_limit_s=0.5" in found.remedy
    assert "boost_rounds=12, forest_trees=8, max_rows=50000. 'CatBoost' costs most (0.4 s to fit)." in found.remedy


def test_a_forest_that_the_target_has_no_room_for_is_fitted_smaller_and_said(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"model_types": ("RF",), "forest_trees": 90})
    ctx = context(tmp_path, limits=PI.model_copy(update={"memory_mb": memory_mb(3_000)}))
    model = fit_tabular(table(), config, ctx, problem="binary")
    [found] = [f for f in ctx.findings if f.code == "T015"]
    assert "RF 90 trees of 500 leaves → " in found.what
    assert "log_loss on the tuning rows, each forest alone, grown on 240 rows: RF " in found.what
    assert model.notes.remarks == (found.what,)
    assert model.notes.most_nodes <= 3_000
    forest = model.predictor._trainer.load_model("RandomForest").model
    assert 50 <= forest.n_estimators < 90
    assert sum(tree.tree_.node_count for tree in forest.estimators_) <= 3_000


def test_a_stop_ends_the_fit_between_members(tmp_path: Path) -> None:
    seen: list[str] = []
    ctx = context(tmp_path, progress=lambda e: seen.append(e.message), should_stop=lambda: len(seen) >= 2)
    with pytest.raises(InterruptedTraining, match="stopped"):
        fit_tabular(table(), SMALL, ctx, problem="binary")
    assert len(seen) == 2


def test_features_that_all_stand_still_are_refused(tmp_path: Path) -> None:
    given = replace(table(), train=np.full((240, 4), 3.0, np.float32))
    with pytest.raises(DataError, match="no feature varies"):
        fit_tabular(given, SMALL, context(tmp_path), problem="binary")


def test_a_network_of_one_seed_answers_the_same_whenever_it_is_trained(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"model_types": ("NN_TORCH",), "hyperparameters": {"NN_TORCH": {"num_epochs": 3}}})
    answers = []
    for run, seed in enumerate((5, 5, 6)):
        np.random.seed(run)  # what ran before in the process must not matter
        ctx = context(tmp_path / str(run), limits=Limits(model_types=("NN_TORCH",)))
        model = fit_tabular(table(), config.model_copy(update={"seed": seed}), ctx, problem="binary")
        assert any(m.name == "NeuralNetTorch" for m in model.notes.members)
        model.predictor.set_model_best("NeuralNetTorch")
        answers.append(model.answer(table().tuning))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


def test_a_network_is_trained_only_where_the_target_names_it() -> None:
    config = SMALL.model_copy(update={"model_types": ("GBM", "NN_TORCH")})
    for limits in (PI, Limits()):
        with pytest.raises(ConfigError, match=r"'NN_TORCH' is not allowed on this target.*Allowed: GBM, RF"):
            Budget.of(config, limits)
    assert Budget.of(config, Limits(model_types=("GBM", "NN_TORCH"))).scale == 1
    assert "NN_TORCH" not in TabularConfig().model_types


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "fsat"}, "fast"),
        ({"model_types": ("XT",)}, "Allowed: GBM, RF"),
        ({"num_bag_folds": 1}, "2 folds or more"),
        ({"num_stack_levels": 1}, "stacking needs bagging"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Budget.of(SMALL.model_copy(update={"model_types": ("GBM",), **changes}), Limits(model_types=("GBM", "RF")))


def test_the_presets_are_those_of_autogluon_and_our_own() -> None:
    from autogluon.tabular.configs.presets_configs import tabular_presets_alias, tabular_presets_dict

    assert set(TabularConfig.presets) == {"fast", "standard", "high", *tabular_presets_dict, *tabular_presets_alias}


def test_longer_presets_take_more_and_smaller_steps() -> None:
    fast, longer = (member_hyperparameters(SMALL, scale)["GBM"] for scale in (1, 2))
    assert longer["num_boost_round"] == 2 * fast["num_boost_round"]
    assert longer["learning_rate"] == fast["learning_rate"] / 2


def test_own_hyperparameters_win() -> None:
    config = TabularConfig.model_validate({"hyperparameters": {"GBM": {"num_leaves": 7}}})
    assert member_hyperparameters(config)["GBM"]["num_leaves"] == 7
    assert member_hyperparameters(config)["XGB"]["max_depth"] == 6
