"""What is kept, and what of the machinery goes: rules that need no registry and no DVC."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.datasets import calendar_rows, describe

from nightshift.data import store
from nightshift.data.importers.landing import split_and_land
from nightshift.errors import TransientError
from nightshift.files import write_atomic
from nightshift.plan import journal, lock
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import make_plan
from nightshift.plan.fleet_config import FleetConfig, RetentionSettings
from nightshift.plan.past import past_of
from nightshift.plan.records import work_folder
from nightshift.plan.state import State, make_cell, remember, state
from nightshift.settings import Home
from nightshift.tracking import retention, runs
from nightshift.tracking.disk_space import Ledger
from nightshift.tracking.pruning import look, prune
from nightshift.tracking.versions import GATE, PENDING, PROMOTIONS, PRUNED, READY, STATE, WAITS, Held, Version
from tests.plan.trained import leave_record, leave_trained, set_aside

LIMITS = RetentionSettings(versions=1, data_versions=1, fleet_runs=1, runs_days=1)
NAME = "pump_1.anomaly.pi"


def held(
    number: int, *aliases: str, at: str = READY, cell: Cell | None = None, more: Mapping[str, str] | None = None
) -> Held:
    tags = {STATE: at, runs.CELL_KEY: cell.key if cell else "k", runs.DATASET: cell.dataset if cell else "d" * 64}
    tags |= more or {}
    return Held(Version(NAME, number, f"run{number}", tags), frozenset(aliases))


def pump(home: Home, seed: int = 0, subject: str = "pump_1") -> str:
    return split_and_land(home, calendar_rows(seed=seed), describe(subject)).fingerprint


def goes(home: Home, limits: RetentionSettings = LIMITS) -> list[str]:
    """What would go, went, and is then no more to be removed."""
    looked = [one.removal.name for one in look(home, limits).removed]
    done = prune(home, limits)
    assert [one.removal.name for one in done.removed] == looked
    assert prune(home, limits).removed == ()
    return looked


def make_old(path: Path, days: float = 3.0) -> Path:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def test_aliases_the_last_versions_and_what_is_not_whole_are_kept(home: Home) -> None:
    found = [
        held(6, "challenger"),
        held(5, at=PENDING),
        held(4),
        held(3),
        held(2, "shadow", at=PRUNED),
        held(1, at=PRUNED),
    ]
    kept = retention.kept(home, found, retention.in_use(home, NAME), last=2)
    assert kept == {6: "challenger", 5: "its registration has not ended", 4: "one of the last 2", 2: "shadow"}


def test_the_champion_before_and_what_waits_for_a_person_are_kept(home: Home) -> None:
    """Else there would be nothing to roll back to, and nothing behind the form."""

    def noted(day: int) -> str:
        return json.dumps([{"at": f"2026-01-0{day}T00:00:00+00:00", "by": "gate", "note": ""}])

    found = [
        held(7, "challenger"),
        held(6),
        held(5, more={GATE: WAITS}),
        held(4, "champion", more={PROMOTIONS: noted(3)}),
        held(3),
        held(2, more={PROMOTIONS: noted(2)}),
        held(1, more={PROMOTIONS: noted(1)}),
    ]
    kept = retention.kept(home, found, retention.in_use(home, NAME), last=1)
    assert kept == {7: "challenger", 5: "waits for a person", 4: "champion", 2: "the champion before"}


def test_the_version_of_the_present_data_is_kept_after_old_data_were_brought_back(home: Home) -> None:
    """`data checkout` makes an old version's cell the present one: pruning it would have it trained again."""
    first = pump(home)
    old = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, old, 1)
    pump(home, seed=1)
    new = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, new, 2)
    found = [held(3, "champion"), held(2, cell=new), held(1, cell=old)]
    assert set(retention.kept(home, found, retention.in_use(home, NAME), last=1)) == {3, 2}
    store.install(home, store.folder_of(home, "pump_1", first))
    remember(home, old)
    assert set(retention.kept(home, found, retention.in_use(home, NAME), last=1)) == {3, 1}


