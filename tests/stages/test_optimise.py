"""Export for a vehicle: forms are judged, the best is kept beside the model, and a device opens it by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support.family_runs import SMALL
from support.homes import a_home
from support.vehicles import SUBJECT, small_vehicles

from nightshift.data.dataset import Dataset
from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, BundleManifest, Latency, Variant
from nightshift.edge.runtime import Model
from nightshift.edge.wire import check_self_contained
from nightshift.errors import BundleError, CorruptFileError
from nightshift.family import GraphVariant
from nightshift.graphs.dlc import NOT_INSTALLED, lint
from nightshift.plan.cell import Cell
from nightshift.plan.config import resolve
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_stage
from nightshift.stages.optimise import FILL_KEY, _best, _Tried
from nightshift.tracking import variants

_LESS: dict[str, dict[str, Any]] = {
    "tcn": {"prune": 0.5, "prune_epochs": 1, "max_quality_loss": 0.1},
    "lstm_ae": {"prune_epochs": 1},
    "carbon": {"n_estimators": 5},
}


@pytest.fixture(scope="module")
def vehicle_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("optimise")) as home:
        yield home


@pytest.fixture(scope="module")
def data(vehicle_home: Home) -> Dataset:
    return small_vehicles(vehicle_home)


@pytest.fixture(scope="module")
def bundles(vehicle_home: Home, data: Dataset) -> dict[str, Path]:
    """A staged bundle of a network of each kind and of trees."""
    found = {}
    for family, less in _LESS.items():
        resolved = resolve(vehicle_home, SUBJECT, family, "vehicle", params={**SMALL[family], **less})
        config = {"config": resolved.config.model_dump(mode="json"), "limits": resolved.limits.model_dump(mode="json")}
        cell = Cell(
            subject=SUBJECT, family=family, target="vehicle", dataset=data.fingerprint, config=config, code="0" * 64
        )
        for stage in ("train", "evaluate", "export"):
            record = run_stage(stage, cell, StageContext(vehicle_home))
            assert record.status == "done", record.error
        found[family] = vehicle_home.models / ".staging" / cell.key
        assert record.summary["optimised"] in [v.name for v in manifest_of(found[family]).variants]
        assert {Path(f.path).name for f in record.files} >= set(manifest_of(found[family]).hashes)
    return found


def manifest_of(folder: Path) -> BundleManifest:
    return BundleManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())


def by_name(folder: Path) -> dict[str, Variant]:
    return {variant.name: variant for variant in manifest_of(folder).variants}


def test_every_form_of_a_tcn_is_judged_on_val_and_test_and_measured(bundles: dict[str, Path]) -> None:
    found = by_name(bundles["tcn"])
    assert list(found) == ["fp32", "int8_static", "int8_dynamic", "pruned", "pruned_int8", "a16w8"]
    for variant in found.values():
        assert set(variant.quality) == {"val", "test"}
        assert variant.metric == "rmse"
        assert variant.latency is not None
        assert variant.latency.p50_ms > 0
        assert variant.size_bytes
    assert found["fp32"].loss == 0.0
    base, small = found["fp32"].quality["val"], found["int8_static"].quality["val"]
    assert base
    assert small
    assert found["int8_static"].loss == pytest.approx((small - base) / base)
    assert "[8, 8, 8] pruned to [4, 4, 4]" in found["pruned"].how
    assert sum(v.chosen for v in found.values()) == 1


def test_the_chosen_form_and_the_dsps_lie_beside_the_model(bundles: dict[str, Path], data: Dataset) -> None:
    folder = bundles["tcn"]
    manifest, found = manifest_of(folder), by_name(folder)
    chosen = next(v for v in found.values() if v.chosen)
    assert chosen.file == (MODEL_FILE if chosen.name == "fp32" else "optimised.onnx")
    assert (chosen.file in manifest.hashes, "dsp.onnx" in manifest.hashes) == (True, True)
    given = np.random.default_rng(0).normal(size=(1, 20, len(manifest.interface.columns))).astype(np.float32)
    said = [Model.load(folder, variant=name).predict({"window": given})["value"] for name in ("", "optimised", "dsp")]
    assert all(np.isfinite(value).all() and value.shape == (1,) for value in said)
    dsp = onnx.load(folder / "dsp.onnx")
    assert lint(dsp) == []
    assert found["a16w8"].dlc == f"ready; {NOT_INSTALLED}"
    fill = json.loads(next(p.value for p in dsp.metadata_props if p.key == FILL_KEY))
    assert fill[0] == pytest.approx(float(np.nanmean(data.matrix("train")[:, 0])), rel=1e-4)


def test_an_lstms_own_operator_stays_out_of_the_model_itself(bundles: dict[str, Path]) -> None:
    folder, found = bundles["lstm_ae"], by_name(bundles["lstm_ae"])
    assert list(found) == ["fp32", "int8_dynamic", "pruned", "pruned_int8", "a16w8", "int8_static"]
    assert found["int8_static"].size_bytes is None
    assert "not made" in found["int8_static"].how
    assert "12 units pruned to 9" in found["pruned"].how
    assert "dynamic-int8" in found["int8_dynamic"].dlc
    assert found["a16w8"].dlc.startswith("ready")
    check_self_contained((folder / MODEL_FILE).read_bytes())
    assert Model.load(folder, variant="optimised").interface == Model.load(folder).interface


def test_trees_have_one_row_and_the_reason_why_there_is_no_other(bundles: dict[str, Path]) -> None:
    found = by_name(bundles["carbon"])
    assert list(found) == ["fp32", "int8"]
    assert found["fp32"].chosen
    assert "tree" in found["fp32"].dlc
    assert "trees compare numbers and multiply none" in found["int8"].how
    assert not {"optimised.onnx", "dsp.onnx"} & set(manifest_of(bundles["carbon"]).hashes)
    Model.load(bundles["carbon"], variant="optimised")  # the model itself
    with pytest.raises(BundleError, match="no variant 'dsp'"):
        Model.load(bundles["carbon"], variant="dsp")
    with pytest.raises(BundleError, match="no variant 'fast'"):
        Model.load(bundles["tcn"], variant="fast")


def test_an_altered_form_is_refused_with_the_bundle(bundles: dict[str, Path]) -> None:
    path = bundles["tcn"] / "dsp.onnx"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + b"?")
        with pytest.raises(CorruptFileError, match=r"dsp\.onnx"):
            Model.load(bundles["tcn"])
    finally:
        path.write_bytes(whole)


def test_card_and_mlflow_tell_every_form(bundles: dict[str, Path]) -> None:
    manifest = manifest_of(bundles["tcn"])
    card = (bundles["tcn"] / "MODEL_CARD.md").read_text()
    assert "## Other forms" in card
    assert "| pruned_int8" in card
    assert "stands in for the vehicle's own" in card
    figures = variants.metrics(manifest)
    assert figures["optimise/int8_static/latency_p50_ms"]
    assert figures["optimise/pruned/loss"] == by_name(bundles["tcn"])["pruned"].loss
    assert "optimise/a16w8/test_rmse" in figures
    assert [v["name"] for v in json.loads(variants.as_json(manifest))] == list(by_name(bundles["tcn"]))


def test_the_fastest_within_the_loss_is_taken_and_the_smallest_of_those_as_fast() -> None:
    def tried(name: str, loss: float | None, p50_ms: float, size: int) -> _Tried:
        found = Variant(name=name, how="", loss=loss, latency=Latency(p50_ms=p50_ms, p99_ms=1, runs=1))
        return _Tried(GraphVariant(name, "", None), b"x" * size, found)

    base = tried("fp32", 0.0, 1.0, 100)
    forms = [tried("worse", 0.03, 0.1, 10), tried("quick", 0.02, 0.5, 50), tried("small", -0.01, 0.51, 40)]
    assert _best([base, *forms], 0.02).found.name == "small"
    assert _best([base, *forms], 0.05).found.name == "worse"
    assert _best([base, tried("a16w8", 0.0, 0.1, 10), tried("unknown", None, 0.1, 10)], 0.02) is base
