"""Folders as `nightshift land` takes them: independent rows of a pump that fails where it is hot and shakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def describe_pump(subject: str = "pump_1", *, labels: bool = True, **changes: Any) -> dict[str, Any]:
    """A `metadata.json` that fits `write_pump`."""
    values: dict[str, Any] = {
        "subject": subject,
        "time_kind": "none",
        "time_unit": "none",
        "sensors": [
            {"name": "temperature_c", "unit": "degC", "critical": True, "minimum": -50, "maximum": 200},
            {"name": "vibration_mm_s", "unit": "mm/s", "minimum": 0},
        ],
        "label_source": "given" if labels else "absent",
        "has_rul": False,
        "provenance": {"kind": "import", "source": "a test bench"},
    }
    return values | changes


def write_pump(folder: Path, subject: str = "pump_1", *, seed: int = 0, labels: bool = True, rows: int = 300) -> Path:
    """Write `metadata.json` and `data.csv`."""
    rng = np.random.default_rng(seed)
    hot, shaking = rng.normal(60, 5, rows), rng.normal(3, 0.5, rows)
    failing = rng.random(rows) < 0.2
    hot[failing] += 12
    shaking[failing] += 1.5
    columns = ["temperature_c", "vibration_mm_s", *(["failure_status"] if labels else [])]
    cells = zip(hot, shaking, failing, strict=True)
    lines = [f"{a:.3f},{b:.3f}" + (f",{int(c)}" if labels else "") for a, b, c in cells]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.csv").write_text("\n".join([",".join(columns), *lines]), encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(describe_pump(subject, labels=labels)), encoding="utf-8")
    return folder