def test_where_the_config_cannot_be_read_all_of_the_present_data_is_kept(home: Home) -> None:
    pump(home)
    cells = [make_cell(home, "pump_1", "anomaly", params={"seed": seed}) for seed in (1, 2)]
    for number, cell in enumerate(cells, 1):
        leave_trained(home, cell, number)
    write_atomic(home.configs / "families" / "anomaly.yaml", b"contaminaton: 3\n")
    found = [held(4, "champion"), held(3), held(2, cell=cells[1]), held(1, cell=cells[0])]
    assert set(retention.kept(home, found, retention.in_use(home, NAME), last=1)) == {4, 2, 1}


def test_the_plan_is_the_same_after_a_prune(home: Home) -> None:
    """Bundles that no registry knows are left, with their records, what they were made from, and what they took."""
    pump(home)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 1, train_s=40)
    pump(home, seed=1)
    leave_trained(home, make_cell(home, "pump_1", "anomaly"), 2, promoted=False, train_s=80)
    failed = make_cell(home, "pump_1", "rul")
    remember(home, failed)
    leave_record(home, failed, "train", status="failed", error="out of memory")
    config = FleetConfig()
    before, past = make_plan(home, config).cells, past_of(home, "pump_1", "anomaly", "pi")
    done = prune(home, LIMITS)
    assert done.removed == ()
    assert done.remarks == ("2 bundles under models/ are not in the registry, and are left",)
    assert make_plan(home, config).cells == before
    assert past_of(home, "pump_1", "anomaly", "pi") == past


def test_work_of_cells_that_nothing_refers_to_goes_and_the_rest_stays(home: Home) -> None:
    pump(home)
    old, half, busy = (make_cell(home, "pump_1", "anomaly", params={"seed": seed}) for seed in (1, 2, 3))
    for cell in (old, half, busy):
        remember(home, cell)
        leave_record(home, cell, "train", status="failed", error="no")
    journal.open_entry(home, half)
    now = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, now, 1)
    for name in ("scratch", "checkpoints"):
        write_atomic(work_folder(home, now.key) / name / "epoch_3.bin", b"x" * 5_000)
    write_atomic(home.models / ".staging" / old.key / "model.onnx", b"x")
    make_old(home.models / ".staging" / old.key)
    with lock.held(home, busy.key):
        gone = {one.removal.name for one in prune(home, LIMITS).removed}
    assert gone == {
        f"{NAME} {old.key[:12]}",
        f"{NAME} {now.key[:12]} checkpoints",
        f"staged bundle {old.key[:12]}",
    }
    assert [work_folder(home, cell.key).is_dir() for cell in (old, half, busy, now)] == [False, True, True, True]
    assert state(home, now).state is State.FRESH
    assert goes(home) == [f"{NAME} {busy.key[:12]}"]


def test_what_force_set_aside_is_numbered_without_gaps(home: Home) -> None:
    """Who reads a model's past stops at the first number that is not there."""
    pump(home)
    cell = make_cell(home, "pump_1", "anomaly")
    leave_trained(home, cell, 1, train_s=10)
    set_aside(home, cell)
    leave_trained(home, cell, 2, train_s=20)
    folder = work_folder(home, cell.key)
    folder.rename(folder.with_name(f"{folder.name}.2"))
    leave_trained(home, cell, 3, train_s=30)
    shutil.rmtree(home.models / "anomaly" / "pump_1" / "pi" / "v1")
    assert goes(home) == [f"{NAME} {cell.key[:12]}.1"]
    assert not folder.with_name(f"{folder.name}.2").exists()
    assert [v.version for v in past_of(home, "pump_1", "anomaly", "pi").versions] == [3, 2]


