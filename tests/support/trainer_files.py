"""A small table as files: classes, values, a category, dates and groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def write_table(folder: Path, rows: int = 240, *, dates: bool = True) -> Path:
    """Write `data.csv` and `data.parquet` of one table into a folder, and return the CSV file.

    No bundle takes dates: without them its models can be registered.
    """
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, rows))
    frame = pd.DataFrame(
        {
            "a": a.round(4),
            "b": b.round(4),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "day": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "car": rng.integers(0, 24, rows),
            "label": np.where(a + 0.3 * rng.normal(size=rows) > 0.6, "yes", "no"),
            "fuel": (2 * a - b + 0.1 * rng.normal(size=rows)).round(4),
        }
    )
    if not dates:
        frame = frame.drop(columns="day")
    frame.to_parquet(folder / "data.parquet", index=False)
    frame.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"
