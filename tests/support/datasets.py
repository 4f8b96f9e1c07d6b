"""Small tables and their descriptions, for tests of the data layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind

SENSORS = (
    Sensor(name="heat_c", unit="degC", critical=True, minimum=-50, maximum=200, alarm_above=90),
    Sensor(name="shake_mm_s", unit="mm/s", critical=True, minimum=0, maximum=50),
    Sensor(name="load_nm", unit="Nm", role="setting"),
    Sensor(name="grade", role="category"),
)


def calendar_rows(runs: int = 8, steps: int = 60, seed: int = 0) -> pd.DataFrame:
    """Consecutive runs to failure, one row per 10 minutes, two hours of overhaul between them."""
    rng = np.random.default_rng(seed)
    n = runs * steps
    run = np.repeat(np.arange(runs), steps)
    minutes = 10 * np.arange(n) + 120 * run
    left_h = np.tile(np.arange(steps, 0, -1), runs) / 6.0
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2025-03-01", tz="UTC") + pd.to_timedelta(minutes, unit="min"),
            "run": run,
            "heat_c": 60 + rng.normal(0, 5, n) + 20 / (1 + left_h),
            "shake_mm_s": 2 + rng.gamma(2, 0.5, n),
            "load_nm": 40 + rng.normal(0, 8, n),
            "grade": rng.choice(["L", "M", "H"], n),
            "failure_status": (left_h <= 2).astype(int),
            "rul": left_h,
        }
    )


def describe(subject: str = "pump_1", **changes: Any) -> Metadata:
    """Metadata that fits `calendar_rows`."""
    values: dict[str, Any] = {
        "subject": subject,
        "time_kind": TimeKind.CALENDAR,
        "time_unit": "hours",
        "sampling_s": 600.0,
        "timezone": "Europe/Berlin",
        "horizon": 2.0,
        "embargo": 0.0,
        "sensors": SENSORS,
        "label_source": LabelSource.GIVEN,
        "has_rul": True,
        "provenance": Provenance(kind="import", source="rows.csv"),
    }
    return Metadata(**(values | changes))
