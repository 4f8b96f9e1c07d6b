"""The chain on a real cell: what a second run, a crash, a force and a blocker do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.homes import a_home
from support.machine import land_demo, metadata, simulate

from nightshift.data.dataset import Dataset
from nightshift.data.importers.landing import split_and_land
from nightshift.errors import InterruptedTraining, NightshiftError
from nightshift.plan.cell import Cell
from nightshift.plan.records import STAGES, StageRecord, read_record, work_folder
from nightshift.plan.state import State, make_cell, state
from nightshift.progress import ProgressEvent, read_events
from nightshift.settings import Home
from nightshift.stages.chain import StageContext, run_chain, run_stage

BEFORE_REGISTER = STAGES[: STAGES.index("register")]
SMALL = {"reference_rows": 300, "n_trees": 20}


def land_changed(home: Home, columns: dict[str, object], **change: object) -> Dataset:
    """Land the demo machine with columns replaced by a constant, or left out (None)."""
    frame = simulate(5)
    for name, value in columns.items():
        frame = frame.drop(columns=[name]) if value is None else frame.assign(**{name: value})
    return split_and_land(home, frame, metadata("demo").model_copy(update=change))


@pytest.fixture(scope="module")
def chain_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("chain")) as place:
        land_demo(place, seed=5)
        yield place


@pytest.fixture(scope="module")
def subject(chain_home: Home) -> str:
    return next((chain_home.data / "current").iterdir()).name


@pytest.fixture(scope="module")
def exported(chain_home: Home, subject: str) -> Cell:
    """An anomaly cell, run up to its staged bundle."""
    cell = make_cell(chain_home, subject, "anomaly", params=SMALL)
    for stage in BEFORE_REGISTER:
        run_stage(stage, cell, StageContext(chain_home))
    return cell


def stamps(home: Home, cell: Cell) -> dict[str, int]:
    folder = work_folder(home, cell.key)
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.json")}


def test_every_stage_leaves_a_record_and_progress(chain_home: Home, exported: Cell) -> None:
    for stage in BEFORE_REGISTER:
        record = read_record(chain_home, exported.key, stage)
        assert record is not None, stage
        assert record.status == "done"
    events = list(read_events(work_folder(chain_home, exported.key) / "progress.jsonl"))
    assert {e.stage for e in events} >= set(BEFORE_REGISTER)


def test_a_second_run_does_no_work(chain_home: Home, exported: Cell) -> None:
    before = stamps(chain_home, exported)
    records = [run_stage(stage, exported, StageContext(chain_home)) for stage in BEFORE_REGISTER]
    assert [r.status for r in records] == ["done"] * len(BEFORE_REGISTER)
    assert stamps(chain_home, exported) == before


def test_the_key_follows_data_config_and_code(chain_home: Home, subject: str, exported: Cell) -> None:
    assert make_cell(chain_home, subject, "anomaly", params=SMALL).key == exported.key
    assert make_cell(chain_home, subject, "anomaly", params={**SMALL, "seed": 43}).key != exported.key
    assert replace_in(exported, code="other").key != exported.key
    assert replace_in(exported, dataset="0" * 64).key != exported.key
    assert replace_in(exported, forced="asked").key == exported.key


def replace_in(cell: Cell, **change: str) -> Cell:
    return cell.model_copy(update=change)


def test_a_cell_tells_why_it_is_stale(chain_home: Home, subject: str, exported: Cell) -> None:
    assert "stopped after" in state(chain_home, exported).reason
    changed = make_cell(chain_home, subject, "anomaly", params={**SMALL, "contamination": 0.07})
    found = state(chain_home, changed)
    assert found.state is State.STALE


def test_a_family_that_cannot_apply_is_blocked_with_the_reason(home: Home) -> None:
    data = land_changed(home, {"rul": None}, has_rul=False)
    records = run_chain(make_cell(home, data.subject, "rul"), StageContext(home))
    assert [r.status for r in records] == ["not_applicable"]
    assert "`rul` column not found" in records[-1].error
    assert "or train only anomaly, classification, forecast." in records[-1].hint


def test_a_blocker_stops_the_cell_with_one_readable_message(home: Home) -> None:
    data = land_changed(home, {"stator_current_a": np.float32("nan")})
    records = run_chain(make_cell(home, data.subject, "anomaly"), StageContext(home))
    assert records[-1].status == "blocked"
    assert "stator_current_a" in records[-1].error
    assert records[-1].hint
    assert state(home, make_cell(home, data.subject, "anomaly")).state is State.BLOCKED


def test_the_report_says_why_a_cell_stopped(home: Home) -> None:
    data = land_changed(home, {"rul": None}, has_rul=False)
    run_chain(make_cell(home, data.subject, "rul"), StageContext(home))
    page = (home.reports / data.subject / "training_report.html").read_text(encoding="utf-8")
    assert "not applicable" in page
    assert "rul cannot apply" in page


def test_a_failure_is_recorded_and_the_next_run_tries_again(home: Home) -> None:
    data = land_demo(home, seed=5)
    cell = make_cell(home, data.subject, "anomaly", params=SMALL)
    store = home.data / "store" / data.subject / data.fingerprint[:12] / "train.parquet"
    whole = store.read_bytes()
    os.chmod(store, 0o644)
    store.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NightshiftError) as raised:
        run_chain(cell, StageContext(home))
    assert raised.value.hint
    assert state(home, cell).state is State.FAILED
    store.write_bytes(whole)
    assert run_stage("load", cell, StageContext(home)).status == "done"


def test_what_breaks_while_it_is_told_to_stop_is_no_failure(home: Home) -> None:
    """A signal to a process group ends the stage's own children too."""
    data = land_demo(home, seed=5)
    cell = make_cell(home, data.subject, "anomaly", params=SMALL)
    (home.data / "store" / data.subject / data.fingerprint[:12] / "train.parquet").unlink()
    with pytest.raises(InterruptedTraining):
        run_stage("load", cell, StageContext(home, should_stop=lambda: True))
    assert state(home, cell).state is State.STALE


