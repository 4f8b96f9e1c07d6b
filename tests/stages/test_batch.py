"""Batches with real cells: what a second try, a death, a limit, a stop and another batch do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.flow_scenarios import TINY, land
from support.homes import a_home

from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.plan.cell import Cell
from nightshift.plan.options import TrainOptions
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.records import read_record, work_folder
from nightshift.plan.state import State, make_cell, state
from nightshift.progress import read_events
from nightshift.settings import Home
from nightshift.stages.batch import Batch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PUMPS = ("pump_a", "pump_b", "pump_c")
#: Asks for a GPU, where there is one; here it says who is to be given one.
SMALL = {**TINY, "device": "cuda"}
QUICK = TrainOptions(families={"anomaly": SMALL}, threads=1)
# Minutes of isolation trees: long enough to be met in the middle of the training.
LONG = {"n_trees": 2_000, "reference_rows": 2_000}
# A batch in a process of its own, to be killed or told to stop.
ALONE = """
import json, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
from nightshift.settings import use_home
home = use_home()
from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.stages.batch import Batch
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
cells = [CellRef.model_validate(c) for c in json.loads(sys.argv[1])]
options = BatchOptions.model_validate_json(sys.argv[2])
with Batch(home, cells, options, should_stop=stop.is_set) as batch:
    with ThreadPoolExecutor(batch.processes) as pool:
        for ended in pool.map(batch.run, batch.cells):
            print(ended.model_dump_json() if ended else "null", flush=True)
"""


@pytest.fixture(scope="module")
def batch_home(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("batch"), migrated_db) as place:
        for subject in PUMPS:
            land(place, subject)
        land(place, "pump_slow", rows=2_000)
        yield place


def refs(*subjects: str, forced: str = "") -> list[CellRef]:
    return [CellRef(subject=subject, family="anomaly", forced=forced) for subject in subjects]


def slow(seed: int, **limits: Any) -> BatchOptions:
    """Options under which the slow pump trains for minutes; a seed of its own makes the cell a test's own."""
    return BatchOptions(train=TrainOptions(settings={**LONG, "seed": seed}, threads=1), **limits)


def slow_cell(home: Home, seed: int) -> Cell:
    return make_cell(home, "pump_slow", "anomaly", params={**LONG, "seed": seed})


def run(home: Home, cells: list[CellRef], options: BatchOptions, run_id: str = "") -> list[CellOutcome | None]:
    with Batch(home, cells, options, run_id=run_id) as batch, ThreadPoolExecutor(batch.processes) as pool:
        return list(pool.map(batch.run, batch.cells))


def endings(outcomes: list[CellOutcome | None]) -> list[str]:
    return [outcome.ending if outcome else "stopped" for outcome in outcomes]


def when(home: Home, cell: Cell) -> str:
    """When a cell was trained."""
    record = read_record(home, cell.key, "train")
    assert record is not None
    return record.started_at


def in_training(home: Home, cell: Cell) -> bool:
    return any(e.stage == "train" for e in read_events(work_folder(home, cell.key) / "progress.jsonl"))


def wait_for(what: str, done: Callable[[], bool], limit_s: float = 180) -> None:
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.1)