def test_data_that_nothing_was_made_from_goes_and_the_present_and_the_last_stay(home: Home) -> None:
    first, second, third, fourth = (pump(home, seed) for seed in range(4))
    cell = make_cell(home, "pump_1", "anomaly", dataset=first)
    leave_trained(home, cell, 1)
    store.install(home, store.folder_of(home, "pump_1", third))
    # Killed before its subject pointed to it.
    cut_off = home.data / "store" / "pump_1" / "0123456789ab"
    shutil.copytree(store.folder_of(home, "pump_1", second), cut_off)
    write(home.data / "store" / ".unfinished" / "pump_1.0123456789ab")
    make_old(cut_off)
    assert sorted(goes(home)) == sorted(["pump_1 0123456789ab", f"pump_1 {second[:12]}"])
    assert not (home.data / "store" / ".unfinished" / "pump_1.0123456789ab").exists()
    assert set(store.versions(home, "pump_1")) == {f[:12] for f in (first, third, fourth)}
    assert store.current(home, "pump_1") == third


def test_data_that_land_again_while_they_are_set_aside_are_put_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A landing that found its data in the store sets its pointer without writing them again."""
    first, _ = pump(home), pump(home, seed=1)
    from nightshift.tracking import pruning

    def land_meanwhile(_seconds: float) -> None:
        write_atomic(home.data / "current" / "pump_1", f"{first}\n".encode())

    monkeypatch.setattr(pruning.time, "sleep", land_meanwhile)
    done = prune(home, LIMITS)
    assert done.removed == ()
    assert done.remarks == (f"pump_1 {first[:12]} is left: it is in use again",)
    assert store.open_dataset(home, "pump_1").fingerprint == first


def test_old_runs_reports_results_and_syntheses_go(home: Home) -> None:
    pump(home)
    for i, name in enumerate(("one", "two", "three")):
        folder = home.work / "fleet" / name
        write_atomic(folder / "plan.json", b"{}")
        if name != "two":
            write_atomic(folder / "outcome.json", b"{}")
        make_old(folder, days=0.3 - 0.1 * i)
        make_old(write(home.reports / "fleet" / f"2026-01-0{i + 1}.html"), days=3 - i)
    write(home.reports / "fleet" / "latest.html")
    make_old(write(home.prefect / "storage" / "old"))
    write(home.prefect / "storage" / "new")
    for key, days in (("a" * 64, 3), ("b" * 64, 2)):
        described = home.work / key / "synthesis.json"
        write_atomic(described, json.dumps({"subject": "pump_1"}).encode())
        make_old(described, days)
    assert goes(home) == [
        f"synthesis of pump_1 {'a' * 12}",
        "run one",
        "report 2026-01-02.html",
        "report 2026-01-01.html",
        "1 results of Prefect runs",
    ]
    # The second one may be going on still.
    assert sorted(p.name for p in (home.work / "fleet").iterdir()) == ["three", "two"]
    assert sorted(p.name for p in (home.reports / "fleet").iterdir()) == ["2026-01-03.html", "latest.html"]


def write(path: Path) -> Path:
    write_atomic(path, b"x")
    return path


def test_one_prune_at_a_time(home: Home) -> None:
    with lock.held(home, "prune"), pytest.raises(TransientError, match="another `nightshift prune` is at work"):
        prune(home, LIMITS)


def test_a_file_frees_its_room_with_its_last_link(tmp_path: Path) -> None:
    one, two, elsewhere = (tmp_path / name for name in ("one", "two", "elsewhere"))
    for folder in (one, two, elsewhere):
        folder.mkdir()
    (one / "shared").write_bytes(b"x" * 8_192)
    os.link(one / "shared", two / "shared")
    (one / "linked").write_bytes(b"x" * 8_192)
    os.link(one / "linked", elsewhere / "linked")
    ledger = Ledger()
    assert ledger.freed([one]) == 0
    assert ledger.freed([two, tmp_path / "missing"]) == 8_192
