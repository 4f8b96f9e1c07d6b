"""Cells of a batch on real Dask clusters: one of the batch's own, and one of scheduler and worker processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.flow_scenarios import TINY, land
from support.homes import a_home

from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.plan.options import TrainOptions
from nightshift.settings import Home

pytestmark = [pytest.mark.scale, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
# Prints how each cell ended; SIGTERM-like stops are a word on the command line.
RUN = """
import json, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from nightshift.settings import use_home
home = use_home()
from nightshift.errors import NightshiftError
from nightshift.plan.batch import BatchOptions, CellRef
from nightshift.progress import read_events
from nightshift.stages import batch_dask
from nightshift.stages.batch_dask import DaskBatch
if __name__ == "__main__":
    cells = [CellRef.model_validate(c) for c in json.loads(sys.argv[1])]
    stop = threading.Event()

    def lose():
        import distributed
        watch()
        with distributed.Client(json.loads(sys.argv[2])["dask_address"]) as client:
            [pids] = client.run(lambda: (os.getppid(), os.getpid())).values()
        for pid in pids:  # the nanny first: it would start another worker
            os.kill(pid, signal.SIGKILL)

    def watch():
        while not any(e.stage == "train" for p in home.work.glob("*/progress.jsonl") for e in read_events(p)
                      if cells[0].subject in e.message):
            time.sleep(0.1)

    if sys.argv[3] == "lose":
        batch_dask.PATIENCE_S, batch_dask._LOOK_S = 3.0, 0.5
        threading.Thread(target=lose, daemon=True).start()
    if sys.argv[3] == "stop":
        threading.Thread(target=lambda: (watch(), stop.set()), daemon=True).start()
    try:
        with DaskBatch(home, cells, BatchOptions.model_validate_json(sys.argv[2]), should_stop=stop.is_set) as batch:
            with ThreadPoolExecutor(batch.callers) as pool:
                for ended in pool.map(batch.run, batch.cells):
                    print(ended.model_dump_json() if ended else "null", flush=True)
    except NightshiftError as error:
        print(json.dumps({"error": str(error)}))
"""


def environment(home: Home) -> dict[str, str]:
    return {**os.environ, **home.environment(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(home: Home, subjects: tuple[str, ...], options: BatchOptions, how: str = "") -> list[Any]:
    cells = json.dumps([CellRef(subject=s, family="anomaly").model_dump() for s in subjects])
    line = [sys.executable, "-c", RUN, cells, options.model_dump_json(), how]
    done = subprocess.run(line, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def options(address: str = "", **settings: Any) -> BatchOptions:
    training = TrainOptions(settings={**TINY, **settings}, threads=1)
    return BatchOptions(runner="dask", dask_address=address, processes=2, train=training)


@contextmanager
def cluster(home: Home, folder: Path, *, workers: bool = True) -> Iterator[str]:
    """A scheduler and a worker in processes of their own, as on machines of their own."""
    folder.mkdir(exist_ok=True)
    note = folder / "scheduler.json"
    dask = [sys.executable, "-m"]
    scheduler = [*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = [*dask, "distributed.cli.dask_worker", "--nworkers", "1", "--nthreads", "2", "--no-dashboard"]
    lines = [[*scheduler, "--scheduler-file", str(note)], [*worker, "--scheduler-file", str(note)]]
    lines = lines if workers else lines[:1]
    started = [subprocess.Popen(line, env=environment(home), cwd=folder, stderr=subprocess.DEVNULL) for line in lines]
    try:
        wait = "import sys, distributed; c = distributed.Client(scheduler_file=sys.argv[1], timeout=120)\n"
        wait += "c.wait_for_workers(1, timeout=120)\n" if workers else ""
        wait += "print(c.scheduler.address)"
        line = [sys.executable, "-c", wait, str(note)]
        yield subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()[-1]
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def dask_home(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("dask"), migrated_db) as home:
        for subject in ("pump_a", "pump_b", "pump_c"):
            land(home, subject)
        land(home, "pump_slow", rows=2_000)
        yield home


def test_a_cluster_of_the_batchs_own_trains_each_cell_once(dask_home: Home) -> None:
    ended = run(dask_home, ("pump_a", "pump_b"), options())
    assert [(e["ending"], e["version"], e["cpu_s"] > 0) for e in ended] == [("trained", 1, True)] * 2
    assert [e["ending"] for e in run(dask_home, ("pump_a", "pump_b"), options())] == ["up to date"] * 2


def test_workers_elsewhere_train_and_a_stop_reaches_them(dask_home: Home, tmp_path: Path) -> None:
    with cluster(dask_home, tmp_path) as address:
        first, bad = run(dask_home, ("pump_c", "pump_zz"), options(address))
        assert (first["ending"], first["version"], bad["ending"]) == ("trained", 1, "failed")
        assert "unknown machine 'pump_zz'" in bad["reason"]
        assert run(dask_home, ("pump_slow",), options(address, n_trees=2_000, reference_rows=2_000), "stop") == [None]


def test_a_worker_s_refusal_is_told_in_its_own_words(dask_home: Home) -> None:
    greedy = options(seed=41).model_copy(update={"disk_mb_per_model": 1e12})
    (told,) = run(dask_home, ("pump_a",), greedy)
    assert told["ending"] == "failed"
    assert "a model may need" in told["reason"]
    assert "disk_mb_per_model" in told["hint"]


def test_a_cluster_without_workers_is_refused_and_one_that_loses_them_is_given_up(
    dask_home: Home, tmp_path: Path
) -> None:
    with cluster(dask_home, tmp_path, workers=False) as address:
        (refused,) = run(dask_home, ("pump_a",), options(address))
        assert "has no workers. Start some: dask worker tcp://" in refused["error"]
    with cluster(dask_home, tmp_path / "b") as address:
        lost = options(address, n_trees=2_000, reference_rows=2_000, seed=42)
        (told,) = run(dask_home, ("pump_slow",), lost, "lose")
    assert told["ending"] == "failed"
    assert "has had no worker for" in told["reason"]


def test_a_scheduler_that_does_not_answer_is_named(dask_home: Home) -> None:
    (told,) = run(dask_home, ("pump_a",), options("tcp://127.0.0.1:9"))
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in told["error"]
