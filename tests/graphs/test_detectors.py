"""The anomaly vote: the graph agrees with the libraries, also where rows sit on a threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from nightshift.errors import ConfigError, DataError, TrainingError
from nightshift.graphs.build import Graph
from nightshift.graphs.detector_members import FitInputs, IsolationForestMember, floor_to_float32
from nightshift.graphs.detectors import (
    MEMBERS,
    DetectorSettings,
    FittedDetectors,
    add_detectors,
    calibrate,
    fit_detectors,
    load_detectors,
    save_detectors,
)

Float32 = NDArray[np.float32]
SETTINGS = DetectorSettings(reference_rows=400, train_rows=2_000, n_trees=40, seed=3)


def _machine_rows(n: int, seed: int) -> Float32:
    """Two operating modes, correlated columns, one rounded, one constant, 2 % missing."""
    rng = np.random.default_rng(seed)
    mode = rng.integers(0, 2, n)
    load = rng.normal(size=n) + 3.0 * mode
    columns = [
        1500.0 + 30.0 * load + rng.normal(size=n),
        np.round(60.0 + 4.0 * load + rng.normal(size=n)),
        0.01 * rng.gamma(2.0, size=n),
        np.full(n, 7.0),
        load + 0.1 * rng.normal(size=n),
        rng.normal(size=n),
    ]
    table = np.stack(columns, axis=1).astype(np.float32)
    table[rng.random(table.shape) < 0.02] = np.nan
    return table


def _session(fitted: FittedDetectors) -> ort.InferenceSession:
    graph = Graph("vote")
    d, m = len(fitted.inputs.median), len(fitted.members)
    values = add_detectors(graph, graph.input("features", "float32", ["batch", d]), fitted)
    graph.output(values.score, "score", "float32", ["batch", m])
    graph.output(values.vote, "vote", "int64", ["batch"])
    return ort.InferenceSession(graph.build().SerializeToString(), providers=["CPUExecutionProvider"])


def _double_scores(fitted: FittedDetectors, features: Float32) -> NDArray[np.float64]:
    """Run every member's nodes alone and read its score before the cast to float32."""
    rows = fitted.inputs.apply(features)
    graph = Graph("members")
    value = graph.input("rows", "float64", ["batch", rows.shape[1]])
    for member in fitted.members:
        graph.output(member.emit(graph, value), member.name, "float64", ["batch", 1])
    session = ort.InferenceSession(graph.build().SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate(session.run(None, {"rows": rows}), axis=1)


def _hard_rows(fitted: FittedDetectors, base: Float32) -> Float32:
    """Rows at split thresholds and one ulp beside them, NaN rows, infinities and other extremes."""
    member = fitted.members[list(fitted.settings.members).index("iforest")]
    assert isinstance(member, IsolationForestMember)
    rows: list[Float32] = []
    for index, tree in enumerate(member.model.detector_.estimators_):
        split = np.flatnonzero(tree.tree_.children_left >= 0)[:25]
        for node in split:
            column = int(member.model.detector_.estimators_features_[index][tree.tree_.feature[node]])
            raw = np.float32(fitted.inputs.raw(column, tree.tree_.threshold[node]))
            for value in (raw, np.nextafter(raw, np.float32(-np.inf)), np.nextafter(raw, np.float32(np.inf))):
                row = base[len(rows) % len(base)].copy()
                row[column] = value
                rows.append(row)
    d = base.shape[1]
    big = np.finfo(np.float32).max
    for value in (np.nan, np.inf, -np.inf, big, -big, 0.0, 1e-45, 1e20):
        rows.append(np.full(d, value, dtype=np.float32))
        for column in range(d):
            row = base[column].copy()
            row[column] = value
            rows.append(row)
    return np.stack(rows).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> FittedDetectors:
    detectors = fit_detectors(_machine_rows(3_000, 0), SETTINGS)
    return calibrate(detectors, _machine_rows(1_000, 1), 0.05)


def test_graph_repeats_library_votes_and_scores_on_hard_rows(fitted: FittedDetectors) -> None:
    ordinary = _machine_rows(4_000, 2)
    rows = np.concatenate([ordinary, _hard_rows(fitted, ordinary), fitted.rows])
    assert len(rows) > 8_000
    native = fitted.scores(rows)
    score, vote = _session(fitted).run(None, {"features": rows})
    assert score.dtype == np.float32
    assert vote.dtype == np.int64
    np.testing.assert_array_equal(vote, fitted.votes(native))
    np.testing.assert_allclose(score, native, rtol=1e-6, atol=1e-6)
    double = _double_scores(fitted, rows)
    relative = np.abs(double - native) / np.maximum(np.abs(native), 1.0)
    assert relative.max(axis=0).max() < 1e-9, dict(zip(MEMBERS, relative.max(axis=0), strict=True))
    np.testing.assert_array_equal(double > fitted.thresholds, native > fitted.thresholds)


def test_graph_repeats_library_votes_when_judging_by_operating_point() -> None:
    detectors = fit_detectors(_machine_rows(2_000, 0), SETTINGS, operating_point=(4,))
    detectors = calibrate(detectors, _machine_rows(1_000, 1), 0.05)
    rows = np.concatenate([_machine_rows(3_000, 2), _hard_rows(detectors, _machine_rows(100, 3))])
    native = detectors.scores(rows)
    score, vote = _session(detectors).run(None, {"features": rows})
    np.testing.assert_array_equal(vote, detectors.votes(native))
    np.testing.assert_allclose(score, native, rtol=1e-6, atol=1e-6)


def test_readings_explained_by_settings_are_normal_and_unexplained_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    load = rng.normal(size=3_000)
    table = np.stack([load, 10.0 * load + rng.normal(scale=0.5, size=3_000), rng.normal(size=3_000)], axis=1)
    detectors = fit_detectors(table[:2_000].astype(np.float32), SETTINGS, operating_point=(0,))
    detectors = calibrate(detectors, table[2_000:].astype(np.float32), 0.02)
    hot_under_load = np.array([[4.0, 40.0, 0.0]], dtype=np.float32)
    hot_when_idle = np.array([[0.0, 10.0, 0.0]], dtype=np.float32)
    assert detectors.votes(detectors.scores(hot_under_load)).tolist() == [0]
    assert detectors.votes(detectors.scores(hot_when_idle)).tolist() == [1]


def test_trees_compare_exactly_on_float32_thresholds() -> None:
    rows = np.random.default_rng(0).normal(size=(500, 3))
    member = IsolationForestMember.fit(FitInputs(rows, rows, 0.1, 5), n_trees=50, max_samples=256)
    base = rows.astype(np.float32)
    hard: list[Float32] = []
    for tree in member.model.detector_.estimators_:
        for node in np.flatnonzero(tree.tree_.children_left >= 0):
            threshold = floor_to_float32(np.array([tree.tree_.threshold[node]]))[0]
            for value in (threshold, np.nextafter(threshold, np.float32(9)), np.nextafter(threshold, np.float32(-9))):
                row = base[len(hard) % len(base)].copy()
                row[tree.tree_.feature[node]] = value
                hard.append(row)
    queries = np.stack(hard).astype(np.float64)
    graph = Graph("trees")
    graph.output(member.emit(graph, graph.input("rows", "float64", ["batch", 3])), "score", "float64", ["batch", 1])
    session = ort.InferenceSession(graph.build().SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"rows": queries})[0][:, 0], member.score(queries), rtol=0, atol=1e-9)


