"""How a lineage reads, and what is left of one whose run or data are gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.store import folder_of
from nightshift.edge.manifest import DeviceCheck, Footprint, Latency, Parity
from nightshift.settings import Home
from nightshift.tracking import lineage_words as words
from nightshift.tracking import registry
from nightshift.tracking.device import CHECK
from nightshift.tracking.lineage import Lineage, lineage
from nightshift.tracking.mlflow_store import open_store
from tests.tracking.bundles import a_cell, finish, threshold_for

SAME = Parity(rows=256, max_abs={"score": 2e-7}, tolerance={"score": 1e-5}, flips=0, ok=True)


def a_check(bundle_id: str, **changed: object) -> DeviceCheck:
    return DeviceCheck(
        bundle_id=bundle_id,
        device="shelf-3",
        architecture="aarch64",
        board="Raspberry Pi 5 Model B",
        onnxruntime="1.22.1",
        parity=SAME,
        latency=Latency(p50_ms=0.8, p99_ms=1.4, runs=300),
        footprint=Footprint(memory_mb=88.4, start_s=0.91),
        checked_at="2026-02-03T04:05:06Z",
    ).model_copy(update=changed)


def lines(found: Lineage) -> dict[str, str]:
    return dict(words.lines(found))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("lineage"), migrated_db) as home:
        yield home


def test_a_lineage_holds_what_a_device_found_and_stays_readable_when_run_and_data_are_gone(place: Home) -> None:
    data = land_demo(place, seed=5, runs=14)
    store, cell = open_store(place), a_cell(data, 1)
    finish(place, cell, data, threshold_for(data))
    done = registry.register(place, store, cell)
    store.client.set_model_version_tag(done.name, "1", CHECK, a_check(done.bundle_id).model_dump_json())
    whole = lineage(place, store, done.name)
    assert whole.device == a_check(done.bundle_id)
    assert whole.bundle is not None
    assert whole.bundle.fingerprints.dataset == whole.data.fingerprint == data.fingerprint
    assert lines(whole)["device"] == (
        "shelf-3 (Raspberry Pi 5 Model B), aarch64, 2026-02-03 04:05, same answers, p99 1.40 ms, 88 MB in memory, "
        "first answer after 0.91 s"
    )

    shutil.rmtree(folder_of(place, data.subject, data.fingerprint))
    shutil.rmtree(place.artifacts / done.run_id)
    bare = lineage(place, store, done.name, 1)
    assert (bare.bundle, bare.decision, bare.origin.settings, bare.entry.score.value) == (None, None, {}, None)
    told = lines(bare)
    assert told["data"].startswith(f"{data.fingerprint[:12]}: not in this home any more")
    assert told["code"].startswith("cccccccccccc, commit ")
    assert told["judged"] == told["parity"] == words.NONE
    assert "the first champion" in told["gate"]


def test_other_answers_a_stand_in_and_throttling_are_said(place: Home) -> None:
    wrong = a_check("b", parity=SAME.model_copy(update={"ok": False, "flips": 3}), stand_in="x86_64", throttled=True)
    told = words.figures_of(wrong)
    assert "OTHER ANSWERS: 3 labels differ" in told
    assert "throttled" in told
    assert told.endswith("stand-in: x86_64")
    assert words.figures_of(None) == "not checked"
