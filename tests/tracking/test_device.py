"""What becomes of a version once a device has told: against a real MLflow store, the gate asked for real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.homes import a_home
from support.machine import land_demo

from nightshift.data.dataset import Dataset
from nightshift.edge.manifest import DeviceCheck, Footprint, Latency, Parity
from nightshift.errors import DataError
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import Filters, PlannedCell
from nightshift.plan.fleet_run import FleetCell, FleetOutcome
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.records import StageRecord, read_record, write_record
from nightshift.plan.state import State, state
from nightshift.settings import Home
from nightshift.tracking import device, promotion, registry, versions
from nightshift.tracking.fleet_cells import standing
from nightshift.tracking.fleet_words import night_of, sentences
from nightshift.tracking.mlflow_store import Store, open_store
from nightshift.tracking.results import read_result
from tests.tracking.bundles import a_cell, finish, threshold_for

SUMMARY = ("champion", "device", "device_on", "device_p99_ms", "device_memory_mb")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("device"), migrated_db) as home:
        folder = home.configs / "targets"
        folder.mkdir(parents=True)
        # JSON is YAML.
        for name in ("board", "late", "crashed", "cut_off", "beaten"):
            settings = {"architecture": "aarch64", "require_device_check": True}
            (folder / f"{name}.yaml").write_text(json.dumps({"device": settings}))
        yield home


@pytest.fixture(scope="module")
def data(place: Home) -> Dataset:
    return land_demo(place, seed=5)


@pytest.fixture(scope="module")
def store(place: Home) -> Store:
    return open_store(place)


def registered(place: Home, store: Store, data: Dataset, target: str, seed: int = 1) -> tuple[Cell, Any]:
    """A version whose target wants a device's word, with the records of a cell that has come to its end."""
    cell = a_cell(data, seed, target=target)
    finish(place, cell, data, threshold_for(data))
    done = registry.register(place, store, cell)
    own = read_record(place, cell.key, "register")
    assert own is not None
    write_record(place, own.model_copy(update={"summary": done.summary(place, store.uri)}))
    report = {"stage": "report", "cell_key": cell.key, "status": "done", "started_at": own.started_at, "seconds": 0.1}
    write_record(place, StageRecord.model_validate(report))
    return cell, done


def a_check(bundle_id: str, p99_ms: float = 3.0, flips: int = 0) -> DeviceCheck:
    return DeviceCheck(
        bundle_id=bundle_id,
        device="pi-5",
        architecture="aarch64",
        board="Raspberry Pi 5 Model B",
        onnxruntime="1.22.1",
        parity=Parity(rows=256, max_abs={"score": 0.0}, tolerance={"score": 1e-6}, flips=flips, ok=not flips),
        latency=Latency(p50_ms=1.0, p99_ms=p99_ms, runs=300),
        footprint=Footprint(memory_mb=84.3, start_s=0.9),
        checked_at="2026-01-01T00:00:00Z",
    )


def facts(place: Home, cell: Cell) -> tuple[Any, ...]:
    own = read_record(place, cell.key, "register")
    assert own is not None
    return tuple(own.summary.get(name) for name in SUMMARY)


def holder(store: Store, name: str) -> versions.Version | None:
    return versions.champion(store, name)


def test_a_version_waits_for_its_device_which_makes_it_champion_and_whose_figures_are_kept(
    place: Home, store: Store, data: Dataset
) -> None:
    cell, done = registered(place, store, data, "board")
    assert done.summary(place, store.uri)["gate"] == "not promoted: awaiting its device check"
    assert holder(store, cell.name) is None
    stands = state(place, cell)
    assert (stands.state, stands.reason[:9]) == (State.AWAITING, "version 1")
    (wanted,) = device.awaiting(place)
    folder = done.folder.relative_to(place.root).as_posix()
    assert wanted == device.Wanted(cell.name, 1, done.bundle_id, folder, "aarch64")
    assert device.wanted_of(place, store, cell) == wanted
    assert read_result(place, cell).device == "awaiting its check"

    told = device.record(place, store, cell.name, 1, a_check(done.bundle_id))
    assert (told.champion, told.faults) == (True, ())
    assert "checked on pi-5 (Raspberry Pi 5 Model B)" in told.said
    held = holder(store, cell.name)
    assert held is not None
    assert [(held.version, p.by) for p in held.promotions] == [(1, "device check")]
    assert (held.tags[device.P99_MS], held.tags[device.MEMORY_MB]) == ("3", "84.3")
    assert device.known(held) == a_check(done.bundle_id)
    assert facts(place, cell) == (True, "passed", "pi-5 (Raspberry Pi 5 Model B)", 3.0, 84.3)
    assert read_result(place, cell).device == "passed on pi-5 (Raspberry Pi 5 Model B); 3.0 ms p99, 84.3 MB"
    assert state(place, cell).state is State.FRESH
    assert device.awaiting(place) == ()


