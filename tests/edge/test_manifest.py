"""What `bundle.json` may claim, and what a record of a device says and says again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import forecast_bundle, parity, write_bundle

from nightshift.edge.check import compare
from nightshift.edge.manifest import MANIFEST_FILE, DeviceCheck, Footprint, Latency, Parity
from nightshift.edge.runtime import Model
from nightshift.errors import BundleError


def test_a_difference_without_end_is_read_back_as_it_was_told() -> None:
    found = compare({"score": np.zeros(2)}, {"score": np.full(2, np.nan)}, {"score": 1e-6})
    told = DeviceCheck(
        bundle_id="b" * 64,
        device="shelf-3",
        architecture="aarch64",
        onnxruntime="1.22.1",
        parity=found,
        latency=Latency(p50_ms=1, p99_ms=2, runs=10),
        footprint=Footprint(memory_mb=80, start_s=1),
        checked_at="2026-01-01T00:00:00Z",
    )
    assert (found.ok, found.max_abs) == (False, {"score": np.inf})
    assert DeviceCheck.model_validate_json(told.model_dump_json()) == told
    assert DeviceCheck.model_validate_json(json.dumps(told.model_dump(mode="json"), allow_nan=False)) == told


def test_finite_figures_are_written_as_numbers() -> None:
    assert json.loads(parity(score=1e-6).model_dump_json())["tolerance"] == {"score": 1e-6}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("size_bytes",), -5),
        (("latency", "p99_ms"), float("inf")),
        (("latency", "p50_ms"), float("nan")),
        (("latency", "p50_ms"), "Infinity"),
        (("parity", "tolerance", "value"), float("inf")),
        (("parity", "tolerance", "value"), -1.0),
        (("parity", "max_abs", "value"), float("nan")),
        (("parity", "flips"), -1),
        (("footprint", "memory_mb"), -1.0),
        (("interface", "step_s"), float("inf")),
    ],
)
def test_a_bundle_cannot_claim_what_would_pass_every_limit(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    folder = write_bundle(
        tmp_path, parity=parity(value=1e-5), footprint=Footprint(memory_mb=1, start_s=1), family="forecast"
    )
    document = json.loads((folder / MANIFEST_FILE).read_text())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / MANIFEST_FILE).write_text(json.dumps(document))
    with pytest.raises(BundleError, match=rf"{path[-1]}: expected") as caught:
        Model.load(folder)
    assert "\n" not in str(caught.value)


def test_what_differs_at_export_is_still_a_bundle(tmp_path: Path) -> None:
    worst = Parity(rows=1, max_abs={"value": float("inf")}, tolerance={"value": 1e-5}, flips=0, ok=False)
    assert Model.load(write_bundle(tmp_path / "v1", parity=worst)).manifest.parity == worst
    assert Model.load(forecast_bundle(tmp_path / "v2")).interface.step_s == 600.0
