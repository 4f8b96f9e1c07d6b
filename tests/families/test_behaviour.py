"""Kinds of driving: what is true of a window, kinds that are missing or not known, and trees that route exactly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from support.family_runs import small_context
from support.vehicles import STYLES, metadata, trips

from nightshift.data.dataset import Dataset
from nightshift.data.store import land
from nightshift.errors import DataError
from nightshift.families._boosted import BoostedModel
from nightshift.families.behaviour import FAMILY, BehaviourConfig, held_back, window_kinds
from nightshift.family import RunContext
from nightshift.graphs.parity import split_thresholds
from nightshift.problems.classification import PROBLEM
from nightshift.settings import Home

Made = tuple[BoostedModel, BehaviourConfig, RunContext]


@pytest.fixture(scope="module")
def made(session_home: Home, vehicle_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Made:
    config, ctx = small_context(session_home, "behaviour", tmp_path_factory.mktemp("behaviour"))
    assert isinstance(config, BehaviourConfig)
    few = config.model_copy(update={"n_estimators": 60, "min_leaf_rows": 10})
    return FAMILY.train(vehicle_data, few, ctx), few, ctx


def changed(home: Home, subject: str, change: dict[str, dict[str, str | None]]) -> Dataset:
    """The small fleet with kinds renamed in some parts; None takes the label away."""
    parts = trips()
    for part, names in change.items():
        parts[part]["behaviour"] = parts[part]["behaviour"].map(lambda kind, names=names: names.get(kind, kind))
    return land(home, parts, metadata(subject))


def test_a_window_is_of_the_kind_of_most_of_its_rows() -> None:
    code = np.array([0, 0, 1, 1, 1, 2, np.nan, np.nan, np.nan, 0])
    ends = np.array([2, 3, 4, 5, 8, 9])
    np.testing.assert_array_equal(window_kinds(code, ends, 3, 3), [0, 1, 1, 1, np.nan, np.nan])
    assert window_kinds(code, np.array([3]), 4, 3)[0] == 0, "the first of equally frequent ones"


def test_the_model_beats_its_baselines_on_cars_it_has_not_seen(made: Made, vehicle_data: Dataset) -> None:
    evaluation = FAMILY.evaluate(made[0], vehicle_data, made[1], made[2])
    best, own = evaluation.best_baseline(), evaluation.score("test")
    assert (evaluation.primary, evaluation.higher_is_better) == ("macro_f1", True)
    assert best is not None
    assert best[0] == "best single feature"
    assert own is not None
    assert own > best[1]
    assert evaluation.statistics is not None
    assert evaluation.statistics.runs == 9
    sums = np.array(evaluation.statistics.values).sum(axis=0)
    assert PROBLEM.from_sums(sums) == pytest.approx(own)
    assert {"f1_calm", "recall_normal", "precision_aggressive"} < set(evaluation.rows[0].metrics)
    wanted = [f for f in evaluation.findings if f.code == "T007"]
    assert all("nightshift train behaviour --n-estimators 90" in f.remedy for f in wanted)


def test_the_gate_and_the_family_judge_the_same(made: Made, vehicle_data: Dataset) -> None:
    samples = FAMILY.samples(made[0].interface, vehicle_data, "test")
    found = PROBLEM.statistics(FAMILY.predict(made[0], samples.inputs), samples)
    evaluation = FAMILY.evaluate(made[0], vehicle_data, made[1], made[2])
    assert found == evaluation.statistics


def test_readings_on_a_split_and_beside_it_go_where_the_library_sends_them(made: Made) -> None:
    """Readings held over the window, so that its newest, least and largest sit on the split to the last bit."""
    model = FAMILY.export(made[0], made[2])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    splits = {made[0].spec.feature_names[i]: values for i, values in split_thresholds(model).items()}
    rng, windows = np.random.default_rng(0), []
    for feature, values in splits.items():
        column, _, statistic = feature.partition("__")
        if statistic not in ("last", "minimum", "maximum") or column not in made[0].spec.columns:
            continue
        for value in values:
            for reading in (value, np.nextafter(value, np.float32(9e9)), np.nextafter(value, np.float32(-9e9))):
                window = rng.normal(size=(made[0].spec.window_rows, len(made[0].spec.columns))).astype(np.float32)
                window[:, made[0].spec.columns.index(column)] = reading
                windows.append(window)
    assert len(windows) > 100
    want = FAMILY.predict(made[0], {"window": np.stack(windows)})
    probability, label = session.run(None, {"window": np.stack(windows)})
    np.testing.assert_array_equal(label, want["label"])
    np.testing.assert_allclose(probability, want["probability"], rtol=0, atol=2e-6)


def test_trips_without_a_label_are_left_out_and_counted(session_home: Home, made: Made, tmp_path: Path) -> None:
    data = changed(session_home, "half_told", {"train": {"normal": None}, "test": {"calm": None}})
    ctx = dataclasses.replace(made[2], work=tmp_path, findings=[])
    fitted = FAMILY.train(data, made[1], ctx)
    assert [f.what for f in ctx.findings if f.code == "D026"] == [
        "5 of 15 trips of the train part have no known behaviour and are left out."
    ]
    assert fitted.summary["train_windows"] == 10 * 17
    evaluation = FAMILY.evaluate(fitted, data, made[1], ctx)
    lacking = [f.what for f in evaluation.findings if f.code == "T018"]
    assert lacking == ["The train part has no window of: normal.", "The test part has no window of: calm."]
    assert any("51 windows of test" in note for note in evaluation.notes)


def test_one_kind_alone_or_none_is_a_clear_error(session_home: Home, made: Made) -> None:
    same = changed(session_home, "all_calm", {"train": dict.fromkeys(STYLES, "calm")})
    with pytest.raises(DataError, match="train part of 'all_calm' holds one kind of driving only: calm"):
        FAMILY.train(same, made[1], made[2])
    none = changed(session_home, "untold", {"val": dict.fromkeys(STYLES, None)})
    with pytest.raises(DataError, match="no window of the val part of 'untold' has a known kind"):
        FAMILY.train(none, made[1], made[2])


def test_a_val_part_without_a_kind_does_not_end_training_by_the_others_alone(
    session_home: Home, made: Made, tmp_path: Path
) -> None:
    data = changed(session_home, "val_calm", {"val": dict.fromkeys(STYLES, "calm")})
    ctx = dataclasses.replace(made[2], work=tmp_path, findings=[])
    fitted = FAMILY.train(data, made[1], ctx)
    assert not [f for f in ctx.findings if f.code == "T018"], "the judging tells it, once"
    assert fitted.summary["train_windows"] == 12 * 17, "of each kind's five trips the second is held back"
    assert fitted.boosted.rounds > 10


def test_of_a_kind_with_one_trip_the_last_windows_are_held_back() -> None:
    trip, kind = np.repeat([1, 2, 3, 4], 8), np.repeat([0, 1, 0, 0], 8)
    held = held_back(trip, kind)
    assert np.flatnonzero(held).tolist() == [14, 15, *range(16, 24)]
    assert held_back(np.zeros(3, np.int64), np.zeros(3, np.int64)).tolist() == [False, False, True]


def test_a_champion_that_knows_the_kinds_in_another_order_is_judged_by_their_names(
    session_home: Home, made: Made, vehicle_data: Dataset
) -> None:
    known = made[0].interface.model_copy(update={"classes": ("aggressive", "calm")})
    own, other = (FAMILY.samples(i, vehicle_data, "val").truth["kind"] for i in (made[0].interface, known))
    names = np.array(STYLES)[own]
    assert [("aggressive", "calm")[k] for k in other] == [n for n in names if n != "normal"]
