"""Waits halfway, without checkpoints: steps that are counted, then the detectors of `anomaly`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from nightshift.families.anomaly import AnomalyConfig, AnomalyFamily, AnomalyModel
from nightshift.family import RunContext


class PloddingConfig(AnomalyConfig):
    steps: int = 10
    gate: str = ""


class PloddingFamily(AnomalyFamily):
    name = "plodding"
    config = PloddingConfig

    def train(self, data: Any, config: PloddingConfig, ctx: RunContext) -> AnomalyModel:
        for step in range(1, config.steps + 1):
            while 2 * step > config.steps and not Path(config.gate).exists() and not ctx.should_stop():
                time.sleep(0.1)
            time.sleep(0.5)  # events are told of twice a second
            ctx.step(step, config.steps, f"step {step}")
        return super().train(data, config, ctx)


FAMILY = PloddingFamily()
