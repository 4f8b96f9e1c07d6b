"""The anomaly family: what it learns from, what it is judged on, and how it stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.data.importers.nab import import_nab
from nightshift.data.schema import LabelSource, TimeKind
from nightshift.errors import ConfigError, DataError, InterruptedTraining
from nightshift.families.anomaly import FAMILY, AnomalyConfig
from nightshift.family import Limits, RunContext
from nightshift.progress import ProgressEvent
from nightshift.settings import Home
from nightshift.trainer.anomaly_view import has_truth, normal_rows, part_view

SMALL = AnomalyConfig(reference_rows=150, n_trees=15, window_rows=6)


def context(folder: Path, **changes: object) -> RunContext:
    given: dict[str, object] = {
        "cell": "0" * 64,
        "seed": 42,
        "limits": Limits(),
        "work": folder,
        "checkpoints": folder,
        "time_limit_s": 60.0,
    }
    return RunContext(**{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def labelled(session_home: Home) -> Dataset:
    return split_and_land(session_home, calendar_rows(runs=24), describe("labelled", label_source=LabelSource.FROM_RUL))


@pytest.fixture(scope="module")
def unlabelled(session_home: Home) -> Dataset:
    rows = calendar_rows(runs=24).drop(columns=["failure_status", "rul"])
    return split_and_land(
        session_home, rows, describe("unlabelled", label_source=LabelSource.ABSENT, has_rul=False, horizon=None)
    )


def test_labels_judge_where_they_are_trusted(labelled: Dataset, tmp_path: Path) -> None:
    assert has_truth(labelled)
    judged = FAMILY.evaluate(FAMILY.train(labelled, SMALL, context(tmp_path)), labelled, SMALL, context(tmp_path))
    view = part_view(labelled, "test", 6)
    np.testing.assert_array_equal(view.timeline.label, labelled.labels("test"))
    assert not any(f.code == "T010" for f in judged.findings)
    who = [r.who for r in judged.rows if r.part == "test"]
    assert who == ["vote", "iforest", "ocsvm", "lof", "zscore", "pca", "threshold rule", "constant: never"]
    assert len(judged.rows) == 3 * len(who)
    assert all(set(r.metrics) == set(judged.rows[0].metrics) for r in judged.rows)


def test_detectors_learn_from_normal_rows_only(labelled: Dataset, tmp_path: Path) -> None:
    fitted = FAMILY.train(labelled, SMALL, context(tmp_path))
    assert len(fitted.detectors.rows) == (labelled.labels("train") == 0).sum()


def test_without_labels_anomalies_are_injected_the_same_way_every_time(unlabelled: Dataset, tmp_path: Path) -> None:
    fitted = FAMILY.train(unlabelled, SMALL, context(tmp_path))
    judged = FAMILY.evaluate(fitted, unlabelled, SMALL, context(tmp_path))
    assert any(f.code == "T010" and "drift" in f.what for f in judged.findings)
    assert "recall_by_kind" in {f.key for f in judged.figures}
    first, second = (FAMILY.samples(fitted.interface, unlabelled, "test") for _ in range(2))
    np.testing.assert_array_equal(first.inputs["window"], second.inputs["window"])
    assert 0 < first.truth["label"].mean() < 0.3
    assert judged.statistics is not None
    assert judged.statistics.positives == first.truth["label"].sum()


def test_labels_made_from_sensor_thresholds_are_not_learned(session_home: Home) -> None:
    data = split_and_land(session_home, calendar_rows(runs=24), describe("ruled", label_source=LabelSource.THRESHOLDS))
    assert not has_truth(data)
    assert normal_rows(data, "train").all()


def test_independent_rows_have_windows_of_one(session_home: Home, tmp_path: Path) -> None:
    rows = calendar_rows(runs=24).drop(columns=["time", "rul"])
    rows["run"] = np.arange(len(rows))
    meta = describe(
        "rows", time_kind=TimeKind.NONE, time_unit="none", sampling_s=None, label_source=LabelSource.GIVEN,
        has_rul=False, horizon=None,
    )  # fmt: skip
    data = split_and_land(session_home, rows, meta)
    fitted = FAMILY.train(data, SMALL, context(tmp_path))
    assert fitted.interface.window_rows == 1
    judged = FAMILY.evaluate(fitted, data, SMALL, context(tmp_path))
    assert judged.score("test", "false_alarms_per_day") is None
    assert judged.score("test", "false_alarms_per_1000_rows") is not None


def test_settings_are_judged_by_what_they_explain(labelled: Dataset, tmp_path: Path) -> None:
    fitted = FAMILY.train(labelled, SMALL, context(tmp_path))
    point = fitted.detectors.inputs.point
    assert point is not None
    names = fitted.spec.feature_names
    assert {names[i] for i in point.settings} == {"load_nm__last", "load_nm__mean", "load_nm__spread"}


def test_only_anomalous_rows_is_a_clear_error(session_home: Home, tmp_path: Path) -> None:
    rows = calendar_rows(runs=24)
    rows["failure_status"] = 1
    data = split_and_land(session_home, rows, describe("sick", label_source=LabelSource.GIVEN))
    with pytest.raises(DataError, match="no row of 'sick' train is labelled normal"):
        FAMILY.train(data, SMALL, context(tmp_path))


def test_stops_between_members_when_asked(labelled: Dataset, tmp_path: Path) -> None:
    seen: list[ProgressEvent] = []
    with pytest.raises(InterruptedTraining):
        FAMILY.train(labelled, SMALL, context(tmp_path, progress=seen.append, should_stop=lambda: len(seen) >= 2))
    assert [e.message for e in seen] == ["iforest", "ocsvm"]


def test_members_beyond_the_time_limit_are_left_out_of_the_vote(labelled: Dataset, tmp_path: Path) -> None:
    ctx = context(tmp_path, time_limit_s=1e-6)
    fitted = FAMILY.train(labelled, SMALL.model_copy(update={"votes": 4}), ctx)
    [found] = ctx.findings
    assert found.code == "T013"
    assert "ocsvm, lof, zscore, pca" in found.what
    assert "n_trees=15, reference_rows=150, max_rows=20000" in found.remedy
    assert "'iforest' costs most" in found.remedy
    assert fitted.interface.members == ("iforest",)
    assert fitted.summary["votes_needed"] == 1
    FAMILY.save(fitted, tmp_path / "kept")
    assert FAMILY.load(tmp_path / "kept").interface.members == ("iforest",)
    FAMILY.export(fitted, ctx)


def test_fewer_members_and_their_rule_are_checked(labelled: Dataset, tmp_path: Path) -> None:
    two = AnomalyConfig(members=("zscore", "pca"), tie="anomaly", window_rows=6)
    fitted = FAMILY.train(labelled, two, context(tmp_path))
    assert fitted.interface.members == ("zscore", "pca")
    assert fitted.summary["votes_needed"] == 1
    with pytest.raises(ConfigError, match="votes must lie in"):
        FAMILY.train(labelled, AnomalyConfig(members=("pca",), votes=3), context(tmp_path))


def test_row_limit_is_remarked_on(labelled: Dataset, tmp_path: Path) -> None:
    ctx = context(tmp_path)
    fitted = FAMILY.train(labelled, SMALL.model_copy(update={"max_rows": 300}), ctx)
    assert len(fitted.detectors.rows) == 300
    assert [f.code for f in ctx.findings] == ["T008"]


def test_finds_the_failure_of_the_nab_machine(session_home: Home, shared_data: Path, tmp_path: Path) -> None:
    data = import_nab(session_home, shared_data / "nab")
    config = AnomalyConfig(reference_rows=500, n_trees=40)
    fitted = FAMILY.train(data, config, context(tmp_path))
    judged = FAMILY.evaluate(fitted, data, config, context(tmp_path))
    assert judged.score("test", "event_recall") == 1.0
    assert (judged.score("test", "pr_auc") or 0.0) > 0.8
    inputs = FAMILY.parity_inputs(fitted, data, context(tmp_path))
    graph = FAMILY.export(fitted, context(tmp_path)).SerializeToString()
    vote = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(["vote"], inputs)[0]
    np.testing.assert_array_equal(vote, FAMILY.predict(fitted, inputs)["vote"])
