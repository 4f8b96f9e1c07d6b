"""A small fleet of simple cars for tests: a few short trips with fuel, CO2, kinds of driving and odd moments.

It stands on its own, so that a change of the simulator changes no test of a family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nightshift.data.schema import LabelSource, Metadata, Provenance, Sensor, TimeKind, TruthColumn
from nightshift.data.store import land

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home

SUBJECT = "small_vehicles"
STYLES = ("calm", "normal", "aggressive")
ODD = ("normal", "harsh_braking", "weaving")
#: Trips of each part; every vehicle and trip is in one part only.
TRIPS = {"train": 15, "val": 9, "test": 9}
ROWS = 180
_PETROL_G_CO2_PER_L = 2348.0

_SENSORS = (
    Sensor(name="velocity", unit="m/s", minimum=0, maximum=70),
    Sensor(name="acceleration", unit="m/s2", minimum=-12, maximum=8),
    Sensor(name="throttle", minimum=0, maximum=1),
    Sensor(name="brake", minimum=0, maximum=1),
    Sensor(name="steer", minimum=-1, maximum=1),
    Sensor(name="gear", role="setting", minimum=0, maximum=8),
    Sensor(name="engine_rpm", unit="rpm", minimum=0, maximum=8000),
    Sensor(name="grade", minimum=-0.3, maximum=0.3),
)
_TRUTHS = (
    TruthColumn(name="fuel_consumption", role="fuel", unit="L/h"),
    TruthColumn(name="co2", role="carbon", unit="g/s"),
    TruthColumn(name="behaviour", role="behaviour", classes=STYLES),
    TruthColumn(name="driving", role="odd", classes=ODD),
)


def small_vehicles(home: Home, *, subject: str = SUBJECT, seed: int = 5, rows: int = ROWS) -> Dataset:
    """Make the trips and land them; the same seed gives the same fingerprint."""
    return land(home, trips(seed, rows=rows), metadata(subject))


def metadata(subject: str = SUBJECT, **changes: Any) -> Metadata:
    """What the dataset says of itself."""
    values: dict[str, Any] = {
        "subject": subject,
        "group": "vehicle",
        "time_kind": TimeKind.CALENDAR,
        "time_unit": "hours",
        "sampling_s": 1.0,
        "sensors": _SENSORS,
        "truths": _TRUTHS,
        "label_source": LabelSource.ABSENT,
        "has_rul": False,
        "provenance": Provenance(kind="synthetic", source="tests"),
    }
    return Metadata(**(values | changes))


def trips(seed: int = 5, *, rows: int = ROWS) -> dict[str, pd.DataFrame]:
    """Return part -> trips of `rows` seconds, one vehicle for every third of them."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    parts, number = {}, 0
    for part, count in TRIPS.items():
        made = []
        for _ in range(count):
            made.append(_trip(rng, number, rows))
            number += 1
        parts[part] = pd.concat(made, ignore_index=True)
    return parts


def _trip(rng: np.random.Generator, number: int, rows: int) -> pd.DataFrame:
    """One trip: a wish for speed that changes every half minute, followed as briskly as the style says."""
    import pandas as pd

    style = number % len(STYLES)
    second = np.arange(rows)
    wish = np.repeat(rng.choice([0.0, 8.0, 14.0, 25.0], rows // 30 + 1), 30)[:rows] * (0.9 + 0.15 * style)
    odd = np.zeros(rows, dtype=int)
    for kind, first in zip((1, 2), rng.permutation(np.arange(30, rows - 30, 30))[:2], strict=True):
        odd[first : first + 25] = kind
    speed, acceleration = np.zeros(rows), np.zeros(rows)
    for i in range(1, rows):
        brisk = 0.08 + 0.07 * style
        acceleration[i] = np.clip(brisk * (wish[i] - speed[i - 1]), -2.0 - style, 1.2 + style)
        if odd[i] == 1 and i % 4 < 2:
            acceleration[i] = -8.0 if speed[i - 1] > 8 else 5.0
        speed[i] = max(0.0, speed[i - 1] + acceleration[i])
    steer = rng.normal(0, 0.03 + 0.02 * style, rows) + np.where(odd == 2, 0.6 * np.sin(second * 1.3), 0.0)
    grade = 0.03 * np.sin(second / 40 + rng.uniform(0, 6))
    gear = np.clip(np.ceil(speed / 6), 1, 6)
    power_kw = 1.4 * speed * (acceleration + 9.81 * grade + 0.12) + 0.0005 * speed**3
    fuel = np.maximum(0.3, 0.8 + 0.33 * power_kw) * rng.normal(1.0, 0.03, rows)
    table = pd.DataFrame(
        {
            "time": pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(number * 3600 + second, unit="s"),
            "run": number,
            "vehicle": number // 3,
            "velocity": speed,
            "acceleration": acceleration + rng.normal(0, 0.05, rows),
            "throttle": np.clip(power_kw / 60, 0, 1),
            "brake": np.clip(-acceleration / 8, 0, 1),
            "steer": np.clip(steer, -1, 1),
            "gear": gear,
            "engine_rpm": np.where(speed > 0, 800 + 2200 * speed / (gear * 7), 800.0),
            "grade": grade,
            "fuel_consumption": fuel,
            "co2": fuel * _PETROL_G_CO2_PER_L / 3600,
            "behaviour": STYLES[style],
            "driving": np.array(ODD, dtype=object)[odd],
        }
    )
    table.loc[rng.random(rows) < 0.01, "steer"] = np.nan
    return table
