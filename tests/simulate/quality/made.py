"""A small motor, units of it, and figures by hand, for the tests of the quality report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nightshift.files import read_yaml
from nightshift.settings import packaged_configs
from nightshift.simulate.profile import Profile, parse_profile
from nightshift.simulate.quality.report import GeneratorScores, ProblemScores, SeedScores


def motor(**changes: Any) -> Profile:
    """The Siemens motor with a life of 240 h, so that a roll-out is small."""
    content = read_yaml(packaged_configs() / "machines" / "motor_siemens_1la7_001.yaml")
    short = {"life": {"mean_h": 240}, "labels": {"horizon_h": 36}}
    return parse_profile({**content, **short, **changes}, "motor.yaml")


def frame(profile: Profile, runs: int = 6, rows: int = 240, *, seed: int = 0) -> pd.DataFrame:
    """Rows by hand: every sensor swings with the local day, and every other one climbs towards the run's end."""
    rng = np.random.default_rng(seed)
    n = runs * rows
    time = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC")
    hour = time.tz_convert(profile.timezone).hour.to_numpy()
    left = np.tile(np.arange(rows, 0, -1.0), runs)
    day, climb = np.sin(2 * np.pi * hour / 24), 2.0 * np.clip(1 - left / 60, 0, None)
    sensors = {
        s.name: 10.0 + day + (i % 2) * climb + 0.2 * rng.standard_normal(n) for i, s in enumerate(profile.sensors)
    }
    run = np.repeat(np.arange(runs), rows)
    label = (left <= profile.labels.horizon_h).astype(float)
    return pd.DataFrame({"time": time, "run": run, **sensors, "failure_status": label, "rul": left})


def scores(name: str, *, shift: float = 0.0, seeds: int = 3, **changes: Any) -> GeneratorScores:
    """Figures that pass; `shift` is added to F1, R² and utility, `changes` replace figures of every seed."""
    made = []
    for seed in range(seeds):
        jitter = 0.01 * seed
        figures: dict[str, Any] = {
            "seed": seed,
            "column_shapes": 0.95,
            "pair_trends": 0.96,
            "dcr_protection": 0.92,
            "row_shapes": 0.97,
            "autocorrelation": 0.98,
            "daily_pattern": 0.98,
            "failure_share": 0.15,
            "sensor_auc": 0.8,
            "violations": {},
            "tstr": problems(0.8 + shift + jitter, 0.7 + shift + jitter),
            "utility": 1.0 + shift,
        }
        made.append(SeedScores.model_validate({**figures, **changes}))
    return GeneratorScores(name=name, seeds=tuple(made))


def problems(f1: float | None = 0.81, rul_r2: float | None = 0.71) -> ProblemScores:
    """What the proxies reached."""
    return ProblemScores(f1=f1, rul_r2=rul_r2, pr_auc=0.6, forecast_skill=0.4)
