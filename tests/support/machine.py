"""A small simulated machine for tests: a motor on an accelerated-wear bench, with lives of about two days.

Units are drawn and rolled out as for any machine; no generator, no quality report. The parameters are the tests' own,
so that a change of a shipped profile changes no test.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nightshift.data.importers.landing import split_and_land
from nightshift.data.schema import Metadata
from nightshift.simulate import describe
from nightshift.simulate.physics.roll import roll
from nightshift.simulate.profile import Profile
from nightshift.simulate.units import draw_units

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home

SUBJECT = "motor_bench_001"
#: Of about 300 rows each.
RUNS = 56
_WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]

_PROFILE: dict[str, Any] = {
    "machine_type": "induction_motor",
    "title": "Motor on an accelerated-wear bench",
    "timezone": "Europe/Berlin",
    "start": "2025-01-05T23:00:00Z",
    "sampling_s": 600,
    "nameplate": {
        **{"rated_power_kw": 11, "rated_speed_rpm": 1460, "efficiency": 0.89, "power_factor": 0.84},
        **{"vibration_class": "I", "bearings": [{"designation": "6209"}]},
    },
    "sensors": [
        {"name": "load_torque_nm", "measures": "torque", "range": [0, 120], "noise": 0.8},
        {"name": "ambient_temperature_c", "measures": "ambient_temperature", "range": [-30, 60], "noise": 0.2},
        {"name": "shaft_speed_rpm", "measures": "shaft_speed", "range": [0, 1600], "noise": 2, "bias": 1},
        {"name": "stator_current_a", "measures": "stator_current", "range": [0, 60], "noise": 0.3, "bias": 0.2},
        {"name": "winding_temperature_c", "measures": "winding_temperature", "range": [-30, 200], "noise": 0.8},
        {"name": "bearing_temperature_c", "measures": "bearing_temperature", "range": [-30, 160], "noise": 0.6},
        {"name": "vibration_drive_end_mm_s", "measures": "vibration_drive_end", "range": [0, 40], "noise": 0.08},
        {"name": "vibration_fan_end_mm_s", "measures": "vibration_non_drive_end", "range": [0, 40], "noise": 0.08},
    ],
    "schedule": {"shifts": [{"begin": "06:00", "end": "22:00", "days": _WORKDAYS}], "idle_load": 0.4},
    "usage_modes": [
        {"name": "light", "share": 0.6, "load": 0.6, "wear_rate": 0.9},
        {"name": "heavy", "share": 0.4, "load": 0.85, "wear_rate": 1.2},
    ],
    "failure_modes": [
        {"mode": "bearing_wear", "share": 0.9, "onset": 0.6, "vibration_rise_mm_s": 8},
        {"mode": "insulation_ageing", "share": 0.1, "onset": 0.6},
    ],
    "life": {"mean_h": 50},
    "labels": {"horizon_h": 8},
    "rates": {"censored": 0, "overhaul_h": [2, 8], "missing": 0, "sensor_faults_per_1000_h": 0},
}
_ALARMS = {"stator_current_a": 24, "winding_temperature_c": 130, "bearing_temperature_c": 85}


@lru_cache(maxsize=1)
def profile() -> Profile:
    """The machine; every sensor is critical, and some have an alarm."""
    alarms = {**_ALARMS, "vibration_drive_end_mm_s": 4.5, "vibration_fan_end_mm_s": 4.5}
    sensors = [{"critical": True, "alarm_above": alarms.get(s["name"]), **s} for s in _PROFILE["sensors"]]
    return Profile.model_validate({**_PROFILE, "sensors": sensors})


def land_demo(home: Home, seed: int = 7, *, runs: int = RUNS, subject: str = SUBJECT) -> Dataset:
    """Simulate the machine and land it; the same seed gives the same fingerprint."""
    return split_and_land(home, simulate(seed, runs=runs), metadata(subject, seed=seed, runs=runs))


def simulate(seed: int = 7, *, runs: int = RUNS) -> pd.DataFrame:
    """Its consecutive runs to failure: `time`, `run`, the eight sensors, `failure_status` and `rul` in hours."""
    return roll(profile(), draw_units(profile(), runs, seed=seed), seed=seed).frame


def metadata(subject: str = SUBJECT, **details: Any) -> Metadata:
    """What its dataset says of itself."""
    return describe.metadata(profile(), subject, details=details)