def test_a_champion_that_fails_a_later_check_stays_and_is_told_of_loudly(
    place: Home, store: Store, data: Dataset
) -> None:
    cell, done = registered(place, store, data, "pi")
    assert done.decision.promote, "the shipped pi target wants no device's word"
    nothing_alike = Parity(rows=256, max_abs={"score": np.inf}, tolerance={"score": 1e-6}, flips=4, ok=False)
    wrong = a_check(done.bundle_id).model_copy(update={"parity": nothing_alike})
    told = device.record(place, store, cell.name, 1, wrong)
    assert told.champion
    (fault,) = told.faults
    assert fault.startswith("on pi-5 the graph is not the model: 4 of 256 rows are labelled otherwise; score")
    held = holder(store, cell.name)
    assert held is not None
    assert device.known(held) == wrong, "an infinite difference is no less recorded"
    assert held.version == 1
    (found,) = told.findings
    assert found.code == "G006"
    assert f"nightshift rollback {data.subject} anomaly --target pi" in found.remedy
    own = read_record(place, cell.key, "register")
    assert own is not None
    assert found in own.findings
    assert facts(place, cell)[:2] == (True, "failed")


def test_a_device_that_is_too_slow_refuses_with_figures_and_a_later_version_is_not_overtaken(
    place: Home, store: Store, data: Dataset
) -> None:
    cell, done = registered(place, store, data, "late")
    told = device.record(place, store, cell.name, 1, a_check(done.bundle_id, p99_ms=70.0))
    assert not told.champion
    assert told.faults == ("latency p99 70.0 ms on pi-5 is above the target's 50 ms",)
    assert told.said == f"The gate: not promoted: {told.faults[0]}."
    assert holder(store, cell.name) is None
    assert facts(place, cell)[:2] == (False, "failed")
    assert state(place, cell).state is State.FRESH, "there is nothing to train, and nothing to wait for"

    _, second = registered(place, store, data, "late", seed=2)
    assert device.record(place, store, cell.name, 2, a_check(second.bundle_id)).champion
    late = device.record(place, store, cell.name, 1, a_check(done.bundle_id))
    assert not late.champion
    assert late.said == "The gate was not asked: v2, a later one, is champion."
    held = holder(store, cell.name)
    assert held is not None
    assert held.version == 2


