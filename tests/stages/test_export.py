"""export on a real cell: what is staged, what blocks it, and what a failure leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.edge.check import check_bundle
from nightshift.edge.check_rows import read_check
from nightshift.edge.faces import COLUMNS_KEY
from nightshift.edge.manifest import CARD_FILE, CHECK_FILE, MANIFEST_FILE, MODEL_FILE, SIGNATURE_FILE, sha256_bytes
from nightshift.edge.runtime import Model
from nightshift.edge.signature import KEY_VARIABLE
from nightshift.errors import NightshiftError, SignatureError
from nightshift.family import Limits
from nightshift.findings import Severity
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord
from nightshift.progress import ProgressEvent
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, fitted_of, run_stage


@pytest.fixture(scope="module")
def cell_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("export")) as home:
        yield home


@pytest.fixture(scope="module")
def data(cell_home: Home) -> Dataset:
    return land_demo(cell_home, seed=5)


def make(data: Dataset, **limits: float) -> Cell:
    config = families.get("anomaly").config(reference_rows=200, n_trees=15, max_rows=2000)  # type: ignore[call-arg]
    resolved = {"config": config.model_dump(mode="json"), "limits": Limits(**limits).model_dump(mode="json")}  # type: ignore[arg-type]
    return Cell(
        subject=data.subject, family="anomaly", target="pi", dataset=data.fingerprint, config=resolved, code="0" * 64
    )


@pytest.fixture(scope="module")
def trained(cell_home: Home, data: Dataset) -> Cell:
    cell = make(data)
    for stage in ("train", "evaluate"):
        run_stage(stage, cell, StageContext(cell_home))
    return cell


def export_with(home: Home, trained: Cell, data: Dataset, **limits: float) -> tuple[StageRecord, Path]:
    """Export what was trained, under other limits."""
    cell = make(data, **limits)
    source, work = StageContext(home).work(trained), StageContext(home).work(cell)
    if work != source:
        work.mkdir(parents=True, exist_ok=True)
        (work / "evaluation.json").write_bytes((source / "evaluation.json").read_bytes())
        if not (work / "native").exists():
            (work / "native").symlink_to(source / "native")
    return run_stage("export", cell, StageContext(home)), home.models / ".staging" / cell.key


def test_the_bundle_is_whole_and_answers_like_the_library(cell_home: Home, trained: Cell, data: Dataset) -> None:
    events: list[ProgressEvent] = []
    record = run_stage("export", trained, StageContext(cell_home, progress=events.append))
    assert record.status == "done"
    folder = cell_home.models / ".staging" / trained.key
    model = Model.load(folder)
    family, fitted = families.get("anomaly"), fitted_of(trained, StageContext(cell_home))
    inputs = {"window": family.samples(model.interface, data, "val").inputs["window"][:200]}
    want, got = family.predict(fitted, inputs), model.predict(inputs)
    np.testing.assert_array_equal(got["vote"], want["vote"])
    np.testing.assert_allclose(got["score"], want["score"], atol=family.tolerances(fitted)["score"])
    assert (folder / "native").is_dir()
    assert {Path(f.path).name for f in record.files} == {
        MODEL_FILE,
        MANIFEST_FILE,
        CARD_FILE,
        CHECK_FILE,
        SIGNATURE_FILE,
    }
    assert {e.stage for e in events} == {"export"}
    assert [p.name for p in folder.parent.iterdir()] == [trained.key], "nothing half-made is left beside it"


def test_the_manifest_says_what_was_measured_and_what_it_was_made_from(
    cell_home: Home, trained: Cell, data: Dataset
) -> None:
    run_stage("export", trained, StageContext(cell_home))
    folder = cell_home.models / ".staging" / trained.key
    manifest = Model.load(folder).manifest
    assert manifest.fingerprints.dataset == data.fingerprint
    assert manifest.fingerprints.cell_key == trained.key
    assert manifest.hashes[CARD_FILE] == sha256_bytes((folder / CARD_FILE).read_bytes())
    assert manifest.size_bytes == (folder / MODEL_FILE).stat().st_size
    assert manifest.parity.ok
    assert manifest.parity.rows > 100
    assert manifest.parity.batches == (0, 1, 2, 7, 1000)
    card = (folder / CARD_FILE).read_text(encoding="utf-8")
    assert f"{manifest.parity.cases['infinite']:,} infinite" in card
    assert "in batches of 0, 1, 2, 7, 1,000 rows" in card
    assert manifest.latency.runs >= 300
    assert manifest.latency.library_p50_ms is not None
    assert manifest.footprint is not None
    assert 20 < manifest.footprint.memory_mb < 250
    assert 0 < manifest.footprint.start_s < 60
    assert manifest.trained_until == data.metadata.parts["val"].last
    assert set(manifest.metrics) == {"train", "val", "test"}
    assert manifest.baselines
    assert {"onnxruntime", "numpy", "pyod"} <= manifest.libraries.keys()


def test_the_card_tells_quality_beside_baselines_and_how_to_load(cell_home: Home, trained: Cell) -> None:
    run_stage("export", trained, StageContext(cell_home))
    folder = cell_home.models / ".staging" / trained.key
    card, manifest = (folder / CARD_FILE).read_text(encoding="utf-8"), Model.load(folder).manifest
    assert manifest.subject in card
    assert all(column.name in card for column in manifest.interface.columns)
    assert all(name in card for name in manifest.baselines)
    assert "p99" in card
    assert "MB resident at most" in card
    assert 'Model.load("this folder")' in card


def test_the_bundle_checks_itself_with_the_librarys_answers(cell_home: Home, trained: Cell) -> None:
    run_stage("export", trained, StageContext(cell_home))
    folder = cell_home.models / ".staging" / trained.key
    check = check_bundle(folder, runs=20)
    assert check.parity.ok
    assert 100 < check.parity.rows <= 256
    assert check.bundle_id == sha256_bytes((folder / MANIFEST_FILE).read_bytes())
    inputs, _ = read_check(folder, Model.load(folder).manifest)
    assert np.isnan(inputs["window"]).any(), "rows with missing readings are among them"


def test_a_key_signs_the_bundle_and_the_graph_knows_its_columns(
    cell_home: Home, trained: Cell, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 32)
    _, folder = export_with(cell_home, trained, data, size_mb=9)
    model = Model.load(folder)
    own = model.session.get_modelmeta().custom_metadata_map[COLUMNS_KEY]
    assert [name for name, _ in json.loads(own)] == [column.name for column in model.interface.columns]
    monkeypatch.setenv(KEY_VARIABLE, "l" * 32)
    with pytest.raises(SignatureError, match="another key"):
        Model.load(folder)
    monkeypatch.delenv(KEY_VARIABLE)
    assert Model.load(folder).bundle_id == model.bundle_id


def test_above_the_targets_wishes_names_keys_and_the_dearest_member(
    cell_home: Home, trained: Cell, data: Dataset
) -> None:
    record, folder = export_with(cell_home, trained, data, size_mb=0.001, latency_ms=1e-6, memory_mb=1)
    assert record.status == "done"
    assert folder.is_dir()
    found = {f.code: f for f in record.findings}
    assert {"E002", "E003", "E005"} <= found.keys()
    assert "wants at most 1 MB" in found["E005"].what
    assert "wants at most 0.001 MB" in found["E002"].what
    assert "n_trees=15" in found["E002"].remedy
    assert "reference_rows=200" in found["E002"].remedy
    assert "costs most" in found["E002"].remedy


def test_above_the_hard_limit_blocks_and_stages_nothing(cell_home: Home, trained: Cell, data: Dataset) -> None:
    record, folder = export_with(cell_home, trained, data, size_mb=0.001, size_hard_mb=0.002)
    assert record.status == "blocked"
    assert "E004" in record.error
    assert "n_trees=15" in record.hint
    assert not folder.exists()
    assert any(f.severity is Severity.BLOCKER for f in record.findings)


def test_a_graph_that_is_not_the_model_is_blocked(
    cell_home: Home, trained: Cell, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(families.get("anomaly"))
    predict = kind.predict

    def otherwise(self: Any, fitted: Any, rows: Any) -> Any:
        said = predict(self, fitted, rows)
        return {**said, "score": said["score"] + 1}

    monkeypatch.setattr(kind, "predict", otherwise)
    record, folder = export_with(cell_home, trained, data, size_mb=7)
    assert record.status == "blocked"
    assert "E001" in record.error
    assert "score differs" in record.error
    assert "rejected.onnx" in record.hint
    assert not folder.exists()


def test_a_failure_half_way_leaves_nothing(cell_home: Home, trained: Cell, data: Dataset) -> None:
    run_stage("export", trained, StageContext(cell_home))
    cell = make(data, size_mb=8)
    work = StageContext(cell_home).work(cell)
    work.mkdir(parents=True)
    (work / "evaluation.json").write_bytes((StageContext(cell_home).work(trained) / "evaluation.json").read_bytes())
    (work / "native").symlink_to(StageContext(cell_home).work(trained) / "native")
    fitted_of(cell, StageContext(cell_home))
    (work / "native").unlink()
    with pytest.raises(NightshiftError, match="export failed"):
        run_stage("export", cell, StageContext(cell_home))
    names = [p.name for p in (cell_home.models / ".staging").iterdir()]
    assert not [name for name in names if cell.key in name]