def cell_processes(home: Home) -> list[psutil.Process]:
    """The processes of cells of a home: children of a fork server, which lead groups of their own."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("NIGHTSHIFT_HOME") == str(home.root)
            if mine and "nightshift.stages.batch_fork" in process.cmdline() and os.getpgid(process.pid) == process.pid:
                found.append(process)
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def start_alone(home: Home, cells: list[CellRef], options: BatchOptions) -> subprocess.Popen[str]:
    words = [json.dumps([c.model_dump() for c in cells]), options.model_dump_json()]
    environment = {**os.environ, **home.environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", ALONE, *words], env=environment, stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Night:
    """What a batch ended as, who held a GPU meanwhile, and for how many callers more than processes there was room."""

    outcomes: list[CellOutcome | None]
    held: list[str]
    waiting: int


def run_night(home: Home, cells: list[CellRef], run_id: str) -> Night:
    held: list[str] = []

    @contextmanager
    def gpu(cell: Cell) -> Iterator[None]:
        held.append(cell.name)
        yield

    options = BatchOptions(train=QUICK, processes=2)
    with Batch(home, cells, options, run_id=run_id, gpu=gpu) as batch, ThreadPoolExecutor(batch.callers) as pool:
        return Night(list(pool.map(batch.run, batch.cells)), held, batch.callers - batch.processes)


@pytest.fixture(scope="module")
def night(batch_home: Home) -> Night:
    """Two machines and two families in one batch; independent rows have no clock that a forecast could follow."""
    more = [CellRef(subject="pump_a", family="timeseries"), *refs("pump_a", "pump_zz")]
    return run_night(batch_home, [*refs("pump_a"), *refs("pump_b", forced="asked for"), *more], "night 1")


@pytest.fixture(scope="module")
def trained(night: Night) -> list[CellOutcome | None]:
    return night.outcomes


def test_each_cell_ends_in_its_own_way_and_one_named_twice_is_tried_once(trained):
    assert endings(trained) == ["trained", "trained", "not applicable", "failed"]
    assert [outcome.version for outcome in trained] == [1, 1, None, None]
    assert "unknown machine 'pump_zz'" in trained[3].reason
    assert trained[0].value is not None


def test_a_cell_that_asks_for_a_gpu_holds_one_while_it_trains_and_another_does_not(batch_home, night):
    assert sorted(night.held) == ["pump_a.anomaly.pi", "pump_b.anomaly.pi"]
    assert [outcome.gpu_s > 0 for outcome in night.outcomes] == [True, True, False, False]
    # As many threads more as cells may wait for a GPU.
    assert night.waiting == 2
    again = run_night(batch_home, refs("pump_a"), "night 1")
    assert (endings(again.outcomes), again.held, again.waiting) == (["up to date"], [], 0)
    assert again.outcomes[0].gpu_s == 0


def test_a_second_try_trains_nothing_that_is_fresh_and_starts_no_process(batch_home, trained):
    cells = [make_cell(batch_home, s, "anomaly", params=SMALL) for s in ("pump_a", "pump_b")]
    before = [when(batch_home, cell) for cell in cells]
    with Batch(batch_home, refs("pump_a", "pump_b"), BatchOptions(train=QUICK)) as batch:
        again = [batch.run(ref) for ref in batch.cells]
        assert batch._children is None
    assert endings(again) == ["up to date", "up to date"]
    assert [when(batch_home, cell) for cell in cells] == before


def test_what_is_forced_is_forced_once_however_often_the_run_is_tried(batch_home, trained):
    cell = make_cell(batch_home, "pump_b", "anomaly", params=SMALL)
    options = BatchOptions(train=QUICK)
    assert trained[1].ending == "trained"
    begun = when(batch_home, cell)
    again = run(batch_home, refs("pump_b", forced="asked for"), options, run_id="night 1")
    assert endings(again) == ["up to date"]
    assert when(batch_home, cell) == begun
    other = run(batch_home, refs("pump_b", forced="asked for"), options, run_id="night 2")
    assert endings(other) == ["trained"]


def test_a_cell_killed_in_its_training_fails_alone_and_its_next_training_says_that_it_begins_anew(batch_home):
    settings = {**TINY, "n_trees": 600, "seed": 11}
    cell = make_cell(batch_home, "pump_c", "anomaly", params=settings)

    def kill() -> None:
        wait_for("the training", lambda: in_training(batch_home, cell))
        for process in cell_processes(batch_home):
            process.kill()

    killer = threading.Thread(target=kill)
    options = BatchOptions(train=TrainOptions(settings=settings, threads=1), processes=1)
    with Batch(batch_home, [*refs("pump_c"), CellRef(subject="pump_c", family="forecast")], options) as batch:
        killer.start()
        killed, other = (batch.run(ref) for ref in batch.cells)
        killer.join()
        _check_killed(batch_home, cell, killed, other)
        validated = read_record(batch_home, cell.key, "validate")
        assert validated is not None
        again = batch.run(batch.cells[0])
    assert again is not None
    assert (again.ending, again.version) == ("trained", 1)
    assert again.reason == "cut off in train; begun anew"
    assert 0 < again.cpu_s < 3 * again.seconds
    assert read_record(batch_home, cell.key, "validate") == validated
    trained = read_record(batch_home, cell.key, "train")
    assert trained is not None
    assert "R003" in {finding.code for finding in trained.findings}


def _check_killed(home: Home, cell: Cell, killed: CellOutcome | None, other: CellOutcome | None) -> None:
    assert killed is not None
    assert other is not None
    assert (killed.ending, other.ending) == ("failed", "not applicable")
    assert "train ended because its process was killed by SIGKILL" in killed.reason
    assert "pump_c.anomaly.pi.log" in killed.hint
    assert killed.cpu_s > 0
    found = state(home, cell)
    assert found.state is State.FAILED
    assert "SIGKILL" in found.reason
    assert "SIGKILL" in (home.reports / "pump_c" / "training_report.html").read_text(encoding="utf-8")


def test_a_cell_that_takes_too_long_or_holds_too_much_memory_is_stopped_and_recorded_with_the_figures(batch_home):
    with Batch(batch_home, refs("pump_slow"), slow(12, cell_time_limit_s=3)) as batch:
        late = batch.run(batch.cells[0])
        assert cell_processes(batch_home) == []
        # Another batch's options, without the seconds that another fork server takes.
        batch._options = slow(13, cell_memory_gb=0.1)
        large = batch.run(batch.cells[0])
        assert cell_processes(batch_home) == []
    assert late is not None
    assert late.ending == "failed"
    assert "a cell may take 3 s" in late.reason
    assert "cell_time_limit_s" in late.hint
    assert state(batch_home, slow_cell(batch_home, 12)).state is State.FAILED
    assert large is not None
    assert large.ending == "failed"
    assert "GB, a cell may hold 0.1 GB" in large.reason
    assert "cell_memory_gb" in large.hint


def test_cells_end_when_their_batch_is_killed(batch_home):
    cell = slow_cell(batch_home, 14)
    with start_alone(batch_home, refs("pump_slow"), slow(14)) as process:
        wait_for("the training", lambda: in_training(batch_home, cell))
        assert len(cell_processes(batch_home)) == 1
        process.kill()
    wait_for("its end", lambda: cell_processes(batch_home) == [], limit_s=60)
    assert state(batch_home, cell).state is State.STALE


def test_cells_end_when_batch_and_fork_server_are_killed(batch_home):
    cell = slow_cell(batch_home, 15)
    with start_alone(batch_home, refs("pump_slow"), slow(15)) as process:
        wait_for("the training", lambda: in_training(batch_home, cell))
        [server] = psutil.Process(process.pid).children()
        server.kill()
        process.kill()
    wait_for("its end", lambda: cell_processes(batch_home) == [], limit_s=5)


def test_a_fork_server_that_dies_costs_the_cells_that_run_and_no_other(batch_home):
    cell = slow_cell(batch_home, 16)
    with Batch(batch_home, refs("pump_slow", "pump_c"), slow(16, processes=1)) as batch:
        running = ThreadPoolExecutor(1).submit(batch.run, batch.cells[0])
        wait_for("the training", lambda: in_training(batch_home, cell))
        assert batch._children is not None
        batch._children._server.kill()
        lost = running.result()
        other = batch.run(CellRef(subject="pump_c", family="forecast"))
    assert lost is not None
    assert other is not None
    assert (lost.ending, other.ending) == ("failed", "not applicable")
    assert "the process that all cells are forked from" in lost.reason


def test_a_running_cell_is_reported_where_nobody_waits_and_a_stop_keeps_what_it_has_without_a_failure(batch_home):
    cell = slow_cell(batch_home, 17)
    with start_alone(batch_home, refs("pump_slow"), slow(17)) as process:
        wait_for("the training", lambda: in_training(batch_home, cell))
        (elsewhere,) = run(batch_home, refs("pump_slow"), slow(17, wait_s=0))
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=120)
    assert elsewhere is not None
    assert (elsewhere.ending, "another run still trains it" in elsewhere.reason) == ("failed", True)
    assert time.monotonic() - told < 60
    assert out.split() == ["null"]
    assert read_record(batch_home, cell.key, "validate") is not None
    assert state(batch_home, cell).state is State.STALE


def test_a_cell_that_is_stopped_alone_keeps_what_it_has_without_a_failure(batch_home):
    cell = slow_cell(batch_home, 77)

    def named(name: str) -> bool:
        return name == cell.name and in_training(batch_home, cell)

    with Batch(batch_home, refs("pump_slow"), slow(77), cell_to_stop=named) as batch:
        assert batch.run(batch.cells[0]) is None
    assert read_record(batch_home, cell.key, "validate") is not None
    assert state(batch_home, cell).state is State.STALE


def test_two_batches_at_once_train_each_cell_once(batch_home):
    options = BatchOptions(train=QUICK.model_copy(update={"settings": {**TINY, "seed": 21}}), processes=1)
    turned = refs("pump_b", "pump_a")
    first = refs("pump_a", "pump_b")
    with start_alone(batch_home, first, options) as one, start_alone(batch_home, turned, options) as two:
        ended = [json.loads(line) for process in (one, two) for line in process.communicate()[0].splitlines()]
    assert sorted(e["ending"] for e in ended) == ["trained", "trained", "up to date", "up to date"]
    assert sorted(e["subject"] for e in ended if e["ending"] == "trained") == ["pump_a", "pump_b"]
    versions = {(e["subject"], e["version"]) for e in ended}
    assert len(versions) == 2


def test_what_a_killed_batch_left_behind_goes_with_the_next_and_a_running_ones_does_not(batch_home):
    folder = batch_home.tmp / "batch"
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    (folder / f"{gone.pid}-a.json").write_text("{}")
    (folder / f"{os.getpid()}-b.json").write_text("{}")
    run(batch_home, [], BatchOptions())
    assert [path.name for path in folder.iterdir()] == [f"{os.getpid()}-b.json"]
    (folder / f"{os.getpid()}-b.json").unlink()