def test_force_sets_the_earlier_records_aside(home: Home) -> None:
    data = land_demo(home, seed=5)
    cell = make_cell(home, data.subject, "anomaly", params=SMALL)
    stop_after(home, cell, "validate")
    forced = make_cell(home, data.subject, "anomaly", params=SMALL, forced="asked for")
    assert forced.key == cell.key
    stop_after(home, forced, "load")
    assert read_record(home, cell.key, "validate") is None
    assert (home.work / f"{cell.key}.1" / "validate.json").exists()


class Stop(Exception):  # noqa: N818
    """Ends a chain from inside, as a Ctrl-C would."""


def stop_after(home: Home, cell: Cell, last: str) -> list[StageRecord]:
    """Run the chain and stop it when the stage after `last` begins."""
    following = STAGES[STAGES.index(last) + 1]

    def sink(event: ProgressEvent) -> None:
        if event.stage == following:
            raise Stop

    with pytest.raises(Stop):
        run_chain(cell, replace(StageContext(home), progress=sink))
    return [r for stage in STAGES if (r := read_record(home, cell.key, stage))]


def test_kill_9_in_training_loses_nothing_that_was_finished(home: Home, tmp_path: Path) -> None:
    data = land_demo(home, seed=5)
    code = (
        "import os, signal, sys\n"
        "from nightshift.settings import use_home; home = use_home()\n"
        "from nightshift.plan.state import make_cell; from nightshift.stages.chain import StageContext, run_chain\n"
        "def sink(event):\n"
        "    if event.stage == 'train': os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cell = make_cell(home, {data.subject!r}, 'anomaly', params={SMALL!r})\n"
        "run_chain(cell, StageContext(home, progress=sink))\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr
    cell = make_cell(home, data.subject, "anomaly", params=SMALL)
    before = stamps(home, cell)
    assert {"load.json", "validate.json"} <= before.keys()
    assert "train.json" not in before
    assert state(home, cell).state is State.STALE
    trained = run_stage("train", cell, StageContext(home))
    assert trained.status == "done"
    assert "R003" in {f.code for f in trained.findings}, "the report says that it began anew"
    assert stamps(home, cell)["validate.json"] == before["validate.json"]
    (work_folder(home, cell.key) / "train.json").unlink()
    again = run_stage("train", cell, StageContext(home))
    assert "R003" not in {f.code for f in again.findings}, "the training before this one was not cut off"
