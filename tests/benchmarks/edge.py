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

# Median seconds of each call in the calmest of some rounds, which take turns. On a busy machine a long call is always
# interrupted and a short one hardly, which flatters the short one: measure when nothing else runs.
def race(**calls):
    taken = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seconds, began = [], time.perf_counter()
            for i in range(n + 5):
                start = time.perf_counter()
                call(i % n)
                seconds.append(time.perf_counter() - start)
                if time.perf_counter() - began > LIMIT_S:
                    break
            # The first calls of a round find the caches full of another's.
            taken[name].append(statistics.median(seconds[5:] or seconds))
    return {f"{name}_s": min(medians) for name, medians in taken.items()}

ROUNDS, LIMIT_S = 7, 1.0
home, family_name = Home(Path(sys.argv[1])), sys.argv[2]
native, bundle, scratch = (Path(word) for word in sys.argv[3:6])
family = families.get(family_name)
model, fitted = Model.load(bundle), family.load(Path(native))
data = open_dataset(home, model.manifest.subject)
inputs = {k: v[:200] for k, v in family.samples(model.interface, data, "test").inputs.items()}
n = len(next(iter(inputs.values())))
ones = [{k: v[i:i + 1] for k, v in inputs.items()} for i in range(n)]
ask = lambda i: model.predict(ones[i])
"""
_TREES = """
import pandas as pd
from nightshift.graphs.features import compute_features
predictor = fitted.tabular.predictor
columns = list(fitted.tabular.notes.columns)
frames = [pd.DataFrame(compute_features(fitted.spec, one["window"]), columns=columns) for one in ones]
told = race(graph=ask, library=lambda i: predictor.predict(frames[i]))
told["members"] = sorted(name.removeprefix("weight_") for name in fitted.summary if name.startswith("weight_"))
frames[0].to_parquet(scratch / f"{family_name}.parquet")
"""
# A forest that was trained beside the chosen members, alone; and what AutoGluon takes around a model of one tree.
_FOREST = """
from autogluon.tabular import TabularPredictor
from nightshift.edge.session import open_session
forest = next(name for name in predictor.model_names() if name.startswith(("RandomForest", "ExtraTrees")))
predictor.set_model_best(forest)
predictor.persist([forest])
alone = Model(model.manifest, model.bundle_id, open_session(family.export(fitted, None).SerializeToString()))
said = family.predict(fitted, inputs)["label"]
assert np.array_equal(alone.predict(inputs)["label"], said), "the forest's graph answers otherwise"
tiny = pd.DataFrame({"x": np.arange(400) % 17, "y": np.arange(400) % 2}).astype({"x": np.float32})
least = TabularPredictor(label="y", path=str(scratch / "least"), verbosity=0).fit(
    tiny, tuning_data=tiny, hyperparameters={"GBM": {"num_boost_round": 1}}, fit_weighted_ensemble=False)
least.persist()
one_value = tiny[["x"]][:1]
told["forest"] = forest
told |= {f"forest_{k}": v for k, v in race(
    graph=lambda i: alone.predict(ones[i]), library=lambda i: predictor.predict(frames[i])).items()}
told["least_s"] = race(least=lambda i: least.predict(one_value))["least_s"]
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
rows = [np.nan_to_num(compute_features(fitted.spec, one["window"])) for one in ones]

def five(i):
    z = (rows[i] - centre) / spread
    return [detector.decision_function(z) for detector in detectors], np.abs(z).max(1)

told = race(graph=ask, library=five)
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

told = race(graph=ask, library=all_sensors)
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
names = [o.name for o in model.session.get_outputs()]
told |= race(
    near=ask,
    floor=lambda i: floor.run(["out"], {"window": ones[i]["window"]}),
    run=lambda i: model.session.run(names, ones[i]),
)
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.enable_profiling, options.profile_file_prefix = True, str(scratch / "profile")
profiled = ort.InferenceSession((bundle / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"])
for one in ones:
    profiled.run(names, dict(one))
events = json.loads(Path(profiled.end_profiling()).read_text())
spent = {}
for event in events:
    if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
        spent.setdefault((event["args"]["op_name"], event["name"]), []).append(event["dur"])
# A profile takes longer than what it measures, and counts interruptions: its shares are what holds.
nodes = {node: statistics.mean(sorted(times)[: max(1, len(times) * 4 // 5)]) for node, times in spent.items()}
whole, by_op = sum(nodes.values()), {}
for (kind, _), taken in nodes.items():
    count, seconds = by_op.get(kind, (0, 0.0))
    by_op[kind] = count + 1, seconds + taken / whole * (told["run_s"] - told["floor_s"])
told["by_op"] = dict(sorted(by_op.items(), key=lambda item: -item[1][1]))
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
    for family in FAMILIES:
        told = _raced(family)
        rows += _against(family, _library(family, told), told["graph_s"], told["library_s"], limits[family])
    told = _raced("classification")
    forest = f"AutoGluon ({told['forest']} alone, trained beside these)"
    rows += _against("classification", forest, told["forest_graph_s"], told["forest_library_s"], 500.0)
    return [*rows, row("edge", "AutoGluon's own floor: predict of one tree on one column", told["least_s"] * 1e3, "ms")]


def _library(family: str, told: dict[str, Any]) -> str:
    """Name whose answers a bundle's are held against, with what they are made of."""
    if family == "anomaly":
        return f"five detectors ({told['rows']:,} reference rows)"
    if family == "forecast":
        return f"Prophet ({told['shipped']} of {told['sensors']} sensors are its)"
    return f"AutoGluon ({' + '.join(told['members'])})"


def _against(family: str, whose: str, own_s: float, library_s: float, wanted: float) -> list[Row]:
    return [
        row("edge", f"{family}, one row: the bundle beside {whose}", own_s * 1e3, "ms"),
        row("edge", f"{family}, one row: {whose}", library_s * 1e3, "ms"),
        row("edge", f"{family}: times faster than {whose}", library_s / own_s, "x", wanted, "higher"),
    ]


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
        row("edge", "classification: times the identity graph", told["near_s"] / told["floor_s"], "x", 20.0, "lower"),
        row(
            "edge",
            "classification, one row: checks around the session",
            (told["near_s"] - told["run_s"]) * 1e3,
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
    scripts = {"classification": _TREES + _FLOOR + _FOREST, "rul": _TREES, "anomaly": _PYOD, "forecast": _PROPHET}
    words = [str(home.root), family, str(_native(family)), str(_bundle(family)), str(scratch)]
    told: dict[str, Any] = json.loads(_run(_COMMON + scripts[family] + _END, words).splitlines()[-1])
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
