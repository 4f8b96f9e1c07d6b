"""A small seeded machine with hidden wear, for `make demo` only.

One motor on an accelerated-wear bench: it runs until a bearing or the winding has worn out, is overhauled for some
hours, and runs again, on one clock. Failure comes from the hidden wear; no sensor shows it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nightshift.data.importers.landing import default_embargo_h, split_and_land
from nightshift.data.schema import LABEL, RUL, RUN, TIME, LabelSource, Metadata, Provenance, Sensor, TimeKind

if TYPE_CHECKING:
    import pandas as pd

    from nightshift.data.dataset import Dataset
    from nightshift.settings import Home

DEMO_SUBJECT = "motor_siemens_1la7_001"
TIMEZONE = "Europe/Berlin"
START = "2025-01-05T23:00:00"
STEP_S = 600.0
HORIZON_H = 12.0
RUNS = 56
#: Wear ends every run long before this.
_MAX_STEPS = 3000
_STEPS_PER_H = 3600.0 / STEP_S

SENSORS = (
    Sensor(name="load_torque_nm", unit="Nm", role="setting", critical=True, minimum=0, maximum=120),
    Sensor(name="ambient_temperature_c", unit="degC", role="setting", critical=True, minimum=-30, maximum=60),
    Sensor(name="shaft_speed_rpm", unit="rpm", critical=True, minimum=0, maximum=1600),
    Sensor(name="stator_current_a", unit="A", critical=True, minimum=0, maximum=60, alarm_above=24),
    Sensor(name="winding_temperature_c", unit="degC", critical=True, minimum=-30, maximum=200, alarm_above=112),
    Sensor(name="bearing_temperature_c", unit="degC", critical=True, minimum=-30, maximum=160, alarm_above=75),
    Sensor(name="vibration_drive_end_mm_s", unit="mm/s", critical=True, minimum=0, maximum=40, alarm_above=5.6),
    Sensor(name="vibration_fan_end_mm_s", unit="mm/s", critical=True, minimum=0, maximum=40, alarm_above=5.6),
)


@dataclass(frozen=True)
class _Clock:
    """Civil time of some steps: hour of day and of week as fractions, `(steps,)`."""

    hour: NDArray[np.float64]
    weekday: NDArray[np.int64]
    day: NDArray[np.float64]


def land_demo(home: Home, seed: int = 7, *, runs: int = RUNS, subject: str = DEMO_SUBJECT) -> Dataset:
    """Simulate the demo machine and land it; the same seed gives the same fingerprint.

    Raises:
        NightshiftError: when it cannot be stored.
    """
    return split_and_land(home, simulate(seed, runs=runs), metadata(subject, seed, runs))


def metadata(subject: str, seed: int, runs: int) -> Metadata:
    """Describe the demo machine."""
    return Metadata(
        subject=subject,
        title="Siemens 1LA7 motor on an accelerated-wear bench (simulated stand-in)",
        time_kind=TimeKind.CALENDAR,
        time_unit="hours",
        sampling_s=STEP_S,
        timezone=TIMEZONE,
        horizon=HORIZON_H,
        embargo=default_embargo_h(STEP_S, HORIZON_H),
        sensors=SENSORS,
        label_source=LabelSource.FROM_RUL,
        has_rul=True,
        provenance=Provenance(
            kind="synthetic",
            source="nightshift.simulate.wear",
            details={"seed": seed, "runs": runs, "purpose": "stand-in for make demo"},
        ),
    )


def simulate(seed: int = 7, *, runs: int = RUNS) -> pd.DataFrame:
    """Return the machine's consecutive runs to failure, one row per 10 minutes.

    Args:
        seed: of everything random.
        runs: how many; about 300 rows each.

    Returns:
        `time` (UTC), `run`, the eight sensors, `failure_status` and `rul` (hours), in time order.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    at = pd.Timestamp(START, tz="UTC")
    frames = []
    for run in range(runs):
        frame = _one_run(rng, at)
        frames.append(frame.assign(**{RUN: np.int64(run)}))
        overhaul_steps = int(rng.integers(12, 48))
        at = frame[TIME].iloc[-1] + pd.Timedelta(seconds=STEP_S * (overhaul_steps + 1))
    names = [TIME, RUN, *(s.name for s in SENSORS), LABEL, RUL]
    return pd.concat(frames, ignore_index=True)[names]


def _one_run(rng: np.random.Generator, start: pd.Timestamp) -> pd.DataFrame:
    import pandas as pd

    time = pd.date_range(start, periods=_MAX_STEPS, freq=f"{int(STEP_S)}s")
    clock = _clock(time)
    load = _load(rng, clock)
    wear = _wear(rng, load)
    steps = int(np.searchsorted(wear, 1.0))
    values = _sensors(rng, clock, load, wear)
    frame = pd.DataFrame({TIME: time, **values}).head(steps)
    rul_h = (steps - np.arange(steps)) / _STEPS_PER_H
    frame[RUL] = rul_h
    frame[LABEL] = (rul_h <= HORIZON_H).astype(np.int8)
    return frame


