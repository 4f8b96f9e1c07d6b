"""Runs of the fleet for tests of what is told of them: real records and bundles' notes; only figures are made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from nightshift.files import write_atomic
from nightshift.findings import finding
from nightshift.plan.cell import Cell
from nightshift.plan.fleet import Filters, PlannedCell
from nightshift.plan.fleet_run import FleetCell, FleetOutcome
from nightshift.plan.outcome import CellOutcome
from nightshift.plan.state import State
from nightshift.settings import Home
from tests.plan.trained import leave_record, leave_trained

BEGAN = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)


def a_night(*cells: FleetCell, run_id: str = "5f0a", **changes: Any) -> FleetOutcome:
    values: dict[str, Any] = {
        "run_id": run_id,
        "started_at": BEGAN,
        "ended_at": BEGAN + timedelta(minutes=42),
        "filters": Filters(),
        "cells": cells,
    }
    return FleetOutcome(**(values | changes))


def planned(subject: str, family: str = "rul", where: State = State.STALE, **changes: Any) -> PlannedCell:
    values: dict[str, Any] = {
        "subject": subject,
        "family": family,
        "target": "pi" if family else "",
        "name": f"{subject}.{family}.pi" if family else subject,
        "cell_key": "",
        "state": where,
        "reasons": ("new data",) if where is State.STALE else ("version 1, trained 2026-11-20T02:11",),
        "estimated_s": 240.0 if where is State.STALE else 0.0,
        "pool": "pi-pool",
        "queue": "train",
    }
    return PlannedCell(**(values | changes))


def ended(cell: PlannedCell, ending: str = "trained", **changes: Any) -> CellOutcome:
    values: dict[str, Any] = {
        "subject": cell.subject,
        "family": cell.family,
        "target": cell.target,
        "ending": ending,
        "cell_key": cell.cell_key,
    }
    return CellOutcome(**(values | changes))


def fresh(subject: str, family: str = "rul") -> FleetCell:
    return FleetCell(planned=planned(subject, family, State.FRESH))


def failed(subject: str, family: str = "rul", reason: str = "the disk is full", hint: str = "") -> FleetCell:
    plan = planned(subject, family)
    return FleetCell(planned=plan, outcome=ended(plan, "failed", reason=reason, hint=hint), batch="b", attempts=1)


def trained(home: Home, subject: str, family: str = "rul", *, old: float | None = None, **changes: Any) -> FleetCell:
    """A cell that was trained; with `old` it had a champion before, which was judged so."""
    metric, value, baseline = {
        "rul": ("rmse", 11.9, 20.4),
        "classification": ("f1", 0.81, 0.41),
        "anomaly": ("f1", 0.66, 0.52),
        "forecast": ("mase", 0.89, 1.0),
    }[family]
    value, promoted = changes.pop("value", value), changes.pop("promoted", True)
    if old is not None:
        before = _cell(subject, family, "a")
        leave_trained(home, before, 1)
        _note(home, before, 1, metric, old)
    new, version = _cell(subject, family, "b"), 1 if old is None else 2
    leave_trained(home, new, version, promoted=promoted)
    verdict = "promoted: not worse than champion v1" if promoted else "not promoted: worse than champion v1 by <5>"
    leave_record(home, new, "register", summary={"version": version, "champion": promoted, "gate": verdict})
    _note(home, new, version, metric, value)
    plan = planned(subject, family, cell_key=new.key, **changes.pop("planned", {}))
    figures = {"metric": metric, "value": value, "baseline": baseline, "version": version}
    spent = {"seconds": 251.0, "cpu_s": 700.0, **changes}
    return FleetCell(planned=plan, outcome=ended(plan, **{**figures, **spent}), batch="b", attempts=1)


def no_data(subject: str) -> FleetCell:
    return FleetCell(planned=planned(subject, "", State.BLOCKED, reasons=("no data has landed",)))


def drift(*sensors: str) -> Any:
    told = ", ".join(f"{name} (PSI 0.91)" for name in sensors)
    return finding("D022", f"{len(sensors)} of the sensors lie elsewhere: {told}.", columns=sensors)


def _cell(subject: str, family: str, letter: str) -> Cell:
    return Cell(
        subject=subject,
        family=family,
        target="pi",
        dataset=letter * 64,
        config={"config": {"seed": 42}, "limits": {}},
        code="c" * 64,
    )


def _note(home: Home, cell: Cell, version: int, metric: str, value: float) -> None:
    note = {
        "fingerprints": {"cell_key": cell.key, "dataset": cell.dataset},
        "metrics": {"test": {metric: value}},
        "primary": metric,
        "higher_is_better": metric == "f1",
    }
    folder = home.models / cell.family / cell.subject / cell.target / f"v{version}"
    write_atomic(folder / "bundle.json", json.dumps(note).encode())
