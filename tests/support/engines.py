"""A small fleet of engines that wear out in cycles, with a published-style test part."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nightshift.data.dataset import Dataset
from nightshift.data.schema import Derived, LabelSource, Metadata, Provenance, Sensor, TimeKind
from nightshift.data.store import land
from nightshift.settings import Home

SENSORS = (
    Sensor(name="altitude_km", unit="km", role="setting"),
    Sensor(name="heat_k", unit="K", critical=True, alarm_above=660.0),
    Sensor(name="flow_kg_s", unit="kg/s", critical=True),
    Sensor(name="fuel", role="category"),
    Sensor(name="age_cycles", unit="cycles", role="age"),
)


def land_engines(home: Home, subject: str = "engines", seed: int = 0) -> Dataset:
    """Land 14 training, 4 validation and 5 test engines; the test ones stop before their end, as published ones do."""
    rng = np.random.default_rng(seed)
    parts = {}
    for offset, (part, engines) in enumerate({"train": 14, "val": 4, "test": 5}.items()):
        made = [_engine(rng, 100 * offset + i) for i in range(engines)]
        cut = [frame.iloc[: int(len(frame) * rng.uniform(0.5, 0.9))] for frame in made] if part == "test" else made
        parts[part] = pd.concat(cut, ignore_index=True)
    return land(home, parts, describe(subject))


def _engine(rng: np.random.Generator, run: int) -> pd.DataFrame:
    life = int(rng.integers(40, 90))
    cycle = np.arange(1, life + 1)
    left = (life - cycle).astype(float)
    worn = np.exp(-left / 15.0)
    altitude = rng.choice([0.0, 10.0], life)
    return pd.DataFrame(
        {
            "time": cycle,
            "run": run,
            "altitude_km": altitude + rng.normal(0, 0.01, life),
            "heat_k": 600.0 - 20.0 * altitude + 30.0 * worn + rng.normal(0, 2.0, life),
            "flow_kg_s": 40.0 + altitude - 4.0 * worn + rng.normal(0, 0.4, life),
            "fuel": rng.choice(["A", "B"], life),
            "age_cycles": cycle.astype(float),
            "failure_status": (left <= 10).astype(int),
            "rul": left,
        }
    )


def describe(subject: str) -> Metadata:
    """Metadata of the engines."""
    return Metadata(
        subject=subject,
        time_kind=TimeKind.CYCLES,
        time_unit="cycles",
        horizon=10.0,
        sensors=SENSORS,
        derived=(Derived(name="heat_per_flow", kind="ratio", left="heat_k", right="flow_kg_s"),),
        label_source=LabelSource.FROM_RUL,
        has_rul=True,
        official_test=True,
        provenance=Provenance(kind="import", source="support/engines.py"),
    )
