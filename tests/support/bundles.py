"""A small real bundle, written by hand: a graph that adds up the newest row, or one that forecasts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nightshift.edge.check_rows import make_check
from nightshift.edge.manifest import (
    CHECK_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    BundleManifest,
    Column,
    Fingerprints,
    Interface,
    Latency,
    Output,
    Parity,
    sha256_bytes,
)
from nightshift.graphs.build import Graph

COLUMNS = (
    Column(name="speed", unit="rpm", minimum=0, maximum=100),
    Column(name="temperature", unit="degC"),
    Column(name="grade", categories=("L", "M", "H"), unseen_code=-1),
)


def sum_graph(window_rows: int = 2, n_columns: int = 3) -> bytes:
    """`value` is the sum of the window's newest row; `label` is 1 where it is above 10."""
    graph = Graph("sum")
    window = graph.input("window", "float32", ["batch", window_rows, n_columns])
    last = graph.add("Gather", window, graph.const(window_rows - 1, "int64"), axis=1)
    total = graph.add("ReduceSum", last, graph.const([1], "int64"), keepdims=0)
    label = graph.add("Cast", graph.add("Greater", total, graph.const(10.0, "float32")), to=7)
    graph.output(total, "value", "float32", ["batch"])
    graph.output(label, "label", "int64", ["batch"])
    model: bytes = graph.build().SerializeToString()
    return model


def clock_graph() -> bytes:
    """`yhat` (batch, 2 steps, 1 sensor) is the wall clock's second of day."""
    graph = Graph("clock")
    window = graph.input("window", "float32", ["batch", 1, 3])
    time = graph.input("time_s", "int64", ["batch"])
    used = graph.add("ReduceSum", graph.add("Mul", window, graph.const(0.0, "float32")), graph.const([1, 2], "int64"))
    day = graph.add("Mod", time, graph.const(86400, "int64"))
    steps = graph.const([[[0], [600]]], "int64")
    ahead = graph.add("Add", graph.add("Reshape", day, graph.const([-1, 1, 1], "int64")), steps)
    graph.output(graph.add("Add", graph.add("Cast", ahead, to=1), used), "yhat", "float32", ["batch", 2, 1])
    model: bytes = graph.build().SerializeToString()
    return model


def interface(**changes: Any) -> Interface:
    given: dict[str, Any] = {
        "columns": COLUMNS,
        "window_rows": 2,
        "outputs": (
            Output(name="value", dtype="float32", shape=("batch",)),
            Output(name="label", dtype="int64", shape=("batch",)),
        ),
    }
    return Interface(**{**given, **changes})


def manifest(graph: bytes, **changes: Any) -> BundleManifest:
    given: dict[str, Any] = {
        "subject": "pump_1",
        "family": "rul",
        "target": "pi",
        "problem": "regression",
        "interface": interface(),
        "time_kind": "calendar",
        "time_unit": "hours",
        "metrics": {"test": {"rmse": 1.0}},
        "primary": "rmse",
        "higher_is_better": False,
        "fingerprints": Fingerprints(dataset="0" * 64, config="0" * 64, code="0" * 64, cell_key="0" * 64),
        "hashes": {MODEL_FILE: sha256_bytes(graph)},
        "size_bytes": len(graph),
        "parity": Parity(rows=1, max_abs={}, tolerance={}, flips=0, ok=True),
        "latency": Latency(p50_ms=1, p99_ms=1, runs=1),
        "opset": 18,
    }
    return BundleManifest(**{**given, **changes})


def write_bundle(folder: Path, graph: bytes | None = None, *, check: bytes | None = None, **changes: Any) -> Path:
    """Write a bundle, with a `check.npz` where one is given, and return its folder."""
    model = graph if graph is not None else sum_graph()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(model)
    if check is not None:
        (folder / CHECK_FILE).write_bytes(check)
        changes.setdefault("hashes", {MODEL_FILE: sha256_bytes(model), CHECK_FILE: sha256_bytes(check)})
    (folder / MANIFEST_FILE).write_text(manifest(model, **changes).model_dump_json(indent=1), encoding="utf-8")
    return folder


def parity(**tolerance: float) -> Parity:
    """Figures of a graph that is its model, with the tolerance of each float output."""
    return Parity(rows=1, max_abs=dict.fromkeys(tolerance, 0.0), tolerance=tolerance, flips=0, ok=True)


def sum_check(flips: int = 0, rows: int = 40) -> bytes:
    """Rows with what a library would answer that agrees with `sum_graph`, but for `flips` labels."""
    window = np.random.default_rng(3).uniform(0, 8, (rows, 2, 3)).astype(np.float32)

    value = window[:, -1].sum(axis=1)
    label = (value > 10).astype(np.int64)
    label[:flips] ^= 1
    return make_check({"window": window}, {"value": value, "label": label})


def forecast_bundle(folder: Path, timezone: str = "UTC") -> Path:
    """Write a bundle whose forecast is the wall clock."""
    shape = Output(name="yhat", dtype="float32", shape=("batch", 2, 1))
    face = interface(window_rows=1, uses_time=True, outputs=(shape,), sensors=("speed",), steps=2, step_s=600.0)
    return write_bundle(folder, clock_graph(), interface=face, timezone=timezone, family="forecast", problem="forecast")
