"""A disk that fills up in the middle of a batch: its cells fail, nothing is left half, and the next run finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.flow_scenarios import TINY
from support.homes import an_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
#: What is left on the disk when the cell starts: too little for its first record, its model, and its registration,
#: which needs more for a moment than the machine's report does.
LEFT_KB = (0, 40, 180)
# A home on a disk of its own, which is filled up to so many KB before each try.
SCRIPT = """
import json, os, shutil, sys
from pathlib import Path
root, database, settings, levels = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
from nightshift.settings import use_home
home = use_home(root)
shutil.copyfile(database, home.mlflow_db)
from support.flow_scenarios import land
for subject in ("pump_a", "pump_b"):
    land(home, subject)
from nightshift.data.store import open_dataset, verify
from nightshift.plan.batch import BatchOptions, CapacityError, CellRef
from nightshift.plan.options import TrainOptions
from nightshift.plan.state import make_cell, state
from nightshift.stages.batch import Batch
from nightshift.tracking.mlflow_store import open_store
from nightshift.tracking.versions import inventory

def fill(left_kb):
    block = bytes(4096)
    with (root / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - left_kb * 1024))

def standing():
    held = inventory(open_store(home))
    return {name: [(h.version.version, h.version.is_pending, sorted(h.aliases)) for h in versions]
            for name, versions in held.items()}

def tell(outcome, cell):
    for subject in ("pump_a", "pump_b"):
        verify(open_dataset(home, subject))
    pages = [page.read_text(encoding="utf-8") for page in home.reports.glob("*/training_report.html")]
    print(json.dumps({"ending": outcome.ending, "reason": outcome.reason, "hint": outcome.hint,
                      "reports": [page.rstrip().endswith("</html>") for page in pages],
                      "state": state(home, cell).state, "versions": standing()}), flush=True)

options = BatchOptions(train=TrainOptions(settings=settings, threads=1), disk_mb_per_model=0, processes=1)
a, b = CellRef(subject="pump_a", family="anomaly"), CellRef(subject="pump_b", family="anomaly")
with Batch(home, [a, b], options) as batch:
    tell(batch.run(a), make_cell(home, "pump_a", "anomaly", params=settings))
    cell = make_cell(home, "pump_b", "anomaly", params=settings)
    for left_kb in levels:
        fill(left_kb)
        outcome = batch.run(b)
        (root / "filler").unlink()
        tell(outcome, cell)
    tell(batch.run(b), cell)
# Cells for which there is no room are held against the disk when their turn comes.
careful = options.model_copy(update={"disk_mb_per_model": 8,
                                     "train": TrainOptions(settings={**settings, "seed": 77}, threads=1)})
cell = make_cell(home, "pump_b", "anomaly", params={**settings, "seed": 77})
with Batch(home, [a, b], careful) as batch:
    fill(3_000)
    tell(batch.run(b), cell)
    try:
        Batch(home, [a, b], careful)
    except CapacityError as error:
        print(json.dumps({"refused": str(error)}), flush=True)
    (root / "filler").unlink()
    print(json.dumps({"later": batch.run(b).ending}), flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, migrated_db: Path) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("disk")
    words = [str(folder), str(migrated_db), json.dumps(TINY), json.dumps(LEFT_KB)]
    script = [sys.executable, "-c", SCRIPT, *words]
    line = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=64m none "$0" && exec "$@"', str(folder), *script]
    with an_environment():
        done = subprocess.run(line, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def tries(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of the cell at each level, without what is told of the careful batch."""
    return told[:-3]


def test_a_cell_that_the_disk_has_no_room_for_fails_with_the_figures_and_only_a_batch_of_none_is_refused(told):
    left, refused, later = told[-3:]
    assert left["ending"] == "failed"
    for said in (f"{left['reason']} {left['hint']}", refused["refused"]):
        assert "a model may need 8 MB of disk; 3 MB are free." in said
        assert "Free space under NIGHTSHIFT_HOME" in said
        assert "disk_mb_per_model" in said
    assert later["later"] == "trained"


def test_every_stage_that_the_disk_is_too_small_for_is_one_failed_cell_that_says_so(tries):
    first, *full, _last = tries
    assert first["ending"] == "trained"
    assert [t["ending"] for t in full] == ["failed"] * len(LEFT_KB)
    for one in full:
        assert "disk is full" in one["reason"]
        assert "Free space under NIGHTSHIFT_HOME" in one["hint"]
        assert one["state"] != "fresh"
    assert len({t["reason"] for t in full}) >= 3, "they did not get equally far"


def test_registry_data_and_reports_stay_whole_and_the_next_run_finishes(tries):
    other = tries[0]["versions"]["pump_a.anomaly.pi"]
    for one in tries:
        assert all(one["reports"])
        assert one["versions"]["pump_a.anomaly.pi"] == other == [[1, False, ["challenger"]]]
        for versions in one["versions"].values():
            assert [v[0] for v in versions] == [1], "nothing is registered twice"
    last = tries[-1]
    assert (last["ending"] in ("trained", "up to date"), last["state"]) == (True, "fresh")
    assert last["versions"]["pump_b.anomaly.pi"] == other
    assert len(last["reports"]) == 2