def test_a_crash_after_the_promotion_is_made_up_for_by_the_same_check(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, done = registered(place, store, data, "crashed")

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(device, "_rewrite", cut_off)
        with pytest.raises(KeyboardInterrupt):
            device.record(place, store, cell.name, 1, a_check(done.bundle_id))
    assert facts(place, cell)[:2] == (False, "awaiting"), "the plan still says so: it is checked again"
    assert device.record(place, store, cell.name, 1, a_check(done.bundle_id)).champion
    assert facts(place, cell)[:2] == (True, "passed")
    own = read_record(place, cell.key, "register")
    assert own is not None
    assert str(own.summary["gate"]).startswith("promoted: checked on pi-5")
    assert [f.code for f in own.findings] == []


def test_a_promotion_that_is_cut_off_is_made_up_for_by_the_same_check(
    place: Home, store: Store, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, done = registered(place, store, data, "cut_off")
    real = store.client.set_model_version_tag

    def at_the_alias(*_: object) -> None:
        raise KeyboardInterrupt

    def at_the_gate_s_word(*given: Any) -> None:
        if given[2] == versions.GATE:
            raise KeyboardInterrupt
        real(*given)

    cuts = (("set_registered_model_alias", at_the_alias, 0), ("set_model_version_tag", at_the_gate_s_word, 1))
    for call, cut, champion in cuts:
        with monkeypatch.context() as patched:
            patched.setattr(store.client, call, cut)
            with pytest.raises(KeyboardInterrupt):
                device.record(place, store, cell.name, 1, a_check(done.bundle_id))
        held = holder(store, cell.name)
        assert (held.version if held else 0) == champion
        assert facts(place, cell)[:2] == (False, "awaiting")
        assert state(place, cell).state is State.AWAITING
    assert device.record(place, store, cell.name, 1, a_check(done.bundle_id)).champion
    held = holder(store, cell.name)
    assert held is not None
    assert [p.by for p in held.promotions] == ["device check"]
    assert held.tags[versions.GATE] == versions.PROMOTED
    assert held.tags[versions.GATE_REASONS] == "checked on pi-5 (Raspberry Pi 5 Model B)"
    assert facts(place, cell)[:2] == (True, "passed")


def test_a_version_that_is_registered_again_is_judged_by_what_its_device_has_measured(
    place: Home, store: Store, data: Dataset
) -> None:
    cell = a_cell(data, 1, target="vehicle")
    finish(place, cell, data, threshold_for(data), baseline=1.0)
    done = registry.register(place, store, cell)
    device.record(place, store, cell.name, 1, a_check(done.bundle_id, p99_ms=70.0))
    again = registry.register(place, store, cell)
    told = again.summary(place, store.uri)
    assert [told[name] for name in SUMMARY] == [False, "failed", "pi-5 (Raspberry Pi 5 Model B)", 70.0, 84.3]
    assert again.decision is not None
    assert again.decision.reasons[0] == "latency p99 70.0 ms on pi-5 is above the target's 50 ms"


def test_what_was_champion_before_or_is_another_bundle_is_not_made_champion(
    place: Home, store: Store, data: Dataset
) -> None:
    cell, first = registered(place, store, data, "beaten")
    device.record(place, store, cell.name, 1, a_check(first.bundle_id))
    _, second = registered(place, store, data, "beaten", seed=2)
    assert device.record(place, store, cell.name, 2, a_check(second.bundle_id)).champion
    versions.make_champion(store, cell.name, 1, "rollback")
    again = device.record(place, store, cell.name, 2, a_check(second.bundle_id))
    assert not again.champion
    assert "it was champion before" in again.said
    held = holder(store, cell.name)
    assert held is not None
    assert held.version == 1
    promotion.refuse(store, cell.name, 2, "it hums")
    assert "a person has refused it" in device.record(place, store, cell.name, 2, a_check(second.bundle_id)).said
    with pytest.raises(DataError, match=f"has checked the bundle {first.bundle_id[:12]}, version 2 of"):
        device.record(place, store, cell.name, 2, a_check(first.bundle_id))


def test_matrix_and_morning_say_what_awaits_its_check(place: Home) -> None:
    names = {"subject": "pump_1", "family": "rul", "target": "board"}
    waits = PlannedCell(
        **names, name="pump_1.rul.board", cell_key="k", state=State.AWAITING, reasons=("version 3, trained 2026-01-01",)
    )
    other = {"subject": "pump_2", "name": "pump_2.rul.board"}
    trained = CellOutcome(**{**names, "subject": "pump_2"}, ending="trained", device="awaiting", version=4)
    stale = waits.model_copy(update={**other, "state": State.STALE, "reasons": ("new data",)})
    cells = (FleetCell(planned=waits), FleetCell(planned=stale, outcome=trained))
    for cell in cells:
        stands = standing(cell)
        assert (stands.word, stands.kind, stands.grave) == ("awaiting device check", "waits", 1)
    now = datetime(2026, 1, 2, tzinfo=UTC)
    told = FleetOutcome(run_id="r", started_at=now, ended_at=now, filters=Filters(), cells=cells)
    assert "2 models await their device check." in " ".join(sentences(night_of(place, told)))
    passed = FleetCell(planned=stale, outcome=trained.model_copy(update={"device": "passed"}))
    assert standing(passed).word == "trained"
