"""Export for a vehicle: forms are judged, the best is kept beside the model, and a device opens it by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.bundles import write_bundle
from support.family_runs import SMALL, small_context
from support.homes import a_home
from support.vehicles import SUBJECT, metadata, small_vehicles, trips

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.data.store import land
from nightshift.edge import bench, cli
from nightshift.edge.manifest import MANIFEST_FILE, MODEL_FILE, BundleManifest, Latency, Variant
from nightshift.edge.one_row import FILL_KEY
from nightshift.edge.runtime import Model
from nightshift.edge.wire import check_self_contained
from nightshift.errors import EXIT_OK, BundleError, CorruptFileError
from nightshift.family import GraphVariant, Optimisable
from nightshift.graphs.dlc import NOT_INSTALLED, lint
from nightshift.plan.cell import Cell
from nightshift.plan.config import resolve
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_stage
from nightshift.stages.optimise import _best, _no_form, _remarks, _second_half, _Tried
from nightshift.tracking import variants

_LESS: dict[str, dict[str, Any]] = {
    "tcn": {"epochs": 2, "prune": 0.5, "prune_epochs": 2, "max_quality_loss": 0.1},
    "lstm_ae": {"epochs": 2, "prune_epochs": 1},
}


@pytest.fixture(scope="module")
def vehicle_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("optimise")) as home:
        yield home


@pytest.fixture(scope="module")
def data(vehicle_home: Home) -> Dataset:
    return small_vehicles(vehicle_home, rows=120)


@pytest.fixture(scope="module")
def bundles(vehicle_home: Home, data: Dataset) -> dict[str, Path]:
    """A staged bundle of a network of each kind; one round of the latency's measurement is enough here."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "_ROUNDS", 1)
        for family, less in _LESS.items():
            found[family] = bundle_of(vehicle_home, data, family, less)
    return found


def bundle_of(home: Home, data: Dataset, family: str, less: dict[str, Any]) -> Path:
    resolved = resolve(home, SUBJECT, family, "vehicle", params={**SMALL[family], **less})
    config = {"config": resolved.config.model_dump(mode="json"), "limits": resolved.limits.model_dump(mode="json")}
    cell = Cell(
        subject=SUBJECT, family=family, target="vehicle", dataset=data.fingerprint, config=config, code="0" * 64
    )
    for stage in ("train", "evaluate", "export"):
        record = run_stage(stage, cell, StageContext(home))
        assert record.status == "done", record.error
    folder = home.models / ".staging" / cell.key
    assert record.summary["optimised"] in [v.name for v in manifest_of(folder).variants]
    assert {Path(f.path).name for f in record.files} >= set(manifest_of(folder).hashes)
    return folder


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
    assert found["fp32"].loss == found["fp32"].loss_on_test == 0.0
    base, small = found["fp32"].quality["val"], found["int8_static"].quality["val"]
    assert base
    assert small
    assert found["int8_static"].loss == pytest.approx((small - base) / base)
    base, small = found["fp32"].quality["test"], found["int8_static"].quality["test"]
    assert base
    assert small
    assert found["int8_static"].loss_on_test == pytest.approx((small - base) / base)
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


def test_trees_have_no_other_form_and_say_why(tmp_path: Path) -> None:
    assert not isinstance(families.get("carbon"), Optimisable)
    window, value = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("window", "value"))
    node = helper.make_node("TreeEnsembleRegressor", ["window"], ["value"], domain="ai.onnx.ml")
    trees = helper.make_model(helper.make_graph([node], "trees", [window], [value]))
    assert "trees compare numbers and multiply none" in _no_form(trees.SerializeToString()).how
    base = Variant(name="fp32", how="the model itself", file=MODEL_FILE, chosen=True)
    bundle = write_bundle(tmp_path / "v1", variants=(base, _no_form(trees.SerializeToString())))
    assert Model.load(bundle, variant="optimised").manifest.variants[0] == base
    with pytest.raises(BundleError, match="no variant 'dsp'"):
        Model.load(bundle, variant="dsp")