def test_single_row_equals_the_same_row_in_a_batch(fitted: FittedDetectors) -> None:
    rows = _machine_rows(40, 8)
    session = _session(fitted)
    together = session.run(None, {"features": rows})
    for i, row in enumerate(rows):
        alone = session.run(None, {"features": row[None]})
        np.testing.assert_allclose(alone[0][0], together[0][i], rtol=1e-6)
        assert alone[1][0] == together[1][i]


def test_an_empty_batch_has_empty_answers(fitted: FittedDetectors) -> None:
    score, vote = _session(fitted).run(None, {"features": np.zeros((0, 6), dtype=np.float32)})
    assert score.shape == (0, 5)
    assert vote.shape == (0,)


def test_floor_to_float32_never_rises() -> None:
    values = np.array([0.1, -0.1, 1.0, 16777217.0, -16777217.0])
    floored = floor_to_float32(values)
    assert np.all(floored.astype(np.float64) <= values)
    assert np.all(np.nextafter(floored, np.float32(np.inf)).astype(np.float64) > values)


def test_calibrated_vote_keeps_its_rate_on_unseen_normals(fitted: FittedDetectors) -> None:
    calibration, unseen = _machine_rows(1_000, 1), _machine_rows(4_000, 9)
    assert fitted.votes(fitted.scores(calibration)).mean() == pytest.approx(0.05, abs=0.002)
    assert fitted.votes(fitted.scores(unseen)).mean() == pytest.approx(0.05, abs=0.02)
    silent = calibrate(fitted, calibration, 0.0)
    assert silent.votes(silent.scores(calibration)).sum() == 0


def test_vote_strength_orders_rows_as_the_vote_decides(fitted: FittedDetectors) -> None:
    scores = fitted.scores(_machine_rows(2_000, 4))
    np.testing.assert_array_equal(fitted.vote_strength(scores) > fitted.margin, fitted.votes(scores) == 1)


def test_outliers_are_voted_anomalous(fitted: FittedDetectors) -> None:
    rows = _machine_rows(200, 5)
    rows[:, 0] += 300.0
    rows[:, 4] -= 8.0
    assert fitted.votes(fitted.scores(rows)).mean() > 0.95


def test_member_thresholds_stand_at_contamination_before_calibration() -> None:
    detectors = fit_detectors(_machine_rows(2_000, 0), SETTINGS)
    assert detectors.margin == 0.0
    for member, threshold in zip(detectors.members, detectors.thresholds, strict=True):
        assert (member.train_scores > threshold).mean() == pytest.approx(SETTINGS.contamination, abs=0.006)


