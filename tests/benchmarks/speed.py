"""How fast the command, the demo and one row are; all on one demo home, made anew for each run of the benchmarks."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from functools import cache
from typing import Any

import numpy as np

from nightshift.files import read_yaml
from nightshift.settings import Home, find_config, packaged_configs
from tests.benchmarks._home import bench_home, command
from tests.benchmarks._published import ROOT, shared_data
from tests.benchmarks._rows import Row, row

_REPEATS = 5
_ROWS = 200


def help_text() -> Row:
    """`nightshift --help`, the whole command."""
    return row("chain", "nightshift --help", _median_s("--help"), "s", 0.5, "lower")


def demo() -> Row:
    """`nightshift demo` in an empty home, the cold start of the server included."""
    return row("chain", "make demo, packages there", _demo()[1] / 60, "min", 6.0, "lower")


def up_to_date() -> Row:
    """`nightshift train` on an up-to-date cell, the whole command."""
    home, _ = _demo()
    config = find_config(home, "", "demo")
    words = ("train", "classification", "--machine", _demo_subject(), "--config", str(config))
    return row("chain", "nightshift train on an up-to-date cell", _median_s(*words, home=home), "s", 2.0, "lower")


def single_row() -> list[Row]:
    """One row: exported classifiers against AutoGluon's own predict with persist(), same process, same rows.

    Two, because the library's time grows with its members and the graph's hardly does: the demo's, where one member
    carries the ensemble, and AI4I's under the family's own budgets, where several do.
    """
    home, _ = _demo()
    rows = _one_row(home, _demo_subject())
    command("import", "ai4i", str(shared_data() / "ai4i2020"), home=home)
    command("train", "classification", "--machine", "ai4i_2020", home=home)
    return rows + _one_row(home, "ai4i_2020")


def _one_row(home: Home, subject: str) -> list[Row]:
    from nightshift import families
    from nightshift.data.store import open_dataset
    from nightshift.edge.runtime import Model
    from nightshift.graphs.fit import compute_features
    from nightshift.plan.state import newest

    cell = newest(home, f"{subject}.classification.pi")
    assert cell is not None
    bundle = max((home.models / "classification" / subject / "pi").glob("v*"))
    family = families.get("classification")
    model, fitted = Model.load(bundle), family.load(home.work / cell.key / "native")
    samples = family.samples(model.interface, open_dataset(home, subject), "test")
    windows = samples.inputs["window"][:_ROWS]
    predictor = fitted.tabular.predictor
    features = [_frame(compute_features(fitted.spec, windows[i : i + 1]), fitted) for i in range(len(windows))]
    predictor.persist()
    library = _p50(lambda i: predictor.predict(features[i]), min(_ROWS, 60))
    graph = _p50(lambda i: model.predict({"window": windows[i : i + 1]}), _ROWS)
    same = [int(predictor.predict(f).iloc[0]) for f in features[:20]]
    told = [int(model.predict({"window": windows[i : i + 1]})["label"][0]) for i in range(20)]
    carrying = sum(1 for name in fitted.summary if name.startswith("weight_"))
    what = f"{subject}, {carrying} member{'s' if carrying != 1 else ''}, one row"
    return [
        row("chain", f"{what}: AutoGluon predict with persist()", library * 1e3, "ms", None, "lower"),
        row("chain", f"{what}: exported classifier, features included", graph * 1e3, "ms", None, "lower"),
        row("chain", f"{what}: times faster than AutoGluon", library / graph, "x", 200.0, "higher"),
        row("chain", f"{what}: labels that agree", float(np.mean(np.equal(same, told))), "share", None, "higher"),
    ]


def whole_suite() -> Row:
    """`make check` and `make test`, as continuous integration runs them."""
    start = time.perf_counter()
    subprocess.run(["make", "check", "test", f"VENV={sys.prefix}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return row("chain", "make check and make test", (time.perf_counter() - start) / 60, "min", 20.0, "lower")


@cache
def _demo() -> tuple[Home, float]:
    """Run the demo once, and return its home and the seconds it took; its server ends with this process."""
    home = bench_home()
    start = time.perf_counter()
    command("demo", home=home)
    return home, time.perf_counter() - start


def _demo_subject() -> str:
    return str(read_yaml(packaged_configs() / "demo.yaml")["synthesis"]["machine"])


def _median_s(*words: str, home: Home | None = None) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        command(*words, home=home)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _p50(call: Any, n: int) -> float:
    seconds = []
    for i in range(n + 5):
        start = time.perf_counter()
        call(i % n)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[5:])


def _frame(features: Any, fitted: Any) -> Any:
    import pandas as pd

    return pd.DataFrame(features, columns=list(fitted.tabular.notes.columns))
