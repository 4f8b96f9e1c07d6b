"""What a batch costs beside plain joblib and beside one run per model, and what a night's own process holds.

Twelve small machines, four families, small budgets. NIGHTSHIFT_BENCH_MACHINES makes it fewer, for a quick look.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nightshift.settings import Home
from tests.benchmarks._home import bench_home, command
from tests.benchmarks._published import ROOT
from tests.benchmarks.fleet_plan import make_fleet

Row = dict[str, Any]
MACHINES = int(os.environ.get("NIGHTSHIFT_BENCH_MACHINES", "12"))
FAMILIES = ("anomaly", "classification", "forecast", "rul")
#: Of about 300 rows each.
_RUNS = 40
_BUDGETS: dict[str, dict[str, Any]] = {
    "classification": {"boost_rounds": 60, "forest_trees": 20},
    "rul": {"boost_rounds": 60, "forest_trees": 20},
    "anomaly": {"reference_rows": 500, "n_trees": 50},
    "forecast": {"test_origins": 14, "val_origins": 2, "history_days": 14, "sensors": ["vibration_drive_end_mm_s"]},
}
#: Cells that get a run of their own; the time of all is scaled from them.
_SINGLE = 8
#: Cells of a night in which everything is fresh.
_NIGHTS = (100, 1_000)

_LAND = """
import sys
from nightshift.settings import use_home
home = use_home()
from support.machine import land_demo
for i in range(int(sys.argv[1])):
    land_demo(home, 100 + i, runs=int(sys.argv[2]), subject=f"machine_{i:02}")
"""
_BATCH = """
import json, sys
from nightshift.settings import use_home
home = use_home()
from deployments.server import ensure_server
ensure_server(home)
from flows.batch import train_batch
from nightshift.plan.batch import BatchOptions, CellRef
cells = [CellRef(subject=s, family=f) for s, f in json.loads(sys.argv[1])]
outcome = train_batch(cells, BatchOptions.model_validate_json(sys.argv[2]))
assert {c.ending for c in outcome.cells} == {"trained"}, outcome
"""
# What somebody would write who only wants the models: the same functions of the same families, checked graphs, and no
# registry, report, versions, limits or isolation.
_JOBLIB = """
import json, os, sys
from pathlib import Path
from joblib import Parallel, delayed

def one(subject, family, values, folder):
    from nightshift import families
    from nightshift.data.store import open_dataset, verify
    from nightshift.family import RunContext, time_limit_s
    from nightshift.graphs.parity import compare
    from nightshift.plan.config import resolve
    from nightshift.settings import home
    place, own = home(), families.get(family)
    resolved = resolve(place, subject, family, "pi", params=values)
    config, folder = resolved.config, Path(folder) / f"{subject}.{family}"
    folder.mkdir(parents=True)
    ctx = RunContext(cell="0" * 64, seed=config.seed, limits=resolved.limits, work=folder, threads=1,
                     checkpoints=folder / "checkpoints", time_limit_s=time_limit_s(config))
    data = open_dataset(place, subject)
    verify(data)
    fitted = own.train(data, config, ctx)
    (folder / "native").mkdir()
    own.save(fitted, folder / "native")
    (folder / "evaluation.json").write_text(own.evaluate(fitted, data, config, ctx).model_dump_json())
    graph = own.export(fitted, ctx).SerializeToString(deterministic=True)
    parity = compare(graph, lambda rows: own.predict(fitted, rows), own.parity_inputs(fitted, data, ctx),
                     own.tolerances(fitted))
    assert parity.ok
    (folder / "model.onnx").write_bytes(graph)

if __name__ == "__main__":
    cells, budgets, folder, at_once = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    Parallel(n_jobs=at_once, batch_size=1)(delayed(one)(s, f, budgets[f], folder) for s, f in cells)
