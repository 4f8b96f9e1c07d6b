"""Folders as `nightshift land` takes them: independent rows of a pump that fails where it is hot and shakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightshift.data import outbox
from nightshift.data.importers.landed_elsewhere import land_folder
from nightshift.data.splits import split
from nightshift.data.store import subjects
from nightshift.errors import DataError, NightshiftError
from nightshift.settings import Home
from support.datasets import calendar_rows, describe


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


def write_metadata(folder: Path, **changes: Any) -> None:
    (folder / "metadata.json").write_text(json.dumps(describe_pump(**changes)))


def calendar_folder(folder: Path, **changes: Any) -> Path:
    """The calendar rows of the other tests, in three files."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = json.loads(describe().model_dump_json()) | changes
    (folder / "metadata.json").write_text(json.dumps(metadata))
    for part, rows in split(calendar_rows(), describe().time_kind).items():
        rows.to_parquet(folder / f"{part}.parquet", index=False)
    return folder


def refused(home: Home, folder: Path, kind: type[NightshiftError] = DataError) -> str:
    """The one line that a landing is refused with; nothing of it is to be seen."""
    with pytest.raises(kind) as caught:
        land_folder(home, folder)
    assert subjects(home) == ()
    assert outbox.pending(home) == ()
    assert not [p for p in home.data.rglob("*") if p.is_file()]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_csv(change: Callable[[pd.DataFrame], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        rows = pd.read_csv(folder / "data.csv", dtype=object)
        made = change(rows)
        (made if isinstance(made, pd.DataFrame) else rows).to_csv(folder / "data.csv", index=False)

    return spoil
