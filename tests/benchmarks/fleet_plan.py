"""How long the plan of a fleet takes when everything is fresh, and how that grows with the machines."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from nightshift import families
from nightshift.data.groups import MACHINE
from nightshift.plan.cell import Cell
from nightshift.plan.fleet_config import FleetConfig
from nightshift.plan.records import STAGES, FileRecord, StageRecord
from nightshift.plan.state import make_cell
from nightshift.settings import Home
from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

FLEETS = (100, 1_000, 5_000)
_LIMIT = {1_000: 10.0}
# As many files as the records of a trained cell name: AutoGluon's own, the bundle, the pages.
_FILES = {"train": 12, "evaluate": 1, "export": 6, "register": 6, "report": 2}
# A file system lets a file have some ten thousand names.
_NAMES_PER_FILE = 30_000

# A process of its own, as the command is; imports are counted, since the command pays for them too.
_PLAN = """
import sys, time
start = time.perf_counter()
from nightshift.plan.fleet import make_plan
from nightshift.plan.fleet_config import load_fleet
from nightshift.settings import use_home
home = use_home()
plan = make_plan(home, load_fleet(home))
seconds = time.perf_counter() - start
assert {c.state for c in plan.cells} == {"fresh"}, plan.cells[0]
assert len(plan.cells) == int(sys.argv[1])
print(seconds)
"""


def plan_of_a_fresh_fleet() -> list[Row]:
    """Four families each, nothing to train: 100, 1,000 and 5,000 machines, the median of three."""
    per_cell = {}
    rows = []
    for machines in FLEETS:
        seconds = _measured(machines, profiles=False)
        per_cell[machines] = seconds / machines
        rows.append(row("fleet", f"plan, {machines:,} machines x 4, all fresh", seconds, "s", _LIMIT.get(machines)))
    with_profiles = _measured(1_000, profiles=True)
    growth = per_cell[5_000] / per_cell[1_000]
    return [
        *rows,
        row("fleet", "plan, 1,000 machines x 4, all fresh, each with a profile of its own", with_profiles, "s", 10.0),
        row("fleet", "plan, cost of a machine at 5,000 against 1,000", growth, "x", 1.5),
    ]


def _measured(machines: int, *, profiles: bool) -> float:
    root = Path(tempfile.mkdtemp(prefix="nightshift-fleet-"))
    try:
        cells = make_fleet(Home(root), machines, profiles=profiles)
        return statistics.median(_plan_s(root, cells) for _ in range(3))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _plan_s(root: Path, cells: int) -> float:
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(root), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", _PLAN, str(cells)]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def make_fleet(home: Home, machines: int, *, profiles: bool) -> int:
    """Leave what so many trained machines leave, plainly written, and return the number of cells."""
    chosen = [family for family in FleetConfig().chosen_families if families.get(family).group == MACHINE]
    seeds = _Seeds(home)
    profile = next((ROOT / "configs" / "machines").glob("pump_ksb*.yaml"))
    for folder in (home.data / "current", home.work / "newest", home.configs / "machines", home.locks):
        folder.mkdir(parents=True)
    for i in range(machines):
        subject, dataset = f"machine_{i:05}", f"{i:064x}"
        (home.data / "current" / subject).write_text(f"{dataset}\n")
        if profiles:
            shutil.copyfile(profile, home.configs / "machines" / f"{subject}.yaml")
        files = _files_of_machine(home, subject, seeds)
        for family in chosen:
            _leave_cell(home, make_cell(home, subject, family, dataset=dataset), files)
    return machines * len(chosen)


class _Seeds:
    """Small files that many names stand for: the plan only asks for their stamps."""

    def __init__(self, home: Home) -> None:
        self._folder, self._used = home.tmp, 0
        self._folder.mkdir(parents=True)

    def link(self, path: Path) -> os.stat_result:
        seed = self._folder / str(self._used // _NAMES_PER_FILE)
        if not seed.exists():
            seed.write_bytes(b"{}")
        self._used += 1
        os.link(seed, path)
        return path.stat()


def _files_of_machine(home: Home, subject: str, seeds: _Seeds) -> dict[str, tuple[FileRecord, ...]]:
    """Make the files that the records name, by stage, shared by its cells: making them takes longest."""
    folder = home.root / "files" / subject
    folder.mkdir(parents=True)
    found = {}
    for stage, count in _FILES.items():
        paths = [folder / f"{stage}_{n}" for n in range(count)]
        stats = [(path.relative_to(home.root).as_posix(), seeds.link(path)) for path in paths]
        found[stage] = tuple(
            FileRecord(path=name, sha256="0" * 64, size=stat.st_size, mtime_ns=stat.st_mtime_ns) for name, stat in stats
        )
    return found


def _leave_cell(home: Home, cell: Cell, files: dict[str, tuple[FileRecord, ...]]) -> None:
    work = home.work / cell.key
    bundle = home.models / cell.family / cell.subject / cell.target / "v1"
    for folder in (work, bundle):
        folder.mkdir(parents=True)
    (work / "cell.json").write_text(cell.model_dump_json(indent=1))
    (home.work / "newest" / cell.name).write_text(cell.key)
    (home.locks / f"{cell.key}.lock").touch()
    note = {"fingerprints": {"cell_key": cell.key, "dataset": cell.dataset}}
    (bundle / "bundle.json").write_text(json.dumps(note))
    for stage in STAGES:
        record = StageRecord(
            stage=stage,
            cell_key=cell.key,
            status="done",
            started_at="2100-01-01T02:00:00Z",
            seconds=60.0,
            files=files.get(stage, ()),
            summary={"version": 1, "champion": True},
        )
        (work / f"{stage}.json").write_text(record.model_dump_json(indent=1))