def test_forms_are_judged_on_the_half_of_val_that_stopped_no_training(
    vehicle_home: Home, data: Dataset, bundles: dict[str, Path]
) -> None:
    interface, family = manifest_of(bundles["tcn"]).interface, families.get("tcn")
    val = family.samples(interface, data, "val")
    kept = _second_half(val, data, interface.window_rows)
    later = set(data.units("val")[data.validation_halves()[1]])
    assert set(kept.unit) == later
    assert set(val.unit) - later == set(data.units("val")[data.validation_halves()[0]])
    parts = trips(rows=120)
    one = land(vehicle_home, parts | {"val": parts["val"].iloc[:120]}, metadata("one_trip"))
    cut = one.times_s("val")[60]
    ends = _second_half(family.samples(interface, one, "val"), one, interface.window_rows).time
    assert (ends - cut).tolist() == [19.0, 29.0, 39.0, 49.0, 59.0]


def test_a_form_that_loses_on_test_is_remarked() -> None:
    base = Variant(name="fp32", how="", metric="rmse", quality={"val": 1.0, "test": 0.6921}, loss=0.0, loss_on_test=0.0)
    small = Variant(
        name="pruned_int8",
        how="",
        metric="rmse",
        quality={"val": 0.986, "test": 0.7113},
        loss=-0.014,
        loss_on_test=0.0277,
        chosen=True,
    )
    (found,) = _remarks((base, small), 0.02)
    assert (found.code, found.severity) == ("E006", "warning")
    assert "on test its rmse is 0.7113, that of model.onnx 0.6921: it loses 2.8%" in found.what
    assert "max_quality_loss allows (2.0%)" in found.what
    assert _remarks((base, small), 0.03) == []
    assert _remarks((base.model_copy(update={"chosen": True}),), 0.02) == []


def test_a_dsps_graph_answers_many_rows_and_fills_their_gaps(bundles: dict[str, Path]) -> None:
    model = Model.load(bundles["tcn"], variant="dsp")
    fill = json.loads(model.session.get_modelmeta().custom_metadata_map[FILL_KEY])
    given = np.random.default_rng(1).normal(size=(3, 20, len(fill))).astype(np.float32)
    gap = given.copy()
    gap[1, :, 2], given[1, :, 2] = np.nan, fill[2]
    answers = [model.run({"window": window})["value"] for window in (given, gap)]
    assert answers[0].shape == (3,)
    assert answers[0].tolist() == answers[1].tolist()
    assert model.run({"window": given[2:]})["value"].tolist() == answers[0][2:].tolist()
    assert model.run({"window": given[:0]})["value"].shape == (0,)


def test_a_device_runs_measures_and_checks_a_form_by_its_name(
    bundles: dict[str, Path], data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, rows = str(bundles["tcn"]), tmp_path / "rows.csv"
    data.frame("test").iloc[:30].to_csv(rows, index=False)
    said = {}
    for name in ("", "dsp"):
        assert cli.main(["run", folder, "--input", str(rows), "--variant", name]) == EXIT_OK
        said[name] = np.loadtxt(capsys.readouterr().out.splitlines(), delimiter=",", skiprows=1, usecols=2)
    assert said["dsp"].shape == said[""].shape
    assert 0 < np.abs(said["dsp"] - said[""]).max() < 0.2 * np.abs(said[""]).max()
    assert cli.main(["bench", folder, "--variant", "dsp", "--runs", "5"]) == EXIT_OK
    size_mb = (bundles["tcn"] / "dsp.onnx").stat().st_size / 1e6
    assert f"tcn.vehicle, dsp.onnx\nsize     {size_mb:.2f} MB" in capsys.readouterr().out
    assert cli.main(["verify", folder, "--variant", "dsp", "--runs", "5"]) == EXIT_OK
    assert "of form 'dsp', on " in capsys.readouterr().out


def test_the_epochs_of_a_pruned_form_are_steps_of_the_stage(
    vehicle_home: Home, data: Dataset, bundles: dict[str, Path], tmp_path: Path
) -> None:
    config, ctx = small_context(vehicle_home, "tcn", tmp_path)
    config, seen = config.model_copy(update=_LESS["tcn"]), []
    family = families.get("tcn")
    assert isinstance(family, Optimisable)
    told = replace(ctx, progress=seen.append, stage="export")
    forms = family.variants(family.load(bundles["tcn"] / "native"), data, config, told)
    assert next(form for form in forms if form.name == "pruned").model is not None
    assert [event.message[:26] for event in seen] == ["pruned form · Epoch 1/2 · ", "pruned form · Epoch 2/2 · "]
    assert {event.epoch for event in seen} == {0}


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
    assert "| loss on val | loss on test |" in card
    assert figures["optimise/pruned/loss_on_test"] == by_name(bundles["tcn"])["pruned"].loss_on_test
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