@pytest.mark.parametrize(
    ("members", "tie", "votes", "needed"),
    [
        (MEMBERS, "normal", None, 3),
        (MEMBERS[:4], "normal", None, 3),
        (MEMBERS[:4], "anomaly", None, 2),
        (MEMBERS, "normal", 2, 2),
        (MEMBERS[:1], "normal", None, 1),
    ],
)
def test_majority_and_tie_rule(members: tuple[str, ...], tie: str, votes: int | None, needed: int) -> None:
    settings = replace(SETTINGS, members=members, tie=tie, votes=votes)  # type: ignore[arg-type]
    assert settings.votes_needed == needed


def test_four_members_with_even_tie_agree_with_their_graph() -> None:
    for tie in ("normal", "anomaly"):
        settings = replace(SETTINGS, members=MEMBERS[:4], tie=tie)
        detectors = fit_detectors(_machine_rows(1_500, 0), settings)
        rows = _machine_rows(2_000, 7)
        scores = detectors.scores(rows)
        two_fire = (scores > detectors.thresholds).sum(axis=1) == 2
        assert two_fire.any()
        votes = _session(detectors).run(["vote"], {"features": rows})[0]
        np.testing.assert_array_equal(votes, detectors.votes(scores))
        assert set(votes[two_fire]) == {int(tie == "anomaly")}


def test_same_seed_gives_same_scores_and_save_load_keeps_them(fitted: FittedDetectors, tmp_path: Path) -> None:
    again = calibrate(fit_detectors(_machine_rows(3_000, 0), SETTINGS), _machine_rows(1_000, 1), 0.05)
    rows = _machine_rows(500, 6)
    np.testing.assert_array_equal(again.scores(rows), fitted.scores(rows))
    save_detectors(fitted, tmp_path / "detectors.npz")
    loaded = load_detectors(tmp_path / "detectors.npz")
    np.testing.assert_array_equal(loaded.scores(rows), fitted.scores(rows))
    np.testing.assert_array_equal(loaded.thresholds, fitted.thresholds)


def test_load_keeps_the_operating_point(tmp_path: Path) -> None:
    rows = _machine_rows(500, 6)
    detectors = fit_detectors(rows, SETTINGS, operating_point=(4,))
    save_detectors(detectors, tmp_path / "detectors.npz")
    loaded = load_detectors(tmp_path / "detectors.npz")
    np.testing.assert_array_equal(loaded.scores(rows), detectors.scores(rows))
    assert loaded.settings == detectors.settings


def test_load_refuses_altered_rows(fitted: FittedDetectors, tmp_path: Path) -> None:
    path = tmp_path / "detectors.npz"
    save_detectors(fitted, path)
    with np.load(path) as stored:
        parts = dict(stored)
    parts["rows"] = parts["rows"][::-1]
    np.savez_compressed(path, **parts)
    with pytest.raises(TrainingError, match=r"detectors\.npz: refitting gave other scores"):
        load_detectors(path)


def test_duplicate_rows_do_not_break_lof() -> None:
    rows = np.repeat(_machine_rows(60, 0), 40, axis=0)
    detectors = fit_detectors(rows, SETTINGS)
    lof = detectors.scores(rows)[:, MEMBERS.index("lof")]
    assert np.isfinite(lof).all()
    assert lof.max() < 1e3


def test_one_column_is_enough() -> None:
    rows = _machine_rows(600, 0)[:, :1]
    detectors = fit_detectors(rows, SETTINGS)
    native = detectors.scores(rows)
    score, vote = _session(detectors).run(None, {"features": rows})
    np.testing.assert_allclose(score, native, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(vote, detectors.votes(native))


def test_reference_rows_are_normal_rows() -> None:
    rows = _machine_rows(1_000, 0)
    normal = np.arange(1_000) < 700
    detectors = fit_detectors(rows, replace(SETTINGS, reference_rows=300, train_rows=600), normal)
    assert detectors.rows.shape == (600, 6)
    assert len(detectors.reference) == 300
    allowed = {row.tobytes() for row in rows[:700]}
    assert {row.tobytes() for row in detectors.rows[detectors.reference]} <= allowed


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((1, 3), dtype=np.float32), "at least 2 rows"),
        (np.zeros((100, 3), dtype=np.float32), "at least one column that varies"),
        (np.full((100, 3), np.nan, dtype=np.float32), "at least one column that varies"),
    ],
)
def test_unusable_tables_are_refused(rows: Float32, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_detectors(rows, SETTINGS)


def test_settings_refuse_unknown_members_and_impossible_votes() -> None:
    with pytest.raises(ConfigError, match="distinct names out of iforest"):
        DetectorSettings(members=("iforest", "knn"))
    with pytest.raises(ConfigError, match=r"votes must lie in 1\.\.5"):
        DetectorSettings(votes=6)
    with pytest.raises(ConfigError, match="contamination"):
        DetectorSettings(contamination=0.7)
