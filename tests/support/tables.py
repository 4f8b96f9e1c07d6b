"""A table with numbers, gaps, flags, words and an interaction that no linear model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nightshift.data.dataset import Dataset
from nightshift.data.schema import PARTS, RUN, LabelSource, Metadata, Provenance, Sensor, TimeKind, TruthColumn
from nightshift.data.store import land
from nightshift.data.tables import FLAG
from nightshift.settings import Home

SUBJECT = "small_table"


def made(rows: int = 500, seed: int = 0) -> pd.DataFrame:
    """Return inputs, a class `y` and a value `v`."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    table = pd.DataFrame(
        {
            "a": a.round(4),
            "b": b.round(4),
            "n": rng.integers(0, 9, rows),
            "open": rng.random(rows) > 0.5,
            "colour": rng.choice(["red", "green", "blue"], rows),
        }
    )
    table["y"] = np.where((a * b > 0) ^ (table.colour == "red"), "yes", "no")
    table["v"] = (3 * a * b + 2 * (table.colour == "red")).round(4)
    table.loc[::17, "b"] = np.nan
    return table


def write(folder: Path, target: str = "y", rows: int = 500, seed: int = 0) -> Path:
    """Write the table with one of its targets as CSV, and return the file."""
    other = {"y": "v", "v": "y"}[target]
    file = folder / f"{SUBJECT}_{target}.csv"
    made(rows, seed).drop(columns=other).to_csv(file, index=False)
    return file


def named_scenarios(home: Home, subject: str = "adplanning") -> Dataset:
    """Land rows that pass for driving scenarios where nobody drives them."""
    metadata = Metadata(
        subject=subject,
        group="driving",
        time_kind=TimeKind.NONE,
        time_unit="none",
        sensors=(Sensor(name="a"),),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(kind="synthetic", source="test"),
    )
    frames = {part: pd.DataFrame({RUN: [place], "a": [1.0]}) for place, part in enumerate(PARTS)}
    return land(home, frames, metadata, event=False)


def small_table(home: Home) -> Dataset:
    """Land the table with both its targets, so that each family has its own."""
    table = made().assign(**{RUN: np.arange(500)})
    table["open"] = table["open"].map(str)
    cuts = dict(zip(PARTS, np.split(np.arange(500), [350, 425]), strict=True))
    sensors = [Sensor(name=name) for name in ("a", "b", "n")]
    sensors += [Sensor(name="open", role="category", categories=FLAG), Sensor(name="colour", role="category")]
    metadata = Metadata(
        subject=SUBJECT,
        group="estimator",
        time_kind=TimeKind.NONE,
        time_unit="none",
        sensors=tuple(sensors),
        truths=(TruthColumn(name="y", role="class", classes=("no", "yes")), TruthColumn(name="v", role="value")),
        label_source=LabelSource.ABSENT,
        has_rul=False,
        provenance=Provenance(kind="import", source="small_table.csv"),
    )
    return land(home, {part: table.iloc[rows] for part, rows in cuts.items()}, metadata, event=False)
