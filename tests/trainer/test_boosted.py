"""One booster: stopped early, cut to the target's room, the same for any number of threads, exact in its graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from nightshift.errors import DataError, InterruptedTraining
from nightshift.family import Limits, RunContext
from nightshift.trainer.boosted import Boosted, BoostedSettings, BoostedTable, fit_boosted

SETTINGS = BoostedSettings(
    n_estimators=200,
    tree_depth=4,
    learning_rate=0.1,
    max_leaves=8,
    min_leaf_rows=5,
    row_share=0.8,
    feature_share=0.7,
    l2=1.0,
    patience=10,
    seed=3,
)


def context(folder: Path, **change: object) -> RunContext:
    given = {"limits": Limits(), "time_limit_s": 60.0, "threads": 1} | change
    return RunContext(cell="0" * 64, seed=3, work=folder, checkpoints=folder, **given)  # type: ignore[arg-type]


def table(kinds: bool = False, seed: int = 0) -> BoostedTable:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(600, 5)).astype(np.float32)
    signal = features[:, 0] + features[:, 1] * features[:, 2] + rng.normal(0, 0.3, 600)
    features[::9, 3] = np.nan
    target = np.digitize(signal, [-0.6, 0.6]) if kinds else signal
    names = tuple("abcde")
    return BoostedTable(names, features[:400], target[:400], None, features[400:], target[400:])


def test_training_ends_when_the_tuning_windows_get_no_better_and_keeps_the_best_round(tmp_path: Path) -> None:
    fitted = fit_boosted(table(), SETTINGS, context(tmp_path), objective="squared")
    assert fitted.rounds < fitted.rounds_tried < SETTINGS.n_estimators
    assert fitted.rounds_tried - fitted.rounds == SETTINGS.patience
    given = table()
    loss = float(np.mean((fitted.answer(given.tuning) - given.tuning_target) ** 2))
    assert loss == pytest.approx(fitted.tuning_loss)
    assert loss < 0.6 * np.var(given.tuning_target)
    assert fitted.importance().sum() == pytest.approx(1.0)
    assert fitted.importance()[:3].sum() > 0.8


def test_kinds_are_probabilities_and_weights_move_them(tmp_path: Path) -> None:
    given, ctx = table(kinds=True), context(tmp_path)
    fitted = fit_boosted(given, SETTINGS, ctx, objective="kinds", n_kinds=3)
    answer = fitted.answer(given.tuning)
    assert answer.shape == (200, 3)
    np.testing.assert_allclose(answer.sum(axis=1), 1.0)
    assert np.mean(answer.argmax(axis=1) == given.tuning_target) > 0.6
    heavy = dataclasses.replace(given, weight=np.where(given.target == 0, 9.0, 1.0))
    moved = fit_boosted(heavy, SETTINGS, ctx, objective="kinds", n_kinds=3).answer(given.tuning)
    assert moved[:, 0].mean() > answer[:, 0].mean() + 0.05
    assert fitted.answer(given.tuning[:0]).shape == (0, 3)


def test_what_was_saved_answers_the_same_and_threads_change_nothing(tmp_path: Path) -> None:
    given = table()
    fitted = fit_boosted(given, SETTINGS, context(tmp_path), objective="absolute")
    again = fit_boosted(given, SETTINGS, context(tmp_path, threads=2), objective="absolute")
    fitted.save(tmp_path)
    loaded = Boosted.load(tmp_path, rounds_tried=fitted.rounds_tried, tuning_loss=fitted.tuning_loss)
    for other in (again, loaded):
        np.testing.assert_array_equal(other.answer(given.tuning), fitted.answer(given.tuning))
        assert (other.rounds, other.rounds_tried) == (fitted.rounds, fitted.rounds_tried)
    assert fitted.answer(given.tuning[:0]).shape == (0,)


def test_a_target_with_little_room_keeps_fewer_rounds_and_says_so(tmp_path: Path) -> None:
    ctx = context(tmp_path, limits=Limits(size_mb=0.005))
    fitted = fit_boosted(table(), SETTINGS, ctx, objective="squared")
    [found] = ctx.findings
    assert found.code == "T015"
    assert found.what.startswith(f"{fitted.rounds} of ")
    trees = fitted.booster.dump_model()["tree_info"]
    assert sum(2 * tree["num_leaves"] - 1 for tree in trees) * 35 <= 5_000


def test_few_windows_are_split_all_the_same(tmp_path: Path) -> None:
    given = table()
    few = dataclasses.replace(given, train=given.train[:80], target=given.target[:80])
    coarse = dataclasses.replace(SETTINGS, min_leaf_rows=60)
    fitted = fit_boosted(few, coarse, context(tmp_path), objective="squared")
    assert fitted.tuning_loss < 0.8 * np.var(given.tuning_target)


def test_the_time_limit_ends_training_and_says_so(tmp_path: Path) -> None:
    ctx = context(tmp_path, time_limit_s=1e-9)
    assert fit_boosted(table(), SETTINGS, ctx, objective="squared").rounds == 1
    assert [f.code for f in ctx.findings] == ["T004"]


def test_who_asks_to_stop_is_heard_within_a_round(tmp_path: Path) -> None:
    told: list[str] = []
    ctx = context(tmp_path, should_stop=lambda: bool(told), progress=lambda event: told.append(event.message))
    with pytest.raises(InterruptedTraining):
        fit_boosted(table(), SETTINGS, ctx, objective="squared")
    assert len(told) == 1
    assert told[0].startswith("Round 25/200 · val ")


def test_inputs_that_stand_still_are_an_error(tmp_path: Path) -> None:
    given = table()
    still = dataclasses.replace(given, train=np.full_like(given.train, np.nan))
    with pytest.raises(DataError, match="missing, or stands still"):
        fit_boosted(still, SETTINGS, context(tmp_path), objective="squared")
