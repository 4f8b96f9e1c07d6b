"""One run over what has landed: who is left, who is waited for, and which tries leave a note."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from prefect.states import Completed, Failed
from support.datasets import calendar_rows, describe

from nightshift.data.importers.landing import split_and_land
from nightshift.errors import ConfigError
from nightshift.files import write_atomic
from nightshift.plan.config import resolve
from nightshift.plan.landed import landed
from nightshift.plan.outcome import CellOutcome, MachineOutcome
from nightshift.plan.state import make_cell, remember
from nightshift.settings import Home
from tasks import landed as tasks_landed
from tasks.landed import LandedRun

HOLDER = """
import sys
from contextlib import ExitStack
from pathlib import Path
from nightshift.plan import lock
from nightshift.settings import Home
with ExitStack() as held:
    for key in sys.argv[2:]:
        held.enter_context(lock.held(Home(Path(sys.argv[1])), key))
    print("held", flush=True)
    sys.stdin.read()
"""
FAMILIES = ("anomaly", "classification", "forecast", "rul")


def test_a_run_waits_for_what_another_process_trains_and_takes_it_over_when_that_is_killed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_landed, "WAIT_S", 0.05)
    data = split_and_land(home, calendar_rows(), describe())
    cells = [make_cell(home, data.subject, family) for family in FAMILIES]
    for cell in cells:
        remember(home, cell)
    command = [sys.executable, "-c", HOLDER, str(home.root), *(cell.key for cell in cells)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert landed(home) == ()
    killer = threading.Timer(0.5, holder.kill)
    killer.start()
    [left] = LandedRun("pi").left()
    assert holder.wait(10) != 0
    holder.communicate()
    # All locks fall with the process, and a run may ask in between.
    assert left.subject == data.subject
    assert set(left.families) <= set(FAMILIES)


def test_the_wait_has_an_end(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_landed, "WAIT_LIMIT_S", 0.2)
    monkeypatch.setattr(tasks_landed, "WAIT_S", 0.05)
    monkeypatch.setattr(tasks_landed, "busy", lambda _home, _target: ("pump_1",))
    assert LandedRun("pi").left() == ()


def test_what_this_run_has_begun_is_not_left_and_an_unusable_config_is_noted(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe())
    write_atomic(home.configs / "machines" / "pump_1.yaml", b"families: {anomaly: {n_treees: 3}}")
    with pytest.raises(ConfigError) as caught:
        resolve(home, "pump_1", "anomaly", "pi")
    run = LandedRun("pi")
    [machine] = run.left()
    run.begin(machine)
    assert run.left() == ()
    failed = CellOutcome(subject="pump_1", family="anomaly", target="pi", ending="failed", reason=caught.value.what)
    run.note(machine, Completed(data=MachineOutcome(subject="pump_1", target="pi", cells=(failed,))))
    [later] = LandedRun("pi").left()
    assert later.families == FAMILIES[1:]


def test_a_run_that_broke_before_its_cells_leaves_every_family_as_failed(home: Home) -> None:
    split_and_land(home, calendar_rows(), describe())
    run = LandedRun("pi")
    [machine] = run.left()
    run.note(machine, Failed(data=OSError("no space")))
    assert LandedRun("pi").left() == (machine,)