def _clock(time: pd.DatetimeIndex) -> _Clock:
    local = time.tz_convert(TIMEZONE)
    hour = (local.hour + local.minute / 60.0).to_numpy(np.float64)
    return _Clock(hour=hour, weekday=local.dayofweek.to_numpy(np.int64), day=local.dayofyear.to_numpy(np.float64))


def _load(rng: np.random.Generator, clock: _Clock) -> NDArray[np.float64]:
    """Share of rated torque: two shifts on workdays, less at the weekend, and orders that come and go."""
    shift = 1.0 / (1.0 + np.exp(-(clock.hour - 6.0) * 2.0)) - 1.0 / (1.0 + np.exp(-(clock.hour - 22.0) * 2.0))
    week = np.where(clock.weekday >= 5, 0.55, 1.0)
    duty = rng.uniform(-0.06, 0.06)  # each run makes its own product
    return np.clip(0.40 + duty + 0.38 * shift * week + _drifting(rng, len(week), 0.05, 0.95), 0.1, 1.1)


def _drifting(rng: np.random.Generator, n: int, spread: float, memory: float) -> NDArray[np.float64]:
    """Return noise that remembers: first-order autoregressive with standard deviation `spread`, `(n,)`."""
    from scipy.signal import lfilter

    shocks = rng.normal(0.0, spread * np.sqrt(1.0 - memory**2), n)
    out: NDArray[np.float64] = lfilter([1.0], [1.0, -memory], shocks)
    return out


def _wear(rng: np.random.Generator, load: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return hidden wear, 0 new, 1 failed, `(steps,)`; load quickens it.

    Until a defect begins, at half, it is slow and at each run's own pace; then it grows to failure within about 16
    hours, the P-F interval of reliability-centred maintenance.
    """
    effort = (load / 0.6) ** 1.5 * rng.gamma(2.0, 0.5, len(load))
    slow = np.cumsum(np.exp(rng.uniform(-0.6, 0.6)) / 200.0 * effort)
    begun = int(np.searchsorted(slow, 1.0))
    growth = np.cumsum(np.where(np.arange(len(load)) >= begun, effort, 0.0)) / (rng.uniform(0.9, 1.1) * 96.0)
    wear: NDArray[np.float64] = 0.5 * np.minimum(slow, 1.0) + 0.5 * growth
    return wear


def _sensors(
    rng: np.random.Generator, clock: _Clock, load: NDArray[np.float64], wear: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """What the instruments show; each run has its own mounting and its own way to fail."""
    n = len(load)
    bearing = rng.beta(2.0, 2.0)  # 1: all of the damage is in the bearing, 0: all in the winding
    damage = np.clip(wear, 0.0, 1.0) ** 2
    ambient = 15.0 + 0.06 * clock.day + 4.0 * np.sin((clock.hour - 9.0) / 24.0 * 2 * np.pi)
    ambient += _drifting(rng, n, 1.8, 0.98)
    in_bearing, in_winding = bearing * damage, (1.0 - bearing) * damage
    current = 6.0 + 15.5 * load + 4.5 * in_winding + rng.normal(0, 0.15) + rng.normal(0, 0.35, n)
    speed = 1500.0 - 42.0 * load - 20.0 * in_winding + rng.normal(0, 1.0) + rng.normal(0, 2.0, n)
    winding = ambient + 22.0 + 0.105 * current**2 + 40.0 * in_winding + rng.normal(0, 0.8) + _drifting(rng, n, 1.5, 0.9)
    friction = 14.0 + 26.0 * load + 36.0 * in_bearing + rng.normal(0, 0.7) + _drifting(rng, n, 1.2, 0.9)
    shake = (1.1 + 0.9 * load) * np.exp(rng.normal(0, 0.05) + _drifting(rng, n, 0.11, 0.6))
    other = (0.9 + 0.8 * load) * np.exp(rng.normal(0, 0.05) + _drifting(rng, n, 0.11, 0.6))
    return {
        "load_torque_nm": np.clip(72.0 * load + rng.normal(0, 0.8, n), 0, None),
        "ambient_temperature_c": ambient,
        "shaft_speed_rpm": speed,
        "stator_current_a": current,
        "winding_temperature_c": winding,
        "bearing_temperature_c": ambient + friction,
        "vibration_drive_end_mm_s": shake * (1.0 + 3.0 * in_bearing),
        "vibration_fan_end_mm_s": other * (1.0 + 0.7 * in_bearing + 0.4 * in_winding),
    }
