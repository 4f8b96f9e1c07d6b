"""What a bundle costs on a device beside the library that trained it: one row, one thread, fresh processes.

The models of the demo machine under the families' own budgets, trained once for all of this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from nightshift.files import read_yaml
from nightshift.plan.state import newest
from nightshift.settings import Home, packaged_configs
from tests.benchmarks._home import bench_home, command
from tests.benchmarks._published import ROOT
from tests.benchmarks._rows import Row, row

FAMILIES = ("classification", "rul", "anomaly", "forecast")
#: A fresh process is started so often, and the calmest counts.
_STARTS = 3
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

_COMMON = """
import json, statistics, sys, time
import numpy as np
from pathlib import Path
from nightshift import families
from nightshift.data.store import open_dataset
from nightshift.edge.runtime import Model
from nightshift.settings import Home

def p50(call, n, limit_s=20.0):
    seconds, began = [], time.perf_counter()
    for i in range(n + 5):
        start = time.perf_counter()
        call(i % n)
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - began > limit_s:
            break
    return statistics.median(seconds[5:]) if len(seconds) > 5 else statistics.median(seconds)

home, family_name = Home(Path(sys.argv[1])), sys.argv[2]
native, bundle, scratch = (Path(word) for word in sys.argv[3:6])
family = families.get(family_name)
model, fitted = Model.load(bundle), family.load(Path(native))
data = open_dataset(home, model.manifest.subject)
inputs = {k: v[:200] for k, v in family.samples(model.interface, data, "test").inputs.items()}
n = len(next(iter(inputs.values())))
ones = [{k: v[i:i + 1] for k, v in inputs.items()} for i in range(n)]
told = {"graph_s": p50(lambda i: model.predict(ones[i]), n)}
"""
_TREES = """
import pandas as pd
from nightshift.graphs.features import compute_features
predictor = fitted.tabular.predictor
columns = list(fitted.tabular.notes.columns)
frames = [pd.DataFrame(compute_features(fitted.spec, one["window"]), columns=columns) for one in ones[:60]]
told["library_s"] = p50(lambda i: predictor.predict(frames[i]), len(frames))
told["members"] = sum(1 for name in fitted.summary if name.startswith("weight_"))
frames[0].to_parquet(scratch / f"{family_name}.parquet")
"""
_PYOD = """
import joblib
from pyod.models.iforest import IForest
from pyod.models.lof import LOF
from pyod.models.ocsvm import OCSVM
from pyod.models.pca import PCA
from nightshift.graphs.features import compute_features, compute_table_features
from nightshift.trainer.anomaly_view import normal_rows
rows = np.flatnonzero(normal_rows(data, "train"))
wanted = fitted.detectors.settings.reference_rows
rows = rows[:: max(1, len(rows) // wanted)][:wanted]
table = compute_table_features(fitted.spec, data.matrix("train"), data.runs("train"), rows).astype(np.float64)
table = np.nan_to_num(table)
centre, spread = table.mean(0), table.std(0) + 1e-12
scaled = (table - centre) / spread
settings = fitted.detectors.settings
detectors = [IForest(n_estimators=settings.n_trees, max_samples=settings.max_samples, random_state=1),
             OCSVM(nu=settings.contamination), LOF(n_neighbors=settings.n_neighbors), PCA()]
for detector in detectors:
    detector.fit(scaled)
rows = [np.nan_to_num(compute_features(fitted.spec, one["window"])) for one in ones[:40]]

def five(i):
    z = (rows[i] - centre) / spread
    return [detector.decision_function(z) for detector in detectors], np.abs(z).max(1)

told["library_s"] = p50(five, len(rows))
told["rows"] = len(scaled)
joblib.dump((detectors, centre, spread, rows[0]), scratch / "pyod.joblib")
"""
_PROPHET = """
from nightshift.graphs.forecast_parameters import ProphetParameters
from nightshift.families._forecast_fit import prophet_frame
from nightshift.graphs.forecast_parameters import horizon_s
parameters = fitted.parameters
names = list(fitted.prophets)
frames = [prophet_frame(horizon_s(one["time_s"], parameters.steps, parameters.step_s).ravel()) for one in ones]

def all_sensors(i):
    return [fitted.prophets[name].predict(frames[i]) for name in names]

told["library_s"] = p50(all_sensors, min(20, n))
told["sensors"], told["shipped"] = len(parameters.sensors), len(names)
(scratch / "prophet.json").write_text(json.dumps([fitted.natives[name] for name in names]))
frames[0].to_parquet(scratch / "horizon.parquet")
"""
_FLOOR = """
import onnx, onnxruntime as ort
from onnx import TensorProto, helper
from nightshift.edge.session import open_session
shape = list(ones[0]["window"].shape)
graph = helper.make_graph([helper.make_node("Identity", ["window"], ["out"])], "floor",
    [helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", *shape[1:]])],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", *shape[1:]])])
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
floor = open_session(made.SerializeToString())
told["floor_s"] = p50(lambda i: floor.run(["out"], {"window": ones[i]["window"]}), n)
names = [o.name for o in model.session.get_outputs()]
told["run_s"] = p50(lambda i: model.session.run(names, dict(ones[i])), n)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.enable_profiling, options.profile_file_prefix = True, str(scratch / "profile")
profiled = ort.InferenceSession((bundle / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"])
for one in ones:
    profiled.run(names, dict(one))
events = json.loads(Path(profiled.end_profiling()).read_text())
spent, calls = {}, {}
for event in events:
    if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
        kind = event["args"]["op_name"]
        spent[kind] = spent.get(kind, 0) + event["dur"] / 1e6 / n
        calls[kind] = calls.get(kind, 0) + 1 / n
told["by_op"] = {k: (round(calls[k]), spent[k]) for k in sorted(spent, key=spent.get, reverse=True)}
"""
_END = "\nprint(json.dumps(told))\n"

# Fresh processes: from nothing to the first answer, as a device would start.
_START = {
    "edge": """
import sys
import numpy as np
from nightshift.edge.runtime import Model
model = Model.load(sys.argv[1])
from nightshift.edge.bench import middle_row
model.predict(middle_row(model))
""",
    "AutoGluon": """
import sys
import pandas as pd
from autogluon.tabular import TabularPredictor
TabularPredictor.load(sys.argv[1], verbosity=0).predict(pd.read_parquet(sys.argv[2]))
""",
    "PyOD": """
import sys
import joblib, numpy as np
detectors, centre, spread, row = joblib.load(sys.argv[1])
z = (row - centre) / spread
[detector.decision_function(z) for detector in detectors], np.abs(z).max(1)
""",
    "Prophet": """
import json, sys
import pandas as pd
from prophet.serialize import model_from_json
frame = pd.read_parquet(sys.argv[2])
[model_from_json(text).predict(frame) for text in json.loads(open(sys.argv[1]).read())]
""",
}
_HELD = "\nprint(next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM')))\n"


def one_row_against_libraries() -> list[Row]:
    """One row by the bundle and by the library, in one process, on one thread."""
    rows: list[Row] = []
    limits = {"classification": 500.0, "rul": 500.0, "anomaly": 50.0, "forecast": 500.0}
    whose = {"classification": "AutoGluon", "rul": "AutoGluon", "anomaly": "five detectors", "forecast": "Prophet"}
    for family in FAMILIES:
        told = _raced(family)
        detail = {
            "classification": f", {told.get('members')} members",
            "rul": f", {told.get('members')} members",
            "anomaly": f", {told.get('rows'):,} reference rows" if "rows" in told else "",
            "forecast": f", {told.get('shipped')} of {told.get('sensors')} sensors by Prophet",
        }[family]
        rows += [
            row("edge", f"{family}, one row: the bundle", told["graph_s"] * 1e3, "ms"),
            row("edge", f"{family}, one row: {whose[family]}{detail}", told["library_s"] * 1e3, "ms"),
            row(
                "edge",
                f"{family}: times faster than {whose[family]}",
                told["library_s"] / told["graph_s"],
                "x",
                limits[family],
                "higher",
            ),
        ]
    return rows


def above_the_floor() -> list[Row]:
    """The classifier beside an identity graph with the same input, and where its time goes."""
    told = _raced("classification")
    kinds = list(told["by_op"].items())
    top = [
        row("edge", f"classification, one row: {calls} x {kind}", seconds * 1e3, "ms")
        for kind, (calls, seconds) in kinds[:4]
    ]
    rest = sum(seconds for _, (_, seconds) in kinds[4:])
    nodes = sum(calls for _, (calls, _) in kinds[4:])
    return [
        row("edge", "an identity graph with the classifier's input", told["floor_s"] * 1e3, "ms"),
        row("edge", "classification: times the identity graph", told["graph_s"] / told["floor_s"], "x", 20.0, "lower"),
        row(
            "edge",
            "classification, one row: checks around the session",
            (told["graph_s"] - told["run_s"]) * 1e3,
            "ms",
            None,
            "lower",
        ),
        *top,
        row("edge", f"classification, one row: {nodes} other nodes", rest * 1e3, "ms"),
    ]


def cold_start() -> list[Row]:
    """Fresh processes from nothing to the first answer: the edge runtime, and the library with the same model."""
    for family in FAMILIES:
        _raced(family)
    scratch = _trained()[1]
    rows: list[Row] = []
    for family, library in (("classification", "AutoGluon"), ("anomaly", "PyOD"), ("forecast", "Prophet")):
        files = {
            "AutoGluon": [str(_native(family) / "autogluon"), str(scratch / f"{family}.parquet")],
            "PyOD": [str(scratch / "pyod.joblib")],
            "Prophet": [str(scratch / "prophet.json"), str(scratch / "horizon.parquet")],
        }[library]
        own_s, own_mb = _fresh("edge", [str(_bundle(family))])
        other_s, other_mb = _fresh(library, files)
        rows += [
            row("edge", f"{family}, fresh process to first answer: the bundle", own_s, "s", 1.5, "lower"),
            row("edge", f"{family}, fresh process to first answer: {library}", other_s, "s"),
            row("edge", f"{family}: times quicker to start than {library}", other_s / own_s, "x", 10.0, "higher"),
            row("edge", f"{family}, resident memory: the bundle", own_mb, "MB", 250.0, "lower"),
            row("edge", f"{family}, resident memory: {library}", other_mb, "MB"),
            row("edge", f"{family}: times smaller in memory than {library}", other_mb / own_mb, "x", 4.0, "higher"),
        ]
    return rows


@cache
def _trained() -> tuple[Home, Path]:
    """The demo machine with all four families under their own budgets, and a folder for scratch files."""
    home = bench_home()
    command("demo", "--data-only", home=home)
    command("train-machine", "--machine", _subject(), home=home)
    scratch = home.tmp / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    return home, scratch


def _subject() -> str:
    return str(read_yaml(packaged_configs() / "demo.yaml")["synthesis"]["machine"])


def _native(family: str) -> Path:
    home, _ = _trained()
    cell = newest(home, f"{_subject()}.{family}.pi")
    assert cell is not None
    return home.work / cell.key / "native"


def _bundle(family: str) -> Path:
    return max((_trained()[0].models / family / _subject() / "pi").glob("v*"))


@cache
def _raced(family: str) -> dict[str, Any]:
    home, scratch = _trained()
    library = {"classification": _TREES + _FLOOR, "rul": _TREES, "anomaly": _PYOD, "forecast": _PROPHET}[family]
    words = [str(home.root), family, str(_native(family)), str(_bundle(family)), str(scratch)]
    told: dict[str, Any] = json.loads(_run(_COMMON + library + _END, words).splitlines()[-1])
    return told


def _fresh(name: str, words: list[str]) -> tuple[float, float]:
    """Return the seconds of the calmest of some fresh processes, and the MB that it held at most."""
    seconds, held = [], 0.0
    for _ in range(_STARTS):
        start = time.perf_counter()
        said = _run(_START[name] + _HELD, words)
        seconds.append(time.perf_counter() - start)
        held = float(said.split()[-1]) / 1e3
    return min(seconds), held


def _run(script: str, words: list[str]) -> str:
    environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": str(ROOT), "NIGHTSHIFT_HOME": str(_trained()[0].root)}
    line = [sys.executable, "-c", script, *words]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout
