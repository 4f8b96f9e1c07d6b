"""What has landed and was not tried: from pointers, records and locks, whoever was killed in between."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.datasets import calendar_rows, describe

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.data.store import install
from nightshift.errors import ConfigError
from nightshift.files import write_atomic
from nightshift.plan import lock
from nightshift.plan.cell import Cell
from nightshift.plan.config import resolve
from nightshift.plan.landed import Landed, LandedOutcome, MachinesFailedError, busy, landed, note_unmade
from nightshift.plan.outcome import CellOutcome, MachineOutcome
from nightshift.plan.records import StageRecord, work_folder, write_record
from nightshift.plan.state import remember
from nightshift.settings import Home

HOLDER = """
import sys
from pathlib import Path
from nightshift.plan import lock
from nightshift.settings import Home
with lock.held(Home(Path(sys.argv[1])), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
FAMILIES = ("anomaly", "classification", "forecast", "rul")


def land(home: Home, subject: str = "pump_1", seed: int = 0) -> Dataset:
    return split_and_land(home, calendar_rows(seed=seed), describe(subject))


def cell(data: Dataset, family: str, *, target: str = "pi", code: str = "c") -> Cell:
    config = {"config": {"seed": 1}, "limits": {}}
    return Cell(subject=data.subject, family=family, target=target, dataset=data.fingerprint, config=config, code=code)


def leave(home: Home, tried: Cell, stage: str, status: str) -> None:
    """Leave the traces of a cell that was worked on, up to a stage."""
    remember(home, tried)
    record = StageRecord(
        stage=stage,
        cell_key=tried.key,
        status=status,
        started_at="2026-11-21T02:00:00Z",
        seconds=1.0,  # type: ignore[arg-type]
    )
    write_record(home, record)


def test_what_has_landed_is_left_for_every_family_of_machines(home: Home) -> None:
    data = land(home)
    assert landed(home) == (Landed("pump_1", data.fingerprint, FAMILIES),)


def test_nothing_has_landed_in_a_home_without_data(home: Home) -> None:
    assert landed(home) == ()


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        ("report", "done"),
        ("register", "done"),
        ("register", "pending"),
        ("train", "failed"),
        ("validate", "blocked"),
        ("load", "not_applicable"),
    ],
)
def test_however_a_cell_has_ended_it_was_tried(home: Home, stage: str, status: str) -> None:
    data = land(home)
    if stage == "report":
        leave(home, cell(data, "anomaly"), "register", status)
    leave(home, cell(data, "anomaly"), stage, status)
    [left] = landed(home)
    assert left.families == FAMILIES[1:]
    for family in FAMILIES[1:]:
        leave(home, cell(data, family, code="another"), "register", "done")
    assert landed(home) == ()


def test_a_model_that_somebody_deleted_was_tried_all_the_same(home: Home) -> None:
    data = land(home)
    for family in FAMILIES:
        tried = cell(data, family)
        leave(home, tried, "register", "done")
        work_folder(home, tried.key).joinpath("load.json").write_text("no record")
    assert landed(home) == ()


def test_another_target_or_other_data_count_for_themselves(home: Home) -> None:
    old = land(home, seed=1)
    for family in FAMILIES:
        leave(home, cell(old, family), "register", "done")
    assert landed(home) == ()
    assert [m.families for m in landed(home, "server")] == [FAMILIES]
    new = land(home, seed=2)
    assert [m.fingerprint for m in landed(home)] == [new.fingerprint]
    install(home, old.folder)
    assert landed(home) == ()


def test_a_cell_set_aside_by_force_was_tried_too(home: Home) -> None:
    data = land(home)
    tried = cell(data, "anomaly")
    leave(home, tried, "register", "done")
    folder = work_folder(home, tried.key)
    folder.rename(folder.with_name(f"{folder.name}.1"))
    assert landed(home)[0].families == FAMILIES[1:]


def test_a_family_that_another_process_trains_now_is_left_to_it(home: Home) -> None:
    data = land(home)
    at_work = cell(data, "anomaly")
    remember(home, at_work)
    other = land(home, "pump_2")
    command = [sys.executable, "-c", HOLDER, str(home.root), at_work.key]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert lock.is_held(home, at_work.key)
    left = {m.subject: m.families for m in landed(home)}
    assert left == {"pump_1": FAMILIES[1:], other.subject: FAMILIES}
    assert busy(home) == ("pump_1",)
    assert busy(home, "server") == ()
    holder.kill()
    holder.communicate()
    assert busy(home) == ()
    # Killed in the middle: its machine is left again, behind those that nobody has begun.
    assert [m.subject for m in landed(home)] == ["pump_2", "pump_1"]


def test_who_landed_first_comes_first_and_who_was_cut_off_last(home: Home) -> None:
    for i, subject in enumerate(("pump_c", "pump_a", "pump_b")):
        data = land(home, subject)
        os.utime(home.data / "current" / subject, ns=(i, i))
        if subject == "pump_c":
            leave(home, cell(data, "anomaly"), "train", "done")
    assert [m.subject for m in landed(home)] == ["pump_a", "pump_b", "pump_c"]


def test_a_damaged_pointer_or_note_keeps_no_other_machine_waiting(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    land(home, "pump_1")
    write_atomic(home.data / "current" / "pump_2", b"\x00\xff")
    write_atomic(home.work / ("a" * 64) / "cell.json", b"{")
    assert [m.subject for m in landed(home)] == ["pump_1"]
    assert "pump_2" in caplog.text


def test_a_config_that_cannot_be_used_is_not_tried_again_until_it_or_the_data_change(home: Home) -> None:
    data = land(home)
    config = home.configs / "machines" / "pump_1.yaml"
    write_atomic(config, b"families: {anomaly: {n_treees: 3}}")
    [left] = landed(home)
    note_unmade(home, left, "rul", "pi", "another error that left its cell")
    assert landed(home)[0].families == FAMILIES
    with pytest.raises(ConfigError) as caught:
        resolve(home, "pump_1", "anomaly", "pi")
    note_unmade(home, left, "anomaly", "pi", caught.value.what)
    assert landed(home) == (Landed("pump_1", data.fingerprint, FAMILIES[1:]),)
    assert landed(home, "server")[0].families == FAMILIES
    write_atomic(config, b"families: {anomaly: {n_treeees: 3}}")
    assert landed(home)[0].families == FAMILIES
    write_atomic(config, b"families: {anomaly: {n_treees: 3}}")
    land(home, seed=2)
    assert landed(home)[0].families == FAMILIES


def test_a_failed_run_names_every_bad_cell_and_keeps_the_outcome_across_processes() -> None:
    good = CellOutcome(subject="a", family="rul", target="pi", ending="trained")
    bad = CellOutcome(subject="b", family="rul", target="pi", ending="blocked", reason="D003 time goes back")
    machines = tuple(MachineOutcome(subject=c.subject, target="pi", cells=(c,)) for c in (good, bad))
    error = MachinesFailedError(LandedOutcome(target="pi", machines=machines))
    assert "1 of 2 machines did not end well: b rul blocked: D003 time goes back" in str(error)
    assert error.exit_code == 3
    kind, arguments = error.__reduce__()[:2]
    assert kind(*arguments).outcome == error.outcome  # type: ignore[operator, misc]
