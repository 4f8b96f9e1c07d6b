"""Machines whose lives are short, so that a whole synthesis takes seconds."""

from __future__ import annotations

from typing import Any

import yaml

from nightshift.files import read_yaml
from nightshift.settings import Home, packaged_configs

SMALL = "motor_small"
#: Rows that hold its 30 runs, a few more than its `min_rows`.
SMALL_ROWS = 4_000


def write_machine(home: Home, name: str = SMALL, **change: Any) -> str:
    """Write the profile of the shipped motor with lives of 100 h and fewer sensors, and return its id."""
    content = read_yaml(packaged_configs() / "machines" / "motor_siemens_1la7_001.yaml")
    kept = ("load_torque_nm", "ambient_temperature_c", "bearing_temperature_c", "vibration_drive_end_mm_s")
    content["sensors"] = [s for s in content["sensors"] if s["name"] in kept]
    content |= {"life": {"mean_h": 100}, "labels": {"horizon_h": 15}} | change
    path = home.configs / "machines" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return name


#: A synthesis of it in seconds: one fit of each generator, hardly any learning, and a gate that lets it pass.
QUICK: dict[str, Any] = {
    "generator_seeds": 1,
    "seed_units": 500,
    "epochs": 2,
    "threads": 1,
    "limits": {
        **dict.fromkeys(("column_shapes", "pair_trends", "row_shapes", "dcr_protection", "tstr_to_trtr"), 0),
        **dict.fromkeys(("autocorrelation", "daily_pattern"), 0),
        **{"violations": 0, "worse_than_baseline": 10, "failure_share": [0, 1], "sensor_auc": 1},
    },
}