"""
_SINGLES = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from nightshift.settings import use_home
home = use_home()
from deployments.server import ensure_server
ensure_server(home)
from prefect.deployments import run_deployment

def one(cell):
    parameters = {"subject": cell[0], "family": cell[1], "options": json.loads(sys.argv[2])}
    run = run_deployment("train/local", parameters=parameters, timeout=900, poll_interval=1)
    assert run.state.is_completed(), run.state

with ThreadPoolExecutor(int(sys.argv[3])) as pool:
    list(pool.map(one, json.loads(sys.argv[1])))
"""
_NIGHT = """
import resource, sys
from nightshift.settings import use_home
home = use_home()
from deployments.server import ensure_server
ensure_server(home)
from flows.fleet import train_fleet
outcome = train_fleet()
assert len(outcome.cells) == int(sys.argv[1]), len(outcome.cells)
assert not outcome.tried
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def batch_of_a_fleet() -> list[Row]:
    """Twelve machines x four families in one batch, by joblib, and some of them in a run each."""
    at_once = len(os.sched_getaffinity(0))
    cells = [(f"machine_{i:02}", family) for i in range(MACHINES) for family in FAMILIES]
    home = bench_home()
    with _running(home):
        _python(home, _LAND, str(MACHINES), str(_RUNS))
        training = {"families": _BUDGETS, "threads": 1}
        options = {"processes": at_once, "train": training, "disk_mb_per_model": 50}
        plain = _plain_s(home, cells, at_once)
        batch = _python(home, _BATCH, json.dumps(cells), json.dumps(options))
        again = _python(
            home, _BATCH.replace('== {"trained"}', '== {"up to date"}'), json.dumps(cells), json.dumps(options)
        )
        alone = [cells[i] for i in range(0, len(cells), max(1, len(cells) // _SINGLE))][:_SINGLE]
        other = json.dumps({**training, "seed": 2})
        single = _python(home, _SINGLES, json.dumps(alone), other, str(at_once)) / len(alone) * len(cells)
    size = f"{MACHINES} machines x 4, {at_once} at once"
    return [
        _row(f"{size}: one batch", batch, "s", None, "lower"),
        _row(f"{size}: plain joblib", plain, "s", None, "lower"),
        _row(f"{size}: a run per model, from {len(alone)} of them", single, "s", None, "lower"),
        _row(f"{size}: the batch again, all up to date", again, "s", None, "lower"),
        _row(f"{size}: batch against plain joblib", batch / plain, "x", 1.10, "lower"),
        _row(f"{size}: batch against a run per model", single / batch, "x", 4.0, "higher"),
    ]


def memory_of_a_night() -> list[Row]:
    """What the process of a night holds at most, where everything is fresh: 100 and 1,000 cells."""
    held = {cells: _night_mb(cells) for cells in _NIGHTS}
    few, many = _NIGHTS
    return [
        *(
            _row(f"a night over {cells:,} fresh cells: memory at most", mb, "MB", None, "lower")
            for cells, mb in held.items()
        ),
        _row(f"a night's memory, {many:,} cells against {few:,}", held[many] / held[few], "x", 1.10, "lower"),
    ]


def _plain_s(home: Home, cells: list[tuple[str, str]], at_once: int) -> float:
    folder = Path(tempfile.mkdtemp(prefix="nightshift-joblib-"))
    try:
        # A file, not -c: joblib's processes load it again.
        script = folder / "plain.py"
        script.write_text(_JOBLIB, encoding="utf-8")
        words = [json.dumps(cells), json.dumps(_BUDGETS), str(folder / "models"), str(at_once)]
        return _timed(home, [sys.executable, str(script), *words])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _night_mb(cells: int) -> float:
    home = bench_home()
    make_fleet(home, cells // len(FAMILIES), profiles=False)
    with _running(home):
        return float(_said(home, [sys.executable, "-c", _NIGHT, str(cells)]).split()[-1])


@contextmanager
def _running(home: Home) -> Iterator[None]:
    """Server and workers of a home, while the body runs."""
    command("up", "--no-dashboard", home=home)
    try:
        yield
    finally:
        command("down", home=home)


def _python(home: Home, script: str, *words: str) -> float:
    return _timed(home, [sys.executable, "-c", script, *words])


def _timed(home: Home, line: list[str]) -> float:
    start = time.perf_counter()
    _said(home, line)
    return time.perf_counter() - start


def _said(home: Home, line: list[str]) -> str:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, **one_thread, "NIGHTSHIFT_HOME": str(home.root), "PYTHONPATH": path}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def _row(name: str, value: float, unit: str, limit: float | None, better: str) -> Row:
    ok = limit is None or (value >= limit if better == "higher" else value <= limit)
    return {"issue": "fleet", "name": name, "value": value, "unit": unit, "limit": limit, "better": better, "ok": ok}
