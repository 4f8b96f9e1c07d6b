"""Finished anomaly cells on the demo machine whose model is one line: vibration above a threshold.

The graph, the bundle, the evaluation and the records are real; only the training is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nightshift import families
from nightshift.data.dataset import Dataset
from nightshift.edge.manifest import BundleManifest, Column, Fingerprints, Interface, Latency, Output, Parity
from nightshift.family import Limits
from nightshift.files import sha256_file, write_atomic
from nightshift.findings import Finding
from nightshift.graphs.build import Graph
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, record_files, work_folder, write_record
from nightshift.plan.state import remember
from nightshift.problems import problem as problems
from nightshift.problems.evaluation import Evaluation, Member, ScoreRow
from nightshift.settings import Home
from nightshift.tracking.champion import answers
from nightshift.tracking.finished import staging_folder

SENSOR = "vibration_drive_end_mm_s"
BEFORE = ("load", "validate", "train", "evaluate", "export")


def a_cell(data: Dataset, seed: int, *, target: str = "pi", **settings: Any) -> Cell:
    """Cells of one name differ by their seed; tests that want a model of their own choose a target of their own."""
    config = families.get("anomaly").config.model_validate({"seed": seed, **settings})
    return Cell(
        subject=data.subject,
        family="anomaly",
        target=target,
        dataset=data.fingerprint,
        config={"config": config.model_dump(mode="json"), "limits": Limits().model_dump(mode="json")},
        code="c" * 64,
    )


def threshold_for(data: Dataset, share: float = 1.0) -> float:
    """Return the threshold whose F1 on test is nearest to a share of the best one's; never a lower one than that."""
    level = data.matrix("test")[:, data.metadata.columns.index(SENSOR)]
    label = data.labels("test") == 1
    grid = np.quantile(level[np.isfinite(level)], np.linspace(0.3, 0.999, 120)).round(3)
    f1 = np.array([2 * (label & (level > t)).sum() / (label.sum() + (level > t).sum()) for t in grid])
    best = int(f1.argmax())
    return float(grid[best:][np.abs(f1[best:] - share * f1[best]).argmin()])


def finish(
    home: Home,
    cell: Cell,
    data: Dataset,
    threshold: float,
    *,
    window_rows: int = 1,
    findings: tuple[Finding, ...] = (),
    baseline: float = 0.0,
    trained_until: str | None = None,
) -> Evaluation:
    """Leave what a cell leaves before `register`: the staged bundle, the evaluation, the stage records."""
    interface = _interface(data, threshold, window_rows)
    folder = staging_folder(home, cell.key)
    _write_bundle(folder, cell, data, interface, threshold, trained_until or data.metadata.parts["val"].last)
    evaluation = _judge(folder, data, interface, baseline)
    work = work_folder(home, cell.key)
    remember(home, cell)
    write_atomic(work / "evaluation.json", evaluation.model_dump_json().encode())
    for stage in BEFORE:
        write_record(
            home,
            StageRecord(
                stage=stage,
                cell_key=cell.key,
                status="done",
                started_at="2026-01-01T00:00:00Z",
                seconds=1.5,
                files=record_files(home, [folder] if stage == "export" else []),
                summary={"threshold": threshold} if stage == "train" else {},
                findings=findings if stage == "train" else (),
            ),
        )
    return evaluation


def _interface(data: Dataset, threshold: float, window_rows: int) -> Interface:
    return Interface(
        columns=tuple(Column(name=s.name, unit=s.unit) for s in data.metadata.sensors),
        window_rows=window_rows,
        outputs=(
            Output(name="score", dtype="float32", shape=("batch", 1)),
            Output(name="vote", dtype="int64", shape=("batch",)),
        ),
        members=("level",),
        thresholds={"level": threshold},
    )


def _graph(interface: Interface, threshold: float) -> bytes:
    names = [c.name for c in interface.columns]
    graph = Graph("level")
    window = graph.input("window", "float32", ("batch", interface.window_rows, len(names)))
    newest = graph.add("Gather", window, graph.const(-1, "int64"), axis=1)
    level = graph.add("Gather", newest, graph.const(names.index(SENSOR), "int64"), axis=1)
    above = graph.add("Greater", level, graph.const(threshold, "float32"))
    graph.output(graph.add("Cast", above, to=7), "vote", "int64", ("batch",))
    graph.output(graph.add("Unsqueeze", level, graph.const([1], "int64")), "score", "float32", ("batch", 1))
    return bytes(graph.build().SerializeToString())


def _write_bundle(
    folder: Any, cell: Cell, data: Dataset, interface: Interface, threshold: float, trained_until: str | None
) -> None:
    write_atomic(folder / "model.onnx", _graph(interface, threshold))
    write_atomic(folder / "MODEL_CARD.md", f"# {cell.name}\n".encode())
    write_atomic(folder / "native" / "threshold.txt", str(threshold).encode())
    manifest = BundleManifest(
        subject=cell.subject,
        family=cell.family,
        target=cell.target,
        problem="anomaly",
        interface=interface,
        time_kind=data.metadata.time_kind.value,
        time_unit=data.metadata.time_unit,
        trained_until=trained_until,
        label_source=data.metadata.label_source.value,
        metrics={},
        primary="f1",
        higher_is_better=True,
        fingerprints=Fingerprints(
            dataset=cell.dataset, config=cell.config_fingerprint, code=cell.code, cell_key=cell.key
        ),
        hashes={"model.onnx": sha256_file(folder / "model.onnx")},
        size_bytes=(folder / "model.onnx").stat().st_size,
        parity=Parity(rows=100, max_abs={"score": 0.0}, tolerance={"score": 1e-6}, flips=0, ok=True),
        latency=Latency(p50_ms=0.05, p99_ms=0.1, runs=300),
        opset=18,
        created_at="2026-01-01T00:00:00Z",
    )
    write_atomic(folder / "bundle.json", manifest.model_dump_json(indent=1).encode())


def _judge(folder: Any, data: Dataset, interface: Interface, baseline: float) -> Evaluation:
    problem = problems.get("anomaly")
    rows = []
    for part in ("train", "val", "test"):
        samples = families.get("anomaly").samples(interface, data, part)
        statistics = problem.statistics(answers(folder, samples), samples)
        f1 = float(problem.from_sums(np.asarray(statistics.values).sum(axis=0)))
        rows.append(ScoreRow(who="vote", kind="model", part=part, metrics={"f1": f1, "undefined": None}))
        rows.append(ScoreRow(who="always, never", kind="baseline", part=part, metrics={"f1": baseline}))
    return Evaluation(
        problem="anomaly",
        primary="f1",
        higher_is_better=True,
        rows=rows,
        members=[Member(name="level", score=0.5)],
        statistics=statistics,
    )
