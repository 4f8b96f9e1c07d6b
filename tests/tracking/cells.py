"""Builds a finished cell's files in a home: real records, evaluation and manifest; only the figures are made up."""

from __future__ import annotations

import math

from nightshift.edge.manifest import (
    BundleManifest,
    Column,
    Fingerprints,
    Footprint,
    Interface,
    Latency,
    Output,
    Parity,
)
from nightshift.files import write_atomic
from nightshift.findings import finding
from nightshift.plan.cell import Cell
from nightshift.plan.records import StageRecord, work_folder, write_record
from nightshift.plan.state import remember
from nightshift.problems.evaluation import Evaluation, Figure, Member, ScoreRow, Series
from nightshift.settings import Home


def a_cell(family: str = "classification", subject: str = "pump_1", **config: object) -> Cell:
    settings = {"seed": 42, "preset": "fast", "wanted": {"f1": 0.7}, **config}
    return Cell(
        subject=subject,
        family=family,
        target="pi",
        dataset="d" * 64,
        config={"config": settings, "limits": {"size_mb": 50.0, "latency_ms": 10.0}},
        code="c" * 64,
    )


def an_evaluation(f1: float = 0.81, column: str = "temperature_c") -> Evaluation:
    def row(who: str, kind: str, part: str, value: float) -> ScoreRow:
        return ScoreRow(who=who, kind=kind, part=part, metrics={"f1": value, "pr_auc": value + 0.05, "roc_auc": None})

    x = [i / 20 for i in range(21)]
    hours = [1_700_000_000.0 + 600 * i for i in range(200)]
    wave = [20 + 4 * math.sin(i / 15) for i in range(200)]
    return Evaluation(
        problem="classification",
        primary="f1",
        higher_is_better=True,
        rows=[
            row("WeightedEnsemble", "model", "train", 0.93),
            row("WeightedEnsemble", "model", "val", 0.84),
            row("WeightedEnsemble", "model", "test", f1),
            row("majority", "baseline", "test", 0.0),
            row("threshold rule", "baseline", "test", 0.41),
            row("LightGBM", "member", "test", f1 - 0.02),
        ],
        figures=[
            Figure(
                key="confusion",
                title="Confusion on test",
                x_label="predicted",
                y_label="true",
                cells=[[900.0, 31.0], [22.0, 118.0]],
                ticks=["healthy", "failing"],
            ),
            Figure(
                key="pr",
                title="Precision and recall",
                x_label="recall",
                y_label="precision",
                series=[
                    Series(label="model", x=x, y=[1 - 0.5 * v**3 for v in x]),
                    Series(label="threshold rule", x=[0.4], y=[0.5], style="points"),
                ],
            ),
            Figure(
                key="forecast",
                title=f"Forecast of {column}",
                y_label=column,
                x_is_time=True,
                series=[
                    Series(label="95 %", x=hours, y=[v - 3 for v in wave], y2=[v + 3 for v in wave], style="band"),
                    Series(label="forecast", x=hours, y=wave),
                    Series(label="incident", x=[hours[50]], y=[hours[70]], style="spans"),
                ],
            ),
            Figure(
                key="importance",
                title="Importance",
                series=[Series(label="gain", x=["a rather long name", "b", "c"], y=[3, 2, None], style="bars")],
            ),
        ],
        members=[
            Member(name="XGBoost", score=0.79, fit_s=2.1, predict_s=0.02, size_mb=0.9, weight=0.4),
            Member(name="LightGBM", score=0.83, fit_s=1.4, predict_s=0.01, size_mb=0.7, weight=0.6),
        ],
        findings=[finding("T003", "3.1 % of the rows are positive.", columns=[column])],
    )


def a_manifest(cell: Cell, column: str = "temperature_c", size_bytes: int = 2_400_000) -> BundleManifest:
    return BundleManifest(
        subject=cell.subject,
        family=cell.family,
        target=cell.target,
        problem="classification",
        interface=Interface(
            columns=(Column(name=column, unit="degC"),),
            window_rows=30,
            outputs=(Output(name="probability", dtype="float32", shape=("batch", 2), meaning="of each class"),),
        ),
        time_kind="calendar",
        time_unit="hours",
        metrics={"test": {"f1": 0.81}},
        primary="f1",
        higher_is_better=True,
        fingerprints=Fingerprints(
            dataset=cell.dataset, config=cell.config_fingerprint, code=cell.code, cell_key=cell.key
        ),
        hashes={},
        size_bytes=size_bytes,
        parity=Parity(
            rows=5000,
            max_abs={"probability": 6e-7},
            tolerance={"probability": 1e-5},
            flips=0,
            ok=True,
            cases={"real": 3800, "on a split": 1200},
            batches=(0, 1, 7),
        ),
        latency=Latency(p50_ms=0.21, p99_ms=0.4, runs=300, library_p50_ms=81.0),
        footprint=Footprint(memory_mb=88.4, start_s=0.71),
        opset=18,
    )


def record(cell: Cell, stage: str, **fields: object) -> StageRecord:
    given = {"status": "done", "started_at": "2026-01-01T00:00:00Z", "seconds": 1.5, **fields}
    return StageRecord.model_validate({"stage": stage, "cell_key": cell.key, **given})


def land_finished(home: Home, cell: Cell, evaluation: Evaluation, manifest: BundleManifest) -> None:
    """Leave what a finished cell leaves."""
    remember(home, cell)
    work = work_folder(home, cell.key)
    write_atomic(work / "evaluation.json", evaluation.model_dump_json().encode())
    bundle = home.models / cell.family / cell.subject / cell.target / "v3"
    write_atomic(bundle / "model.onnx", b"not opened here")
    write_atomic(bundle / "bundle.json", manifest.model_dump_json().encode())
    for stage in ("load", "validate", "train", "export"):
        write_record(home, record(cell, stage))
    write_record(home, record(cell, "evaluate", findings=evaluation.findings))
    write_record(home, record(cell, "register", summary={"version": 3, "run_id": "r" * 32}))
    write_record(home, record(cell, "report"))
